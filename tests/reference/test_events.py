"""What travels, in both directions: events, their arguments and their acknowledgements."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve, join, sync
from tests.support.inprocess import DEADLINE, Background, event_packet, eventually
from wsgi_sio import LocalProtocolError, Server, Socket
from wsgi_sio.socketio.packet import DISCONNECT, RESERVED_EVENTS, Packet

PICTURE = random.Random(1).randbytes(40_000)
VALUES = {
    "numbers and lists": [1, "2", [3], None, True, 1.5],
    "text of several bytes a character": ["utf8 — €😀 text"],
    "nothing": [],
    "null": [None],
    "bytes": [PICTURE],
    "bytes among others": [1, PICTURE, "3", [4], b"asdf", [PICTURE, "swag", {"b": b"\x00\xff"}]],
}


@TRANSPORTS
@pytest.mark.parametrize("values", VALUES.values(), ids=list(VALUES))
def test_values_arrive_as_they_were_emitted(serve: Serve, transport: str, values: list[Any]) -> None:
    """Three times each way, so that nothing of one event is left to the next."""
    io = Server()
    seen: list[Any] = []
    io.on("values", lambda socket, *args: seen.append(list(args)))
    client, socket = join(serve(io), io, transport=transport)
    for _ in range(3):
        socket.emit("values", *values)
        client.emit("values", *values)
    assert sync(client, socket) == [["values", *values]] * 3
    assert eventually(lambda: len(seen) == 3) and seen == [values] * 3


@TRANSPORTS
@pytest.mark.parametrize("value", ["text", 1337, None])
def test_messages_are_events_of_that_name(serve: Serve, transport: str, value: Any) -> None:
    """What the reference's ``send`` makes, on either side."""
    io = Server()
    seen: list[Any] = []
    client, socket = join(serve(io), io, transport=transport)
    socket.on("message", seen.append)
    client.emit("message", value)
    eventually(lambda: seen, "the message")
    socket.send(value)
    io.send(value)
    io.of("/").to(socket.id).send(value)
    assert seen == [value] and sync(client, socket) == [["message", value]] * 3


@TRANSPORTS
@pytest.mark.parametrize("args", [(), (1, 2), (b"\x01\x02\x03",)], ids=["none", "two", "bytes"])
@pytest.mark.parametrize("answer", [(), (1, 2), (b"\x04",)], ids=["no answer", "two answers", "bytes answered"])
def test_acknowledgements_carry_arguments_both_ways(
    serve: Serve, transport: str, args: tuple[Any, ...], answer: tuple[Any, ...]
) -> None:
    io = Server()
    seen: list[Any] = []
    client, socket = join(serve(io), io, transport=transport)

    def woot(*received: Any) -> tuple[Any, ...]:
        seen.append(received)
        return answer

    socket.on("woot", woot)
    assert client.call("woot", *args) == list(answer) and seen == [args]
    answered: list[Any] = []
    socket.emit("hi", *args, callback=lambda *got: answered.append(got))
    packet = client.receive()
    assert packet.data == ["hi", *args]
    client.answer(packet, *answer)
    eventually(lambda: answered, "the callback")
    assert answered == [answer]


@TRANSPORTS
def test_events_of_one_namespace_come_in_order_however_far_apart(serve: Serve, transport: str) -> None:
    """The first two in one write with the CONNECT, the third once the first has been handled."""
    io = Server()
    seen: list[str] = []
    io.of("/chat").on("connection", lambda socket: socket.on("hi", seen.append))
    client = serve(io).client(transport)
    client.send(Packet(0, "/chat", None), event_packet("hi", "a", nsp="/chat"), event_packet("hi", "b", nsp="/chat"))
    eventually(lambda: seen, "the first")
    client.emit("hi", "c", nsp="/chat")
    eventually(lambda: len(seen) == 3, "the third")
    assert seen == ["a", "b", "c"]


@TRANSPORTS
@pytest.mark.parametrize("kind", ["JSON", "binary"])
def test_very_large_events_go_to_and_fro(serve: Serve, transport: str, kind: str) -> None:
    """From the server to the client and back, three times."""
    io = Server(max_http_buffer_size=20_000_000)
    entry = {"name": "é" * 20, "tags": ["a", 1, None, True]}
    value = [entry] * 20_000 if kind == "JSON" else random.Random(2).randbytes(3_000_000)
    client, socket = join(serve(io), io, transport=transport)
    socket.on("big", lambda value: bool(socket.emit("big", value)) and None)
    socket.emit("big", value)
    for turn in range(3):
        assert client.expect("big") == [value]
        if turn < 2:
            client.emit("big", value)


@pytest.mark.parametrize("event", sorted(RESERVED_EVENTS))
def test_reserved_names_cannot_be_emitted_by_anybody(serve: Serve, event: str) -> None:
    io = Server()
    client, socket = join(serve(io), io)
    operator = io.to(socket.id)
    emitters = (socket, socket.volatile, socket.timeout(1), io, io.of("/chat"), operator, operator.timeout(1))
    for emitter in emitters:
        with pytest.raises(LocalProtocolError, match=f"'{event}' is a reserved event name"):
            emitter.emit(event)
    for emitter in (socket, operator.timeout(1)):
        with pytest.raises(LocalProtocolError, match=f"'{event}' is a reserved event name"):
            emitter.emit_with_ack(event)
    assert sync(client, socket) == []


@TRANSPORTS
def test_a_time_out_of_zero_is_over_before_any_answer(serve: Serve, transport: str) -> None:
    io = Server()
    io.on("sync", lambda socket: None)
    client, socket = join(serve(io), io, transport=transport)
    outcome: list[Any] = []
    socket.timeout(0).emit("echo", 42, callback=lambda error, *args: outcome.append((error, args)))
    packet = client.receive()
    eventually(lambda: outcome, "the time-out")
    client.answer(packet, 42)
    client.call("sync")
    ((error, args),) = outcome
    assert isinstance(error, TimeoutError) and args == ()


@TRANSPORTS
def test_what_a_client_sends_before_it_leaves_is_handled_and_nothing_after(serve: Serve, transport: str) -> None:
    """In one write: an event, DISCONNECT, and an event that has no place any more."""
    io = Server()
    seen: list[Any] = []
    gone = threading.Event()
    client, socket = join(serve(io), io, transport=transport)
    socket.on("test", seen.append)
    socket.on("disconnect", lambda reason: gone.set())
    leaving = [event_packet("test", b"before"), Packet(DISCONNECT, "/"), event_packet("test", b"after")]
    sending = Background(client.send, *leaving)
    assert gone.wait(DEADLINE)
    sending.result()
    client.wait_closed()
    assert seen == [b"before"]


@TRANSPORTS
def test_a_client_that_comes_back_is_told_once_of_everything(serve: Serve, transport: str) -> None:
    """Nothing of its first connection is left that could answer or be answered a second time."""
    io = Server()
    seen: list[str] = []

    @io.on("connection")
    def connection(socket: Socket) -> None:
        seen.append(socket.id)
        socket.on("echo", lambda value: value)
        socket.emit("hello")

    process = serve(io)
    ids = []
    for _ in range(3):
        client = process.client(transport)
        ids.append(client.connect())
        client.expect("hello")
        client.close()
        eventually(lambda: not io.sockets.sockets, "the leaving")
    client = process.client(transport)
    ids.append(client.connect())
    client.expect("hello")
    assert client.call("echo", 1) == [1]
    io.emit("news")
    client.expect("news")
    client.expect_silence(0.03)
    assert seen == ids and len(set(ids)) == 4
