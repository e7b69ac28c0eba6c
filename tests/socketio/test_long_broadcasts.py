"""Broadcasts to so many that others have their turn meanwhile: everybody gets the same, in the same order."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller
from types import FrameType
from typing import Any

import pytest

from tests.support.inprocess import DEADLINE, eventually
from tests.support.world import WORLD
from wsgi_sio.runtime import Rank, Reactor, create_reactor, locks, make_lock
from wsgi_sio.socketio import long_broadcasts
from wsgi_sio.socketio.long_broadcasts import FEW, Broadcast, LongBroadcasts, PlacedBroadcast

only_gevent = pytest.mark.skipif(WORLD != "gevent", reason="threads have their turn anyway")


class Member:
    """A client, which notes what it is sent, and may do something as soon as it is."""

    def __init__(self) -> None:
        self.gone = False
        self.listeners_any_outgoing = ()
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
        self.lock = make_lock(Rank.ADAPTER)
        self.reactor = reactor

    def emit(self, event: str, members: slice = slice(None), posted: bool = False) -> None:
        recipients: Any = self.members[members]
        self.broadcasts.run(recipients, methodcaller("send", event), self.reactor, posted)

    def begin_kept(self, event: str) -> Broadcast:
        """One whose place is settled under the lock that guards who has left."""
        recipients: Any = list(self.members)

        def place(member: Any) -> Callable[[], None] | None:
            return None if member.gone else partial(member.send, event)

        return self.broadcasts.begin(PlacedBroadcast(recipients, place, self.lock, lambda member: None))

    def orders(self) -> set[tuple[str, ...]]:
        return {tuple(member.got) for member in self.members}


class Turns:
    """A reactor of one thread; what others do in their turns is said in ``then``.

    :ivar spawned: the tasks that have been started and have not had their turn.
    """

    one_thread = True

    def __init__(self) -> None:
        self.taken = 0
        self.then: Callable[[], object] = lambda: None
        self.looping = False
        self.spawned: list[Callable[[], object]] = []

    def in_loop(self) -> bool:
        return self.looping

    def spawn(self, target: Callable[..., object], *args: Any) -> None:
        self.spawned.append(partial(target, *args))

    def run_spawned(self) -> None:
        while self.spawned:
            self.spawned.pop(0)()

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


# -- those that whoever brings them does not wait for -----------------------------------------------------------------

MANY = FEW + 100


@pytest.fixture
def crowd(turns: Turns) -> Room:
    return Room(turns, MANY)


def test_a_reader_goes_on_and_what_it_brings_next_comes_behind(crowd: Room, turns: Turns) -> None:
    crowd.emit("first", posted=True)
    crowd.emit("second", posted=True)
    assert crowd.orders() == {()} and len(turns.spawned) == 1
    crowd.emit("to a few", slice(10), posted=True)
    assert {tuple(member.got) for member in crowd.members[:10]} == {("first", "second", "to a few")}
    assert {tuple(member.got) for member in crowd.members[10:]} == {()}
    turns.run_spawned()
    assert {tuple(member.got) for member in crowd.members[10:]} == {("first", "second")}
    assert turns.taken == 2 * (MANY // 50 - 1) and crowd.broadcasts.under_way == ()
    crowd.emit("third", posted=True)
    turns.run_spawned()
    assert {member.got[-1] for member in crowd.members} == {"third"}


def test_few_are_sent_to_at_once_and_nobody_has_a_turn(room: Room, turns: Turns) -> None:
    room.emit("news", posted=True)
    assert room.orders() == {("news",)} and not turns.taken and not turns.spawned


def test_what_is_emitted_in_the_loop_is_left_to_another_greenlet(crowd: Room, turns: Turns) -> None:
    turns.looping = True
    crowd.emit("news")
    assert crowd.orders() == {()}
    turns.looping = False
    crowd.emit("more")
    turns.run_spawned()
    assert crowd.orders() == {("news", "more")} and crowd.broadcasts.under_way == ()


def test_what_is_sent_to_one_client_brings_along_what_it_has_not_got(crowd: Room, turns: Turns) -> None:
    crowd.emit("first", posted=True)
    crowd.emit("second", posted=True)
    last: Any = crowd.members[-1]
    crowd.broadcasts.reach(last)
    last.send("direct")
    turns.run_spawned()
    assert last.got == ["first", "second", "direct"]
    assert {tuple(member.got) for member in crowd.members[:-1]} == {("first", "second")}


def test_who_is_thrown_out_in_turns_gets_nothing_of_what_was_begun_later(crowd: Room, turns: Turns) -> None:
    def throw_out(member: Any) -> None:
        crowd.broadcasts.reach(member)  # as what is under way comes before the end
        member.send("end")

    recipients: Any = crowd.members
    crowd.emit("first", posted=True)
    crowd.broadcasts.run(recipients, throw_out, crowd.reactor, posted=True)
    crowd.emit("second", posted=True)
    turns.run_spawned()
    assert crowd.orders() == {("first", "end", "second")}


def test_a_listener_that_emits_to_its_own_client_lets_nothing_else_get_in_front(crowd: Room, turns: Turns) -> None:
    listener: Any = crowd.members[300]

    def send(member: Any) -> None:
        if member is listener:  # as Socket.deliver() does, before it sends
            crowd.broadcasts.reach(member)
            member.send("direct")
            crowd.emit("echo", slice(300, 301))
        member.send("first")

    recipients: Any = crowd.members
    crowd.broadcasts.run(recipients, send, crowd.reactor, posted=True)
    crowd.emit("second", posted=True)
    turns.run_spawned()
    assert listener.got == ["direct", "echo", "first", "second"]
    assert {tuple(member.got) for member in crowd.members if member is not listener} == {("first", "second")}


def test_what_waits_is_bounded(crowd: Room, turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who brings more than can be sent finishes the first ones himself."""
    monkeypatch.setattr(long_broadcasts, "_MOST", 2)
    for number in range(5):
        crowd.emit(str(number), posted=True)
    assert crowd.orders() == {("0", "1", "2")} and len(crowd.broadcasts.under_way) == 2
    turns.run_spawned()
    assert crowd.orders() == {("0", "1", "2", "3", "4")} and crowd.broadcasts.under_way == ()


def test_the_greenlet_that_takes_them_may_be_killed(crowd: Room, turns: Turns) -> None:
    def kill() -> None:
        raise KeyboardInterrupt

    crowd.emit("first", posted=True)
    crowd.emit("second", posted=True)
    turns.then = kill
    with pytest.raises(KeyboardInterrupt):
        turns.run_spawned()
    turns.run_spawned()
    crowd.emit("third", posted=True)
    turns.run_spawned()
    assert crowd.orders() == {("first", "second", "third")} and crowd.broadcasts.under_way == ()


def test_a_listener_that_fails_is_told_of_and_the_next_ones_come(
    crowd: Room, turns: Turns, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: str) -> None:
        if event == "first":
            raise ValueError("no")

    crowd.members[10].then = fail
    crowd.emit("first", posted=True)
    crowd.emit("second", posted=True)
    turns.run_spawned()
    assert crowd.orders() == {("first", "second")} and crowd.broadcasts.under_way == ()
    assert "a broadcast to many failed for some of them" in caplog.text


def test_whatever_listeners_raise_all_clients_get_it(crowd: Room, turns: Turns) -> None:
    """Not only what is logged where they are called: a listener may be told to end its greenlet."""
    told: list[int] = []

    def end(number: int, event: str) -> None:
        told.append(number)
        raise KeyboardInterrupt(number)

    for number in (10, 11, 70, 400):
        crowd.members[number].then = partial(end, number)
    with pytest.raises(KeyboardInterrupt, match="^10$"):
        crowd.emit("news")
    assert crowd.orders() == {("news",)} and told == [10, 11, 70, 400] and crowd.broadcasts.under_way == ()


def test_what_many_emit_at_once_is_bounded(crowd: Room, turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each greenlet that emits lets the next one do so: from some number on they finish what others have begun."""
    monkeypatch.setattr(long_broadcasts, "_MOST", 3)
    most, emitted = 0, 0

    def emit_another() -> None:
        nonlocal most, emitted
        most = max(most, sum(len(broadcast.pending) for broadcast in crowd.broadcasts.under_way))
        emitted += 1
        if emitted < 20:
            turns.then = emit_another
            crowd.emit(str(emitted))

    turns.then = emit_another
    crowd.emit("0")
    assert emitted == 20 and most <= 3 * MANY
    assert crowd.orders() == {tuple(map(str, range(20)))} and crowd.broadcasts.under_way == ()


def test_who_finishes_what_others_have_begun_brings_his_own_all_the_same(
    crowd: Room, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a listener to that ends his greenlet."""
    monkeypatch.setattr(long_broadcasts, "_MOST", 1)

    def end(event: str) -> None:
        if event == "first":
            raise KeyboardInterrupt

    def emit_another() -> None:
        with pytest.raises(KeyboardInterrupt):
            crowd.emit("second")

    crowd.members[300].then = end
    turns.then = emit_another
    crowd.emit("first")
    assert crowd.orders() == {("first", "second")} and crowd.broadcasts.under_way == ()


def test_the_place_of_what_is_kept_is_settled_as_it_is_sent(crowd: Room, turns: Turns) -> None:
    """So nothing is for who has left meanwhile: he gets it from the log when he comes back."""
    kept = crowd.begin_kept("kept")

    def leave() -> None:
        crowd.members[5].gone = crowd.members[400].gone = True
        crowd.emit("short", slice(399, 402))

    turns.then = leave
    crowd.broadcasts.finish(kept, turns)  # type: ignore[arg-type]
    assert crowd.members[5].got == ["kept"] and crowd.members[400].got == ["short"]
    assert crowd.members[399].got == crowd.members[401].got == ["kept", "short"]
    assert crowd.members[-1].got == ["kept"] and crowd.broadcasts.under_way == ()


def test_a_signal_handler_meets_it_at_any_line(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each line of the sending of one broadcast another one comes: each client gets both, and nothing is left."""
    monkeypatch.setattr(locks, "_CHECK", False)  # only a signal handler may take one that its own thread holds
    for posted in (False, True):
        line = 1
        while _interrupted_at(line, Room(turns, MANY), turns, posted):
            line += 1
        assert line > 20


def _interrupted_at(line: int, room: Room, turns: Turns, posted: bool) -> bool:
    """Whether there were so many lines."""
    left = [line]

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != long_broadcasts.__file__:
            return None
        if event == "line":
            left[0] -= 1
            if not left[0]:
                sys.settrace(None)
                room.emit("of the signal")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        room.emit("news", slice(0, MANY, 40) if not posted else slice(None), posted)
    finally:
        sys.settrace(before)
    turns.run_spawned()
    interrupted = left[0] <= 0
    assert room.broadcasts.under_way == ()
    everybody = {tuple(sorted(member.got)) for member in room.members}
    assert everybody <= {("news", "of the signal"), ("of the signal",)} if interrupted else everybody <= {("news",), ()}
    return interrupted


# -- in gevent's world ------------------------------------------------------------------------------------------------


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
def test_what_the_hub_brings_others_have_their_turn_in(reactor: Reactor) -> None:
    import gevent

    room = Room(reactor, MANY)
    seen: list[int] = []

    def look() -> None:
        while not room.members[-1].got:
            seen.append(sum(bool(member.got) for member in room.members))
            gevent.sleep(0)

    reactor.call_later(0, lambda: room.emit("news"))
    gevent.spawn(look).join(DEADLINE)
    assert len({count for count in seen if 0 < count < MANY}) >= 3
    eventually(lambda: room.orders() == {("news",)} and room.broadcasts.under_way == (), "the end")


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
