"""Back-pressure: a client that sends faster than its handlers work is held back, and loses nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import Server, Socket


def handle_slowly(io: Server, *, concurrent: bool = False) -> tuple[threading.Event, list[int]]:
    """The event ``n`` waits for the first; the second are the numbers that have been handled."""
    go = threading.Event()
    seen: list[int] = []

    @io.on("n", concurrent=concurrent)
    def handler(socket: Socket, number: int, padding: str) -> None:
        go.wait(DEADLINE)
        seen.append(number)

    return go, seen


def test_a_flood_is_held_back_while_a_handler_is_slow(serve: Serve) -> None:
    """Back-pressure: the client's writes stall, other clients are served, and nothing is lost in the end."""
    io = Server(max_mailbox=100_000)
    go, seen = handle_slowly(io)
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    client = process.client(buffers=20_000)
    client.connect()
    total = 300

    def flood() -> None:
        for number in range(total):
            client.emit("n", number, "x" * 10_000)

    flooding = Background(flood)
    other = process.client()
    other.connect()
    assert other.call("echo", 1) == [1]
    eventually(lambda: _stalled(process.engine), "a paused session")
    assert not flooding.done
    go.set()
    flooding.result()
    eventually(lambda: len(seen) == total, "all events")
    assert seen == list(range(total))


def test_a_flood_of_concurrent_events_is_held_back_as_well(serve: Serve) -> None:
    """A client may not fill the memory by events whose handlers are concurrent and do not keep up."""
    io = Server(max_mailbox=100_000, max_workers=2)
    go, seen = handle_slowly(io, concurrent=True)
    process = serve(io)
    client = process.client(buffers=20_000)
    client.connect()
    total = 500

    def flood() -> None:
        for number in range(total):
            client.emit("n", number, "x" * 10_000)

    flooding = Background(flood)
    _expect_held_back(flooding, go)
    eventually(lambda: len(seen) == total, "all events")


def test_a_flood_that_came_with_the_handshake_is_held_back(serve: Serve) -> None:
    """Events in the bytes that the server had read already fill the mailbox: reading must not begin after them."""
    io = Server(max_mailbox=5_000)
    go, seen = handle_slowly(io)
    process = serve(io)
    from tests.support.inprocess import frame_of

    class Unreader:
        """As gunicorn keeps what it has read too much."""

        def __init__(self, data: bytes) -> None:
            import io as io_module

            self.unreader = self
            self.reader = self
            self.buf = io_module.BytesIO(data)

    behind = b"".join([frame_of("40"), *[frame_of(f'42["n",{n},"{"x" * 1000}"]') for n in range(10)]])
    wire = process.websocket(buffers=20_000, extra={"wsgi.input": Unreader(behind)})

    def flood() -> None:
        for number in range(10, 300):
            wire.send(f'42["n",{number},"{"x" * 10_000}"]')

    flooding = Background(flood)
    _expect_held_back(flooding, go)
    eventually(lambda: len(seen) == 300, "all events")
    assert seen == list(range(300))


def _expect_held_back(flooding: Background, go: threading.Event) -> None:
    """It does not come to its end before the handlers may go on."""
    try:
        with pytest.raises(TimeoutError):
            flooding.result(0.7)
    finally:
        go.set()
    flooding.result()


def _stalled(engine: Any) -> bool:
    return any(session._pauses > 0 for session in engine.sessions.values())
