"""The adapter of a single process: unions, exceptions, and that leaving costs no more than one's own rooms."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.support.inprocess import at_once
from wsgi_sio.adapters import BroadcastOptions, MemoryAdapter
from wsgi_sio.socketio.packet import EVENT, Packet


class Member:
    """A connected socket as adapters see it; it notes what it is sent."""

    def __init__(self, sid: str) -> None:
        self.id = sid
        self.got: list[tuple[Any, bool]] = []

    def deliver(self, data: list[Any], batch: list[Any], volatile: bool, patient: bool = False) -> bool:
        self.got.append((batch, volatile))
        return True


class Room:
    """An adapter with members 0 to n-1, and the namespace and server it sees."""

    def __init__(self, count: int) -> None:
        self.sockets: dict[str, Any] = {}
        self.server = self
        self.encoded = 0
        self.adapter: Any = MemoryAdapter(self)  # type: ignore[arg-type]
        for number in range(count):
            self.add(str(number))

    def encode(self, packet: Any, compress: bool) -> list[Any]:
        self.encoded += 1
        return [packet, compress]

    def add(self, sid: str) -> None:
        self.adapter.open(sid)
        self.sockets[sid] = Member(sid)
        self.adapter.add_all(sid, frozenset([sid]))

    def remove(self, sid: str) -> None:
        self.adapter.del_all(sid)
        self.sockets.pop(sid, None)


def found(room: Room, **options: Any) -> list[str]:
    options = {key: frozenset(value) for key, value in options.items()}
    return sorted(socket.id for socket in room.adapter.fetch_sockets(BroadcastOptions(**options)))


@pytest.fixture
def room() -> Room:
    room = Room(5)
    for rooms, members in (("x", "012"), ("y", "23"), ("z", "4")):
        for sid in members:
            room.adapter.add_all(sid, frozenset([rooms]))
    return room


@pytest.mark.parametrize(
    ("rooms", "except_", "reached"),
    [
        ([], [], "01234"),
        (["x"], [], "012"),
        (["x", "y"], [], "0123"),
        (["x", "nobody"], [], "012"),
        (["nobody"], [], ""),
        (["0", "4"], [], "04"),
        ([], ["x"], "34"),
        ([], ["nobody"], "01234"),
        (["x"], ["y"], "01"),
        (["x", "y", "z"], ["2", "z"], "013"),
        (["x"], ["x"], ""),
    ],
)
def test_unions_without_exceptions(room: Room, rooms: list[str], except_: list[str], reached: str) -> None:
    assert found(room, rooms=rooms, except_=except_) == list(reached)


def test_asking_changes_nothing(room: Room) -> None:
    """The sets that come out are copies, or not the caller's to change."""
    for _ in range(2):
        assert room.adapter.sockets(frozenset(["x"])) == {"0", "1", "2"}
        assert found(room, rooms=["x"], except_=["0"]) == ["1", "2"]
        assert room.adapter.socket_rooms("2") == {"2", "x", "y"}
        room.adapter.socket_rooms("2").clear()
    assert room.adapter.sockets(frozenset()) == set("01234")
    assert [room.adapter.room_size(name) for name in ("x", "y", "z", "nobody")] == [3, 2, 1, 0]


def test_who_has_not_been_let_in_yet_is_in_rooms_but_gets_nothing(room: Room) -> None:
    room.adapter.open("new")
    room.adapter.add_all("new", frozenset(["x", "new"]))
    assert "new" in room.adapter.sockets(frozenset(["x"]))
    assert found(room, rooms=["x"]) == ["0", "1", "2"]
    assert found(room, except_=["y"]) == ["0", "1", "4"]
    assert found(room) == list("01234")


def test_who_has_gone_cannot_join(room: Room) -> None:
    room.remove("0")
    room.adapter.add_all("0", frozenset(["x", "late"]))
    room.adapter.del_("0", "x")
    room.adapter.del_all("0")
    assert room.adapter.socket_rooms("0") == set()
    assert room.adapter.room_size("late") == 0
    assert found(room, rooms=["x"]) == ["1", "2"]


def test_empty_rooms_are_forgotten(room: Room) -> None:
    room.adapter.del_("4", "z")
    room.adapter.del_("4", "z")
    for sid in "01234":
        room.remove(sid)
    assert room.adapter._members == {} and room.adapter._rooms == {}


def test_a_broadcast_is_encoded_once_for_all(room: Room) -> None:
    options = BroadcastOptions(rooms=frozenset(["x", "y"]), volatile=True, compress=False)
    packet = Packet(EVENT, "/", ["news"])
    room.adapter.broadcast(packet, options)
    members = list(room.sockets.values())
    assert room.encoded == 1
    batches = [batch for member in members for batch, volatile in member.got if volatile]
    assert len(batches) == 4 and all(batch is batches[0] for batch in batches)
    assert batches[0] == [packet, False]


def test_leaving_costs_the_same_however_full_the_house_is() -> None:
    """A socket in three rooms leaves a house of 200 as fast as one of 50,000 sockets and rooms."""

    def cost(population: int) -> float:
        room = Room(population)
        for number in range(population):
            room.adapter.add_all(str(number), frozenset(["all", f"room {number}"]))
        best = 1.0
        for attempt in range(300):
            sid = f"guest {attempt}"
            room.adapter.open(sid)
            room.adapter.add_all(sid, frozenset([sid, "all", "room 7"]))
            began = time.perf_counter()
            room.adapter.del_all(sid)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(50_000) < cost(200) * 20


def test_a_model_of_sets_agrees_with_it_whatever_happens() -> None:
    """Random joins, leaves, comings and goings, compared with plain sets."""
    rng = random.Random(11)
    room = Room(0)
    model: dict[str, set[str]] = {}
    names = [f"r{n}" for n in range(6)]
    for step in range(4000):
        sid = str(rng.randrange(20))
        match rng.randrange(6):
            case 0:
                if sid not in model:
                    room.add(sid)
                    model[sid] = {sid}
            case 1:
                room.remove(sid)
                model.pop(sid, None)
            case 2 | 3:
                rooms = frozenset(rng.sample(names, 2))
                room.adapter.add_all(sid, rooms)
                if sid in model:
                    model[sid] |= rooms
            case 4:
                name = rng.choice(names)
                room.adapter.del_(sid, name)
                model.get(sid, set()).discard(name)
            case 5:
                wanted, unwanted = (set(rng.sample(names, rng.randrange(3))) for _ in range(2))
                expected = [s for s, r in model.items() if (not wanted or wanted & r) and not unwanted & r]
                assert found(room, rooms=wanted, except_=unwanted) == sorted(expected), step
    assert {sid: room.adapter.socket_rooms(sid) for sid in model} == model
    assert set(room.adapter._rooms) == set(model)


def test_joining_leaving_and_asking_from_many_threads() -> None:
    """Nothing raises, and the two maps agree in the end."""
    room = Room(40)

    def act(number: int) -> None:
        rng = random.Random(number)
        for _ in range(400):
            sid = str(rng.randrange(40))
            name = f"r{rng.randrange(5)}"
            match rng.randrange(5):
                case 0:
                    room.adapter.add_all(sid, frozenset([name, "all"]))
                case 1:
                    room.adapter.del_(sid, name)
                case 2:
                    found(room, rooms=[name, "all"], except_=["r0"])
                case 3:
                    room.adapter.broadcast(Packet(EVENT, "/", ["news"]), BroadcastOptions(rooms=frozenset([name])))
                case 4:
                    if number == 0:
                        room.remove(sid)

    at_once(6, act)
    members: dict[str, set[str]] = {}
    for sid, rooms in room.adapter._rooms.items():
        for name in rooms:
            members.setdefault(name, set()).add(sid)
    assert members == room.adapter._members
