"""How a client's events reach the handlers, and how what these return gets back."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import Closed, eventually
from wsgi_sio import NO_ACK, NoAck, Server, Socket

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


@TRANSPORTS
def test_a_handler_gets_the_socket_and_the_arguments(serve: Serve, transport: str) -> None:
    io = Server()
    seen: list[Any] = []

    @io.on("all")
    def handler(socket: Socket, *args: Any) -> str:
        seen.append((socket.id, args))
        return "done"

    client = serve(io).client(transport)
    sid = client.connect()
    assert client.call("all", 1, "zwei€😀", [None, {"a": b"\x00\xff"}], b"raw") == ["done"]
    assert seen == [(sid, (1, "zwei€😀", [None, {"a": b"\x00\xff"}], b"raw"))]


@TRANSPORTS
def test_what_a_handler_returns_becomes_the_arguments_of_the_acknowledgement(serve: Serve, transport: str) -> None:
    io = Server()
    results = {"none": None, "one": 1, "tuple": (1, "b", b"c"), "empty": (), "list": [1, 2], "false": False, "zero": 0}
    io.on("get", lambda socket, key: results[key])
    client = serve(io).client(transport)
    client.connect()
    got = {key: client.call("get", key) for key in results}
    assert got == {
        "none": [], "one": [1], "tuple": [1, "b", b"c"], "empty": [], "list": [[1, 2]], "false": [False], "zero": [0],
    }  # fmt: skip


@TRANSPORTS
def test_a_handler_may_leave_its_event_unacknowledged(serve: Serve, transport: str) -> None:
    io = Server()

    @io.on("seen")
    def seen(socket: Socket, busy: bool) -> str | NoAck:
        return NO_ACK if busy else "yes"

    client = serve(io).client(transport)
    client.connect()
    client.emit("seen", True, ack=1)
    assert client.call("seen", False, ack=2) == ["yes"], "the first has been acknowledged"


@pytest.mark.parametrize("of_socket", [False, True])
@pytest.mark.parametrize("first", [NO_ACK, None, "answer"])
@pytest.mark.parametrize("second", [NO_ACK, None, "answer"])
def test_what_one_handler_returns_counts_more_than_another_s_no_ack(
    serve: Serve, of_socket: bool, first: Any, second: Any
) -> None:
    """In whatever order, and whether the other belongs to the namespace or to the socket; None is no objection."""
    io = Server()
    client = serve(io).client()
    socket = io.sockets.sockets[client.connect()]
    io.on("x", lambda socket: first)
    if of_socket:
        socket.on("x", lambda: second)
    else:
        io.on("x", lambda socket: second)
    io.on("next", lambda socket: "next")
    client.emit("x", ack=1)
    client.emit("next", ack=2)
    acks = [client.receive()]
    if acks[0].id == 1:
        acks.append(client.receive())
    expected = next((each for each in ("answer", NO_ACK) if each in (first, second)), None)
    assert [ack.data for ack in acks[:-1]] == {"answer": [["answer"]], NO_ACK: [], None: [[]]}[expected]


def test_once_off_and_several_handlers(serve: Serve) -> None:
    io = Server()
    seen: list[str] = []

    @io.once("x")
    def once(socket: Socket) -> str:
        seen.append("once")
        return "from once"

    @io.on("x")
    def always(socket: Socket) -> str:
        seen.append("always")
        return "from always"

    client = serve(io).client()
    client.connect()
    assert client.call("x") == ["from once"]
    assert client.call("x") == ["from always"]
    assert seen == ["once", "always", "always"]
    io.off("x", always)
    client.emit("x", ack=1)
    io.on("x", always)
    io.off("x")
    client.emit("x", ack=2)
    client.expect_silence(0.03)  # nobody listens, so nobody acknowledges
    assert seen == ["once", "always", "always"]


def test_listeners_of_one_socket_get_no_socket_argument(serve: Serve) -> None:
    io = Server()
    seen: list[Any] = []

    @io.on("connection")
    def connection(socket: Socket) -> None:
        socket.on("mine", lambda *args: seen.append(args))
        socket.once("mine", lambda *args: "answer")
        socket.on("disconnect", seen.append)

    client = serve(io).client()
    client.connect()
    assert client.call("mine", 1, 2) == ["answer"]
    assert client.call("mine") == []
    client.close()
    eventually(lambda: len(seen) == 3, "the disconnect listener")
    assert seen == [(1, 2), (), "transport close"]


def test_event_registers_by_function_name_and_message_by_send(serve: Serve) -> None:
    io = Server()

    @io.event
    def greet(socket: Socket, name: str) -> None:
        socket.send("hello", name)

    client = serve(io).client()
    client.connect()
    client.emit("greet", "you")
    assert client.expect("message") == ["hello", "you"]


def test_a_client_cannot_call_the_handlers_of_its_life_cycle(serve: Serve) -> None:
    """ "connection" is not reserved on the wire, yet in the reference no client can trigger io.on("connection")."""
    io = Server()
    seen: list[str] = []
    io.on("connection", lambda socket: seen.append("connection"))
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    eventually(lambda: seen, "the connection handler")
    client.emit("connection", {"admin": True})
    assert client.call("echo", 1) == [1]
    assert seen == ["connection"]


@pytest.mark.parametrize("name", ["connect", "disconnect", "disconnecting", "connect_error", "newListener"])
def test_a_reserved_event_from_a_client_closes_the_connection(serve: Serve, name: str) -> None:
    io = Server()
    seen: list[str] = []
    io.on("disconnect", lambda socket, reason: seen.append(reason))
    client = serve(io).client()
    client.connect()
    client.wire.send(f'42["{name}"]')
    client.wait_closed()
    eventually(lambda: seen, "disconnect")
    assert seen == ["forced close"]


def test_an_event_whose_name_is_a_number_finds_no_handler_and_does_no_harm(serve: Serve) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    client.wire.send("42[5,1]")
    assert client.call("echo", 1) == [1]


def test_an_unknown_event_with_an_acknowledgement_does_not_end_the_connection(serve: Serve) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    client.emit("nobody listens")
    assert client.call("echo", 1) == [1]


def test_the_handshake_tells_how_the_client_came(serve: Serve) -> None:
    io = Server()
    seen: list[Socket] = []
    io.on("connection", seen.append)
    process = serve(io)
    client = process.client(
        headers={"X-Test": "yes", "Origin": "https://127.0.0.1"}, extra={"wsgi.url_scheme": "https"}
    )
    client.connect(auth={"token": "abc"})
    handshake = eventually(lambda: seen, "connection")[0].handshake
    assert handshake.auth == {"token": "abc"}
    assert handshake.headers["x-test"] == "yes"
    assert handshake.query["transport"] == "websocket"
    assert re.fullmatch(r"/socket\.io/\?EIO=4&transport=websocket", handshake.url)
    assert handshake.address == "127.0.0.1"
    assert handshake.xdomain
    assert not any(key.startswith("gunicorn.") for key in handshake.environ)
    assert handshake.secure


def test_a_client_that_sends_garbage_is_told_nothing_and_closed(serve: Serve) -> None:
    io = Server()
    client = serve(io).client()
    client.connect()
    client.wire.send("4nonsense")
    assert client.wait_closed() in (1000, 1005)


def test_closed_is_raised_for_a_client_that_was_never_let_in(serve: Serve) -> None:
    """An event for a namespace that was not joined ends the connection."""
    io = Server()
    client = serve(io).client()
    client.emit("x")
    with pytest.raises(Closed):
        client.receive()
