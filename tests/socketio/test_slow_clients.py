"""Whatever is sent to one client alone waits for it, however it is addressed; what is sent to many does not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.inprocess import AT_ONCE, Client, eventually, in_process
from wsgi_sio import Server, Socket

PIECE = "x" * 100_000
PIECES = 60
LIMIT = 1_000_000

WAYS = {
    "socket.emit": lambda io, socket, number: socket.emit("piece", number, PIECE),
    "socket.compress": lambda io, socket, number: socket.compress(False).emit("piece", number, PIECE),
    "to its id": lambda io, socket, number: io.to(socket.id).emit("piece", number, PIECE),
    "to its id, from another": lambda io, socket, number: io.of("/").in_(socket.id).emit("piece", number, PIECE),
    "with a callback": lambda io, socket, number: socket.emit("piece", number, PIECE, callback=print),
}


@pytest.mark.parametrize("recovery", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_handler_that_sends_more_than_the_bound(transport: str, way: str, recovery: bool) -> None:
    io = Server(max_outbox=LIMIT, connection_state_recovery=recovery or None)
    sent: list[int] = []

    @io.on("download")
    def download(socket: Socket) -> None:
        for number in range(PIECES):
            WAYS[way](io, socket, number)
            sent.append(number)

    with in_process(io) as process:
        client = slow_client(process, transport)
        client.emit("download")
        for number in range(PIECES):
            got = client.expect("piece")
            assert got[:2] == [number, PIECE]
            if number == 0:
                assert len(sent) < PIECES  # it is held back
        eventually(lambda: len(sent) == PIECES, "the end of the handler")


def slow_client(process: Any, transport: str) -> Client:
    client: Client = process.client(transport, tcp=True, buffers=20_000)
    client.connect()
    return client


def test_a_background_task_is_held_back_too() -> None:
    io = Server(max_outbox=LIMIT)
    sent: list[int] = []

    def produce(socket: Socket) -> None:
        for number in range(PIECES):
            socket.emit("piece", number, PIECE)
            sent.append(number)

    io.on("download", lambda socket: io.start_background_task(produce, socket) and None)
    with in_process(io) as process:
        client = slow_client(process, "websocket")
        client.emit("download")
        for number in range(PIECES):
            assert client.expect("piece")[0] == number
        eventually(lambda: len(sent) == PIECES, "the end of the task")


def test_acknowledgements_wait_as_events_do() -> None:
    io = Server(max_outbox=LIMIT)
    io.on("ask", lambda socket, number: [number, PIECE])
    with in_process(io) as process:
        client = slow_client(process, "websocket")
        for number in range(PIECES):
            client.emit("ask", number, ack=number)
        for number in range(PIECES):
            packet = client.receive()
            assert (packet.id, packet.data[0][0]) == (number, number)


def test_a_room_is_not_held_up_by_its_slowest_member() -> None:
    io = Server(max_outbox=LIMIT)
    io.on("connect", lambda socket: socket.join("room"))
    with in_process(io) as process:
        slow_client(process, "websocket")
        quick = process.client()
        quick.connect()
        began = time.monotonic()
        for number in range(PIECES):
            io.to("room").emit("piece", number, PIECE)
            assert quick.expect("piece")[0] == number
        assert time.monotonic() - began < 10
        eventually(lambda: len(io.sockets.sockets) == 1, "the end of the slow one")


def test_a_volatile_event_does_not_wait() -> None:
    io = Server(max_outbox=LIMIT)
    took: list[float] = []

    @io.on("download")
    def download(socket: Socket) -> None:
        while not socket.conn.session._write_buffer.crowded:
            socket.emit("piece", 0, PIECE)
        began = time.monotonic()
        assert not socket.volatile.emit("piece", 1, PIECE)
        took.append(time.monotonic() - began)

    with in_process(io) as process:
        slow_client(process, "websocket").emit("download")
        eventually(lambda: took, "the end of the handler")
        assert took[0] < AT_ONCE
