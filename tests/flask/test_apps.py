"""App factories, blueprints, several apps in one process."""

from __future__ import annotations

import gc
import weakref

import flask

from tests.flask.conftest import Site
from wsgi_sio.flask import Namespace, SocketIO, emit, join_room


def test_the_app_goes_on_serving_pages(site: Site) -> None:
    site.app.add_url_rule("/", view_func=lambda: "page")
    site.attach()
    assert site.app.extensions["socketio"] is site.socketio
    assert site.app.test_client().get("/").text == "page"
    opened = site.app.test_client().get("/socket.io/?EIO=4&transport=polling")
    assert opened.status_code == 200 and opened.text.startswith('0{"sid"')


def test_a_factory_may_be_called_again_and_again() -> None:
    """One SocketIO, handlers registered before or after: each app has its own clients, rooms, sessions."""
    socketio = SocketIO()
    socketio.on_event("early", lambda: emit("news", flask.current_app.name, broadcast=True))

    def create_app(name: str) -> flask.Flask:
        app = flask.Flask(name)
        socketio.init_app(app)
        return app

    apps = [create_app("one"), create_app("two")]
    socketio.on_event("late", lambda: flask.current_app.name)
    clients = [socketio.test_client(app) for app in apps]
    for app, client in zip(apps, clients, strict=True):
        assert client.emit("late", callback=True) == app.name
        client.emit("early")
    assert [[event["args"] for event in client.get_received()] for client in clients] == [[["one"]], [["two"]]]
    socketio.emit("to the latest")
    with apps[0].app_context():
        socketio.emit("to the current")
    assert [[event["name"] for event in client.get_received()] for client in clients] == [
        ["to the current"],
        ["to the latest"],
    ]


def test_several_socketios_with_apps_of_their_own() -> None:
    clients = []
    for name in ("one", "two"):
        app = flask.Flask(name)
        socketio = SocketIO(app, path=f"/{name}")
        socketio.on_event("join", lambda: (join_room("hall"), emit("here", flask.current_app.name, to="hall")))
        clients.append(socketio.test_client(app))
    for client in clients:
        client.emit("join")
    assert [client.get_received()[0]["args"] for client in clients] == [["one"], ["two"]]


def test_blueprints_and_their_url_for(site: Site) -> None:
    blueprint = flask.Blueprint("pages", __name__, url_prefix="/pages")
    blueprint.add_url_rule("/hall", endpoint="hall", view_func=lambda: "hall")
    site.app.register_blueprint(blueprint)
    site.socketio.on_event("where", lambda: flask.url_for("pages.hall"))
    assert site.client().emit("where", callback=True) == "/pages/hall"


def test_an_app_that_nobody_needs_is_forgotten() -> None:
    """Suites make hundreds of them with one SocketIO; only the latest is kept."""
    socketio = SocketIO()
    apps: list[weakref.ref[flask.Flask]] = []
    for number in range(3):
        app = flask.Flask(str(number))
        socketio.init_app(app)
        apps.append(weakref.ref(app))
    del app
    gc.collect()
    assert [reference() is not None for reference in apps] == [False, False, True]


def test_a_class_based_namespace_of_several_apps() -> None:
    class Who(Namespace):
        def on_who(self) -> str:
            return str(flask.current_app.name)

    socketio = SocketIO()
    socketio.on_namespace(Who())
    apps = [flask.Flask(name) for name in ("one", "two")]
    for app in apps:
        socketio.init_app(app)
    assert [socketio.test_client(app).emit("who", callback=True) for app in apps] == ["one", "two"]
