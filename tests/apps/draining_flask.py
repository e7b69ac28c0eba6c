"""A Flask application for ``tests/live/test_drain.py``."""

from __future__ import annotations

from flask import Flask

from wsgi_sio.flask import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)


@app.get("/")
def index() -> str:
    return "hello"
