"""Moving, finding and disconnecting many sockets at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.conftest import Serve, join, sync
from tests.support.inprocess import Client, eventually
from wsgi_sio import Server, Socket
from wsgi_sio.adapters import MemoryAdapter
from wsgi_sio.socketio.broadcast_options import BroadcastOptions
from wsgi_sio.socketio.packet import DISCONNECT


class House:
    """Three clients: the first in room1 and room2, the second in room1, the third in room2."""

    def __init__(self, serve: Serve, transport: str) -> None:
        self.io = Server()
        process = serve(self.io)
        self.clients: list[Client] = []
        self.sockets: list[Socket] = []
        for rooms in (["room1", "room2"], ["room1"], ["room2"]):
            client, socket = join(process, self.io, transport=transport)
            socket.join(rooms)
            self.clients.append(client)
            self.sockets.append(socket)

    def rooms(self) -> list[set[str]]:
        """Those that each is in, without its own."""
        return [socket.rooms - {socket.id} for socket in self.sockets]


@pytest.fixture(params=["websocket", "polling"])
def house(serve: Serve, request: pytest.FixtureRequest) -> House:
    return House(serve, request.param)


BOTH, ONE, TWO = {"room1", "room2"}, {"room1"}, {"room2"}


@pytest.mark.parametrize(
    ("act", "after"),
    [
        (lambda io, s: io.sockets_join("room3"), [BOTH | {"room3"}, ONE | {"room3"}, TWO | {"room3"}]),
        (lambda io, s: io.in_("room1").sockets_join("room3"), [BOTH | {"room3"}, ONE | {"room3"}, TWO]),
        (lambda io, s: io.in_(s[1].id).sockets_join(["a", "b"]), [BOTH, ONE | {"a", "b"}, TWO]),
        (lambda io, s: io.sockets_leave("room1"), [TWO, set(), TWO]),
        (lambda io, s: io.in_("room2").sockets_leave("room1"), [TWO, ONE, TWO]),
        (lambda io, s: io.except_("room2").sockets_leave(["room1", "room2"]), [BOTH, set(), TWO]),
        (lambda io, s: s[0].broadcast.sockets_join("room2"), [BOTH, BOTH, TWO]),
    ],
    ids=["all join", "a room joins", "one joins", "all leave", "a room leaves", "others leave", "the rest joins"],
)
def test_joining_and_leaving_by_description(house: House, act: Any, after: list[set[str]]) -> None:
    act(house.io, house.sockets)
    assert house.rooms() == after
    house.io.to("room3").emit("hit")
    hit = [bool(sync(client, socket)) for client, socket in zip(house.clients, house.sockets, strict=True)]
    assert hit == ["room3" in rooms for rooms in after]


def test_finding_them(house: House) -> None:
    """What is found here are the sockets themselves, with all that they know."""

    def found(source: Any) -> list[int]:
        return sorted(house.sockets.index(socket) for socket in source.fetch_sockets())

    assert found(house.io) == found(house.io.local) == [0, 1, 2]
    assert found(house.io.in_("room1")) == [0, 1]
    assert found(house.io.in_(house.sockets[2].id)) == [2]
    assert found(house.sockets[0].broadcast) == [1, 2]


@pytest.mark.parametrize("close", [True, False], ids=["connections too", "the namespace only"])
@pytest.mark.parametrize(("room", "leaving"), [(None, [0, 1, 2]), ("room2", [0, 2])], ids=["all", "a room"])
def test_disconnecting_them(house: House, close: bool, room: str | None, leaving: list[int]) -> None:
    """What was sent before is still told; who is not meant stays."""
    house.io.emit("bye")
    (house.io if room is None else house.io.in_(room)).disconnect_sockets(close=close)
    for number, client in enumerate(house.clients):
        client.expect("bye")
        if number in leaving:
            assert client.receive().type == DISCONNECT
            if close:
                client.wait_closed()
        else:
            assert sync(client, house.sockets[number]) == []
    eventually(lambda: len(house.io.sockets.sockets) == 3 - len(leaving), "the leaving")


class Elsewhere(MemoryAdapter):
    """Knows a socket that is not of this server."""

    stranger = object()

    def fetch_sockets(self, options: BroadcastOptions) -> list[Any]:
        return [*super().fetch_sockets(options), self.stranger] if "room1" in options.rooms else [self.stranger]


def test_another_adapter_may_find_others(serve: Serve) -> None:
    io = Server(adapter=Elsewhere)
    _, socket = join(serve(io), io)
    socket.join("room1")
    assert isinstance(io.sockets.adapter, Elsewhere)
    assert io.fetch_sockets() == io.of("/chat").fetch_sockets() == [Elsewhere.stranger]
    assert io.in_("room1").fetch_sockets() == [socket, Elsewhere.stranger]
