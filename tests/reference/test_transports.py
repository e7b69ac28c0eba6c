"""Broadcasts to clients of every transport at once: polling, WebSocket, and from one to the other.

The reference asserts these for its uWebSockets engine; they must hold for any.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.reference.conftest import Serve, join, settle, sync
from tests.support.inprocess import Client, InProcess, Polling, eventually
from wsgi_sio import Server, Socket
from wsgi_sio.socketio.packet import DISCONNECT

UPGRADED, WEBSOCKET, POLLING, CUSTOM = range(4)
PAYLOADS = pytest.mark.parametrize("payload", [[], [b"\x01\x02\x03"]], ids=["text", "binary"])


def upgrade(process: InProcess, client: Client) -> None:
    """Take a client from polling to WebSocket."""
    polling = client.wire
    assert isinstance(polling, Polling)
    session = process.engine.sessions[polling.sid]
    websocket = process.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    websocket.send("5")
    eventually(lambda: session.transport.name == "websocket", "the switch")
    client.wire = websocket


class Mixture:
    """In ``/`` one client that has upgraded, one over WebSocket, one over polling; in ``/custom`` another."""

    def __init__(self, serve: Serve, middleware: Any = None) -> None:
        self.io = Server()
        if middleware is not None:
            self.io.use(middleware)
        self.process = serve(self.io)
        self.clients: list[Client] = []
        self.sockets: list[Socket] = []
        for nsp, transport in (("/", "polling"), ("/", "websocket"), ("/", "polling"), ("/custom", "websocket")):
            client, socket = join(self.process, self.io, nsp, transport)
            self.clients.append(client)
            self.sockets.append(socket)
        upgrade(self.process, self.clients[UPGRADED])

    def reached(self) -> list[int]:
        """Who has got one event since the last call; the others have got nothing."""
        got = [sync(client, socket) for client, socket in zip(self.clients, self.sockets, strict=True)]
        assert all(len(events) <= 1 for events in got)
        return [number for number, events in enumerate(got) if events]


@pytest.fixture
def mixture(serve: Serve) -> Mixture:
    return Mixture(serve)


@PAYLOADS
def test_a_broadcast_reaches_clients_of_all_transports(mixture: Mixture, payload: list[bytes]) -> None:
    mixture.io.emit("hello", *payload)
    assert mixture.reached() == [UPGRADED, WEBSOCKET, POLLING]
    mixture.io.of("/custom").emit("hello", *payload)
    assert mixture.reached() == [CUSTOM]


@PAYLOADS
def test_a_volatile_broadcast_reaches_all_that_can_take_it(mixture: Mixture, payload: list[bytes]) -> None:
    wire = mixture.clients[POLLING].wire
    assert isinstance(wire, Polling)
    wire._pending = wire.start_get()
    settle(*mixture.sockets)
    mixture.io.volatile.emit("hello", *payload)
    assert mixture.reached() == [UPGRADED, WEBSOCKET, POLLING]
    settle(*mixture.sockets[:POLLING])
    mixture.io.volatile.emit("hello", *payload)  # no GET waits
    assert mixture.reached() == [UPGRADED, WEBSOCKET]


@PAYLOADS
def test_a_broadcast_to_rooms_and_to_all_but_a_room(mixture: Mixture, payload: list[bytes]) -> None:
    io = mixture.io
    mixture.sockets[WEBSOCKET].join(["both", "room1"])
    mixture.sockets[POLLING].join(["both", "room2"])
    for operator, reached in (
        (io.to("both"), [WEBSOCKET, POLLING]),
        (io.to(["room1", "room2", "both"]), [WEBSOCKET, POLLING]),
        (io.except_("room2"), [UPGRADED, WEBSOCKET]),
    ):
        operator.emit("hello", *payload)
        assert mixture.reached() == reached


def test_who_has_left_a_room_gets_nothing_more(mixture: Mixture) -> None:
    for number in (UPGRADED, WEBSOCKET, POLLING):
        mixture.sockets[number].join("room1")
    mixture.sockets[WEBSOCKET].leave("room1")
    mixture.io.to("room1").emit("hello")
    assert mixture.reached() == [UPGRADED, POLLING]


def test_a_room_joined_in_a_middleware_is_kept_over_the_upgrade(serve: Serve) -> None:
    mixture = Mixture(serve, lambda socket: socket.join("test"))
    mixture.io.to("test").emit("hello")
    assert mixture.reached() == [UPGRADED, WEBSOCKET, POLLING]


def test_a_broadcast_of_a_parent_reaches_its_children_over_each_transport(serve: Serve) -> None:
    io = Server()
    parent = io.of(re.compile(r"^/dynamic-\d+$"))
    process = serve(io)
    clients = [process.client(transport) for transport in ("websocket", "polling")]
    for client in clients:
        client.connect("/dynamic-101")
    parent.emit("hello", b"\x01")
    for client in clients:
        assert client.expect("hello", "/dynamic-101") == [b"\x01"]


def test_a_client_that_is_thrown_out_before_its_upgrade_is_told(serve: Serve) -> None:
    """And the WebSocket it has meanwhile begun to open does no harm."""
    io = Server()
    process = serve(io)
    client, socket = join(process, io, transport="polling")
    assert isinstance(client.wire, Polling)
    websocket = process.websocket(client.wire.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    socket.disconnect()
    assert client.receive().type == DISCONNECT
    websocket.send("5")
    client.wire = websocket
    client.connect()
