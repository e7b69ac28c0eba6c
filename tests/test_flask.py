"""wsgi_sio.flask: Flask-SocketIO's decorators, helpers and handler contract, over a real WebSocket in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import flask
import pytest

from tests.support.inprocess import Client, InProcess, eventually
from wsgi_sio import LocalProtocolError, OutOfContext
from wsgi_sio.flask import (
    ConnectRefused,
    SocketIO,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)


class Site:
    """A Flask app with its SocketIO, and the way for clients to it."""

    def __init__(self) -> None:
        self.app = flask.Flask(__name__)
        self.app.secret_key = "for the sessions"
        self.socketio = SocketIO()  # an app factory's way: handlers first, the app later
        self._process: InProcess | None = None

    def client(self, headers: dict[str, str] | None = None) -> Client:
        if self._process is None:
            self.socketio.init_app(self.app)
            self._process = InProcess(self.socketio.server)
        return self._process.client(**({"headers": headers} if headers else {}))

    def joined(self) -> tuple[Client, str]:
        client = self.client()
        return client, client.connect()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def test_what_a_handler_returns_acknowledges(site: Site) -> None:
    @site.socketio.on("add")
    def add(a: int, b: int) -> int:
        return a + b

    @site.socketio.event
    def pair() -> tuple[int, str]:
        return 1, "two"

    client, _ = site.joined()
    assert client.call("add", 2, 3) == [5]
    assert client.call("pair") == [1, "two"]


def test_the_request_of_a_handler(site: Site) -> None:
    @site.socketio.on("who")
    def who(*args: Any) -> list[Any]:
        request: Any = flask.request
        return [request.sid, request.namespace, request.event, request.headers["X-Test"], request.path]

    client = site.client({"X-Test": "héllo".encode().decode("latin-1")})
    sid = client.connect()
    event = {"message": "who", "args": [1]}
    assert client.call("who", 1) == [[sid, "/", event, "héllo".encode().decode("latin-1"), "/socket.io/"]]


def test_connect_handlers_take_auth_and_refuse(site: Site) -> None:
    @site.socketio.on("connect")
    def connect(auth: dict[str, str]) -> bool | None:
        if auth.get("name") == "liar":
            raise ConnectRefused("no liars", {"code": 7})
        return auth.get("name") != "nobody"

    client = site.client()
    client.send(packet := _connect({"name": "liar"}))
    assert client.receive().data == {"message": "no liars", "data": {"code": 7}}
    packet.data = {"name": "nobody"}
    client.send(packet)
    assert client.receive().data == {"message": "Connection refused"}
    packet.data = {"name": "ada"}
    client.send(packet)
    assert "sid" in client.receive().data


def _connect(auth: dict[str, str]) -> Any:
    from wsgi_sio.socketio.packet import CONNECT, Packet

    return Packet(CONNECT, "/", auth)


def test_a_broadcast_from_a_connect_handler_reaches_the_newcomer_too(site: Site) -> None:
    @site.socketio.on("connect")
    def connect() -> None:
        join_room("hall")
        emit("welcome")
        emit("news", "all", broadcast=True)
        emit("news", "hall", to="hall")
        emit("news", "others", broadcast=True, include_self=False)

    first = site.client()
    first.send(_connect({}))
    assert [first.receive().data for _ in range(3)] == [["welcome"], ["news", "all"], ["news", "hall"]]
    assert first.receive().type == 0
    second = site.client()
    second.send(_connect({}))
    assert [first.receive().data[1] for _ in range(3)] == ["all", "hall", "others"]


def test_rooms(site: Site) -> None:
    @site.socketio.on("join")
    def join(room: str) -> list[str]:
        join_room(room)
        return sorted(rooms())

    @site.socketio.on("leave")
    def leave(room: str) -> None:
        leave_room(room)

    @site.socketio.on("close")
    def close(room: str) -> None:
        close_room(room)

    @site.socketio.on("shout")
    def shout(room: str, include_self: bool) -> None:
        emit("heard", room, to=room, include_self=include_self)

    (ada, ada_sid), (bob, _) = site.joined(), site.joined()
    assert ada.call("join", "r") == [sorted(["r", ada_sid])]
    bob.call("join", "r")
    ada.call("shout", "r", False)
    assert bob.expect("heard") == ["r"]
    bob.call("leave", "r")
    ada.emit("shout", "r", True)
    assert ada.expect("heard") == ["r"]
    ada.call("close", "r")
    ada.call("shout", "r", True)
    ada.expect_silence(0.05)


def test_messages_json_and_namespaces(site: Site) -> None:
    @site.socketio.on("message", namespace="/chat")
    def message(text: str) -> None:
        send(text.upper())
        send({"t": text}, json=True)
        emit("elsewhere", text, namespace="/", broadcast=True)

    client, _ = site.joined()
    client.connect("/chat")
    client.emit("message", "hi", nsp="/chat")
    assert client.expect("message", nsp="/chat") == ["HI"]
    assert client.expect("json", nsp="/chat") == [{"t": "hi"}]
    assert client.expect("elsewhere") == ["hi"]


def test_sending_from_outside_of_handlers(site: Site) -> None:
    client, sid = site.joined()
    other, _ = site.joined()
    site.socketio.emit("all", ("several", "arguments"))
    assert client.expect("all") == ["several", "arguments"] == other.expect("all")
    site.socketio.send("only you", to=sid)
    assert client.expect("message") == ["only you"]
    site.socketio.emit("not you", skip_sid=sid)
    other.expect("not you")
    client.expect_silence(0.05)


def test_callbacks(site: Site) -> None:
    """One client's answer comes as arguments, those of several as a list."""
    answers: list[Any] = []

    @site.socketio.on("ask")
    def ask() -> None:
        emit("question", callback=lambda *args: answers.append(args))

    client, sid = site.joined()
    client.emit("ask")
    client.answer(client.receive(), 1, 2)
    eventually(lambda: answers == [(1, 2)], "the answer")
    site.socketio.emit("question", to=sid, callback=lambda *args: answers.append(args))
    client.answer(client.receive(), "x")
    eventually(lambda: answers[1:] == [("x",)], "the answer to the server")
    site.socketio.emit("question", callback=lambda *args: answers.append(args))
    client.answer(client.receive(), "y")
    eventually(lambda: answers[2:] == [(["y"],)], "the list of one answer")


def test_disconnecting(site: Site) -> None:
    reasons: list[str] = []

    @site.socketio.on("go")
    def go() -> None:
        disconnect()

    @site.socketio.on("disconnect")
    def gone(reason: str) -> None:
        reasons.append(f"{flask.request.sid} {reason}")  # type: ignore[attr-defined]

    client, sid = site.joined()
    client.emit("go")
    assert client.receive().type == 1
    eventually(lambda: reasons == [f"{sid} server namespace disconnect"], "the handler")


def test_the_session_lasts_as_long_as_the_connection(site: Site) -> None:
    @site.socketio.on("count")
    def count() -> int:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return int(flask.session["n"])

    client, _ = site.joined()
    assert [client.call("count") for _ in range(3)] == [[1], [2], [3]]
    other, _ = site.joined()
    assert other.call("count") == [1]


def test_flask_s_own_session_is_opened_for_each_event_if_asked(site: Site) -> None:
    site.socketio = SocketIO(manage_session=False)

    @site.socketio.on("count")
    def count() -> int:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return int(flask.session["n"])

    client, _ = site.joined()
    assert [client.call("count") for _ in range(2)] == [[1], [1]]


def test_teardown_functions_run_after_every_event(site: Site) -> None:
    torn: list[BaseException | None] = []
    site.app.teardown_request(torn.append)

    @site.socketio.on("fine")
    def fine() -> None:
        flask.g.opened = True

    @site.socketio.on("bad")
    def bad() -> None:
        raise ValueError("on purpose")

    client, _ = site.joined()
    client.call("fine")
    client.emit("bad")
    client.call("fine")
    assert [type(error) for error in torn] == [type(None), ValueError, type(None)]


def test_error_handlers(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    @site.socketio.on_error()
    def on_error(error: Exception) -> str:
        return f"sorry: {error}"

    @site.socketio.on_error_default
    def elsewhere(error: Exception) -> str:
        return "elsewhere"

    @site.socketio.on("bad")
    @site.socketio.on("bad", namespace="/x")
    def bad() -> None:
        raise ValueError("on purpose")

    client, _ = site.joined()
    client.connect("/x")
    assert client.call("bad") == ["sorry: on purpose"]
    client.emit("bad", nsp="/x", ack=3)
    assert client.receive().data == ["elsewhere"]


def test_an_arity_error_names_the_handler_without_our_socket(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    @site.socketio.on("one")
    def takes_one(a: int) -> None: ...

    client, _ = site.joined()
    with caplog.at_level(logging.WARNING):
        client.emit("one", 1, 2)
        eventually(lambda: "takes_one" in caplog.text, "the line")
    assert "takes 1 arguments" in caplog.text and "sent 2 (int, int)" in caplog.text and __file__ in caplog.text


def test_helpers_outside_of_a_handler_say_what_to_use(site: Site) -> None:
    for helper in (lambda: emit("x"), lambda: send("x"), lambda: join_room("r"), rooms, disconnect):
        with pytest.raises(OutOfContext, match=r"socketio\.emit\(\.\.\., to="):
            helper()
    with pytest.raises(RuntimeError, match="init_app"):
        SocketIO().server  # noqa: B018
    site.client()
    with pytest.raises(LocalProtocolError, match="reserved"):
        site.socketio.emit("disconnect")


def test_the_app_goes_on_serving_pages(site: Site) -> None:
    @site.app.route("/")
    def index() -> str:
        return "page"

    site.socketio.init_app(site.app)
    assert site.app.test_client().get("/").text == "page"
    opened = site.app.test_client().get("/socket.io/?EIO=4&transport=polling")
    assert opened.status_code == 200 and opened.text.startswith('0{"sid"')
