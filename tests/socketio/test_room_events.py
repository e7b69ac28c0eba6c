"""What an adapter tells its listeners about rooms."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest

from tests.support.inprocess import at_once, eventually, in_process
from wsgi_sio import ConnectRefused, Server
from wsgi_sio.adapters import MemoryAdapter
from wsgi_sio.socketio.adapter import ROOM_EVENTS


def record(adapter: Any) -> list[tuple[str, ...]]:
    """Everything ``adapter`` tells from now on."""
    told: list[tuple[str, ...]] = []
    for event in ROOM_EVENTS:
        adapter.on(event, lambda *args, event=event: told.append((event, *args)))
    return told


@pytest.fixture
def adapter() -> MemoryAdapter:
    adapter = MemoryAdapter(Server().of("/"))
    for sid in "ab":
        adapter.open(sid)
    return adapter


def test_a_room_is_created_joined_left_and_deleted_in_this_order(adapter: MemoryAdapter) -> None:
    told = record(adapter)
    adapter.add_all("a", frozenset(["x"]))
    adapter.add_all("b", frozenset(["x"]))
    adapter.del_("a", "x")
    adapter.del_("b", "x")
    assert told == [
        ("create-room", "x"), ("join-room", "x", "a"), ("join-room", "x", "b"),
        ("leave-room", "x", "a"), ("leave-room", "x", "b"), ("delete-room", "x"),
    ]  # fmt: skip


def test_what_changes_nothing_is_not_told(adapter: MemoryAdapter) -> None:
    adapter.add_all("a", frozenset(["x"]))
    told = record(adapter)
    adapter.add_all("a", frozenset(["x"]))
    adapter.add_all("stranger", frozenset(["x"]))
    adapter.del_("a", "elsewhere")
    adapter.del_("stranger", "x")
    adapter.del_all("stranger")
    adapter.del_all("b")
    assert told == []


def test_who_leaves_for_good_leaves_each_room(adapter: MemoryAdapter) -> None:
    adapter.add_all("a", frozenset(["x", "y"]))
    adapter.add_all("b", frozenset(["y"]))
    told = record(adapter)
    adapter.del_all("a")
    assert Counter(told) == Counter([("leave-room", "x", "a"), ("delete-room", "x"), ("leave-room", "y", "a")])
    assert told.index(("leave-room", "x", "a")) + 1 == told.index(("delete-room", "x"))


def test_a_listener_may_ask_the_adapter_and_change_rooms(adapter: MemoryAdapter) -> None:
    """Listeners run without the adapter's lock, after the change."""
    sizes: list[int] = []

    def joined(room: str, sid: str) -> None:
        sizes.append(adapter.room_size(room))
        if room == "x":
            adapter.add_all(sid, frozenset(["echo"]))

    assert adapter.on("join-room", joined) is joined
    adapter.add_all("a", frozenset(["x"]))
    assert sizes == [1, 1] and adapter.socket_rooms("a") == {"x", "echo"}


def test_a_listener_that_raises_is_logged_and_the_others_are_told(
    adapter: MemoryAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(room: str) -> None:
        raise ValueError("broken listener")

    adapter.on("create-room", broken)
    told = record(adapter)
    with caplog.at_level(logging.ERROR, "wsgi_sio.adapters"):
        adapter.add_all("a", frozenset(["x"]))
    assert told == [("create-room", "x"), ("join-room", "x", "a")]
    assert "create-room" in caplog.text and "broken listener" in caplog.text


def test_an_unknown_event_is_refused(adapter: MemoryAdapter) -> None:
    with pytest.raises(ValueError, match="delete-room.*'deleted'"):
        adapter.on("deleted", print)


def test_a_socket_has_a_room_of_its_own_from_coming_to_going() -> None:
    io = Server()
    told = record(io.sockets.adapter)
    with in_process(io) as process:
        client = process.client()
        sid = client.connect()
        assert told == [("create-room", sid), ("join-room", sid, sid)]
        client.close()
        eventually(lambda: len(told) == 4, "the going")
    assert told[2:] == [("leave-room", sid, sid), ("delete-room", sid)]


def test_who_is_refused_leaves_the_rooms_that_a_middleware_gave() -> None:
    io = Server()
    told = record(io.sockets.adapter)

    @io.use
    def refuse(socket: Any) -> None:
        socket.join("lobby")
        raise ConnectRefused("no")

    with in_process(io) as process:
        client = process.client()
        client.wire.send("40")
        assert client.receive().data == {"message": "no"}
    assert [event for event, *_ in told] == ["create-room", "join-room", "leave-room", "delete-room"]
    assert {room for _, room, *_ in told} == {"lobby"}


def test_many_threads_are_told_of_as_many_comings_as_goings() -> None:
    adapter = MemoryAdapter(Server().of("/"))
    for number in range(8):
        adapter.open(str(number))
    told = record(adapter)

    def act(number: int) -> None:
        for _ in range(200):
            adapter.add_all(str(number), frozenset(["x"]))
            adapter.del_(str(number), "x")

    at_once(8, act)
    count = Counter(event for event, *_ in told)
    assert count["join-room"] == count["leave-room"] == 1600
    assert count["create-room"] == count["delete-room"] > 0
