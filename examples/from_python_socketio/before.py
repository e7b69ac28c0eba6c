"""A quiz's buzzers, written for python-socketio; ``app.py`` is the same on wsgi_sio.

``pip install python-socketio simple-websocket``, ``python before.py``, then http://127.0.0.1:8000 in two windows.
"""

import os
import threading
from pathlib import Path

import socketio
from socketio.exceptions import ConnectionRefusedError

HERE = Path(__file__).resolve().parent
TICK = 0.4  # seconds of a countdown's step

sio = socketio.Server(async_mode="threading")
lock = threading.Lock()
round_ = {"open": True, "first": None}
names = {}


@sio.event
def connect(sid, environ, auth):
    name = auth.get("name") if isinstance(auth, dict) else None
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 20:
        raise ConnectionRefusedError("A name has 1 to 20 characters.")
    sio.save_session(sid, {"name": name.strip()})
    sio.enter_room(sid, "players")
    names[sid] = name.strip()
    sio.start_background_task(welcome, sid)  # what is emitted in here would come before the client is connected


def welcome(sid):
    sio.emit("round", round_, to=sid)
    sio.emit("players", sorted(names.values()), room="players")


@sio.event
def disconnect(sid, reason):
    names.pop(sid, None)
    sio.emit("players", sorted(names.values()), room="players")


@sio.event
def buzz(sid):
    with sio.session(sid) as session:
        name = session["name"]
    with lock:  # a client's events may be handled at the same time, too
        if not round_["open"] or round_["first"] is not None:
            return False
        round_["first"] = name
        sio.emit("round", round_, room="players")
    return True


@sio.on("next")
def next_round(sid, data):
    with lock:
        if not round_["open"]:
            return
        round_.update(open=False, first=None)
    sio.start_background_task(count_down)


@sio.event
def cheer(sid, data):
    name = sio.get_session(sid)["name"]
    sio.emit("cheer", name, room="players", skip_sid=sid)


def count_down():
    for left in (3, 2, 1):
        sio.emit("countdown", left, room="players")
        sio.sleep(TICK)
    with lock:
        round_["open"] = True
        sio.emit("round", round_, room="players")


app = socketio.WSGIApp(
    sio,
    static_files={
        "/": str(HERE / "page.html"),
        "/static": str(HERE / "static"),
        "/shared": str(HERE.parent / "shared"),
    },
)

if __name__ == "__main__":
    from werkzeug.middleware.shared_data import SharedDataMiddleware
    from werkzeug.serving import run_simple

    from wsgi_sio.client_files import find_client, install_client

    # python-socketio does not serve the browser's client. This lets the page be the same in both versions.
    script = (find_client() or install_client()) / "socket.io.min.js"
    app = SharedDataMiddleware(app, {"/socket.io/socket.io.min.js": str(script)})
    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)
