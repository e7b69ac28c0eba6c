"""A Flask application that is its own program: ``python -m tests.apps.flask_runs '{"port": 5000, ...}'``.

The options are those of ``socketio.run``. Events: ``stop`` ends the server, ``fail`` raises.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

if os.environ.get("WORLD") == "gevent":
    from gevent import monkey

    monkey.patch_all()

import flask

from wsgi_sio.flask import SocketIO

app = flask.Flask(__name__)
socketio = SocketIO(app)


@app.get("/")
def index() -> str:
    return str(os.getpid())


@app.get("/fail")
def fail() -> str:
    raise ValueError("on purpose")


@app.get("/stop")
def stop_by_page() -> str:
    socketio.stop()
    return "stopping"


@socketio.event
def echo(*args: Any) -> tuple[Any, ...]:
    return args


@socketio.event
def stop() -> None:
    socketio.stop()


@socketio.on("disconnect")
def disconnect(reason: str) -> None:
    print(f"left: {reason} ({reason.detail})", flush=True)  # type: ignore[attr-defined]


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    if "ssl_context" in options:
        options["ssl_context"] = tuple(options["ssl_context"])
    socketio.run(app, **options)
    print("run() has returned", flush=True)
