"""A Flask app with a message queue (REDIS), which old servers may share (OLD_SERVERS)."""

from __future__ import annotations

import os

from flask import Flask

from wsgi_sio.flask import SocketIO, emit, join_room

app = Flask(__name__)
socketio = SocketIO(app, message_queue=os.environ["REDIS"], old_servers=bool(os.environ.get("OLD_SERVERS")))


@app.get("/")
def index() -> dict[str, int]:
    engine = socketio.io.engine
    siblings = len(engine.joining.company.siblings.links()) if engine.joining.company else 0
    return {"siblings": siblings, "sessions": len(engine.sessions)}


@socketio.on("connect")
def connect() -> None:
    join_room("all")
    emit("pid", os.getpid())


@socketio.on("tell")
def tell(event: str, value: object) -> None:
    socketio.emit(event, value, to="all")


@socketio.on("call")
def call(sid: str, value: object) -> object:
    return socketio.call("question", value, to=sid, timeout=10)
