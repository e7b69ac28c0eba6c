"""A small Flask application with WebTransport: for ``flask run``, and a program of its own.

``WEBTRANSPORT`` in the environment has the option, as JSON; the program's argument is what ``run()`` is given.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

if os.environ.get("WORLD") == "gevent":
    from gevent import monkey

    monkey.patch_all()

from flask import Flask

from wsgi_sio.flask import SocketIO

app = Flask(__name__)
socketio = SocketIO(app, webtransport=json.loads(os.environ["WEBTRANSPORT"]), ping_interval=25, ping_timeout=20)


@app.get("/")
def index() -> str:
    return str(os.getpid())


@socketio.event
def pid() -> int:
    return os.getpid()


@socketio.event
def echo(*args: Any) -> tuple[Any, ...]:
    return args


if __name__ == "__main__":
    socketio.run(app, **json.loads(sys.argv[1]))
