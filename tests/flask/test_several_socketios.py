"""Several SocketIOs on one app, or one on several: what runs a handler is what its helpers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

from tests.flask.conftest import Site
from tests.support.inprocess import eventually
from wsgi_sio.flask import (
    Namespace,
    SocketIO,
    SocketIOTestClient,
    call,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)


class Two:
    """One app with two SocketIOs, each with a client that is not acted for, and one that is."""

    def __init__(self) -> None:
        self.app = flask.Flask(__name__)
        self.socketios = [SocketIO(self.app, path=path) for path in ("/one", "/two")]
        self.bystanders: list[SocketIOTestClient] = []

    def clients(self, namespace: str | None = None) -> list[SocketIOTestClient]:
        self.bystanders = [socketio.test_client(self.app, namespace) for socketio in self.socketios]
        return [socketio.test_client(self.app, namespace) for socketio in self.socketios]


@pytest.fixture
def two() -> Iterator[Two]:
    two = Two()
    yield two
    for socketio in two.socketios:
        socketio.io.close()
        socketio.io.reactor.close()


def names(client: SocketIOTestClient, namespace: str | None = None) -> list[str]:
    return [event["name"] for event in client.get_received(namespace)]


HELPERS: list[tuple[Callable[[], Any], list[str], list[str]]] = [
    (lambda: emit("x"), ["x"], []),
    (lambda: send("x"), ["message"], []),
    (lambda: emit("x", broadcast=True), ["x"], ["x"]),
    (lambda: emit("x", broadcast=True, include_self=False), [], ["x"]),
    (lambda: (join_room("r"), emit("x", to="r")), ["x"], []),
    (lambda: (join_room("r"), leave_room("r"), emit("x", to="r")), [], []),
    (lambda: (join_room("r"), close_room("r"), emit("x", to="r")), [], []),
    (lambda: emit("x", to=rooms()), ["x"], []),
    (lambda: emit("x") if call("double", 4) == 8 else None, ["x"], []),
]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("helper", "own", "others"), HELPERS)
def test_helpers_act_on_the_socketio_whose_handler_runs(
    two: Two, which: int, helper: Callable[[], Any], own: list[str], others: list[str]
) -> None:
    def act() -> None:
        helper()

    for socketio in two.socketios:
        socketio.on_event("act", act)
    clients = two.clients()
    for client in clients:
        client.on("double", lambda number: 2 * number)
    clients[which].emit("act")
    assert names(clients[which]) == own and names(two.bystanders[which]) == others
    assert names(clients[1 - which]) == names(two.bystanders[1 - which]) == []


@pytest.mark.parametrize("which", [0, 1])
def test_disconnecting_in_a_callback_an_error_handler_and_a_disconnect_handler(two: Two, which: int) -> None:
    """Whatever runs for a client of one SocketIO."""
    for socketio in two.socketios:
        socketio.on_event("ask", lambda: emit("question", callback=lambda: emit("called back", broadcast=True)))
        socketio.on_event("fail", lambda: 1 // 0)
        socketio.on_error_default(lambda error: disconnect())
        socketio.on_event("disconnect", lambda: emit("left", broadcast=True, include_self=False))
    client, other = two.clients()[which], two.bystanders[which]
    client.on("question", lambda: None)
    client.emit("ask")
    eventually(lambda: "called back" in names(other), "the callback")
    client.emit("fail")
    assert not client.is_connected() and names(other) == ["left"]
    assert names(two.bystanders[1 - which]) == []


@pytest.mark.parametrize("which", [0, 1])
def test_class_based_namespaces_act_on_theirs(two: Two, which: int) -> None:
    """Also one instance with both, and what it does before there is a request's context."""

    class Room(Namespace):
        def trigger_event(self, event: str, *args: Any) -> Any:
            if event == "early":
                self.enter_room(args[0], "early")
                self.emit("early", to="early")
                return "early" in self.rooms(args[0])
            return super().trigger_event(event, *args)

        def on_act(self) -> bool:
            self.emit("own", to=flask.request.sid)  # type: ignore[attr-defined]
            emit("helper")
            return self.server is self.socketio.server is two.socketios[which].server

    both = Room("/both")
    for socketio in two.socketios:
        socketio.on_namespace(both)
    clients = two.clients("/both")
    assert clients[which].emit("early", callback=True, namespace="/both") is True
    assert clients[which].emit("act", callback=True, namespace="/both") is True
    assert names(clients[which], "/both") == ["early", "own", "helper"]
    assert names(clients[1 - which], "/both") == []
    both.emit("from outside")
    assert [names(client, "/both") for client in clients] == [[], ["from outside"]], "the last one is meant"


def test_a_handler_emits_by_another_socketio(two: Two) -> None:
    """Its clients get it; the callback runs in the context of the client whose event it was."""
    one, other = two.socketios
    heard: list[Any] = []

    def ask() -> None:
        def answered(word: str) -> None:
            heard.append((word, flask.request.sid))  # type: ignore[attr-defined]
            emit("answer", word)

        other.emit("question", to=sid, callback=answered, include_self=False)

    one.on_event("ask", ask)
    one.on_event("who", lambda: flask.request.sid)  # type: ignore[attr-defined]
    other.on_event("who", lambda: flask.request.sid)  # type: ignore[attr-defined]
    asking, asked = two.clients()
    sid = asked.emit("who", callback=True)
    asked.on("question", lambda: "yes")
    asking.emit("ask")
    eventually(lambda: heard == [("yes", asking.emit("who", callback=True))], "the callback")
    assert names(asking) == ["answer"] and names(asked) == []


def test_in_a_view_the_last_socketio_is_meant_even_if_a_handler_asks_for_it(two: Two) -> None:
    two.app.add_url_rule("/", view_func=lambda: emit("viewed", broadcast=True) or "page")

    class Asking(Namespace):
        def on_view(self) -> str:
            return str(two.app.test_client().get("/").text)

    for socketio in two.socketios:
        socketio.on_namespace(Asking())
    clients = two.clients()
    two.app.test_client().get("/")
    assert [names(client) for client in clients] == [[], ["viewed"]]
    assert clients[0].emit("view", callback=True) == "page"
    assert [names(client) for client in clients] == [[], ["viewed"]]


def test_a_handler_may_enter_the_context_of_another_app() -> None:
    """One SocketIO with two apps: then it is that app's clients who are meant."""
    socketio = SocketIO()
    apps = [flask.Flask(name) for name in ("one", "two")]
    for app in apps:
        socketio.init_app(app)

    @socketio.on("tell")
    def tell() -> None:
        with apps[1].app_context():
            socketio.emit("elsewhere")
        socketio.emit("here")

    clients = [socketio.test_client(app) for app in apps]
    clients[0].emit("tell")
    assert [names(client) for client in clients] == [["here"], ["elsewhere"]]


def test_a_client_of_a_server_before_the_app_was_attached_again_is_answered_by_it(site: Site) -> None:
    site.socketio.on_event("tell", lambda: (join_room("r"), emit("helper"), site.socketio.emit("object", to="r")))
    client = site.client()
    before = site.socketio.io
    site.socketio.init_app(site.app)
    client.emit("tell")
    assert names(client) == ["helper", "object"]
    before.close()
    before.reactor.close()
