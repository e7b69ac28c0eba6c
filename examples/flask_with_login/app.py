"""A lounge for people who have logged in: who is there, and messages to all or to one of them.

Flask-Login keeps the login in the session's cookie, which comes with the Socket.IO handshake too: handlers know
``current_user`` as views do, and never ask the page who it is.

``python app.py``, then http://127.0.0.1:8000 in two browsers (``pip install flask flask-login``). Behind a production
server, with one worker because who is there is in its memory::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app
"""

from __future__ import annotations

import functools
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, redirect, render_template, request, send_from_directory, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from werkzeug.security import check_password_hash, generate_password_hash

from wsgi_sio.client_files import find_client, install_client
from wsgi_sio.flask import ConnectionRefusedError, SocketIO, disconnect, emit, join_room

HERE = Path(__file__).resolve().parent
TEXT = 500  # characters of a message

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY") or secrets.token_hex()  # a new one logs everybody out
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # other sites can neither log people in nor out
login_manager = LoginManager(app)
login_manager.login_view = "login"
socketio = SocketIO(app, client_files=find_client() or install_client())

online: dict[str, User] = {}  # by the session id of each tab
lock = threading.Lock()  # the handlers of different clients run side by side


class User(UserMixin):
    """Somebody who may log in; yours is a row of the database."""

    def __init__(self, id: str, name: str, password: str) -> None:
        self.id = id
        self.name = name
        self.password_hash = generate_password_hash(password)

    @property
    def room(self) -> str:
        """The room of all their tabs; a prefix, because every socket's id is the name of a room too."""
        return f"user {self.id}"


users = {id: User(id, name, "secret") for id, name in (("ada", "Ada"), ("ben", "Ben"), ("cleo", "Cleo"))}


@login_manager.user_loader
def load_user(id: str) -> User | None:
    return users.get(id)


# --- pages ---


@app.get("/")
@login_required
def index() -> str:
    return render_template("index.html")


@app.route("/login", methods=["GET", "POST"])
def login() -> Any:
    if request.method == "GET":
        return render_template("login.html", users=users.values())
    user = users.get(request.form.get("name", "").strip().lower())
    if user is None or not check_password_hash(user.password_hash, request.form.get("password", "")):
        return render_template("login.html", users=users.values(), error="Wrong name or password."), 403
    login_user(user)
    return redirect(url_for("index"))


@app.post("/logout")
@login_required
def logout() -> Any:
    """Whoever logs out here does so in all tabs; these hear of it when the answer, which takes the cookie, is out."""
    tabs = socketio.io.in_(current_user.room)
    logout_user()
    response = redirect(url_for("login"))
    response.call_on_close(lambda: tabs.disconnect_sockets(close=True))
    return response


@app.get("/shared/<path:name>")
def shared(name: str) -> Any:
    return send_from_directory(HERE.parent / "shared", name)


# --- events ---


@socketio.on("connect")
def connect() -> None:
    if not current_user.is_authenticated:
        raise ConnectionRefusedError("Please log in.")
    join_room(current_user.room)
    with lock:
        online[request.sid] = current_user._get_current_object()
        show_online()


@socketio.on("disconnect")
def disconnected() -> None:
    with lock:
        online.pop(request.sid, None)
        show_online()


def show_online() -> None:
    names = {user.id: user.name for user in online.values()}  # each once, however many tabs
    socketio.emit("online", [{"id": id, "name": names[id]} for id in sorted(names)])


def authenticated_only(handler: Callable[..., Any]) -> Callable[..., Any]:
    """As ``login_required`` for views: who is no user any more is sent away."""

    @functools.wraps(handler)
    def handle(*args: Any) -> Any:
        if current_user.is_authenticated:
            return handler(*args)
        disconnect()
        return None

    return handle


@socketio.on("say")
@authenticated_only
def say(text: Any, to: Any) -> dict[str, str]:
    """Send a message to everybody, or to all tabs of one person and of the sender."""
    if not isinstance(text, str) or not 1 <= len(text.strip()) <= TEXT:
        return {"error": f"A message has 1 to {TEXT} characters."}
    message = {"name": current_user.name, "text": text.strip(), "to": None}
    if to is None:
        emit("said", message, broadcast=True)
        return {}
    other = users.get(to) if isinstance(to, str) else None
    if other is None:
        return {"error": "There is nobody of this name."}
    emit("said", {**message, "to": other.name}, to=[other.room, current_user.room])
    return {}


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", "8000")))
