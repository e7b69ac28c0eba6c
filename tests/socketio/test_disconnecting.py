"""Why and how sockets end: the reference's reasons, each handler once, in order, with the rooms they promise."""

# ruff: noqa: B023  (the closures run before the loop goes on)

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.socketio.test_connecting import nothing_left
from tests.support.inprocess import (
    DEADLINE,
    Background,
    Client,
    Closed,
    InProcess,
    at_once,
    control_frame,
    eventually,
)
from wsgi_sio import Server, Socket
from wsgi_sio.engineio.websocket import WebSocketTransport
from wsgi_sio.socketio.packet import CONNECT, DISCONNECT, Packet

Trigger = Callable[[Server, InProcess, Client, Socket], object]

TRIGGERS: dict[str, tuple[Trigger, str]] = {
    "client disconnects": (lambda io, p, c, s: c.send(Packet(DISCONNECT)), "client namespace disconnect"),
    "server disconnects": (lambda io, p, c, s: s.disconnect(), "server namespace disconnect"),
    "server disconnects and closes": (lambda io, p, c, s: s.disconnect(True), "server namespace disconnect"),
    "connection is closed by the server": (lambda io, p, c, s: s.conn.close("forced close"), "forced close"),
    "engine session is closed": (lambda io, p, c, s: bool(s.conn.session.close()), "forced close"),
    "close packet": (lambda io, p, c, s: c.wire.send("1"), "transport close"),
    "undecodable packet": (lambda io, p, c, s: c.wire.send("4nonsense"), "forced close"),
    "second CONNECT": (lambda io, p, c, s: c.send(Packet(CONNECT)), "forced close"),
    "event for another namespace": (lambda io, p, c, s: c.emit("x", nsp="/none"), "forced close"),
    "ping of a client": (lambda io, p, c, s: c.wire.send("2"), "transport error"),
    "io.close": (lambda io, p, c, s: io.close(), "server shutting down"),
    "disconnect_sockets": (lambda io, p, c, s: io.disconnect_sockets(), "server namespace disconnect"),
    "disconnect_sockets and close": (lambda io, p, c, s: io.disconnect_sockets(True), "server namespace disconnect"),
}

WEBSOCKET_TRIGGERS: dict[str, tuple[Trigger, str]] = {
    "close frame": (lambda io, p, c, s: c.wire.send_close(), "transport close"),
    "end of stream": (lambda io, p, c, s: c.wire.half_close(), "transport close"),
    "reset": (lambda io, p, c, s: c.wire.reset(), "transport close"),
    "oversize": (lambda io, p, c, s: c.wire.send("4" + "x" * 2000), "transport error"),
    "broken frame": (lambda io, p, c, s: c.wire.send_raw(b"\xff\xff"), "transport error"),
    "unmasked frame": (lambda io, p, c, s: c.wire.send_raw(b"\x81\x011"), "transport error"),
    "undecodable engine packet": (lambda io, p, c, s: c.wire.send("9"), "parse error"),
    "not UTF-8": (lambda io, p, c, s: c.wire.send_raw(control_frame(1, b"4\xff")), "transport error"),
}

POLLING_TRIGGERS: dict[str, tuple[Trigger, str]] = {
    "two GETs": (lambda io, p, c, s: (c.wire.start_get(), c.wire.get()), "transport error"),
    "undecodable engine packet": (lambda io, p, c, s: c.wire.post("9"), "parse error"),
    "not UTF-8": (lambda io, p, c, s: c.wire.post(b"\xff"), "parse error"),
    "binary payload": (
        lambda io, p, c, s: c.wire.post(b"x", headers={"Content-Type": "application/octet-stream"}),
        "transport error",
    ),
}

CASES = [
    *[("websocket", name, *case) for name, case in (TRIGGERS | WEBSOCKET_TRIGGERS).items()],
    *[("polling", name, *case) for name, case in (TRIGGERS | POLLING_TRIGGERS).items()],
]


@pytest.mark.parametrize(("transport", "name", "trigger", "reason"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_the_reason_of_a_disconnection(serve: Serve, transport: str, name: str, trigger: Trigger, reason: str) -> None:
    """socketio-wire 1B.11. Both handlers run once; the rooms are there in the first and gone in the second."""
    io = Server(max_http_buffer_size=1000)
    seen: list[Any] = []
    io.on("disconnecting", lambda socket, why: seen.append(("disconnecting", why, socket.rooms, socket.connected)))
    io.on("disconnect", lambda socket, why: seen.append(("disconnect", why, socket.rooms, socket.connected)))
    process = serve(io)
    client = process.client(transport, **({"tcp": True} if transport == "websocket" else {}))
    sid = client.connect()
    socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")
    socket.join("room")
    trigger(io, process, client, socket)
    eventually(lambda: len(seen) == 2, "both handlers")
    assert seen == [("disconnecting", reason, {sid, "room"}, False), ("disconnect", reason, set(), False)]
    assert nothing_left(io)
    assert socket.emit("x") is False


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_no_pong_is_a_ping_timeout(serve: Serve, transport: str) -> None:
    io = Server(ping_interval=0.1, ping_timeout=0.1)
    seen: list[str] = []
    io.on("disconnect", lambda socket, reason: seen.append(reason))
    client = serve(io).client(transport)
    client.connect()
    client.wire.answer_pings = False  # type: ignore[union-attr]
    eventually(lambda: seen, "the end", timeout=2)
    assert seen == ["ping timeout"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_client_that_answers_pings_stays(serve: Serve, transport: str) -> None:
    io = Server(ping_interval=0.05, ping_timeout=0.2)
    io.on("echo", lambda socket, value: value)
    client = serve(io).client(transport)
    client.connect()
    client.expect_silence(0.5)
    assert client.call("echo", 1) == [1]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("close", [False, True])
def test_what_was_emitted_before_a_disconnect_arrives_and_then_the_disconnect(
    serve: Serve, transport: str, close: bool
) -> None:
    """From inside a handler, ten times: farewell, DISCONNECT, and with close the end of the connection."""
    io = Server()

    @io.on("bye")
    def bye(socket: Socket) -> None:
        socket.emit("farewell", b"bytes")
        socket.disconnect(close)

    process = serve(io)
    for _ in range(10):
        client = process.client(transport)
        client.connect()
        client.emit("bye")
        assert client.expect("farewell") == [b"bytes"]
        assert client.receive().type == DISCONNECT
        if close:
            with pytest.raises(Closed) as caught:
                client.receive()
            assert caught.value.code in (1000, 1005)
        else:
            client.connect()


def test_one_namespace_ends_and_the_others_stay(serve: Serve) -> None:
    io = Server()
    seen: list[Any] = []
    for name in ("/", "/b"):
        io.of(name).on("echo", lambda socket, value: value)
        io.of(name).on("disconnect", lambda socket, reason: seen.append((socket.nsp.name, reason)))
    client = serve(io).client()
    client.connect()
    client.connect("/b")
    io.of("/b").disconnect_sockets()
    packet = client.receive()
    assert (packet.type, packet.nsp) == (DISCONNECT, "/b")
    assert client.call("echo", 1) == [1]
    eventually(lambda: seen, "the handler")
    assert seen == [("/b", "server namespace disconnect")]
    client.connect("/b")  # it may come back


def test_disconnect_with_close_ends_all_namespaces(serve: Serve) -> None:
    io = Server()
    seen: list[Any] = []
    for name in ("/", "/b", "/c"):
        io.of(name).on("disconnect", lambda socket, reason: seen.append((socket.nsp.name, reason)))
    client = serve(io).client()
    sid = client.connect()
    client.connect("/b")
    client.connect("/c")
    io.sockets.sockets[sid].disconnect(close=True)
    told = {client.receive().nsp for _ in range(3)}
    assert told == {"/", "/b", "/c"}
    client.wait_closed()
    eventually(lambda: len(seen) == 3, "the handlers")
    assert {reason for _, reason in seen} == {"server namespace disconnect"}


def test_twenty_threads_disconnect_one_socket_and_its_handlers_run_once(serve: Serve) -> None:
    io = Server()
    seen: list[str] = []
    io.on("disconnecting", lambda socket, reason: seen.append("disconnecting"))
    io.on("disconnect", lambda socket, reason: seen.append("disconnect"))
    process = serve(io)
    for _ in range(5):
        client = process.client()
        socket = _socket(io, client)
        seen.clear()
        at_once(20, lambda n: socket.disconnect(close=n % 2 == 0) if n % 3 else socket.conn.session.close("x"))
        eventually(lambda: len(seen) >= 2, "the handlers")
        client.wait_closed()
        assert seen == ["disconnecting", "disconnect"]


def _socket(io: Server, client: Client) -> Socket:
    sid = client.connect()
    socket: Socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")
    return socket


def test_the_disconnection_waits_for_the_events_before_it(serve: Serve) -> None:
    io = Server()
    seen: list[Any] = []

    @io.on("n")
    def handler(socket: Socket, number: int) -> None:
        io.sleep(0.002)
        seen.append(number)

    io.on("disconnect", lambda socket, reason: seen.append(reason))
    client = serve(io).client()
    client.connect()
    for number in range(5):
        client.emit("n", number)
    client.send(Packet(DISCONNECT))
    eventually(lambda: seen and seen[-1] == "client namespace disconnect", "the end")
    # Like the reference, events that had not been dispatched when the client left are dropped; none comes after.
    assert seen[:-1] == list(range(len(seen) - 1))


def test_a_failing_disconnect_handler_still_lets_the_socket_go(serve: Serve) -> None:
    io = Server()

    @io.on("disconnecting")
    def disconnecting(socket: Socket, reason: str) -> None:
        raise ValueError("on purpose")

    @io.on("disconnect")
    def disconnect(socket: Socket, reason: str) -> None:
        raise ValueError("on purpose")

    client = serve(io).client()
    _socket(io, client)
    client.close()
    eventually(lambda: nothing_left(io), "the socket to be forgotten")


def test_join_after_the_end_is_a_no_op(serve: Serve) -> None:
    io = Server()
    rooms: list[Any] = []

    @io.on("disconnect")
    def disconnect(socket: Socket) -> None:
        socket.join("late")
        rooms.append(socket.rooms)

    client = serve(io).client()
    socket = _socket(io, client)
    client.close()
    eventually(lambda: rooms, "disconnect")
    socket.join(["later", "latest"])
    socket.leave("later")
    assert rooms == [set()] and socket.rooms == set()
    assert nothing_left(io)


def test_joins_that_race_with_the_end_leave_nothing(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    for _ in range(20):
        client = process.client()
        socket = _socket(io, client)
        at_once(4, lambda n: client.close() if n == 0 else [socket.join(f"{n}-{i}") for i in range(50)])
    eventually(lambda: nothing_left(io), "the rooms to be empty")


def test_nothing_goes_out_to_a_socket_after_its_disconnect_packet(serve: Serve) -> None:
    """Its handlers are busy, so its dismissal waits; yet neither emits nor broadcasts reach the namespace it has left,
    nor the client's next socket there."""
    io = Server()
    busy, go = threading.Event(), threading.Event()

    @io.on("block")
    def block(socket: Socket) -> None:
        socket.join("room")
        busy.set()
        go.wait(DEADLINE)

    client = serve(io).client()
    socket = _socket(io, client)
    client.emit("block")
    assert busy.wait(DEADLINE)
    try:
        socket.disconnect()
        assert client.receive().type == DISCONNECT
        assert socket.emit("direct") is False
        io.emit("to all")
        client.connect()
        io.to("room").emit("to the old socket's room")
        client.expect_silence(0.05)
    finally:
        go.set()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_closing_the_server(serve: Serve, transport: str) -> None:
    """No DISCONNECT is sent, so that clients reconnect; new ones are refused with 503; handlers see the reason."""
    io = Server()
    seen: list[Any] = []
    for name in ("/", "/b"):
        io.of(name).on("disconnect", lambda socket, reason: seen.append((socket.nsp.name, reason)))
    process = serve(io)
    client = process.client(transport)
    client.connect()
    client.connect("/b")
    io.close()
    with pytest.raises(Closed):
        client.receive()
    eventually(lambda: len(seen) == 2, "the handlers")
    assert set(seen) == {("/", "server shutting down"), ("/b", "server shutting down")}
    answer = process.request("GET", transport="polling")
    assert answer.status == 503 and ("Retry-After", "1") in answer.headers
    io.close()  # the second time does nothing


def test_closing_the_server_while_clients_come(serve: Serve) -> None:
    """Whoever is admitted in the very moment of closing is closed as well."""
    io = Server()
    process = serve(io)
    stop = threading.Event()

    def come() -> None:
        while not stop.is_set():
            answer = process.engine.handle(process.environ("GET", transport="polling"))
            if getattr(answer, "status", 0) == 503:
                return
            io.sleep(0)

    coming = [Background(come) for _ in range(4)]
    time.sleep(0.02)
    io.close()
    for call in coming:
        call.result()
    stop.set()
    assert not [session for session in process.engine.sessions.values() if session.open]


def test_a_client_that_does_not_read_can_be_disconnected_for_good(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffers are full, so neither DISCONNECT nor close frame can go out: the connection ends all the same."""
    monkeypatch.setattr(WebSocketTransport, "linger", 0.2)  # 5 seconds otherwise
    io = Server(max_outbox=50_000_000)
    process = serve(io)
    client = process.client(buffers=10_000)
    socket = _socket(io, client)
    for _ in range(20):
        socket.emit("bulk", "x" * 100_000)
    socket.disconnect(close=True)
    transport: Any = socket.conn.session.transport
    eventually(lambda: transport.fileno() == -1, "the server's descriptor to be closed")


def test_a_client_that_was_thrown_out_everywhere_and_does_not_hang_up_is_closed_in_time(serve: Serve) -> None:
    """It may join again within connect_timeout; one that has left by itself may stay."""
    io = Server(connect_timeout=0.3)
    io.of("/b")
    process = serve(io)
    thrown, back, left = process.client(), process.client(), process.client()
    for client in (thrown, back, left):
        sid = client.connect()
        socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")
        if client is left:
            client.send(Packet(DISCONNECT, "/"))
        else:
            socket.disconnect()
            assert client.receive().type == DISCONNECT
    back.connect("/b")
    thrown.wait_closed()
    back.expect_silence(0.4)
    left.connect()
