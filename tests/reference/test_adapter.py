"""The adapter of a single process, asked directly: who is in which room, and what its listeners are told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.conftest import Serve, join, sync
from wsgi_sio import Server
from wsgi_sio.adapters import Adapter
from wsgi_sio.socketio.broadcast_options import BroadcastOptions


@pytest.fixture
def adapter() -> Adapter:
    """Of a namespace without clients: s1 is in r1 and r2, s2 in r2 and r3, s3 in r3."""
    adapter = Server().sockets.adapter
    for sid, rooms in (("s1", ["r1", "r2"]), ("s2", ["r2", "r3"]), ("s3", ["r3"])):
        adapter.open(sid)
        adapter.add_all(sid, frozenset(rooms))
    return adapter


def told(adapter: Adapter, event: str) -> list[Any]:
    """What the listeners of an event are told from now on."""
    seen: list[Any] = []
    adapter.on(event, lambda *args: seen.append(args))
    return seen


def test_sockets_are_added_and_removed(adapter: Adapter) -> None:
    def sizes() -> list[int]:
        return [adapter.room_size(room) for room in ("r1", "r2", "r3", "r4")]

    assert sizes() == [1, 2, 2, 0] and adapter.sockets(frozenset()) == {"s1", "s2", "s3"}
    adapter.del_("s1", "r1")
    assert sizes() == [0, 2, 2, 0]
    adapter.del_all("s2")
    assert sizes() == [0, 1, 1, 0] and adapter.sockets(frozenset()) == {"s1", "s3"}


def test_sockets_and_rooms_are_listed(adapter: Adapter) -> None:
    assert adapter.sockets(frozenset(["r2"])) == {"s1", "s2"}
    assert adapter.sockets(frozenset(["r1", "r3"])) == {"s1", "s2", "s3"}
    assert adapter.sockets(frozenset(["r4"])) == set()
    assert adapter.socket_rooms("s2") == {"r2", "r3"}
    assert adapter.socket_rooms("s4") == set()


def test_broadcasts_and_searches_leave_out_rooms(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    members = [join(process, io) for _ in range(3)]
    for (_, socket), rooms in zip(members, (["r1", "r2"], ["r2"], ["r1"]), strict=True):
        socket.join(rooms)
    adapter = io.sockets.adapter
    cases = [([], ["r1"], [1]), (["r1"], ["r2"], [2]), ([], [], [0, 1, 2]), (["r2"], ["r1", "r2"], [])]
    for rooms, except_, reached in cases:
        options = BroadcastOptions(rooms=frozenset(rooms), except_=frozenset(except_))
        found = adapter.fetch_sockets(options)
        assert sorted(number for number, (_, socket) in enumerate(members) if socket in found) == reached
        (io.to(rooms) if rooms else io).except_(except_).emit("hit", b"\x01")  # here to([]) is nobody
        got = [sync(client, socket) for client, socket in members]
        assert [number for number, events in enumerate(got) if events] == reached


def test_a_room_is_created_once_and_joined_by_each(adapter: Adapter) -> None:
    created, joined = told(adapter, "create-room"), told(adapter, "join-room")
    adapter.add_all("s1", frozenset(["new"]))
    adapter.add_all("s2", frozenset(["new"]))
    adapter.add_all("s1", frozenset(["new", "r1"]))  # where it is already
    assert created == [("new",)]
    assert joined == [("new", "s1"), ("new", "s2")]


def test_a_room_is_left_by_each_and_deleted_once(adapter: Adapter) -> None:
    left, deleted = told(adapter, "leave-room"), told(adapter, "delete-room")
    adapter.del_("s1", "r1")
    adapter.del_("s1", "r1")
    adapter.del_all("s2")
    assert left[0] == ("r1", "s1") and sorted(left[1:]) == [("r2", "s2"), ("r3", "s2")]
    assert deleted == [("r1",)]
    adapter.del_all("s1")
    assert deleted == [("r1",), ("r2",)]


def test_a_listener_may_remove_what_is_being_removed(adapter: Adapter, caplog: pytest.LogCaptureFixture) -> None:
    left = told(adapter, "leave-room")
    adapter.on("leave-room", lambda room, sid: adapter.del_(sid, room))
    adapter.on("leave-room", lambda room, sid: adapter.del_all(sid))
    adapter.del_("s3", "r3")
    assert left == [("r3", "s3")] and not caplog.records
