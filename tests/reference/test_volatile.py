"""Volatile events: who can take one now, and what happens to the others.

A client is able to take an event while nothing else is on its way: over polling while a GET waits, over WebSocket once
the kernel has taken what was sent before.  The reference tells so only a tick later, and drops what follows another
event at once; here a small event is gone when ``emit`` returns.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.conftest import Serve, join, settle, sync
from tests.support.inprocess import Polling
from wsgi_sio import Server, Socket

# More than the kernel takes for a client with small buffers that does not read.
LONG = b"x" * 200_000
SMALL_BUFFERS = 10_000

SENDERS = pytest.mark.parametrize("sender", ["socket", "namespace", "server"])
PAYLOADS = pytest.mark.parametrize("payload", [["text"], [b"\x01\x02\x03", {"b": b"\x04"}]], ids=["text", "binary"])


class Line:
    """A client and its socket, over one transport."""

    def __init__(self, serve: Serve, transport: str, nsp: str) -> None:
        io = Server()
        options = {"buffers": SMALL_BUFFERS} if transport == "websocket" else {}
        self.client, self.socket = join(serve(io), io, nsp, transport, **options)
        self.make_ready()

    def make_ready(self) -> None:
        """Let the client be able to take one event."""
        wire = self.client.wire
        if isinstance(wire, Polling):
            wire._pending = wire.start_get()
        settle(self.socket)

    def got(self) -> list[str]:
        """The names of the events since the last call."""
        return [event for event, *_ in sync(self.client, self.socket)]


@pytest.fixture(params=["polling", "websocket"])
def line(serve: Serve, request: pytest.FixtureRequest, sender: str) -> Line:
    return Line(serve, request.param, "/chat" if sender == "namespace" else "/")


@pytest.fixture
def emitter(line: Line, sender: str) -> Any:
    """The client's socket, its namespace or the server: each reaches it, and it alone."""
    namespace = line.socket.nsp
    return {"socket": line.socket, "namespace": namespace, "server": namespace.server}[sender]


@SENDERS
@PAYLOADS
def test_a_volatile_event_reaches_a_client_that_can_take_it(line: Line, emitter: Any, payload: list[Any]) -> None:
    emitter.volatile.emit("volatile", *payload)
    assert sync(line.client, line.socket) == [["volatile", *payload]]


@SENDERS
@PAYLOADS
def test_a_volatile_event_behind_another_is_dropped(line: Line, emitter: Any, payload: list[Any]) -> None:
    emitter.emit("regular", LONG)
    emitter.volatile.emit("volatile", *payload)
    assert line.got() == ["regular"]


@SENDERS
@PAYLOADS
def test_of_two_volatile_events_in_a_row_the_second_is_dropped(line: Line, emitter: Any, payload: list[Any]) -> None:
    emitter.volatile.emit("first", LONG, *payload)
    emitter.volatile.emit("second", *payload)
    assert line.got() == ["first"]


@SENDERS
def test_regular_events_around_a_dropped_volatile_one_arrive(line: Line, emitter: Any) -> None:
    emitter.emit("before", LONG)
    emitter.volatile.emit("volatile")
    emitter.emit("after")
    assert line.got() == ["before", "after"]


@SENDERS
def test_after_a_drop_the_next_volatile_event_arrives(line: Line, emitter: Any) -> None:
    emitter.emit("regular", LONG)
    emitter.volatile.emit("dropped")
    assert line.got() == ["regular"]
    line.make_ready()
    emitter.volatile.emit("taken")
    assert line.got() == ["taken"]


def test_a_volatile_event_in_a_connection_handler_over_polling_is_dropped(serve: Serve) -> None:
    """The answer to CONNECT and a regular event wait for the client's GET already."""
    io = Server()

    @io.on("connection")
    def connection(socket: Socket) -> None:
        socket.emit("regular")
        socket.volatile.emit("volatile")

    client, socket = join(serve(io), io, transport="polling")
    assert sync(client, socket) == [["regular"]]


def test_over_websocket_a_small_event_holds_up_no_volatile_one(serve: Serve) -> None:
    """Here we differ from the reference: what the kernel has taken is on its way, not in the way."""
    io = Server()
    client, socket = join(serve(io), io)
    settle(socket)
    assert socket.emit("regular") and socket.volatile.emit("volatile", b"\x01") and socket.volatile.emit("another")
    assert [event for event, *_ in sync(client, socket)] == ["regular", "volatile", "another"]
