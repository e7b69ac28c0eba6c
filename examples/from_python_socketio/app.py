"""A quiz's buzzers, moved over from python-socketio: ``before.py``. Each change has a note; the page is the same.

``python app.py``, then http://127.0.0.1:8000 in two windows. Behind a production server, with one worker because the
round is in its memory::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app

``python -m wsgi_sio migrate before.py`` lists what there is to change.
"""

import os
import threading
from pathlib import Path

from werkzeug.exceptions import NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware

from wsgi_sio import ConnectRefused, Server, WSGIApp
from wsgi_sio.client_files import find_client, install_client

HERE = Path(__file__).resolve().parent
TICK = 0.4  # seconds of a countdown's step

# No async_mode: the same code runs in threads and, if gevent has patched the standard library, in greenlets.
io = Server(client_files=find_client() or install_client())
lock = threading.Lock()
round_ = {"open": True, "first": None}


# The connect handler gets the socket instead of the sid; the environ is socket.handshake.environ.
@io.event
def connect(socket, auth):
    name = auth.get("name")  # auth is always a dict
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 20:
        raise ConnectRefused("A name has 1 to 20 characters.")
    socket.data["name"] = name.strip()  # sio.save_session(sid, {...})
    socket.join("players")  # sio.enter_room(sid, "players")


# Comes when the client has been connected: there is no need for a background task.
@io.event
def connection(socket):
    socket.emit("round", round_)  # sio.emit(..., to=sid)
    show_players()


# Without parameters that are not needed: the reason may be left out.
@io.event
def disconnect(socket):
    show_players()


def show_players():
    names = sorted(socket.data["name"] for socket in io.in_("players").fetch_sockets())
    io.to("players").emit("players", names)  # sio.emit("players", names, room="players")


# A client's events are handled one after the other; the lock is for those of different clients.
@io.event
def buzz(socket):
    with lock:
        if not round_["open"] or round_["first"] is not None:
            return False  # acknowledgements are returned, as before
        round_["first"] = socket.data["name"]  # with sio.session(sid) as session: ...
        io.to("players").emit("round", round_)
    return True


@io.on("next")
def next_round(socket, data):
    with lock:
        if not round_["open"]:
            return
        round_.update(open=False, first=None)
    io.start_background_task(count_down)


@io.event
def cheer(socket, data):
    socket.to("players").emit("cheer", socket.data["name"])  # sio.emit(..., room="players", skip_sid=sid)


def count_down():
    for left in (3, 2, 1):
        io.to("players").emit("countdown", left)
        io.sleep(TICK)
    with lock:
        round_["open"] = True
        io.to("players").emit("round", round_)


# Static files are an application's: werkzeug's, WhiteNoise, or what you have.
files = {"/static": HERE / "static", "/shared": HERE.parent / "shared", "/": HERE / "page.html"}
app = WSGIApp(io, SharedDataMiddleware(NotFound(), {url: str(path) for url, path in files.items()}, cache=False))

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)
