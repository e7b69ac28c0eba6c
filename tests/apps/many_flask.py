"""The first part of ``many.py`` in Flask, with its own names; a client's session is Flask's."""

from __future__ import annotations

import os

from flask import Flask, session

from wsgi_sio.flask import SocketIO, emit

app = Flask(__name__)
app.secret_key = "only for tests"
socketio = SocketIO(app, ping_interval=5, ping_timeout=40)


@app.get("/")
def index() -> str:
    return "hello"


@socketio.on("connect")
def welcome() -> None:
    session["next"] = 0
    emit("welcome", os.getpid(), socketio.server.io.engine.tag)


@socketio.on("put")
def put(number: int) -> None:
    assert session["next"] == number
    session["next"] += 1
    emit("echo", number)
