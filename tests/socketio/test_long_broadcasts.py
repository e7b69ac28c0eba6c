"""Broadcasts to so many that others have their turn meanwhile: everybody gets the same, in the same order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.world import WORLD
from wsgi_sio.runtime import Reactor, create_reactor
from wsgi_sio.socketio import long_broadcasts
from wsgi_sio.socketio.long_broadcasts import LongBroadcasts

only_gevent = pytest.mark.skipif(WORLD != "gevent", reason="threads have their turn anyway")


class Member:
    """A client, which notes what it is sent, and may do something as soon as it is."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.then: Callable[[str], object] | None = None

    def send(self, event: str) -> None:
        self.got.append(event)
        if self.then is not None:
            self.then(event)


class Room:
    """So many clients."""

    def __init__(self, reactor: Any, count: int = 300) -> None:
        self.members = [Member() for _ in range(count)]
        self.broadcasts = LongBroadcasts()
        self.reactor = reactor

    def emit(self, event: str, members: slice = slice(None)) -> None:
        recipients: Any = self.members[members]
        self.broadcasts.run(recipients, lambda member: member.send(event), self.reactor)  # type: ignore[attr-defined]

    def orders(self) -> set[tuple[str, ...]]:
        return {tuple(member.got) for member in self.members}


class Turns:
    """A reactor of one thread; what others do in their turns is said in ``then``."""

    one_thread = True

    def __init__(self) -> None:
        self.taken = 0
        self.then: Callable[[], object] = lambda: None

    def give_turn(self) -> None:
        self.taken += 1
        then, self.then = self.then, lambda: None
        then()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn after each look at the clock."""
    monkeypatch.setattr(long_broadcasts, "_TURN", -1.0)


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def room(turns: Turns) -> Room:
    return Room(turns)


def test_others_have_their_turn_and_everybody_gets_it_once(room: Room, turns: Turns) -> None:
    room.emit("news")
    assert turns.taken == 5
    assert room.orders() == {("news",)}
    assert room.broadcasts.under_way == ()


def test_with_threads_nobody_waits_for_a_turn(turns: Turns) -> None:
    turns.one_thread = False
    room = Room(turns)
    room.emit("news")
    assert turns.taken == 0 and room.orders() == {("news",)}


def test_what_others_broadcast_meanwhile_comes_behind_it_everywhere(room: Room, turns: Turns) -> None:
    turns.then = lambda: room.emit("second")
    room.emit("first")
    assert room.orders() == {("first", "second")}


def test_three_that_interleave_keep_their_order_everywhere(room: Room, turns: Turns) -> None:
    def third() -> None:
        room.emit("third", slice(100, None))

    def second() -> None:
        turns.then = third
        room.emit("second", slice(200))

    turns.then = second
    room.emit("first")
    assert {tuple(member.got) for member in room.members[:100]} == {("first", "second")}
    assert {tuple(member.got) for member in room.members[100:200]} == {("first", "second", "third")}
    assert {tuple(member.got) for member in room.members[200:]} == {("first", "third")}


def test_a_broadcast_from_where_nobody_may_wait_brings_the_earlier_one_along(room: Room, turns: Turns) -> None:
    """As an event that a short one is for has to come behind that which is under way."""
    turns.then = lambda: room.emit("to a few", slice(290, None))
    room.emit("first")
    assert {tuple(member.got) for member in room.members[290:]} == {("first", "to a few")}
    assert {tuple(member.got) for member in room.members[:290]} == {("first",)}


def test_a_listener_that_broadcasts_what_it_hears_of(room: Room) -> None:
    room.members[0].then = lambda event: room.emit("echo", slice(1, None)) if event == "news" else None
    room.emit("news")
    assert {tuple(member.got) for member in room.members[1:]} == {("news", "echo")}


def test_who_is_interrupted_in_a_turn_has_broadcast_all_the_same(room: Room, turns: Turns) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    turns.then = interrupt
    with pytest.raises(KeyboardInterrupt):
        room.emit("news")
    assert room.orders() == {("news",)} and room.broadcasts.under_way == ()
    room.emit("more")
    assert room.orders() == {("news", "more")}


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = create_reactor(max_workers=10)
    yield reactor
    reactor.close()
    reactor.join(5)


@only_gevent
def test_greenlets_and_what_comes_to_the_hub_run_in_between(reactor: Reactor) -> None:
    import gevent

    room = Room(reactor)
    seen: list[int] = []

    def look() -> None:
        while len(seen) < 3:
            seen.append(sum(bool(member.got) for member in room.members))
            gevent.sleep(0)

    looking = gevent.spawn(look)
    room.emit("news")
    looking.join(5)
    assert any(0 < count < 300 for count in seen)
    assert room.orders() == {("news",)}


@only_gevent
def test_the_hub_itself_does_not_wait(reactor: Reactor) -> None:
    import gevent

    room, turns = Room(reactor), []
    done = reactor.event()

    def in_the_hub() -> None:
        gevent.spawn(turns.append, "another greenlet")
        room.emit("news")
        assert turns == []
        done.set()

    reactor.call_later(0, in_the_hub)
    assert done.wait(5) and room.orders() == {("news",)}


@only_gevent
def test_another_native_thread_does_not_wait_for_turns_of_the_hub(reactor: Reactor) -> None:
    import gevent

    room = Room(reactor)
    gevent.get_hub().threadpool.spawn(room.emit, "news").get(timeout=5)
    assert room.orders() == {("news",)}


@only_gevent
@pytest.mark.parametrize("kind", ["function", "method", "any arguments"])
def test_a_signal_handler_does_not_let_others_run(reactor: Reactor, kind: str) -> None:
    """It may have interrupted a change half-way."""
    import gevent

    room = Room(reactor)
    turns: list[str] = []
    gevent.spawn(turns.append, "another greenlet")

    def handler(number: int, frame: object) -> None:
        room.emit("news")

    class Handlers:
        def handle(self, number: int, frame: object) -> None:
            room.emit("news")

    handlers: dict[str, Any] = {
        "function": handler,
        "method": Handlers().handle,
        "any arguments": lambda *args: room.emit("news"),
    }
    before = signal.signal(signal.SIGUSR1, handlers[kind])
    try:
        signal.raise_signal(signal.SIGUSR1)
        for _ in range(100):  # somewhere here it runs
            sum(range(100))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert room.orders() == {("news",)} and turns == []
    gevent.sleep(0)
    assert turns == ["another greenlet"]
