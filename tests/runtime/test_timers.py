"""Timers: by hand-driven time, and in the reactors of both worlds."""

from __future__ import annotations

import random
import threading
import time
import weakref
from itertools import pairwise
from typing import Any

import pytest

from tests.support.inprocess import DEADLINE, at_once, eventually
from wsgi_sio.runtime.timer_queue import TimerQueue


def note(calls: list[Any], what: Any) -> Any:
    return lambda: calls.append(what)


def run(queue: TimerQueue, now: float) -> None:
    for callback in queue.take_due(now):
        callback()


def test_due_timers_come_earliest_first_and_equals_in_order_of_adding() -> None:
    queue, calls = TimerQueue(), []  # type: ignore[var-annotated]
    for deadline, name in ((3.0, "c"), (1.0, "a"), (2.0, "b1"), (2.0, "b2"), (4.0, "d")):
        queue.add(deadline, note(calls, name))
    assert queue.next_deadline() == 1.0
    run(queue, 0.5)
    assert calls == []
    run(queue, 2.0)
    assert calls == ["a", "b1", "b2"]
    assert queue.next_deadline() == 3.0
    run(queue, 100)
    assert calls == ["a", "b1", "b2", "c", "d"]
    assert queue.next_deadline() is None


def test_add_tells_who_is_first_now() -> None:
    queue = TimerQueue()
    assert [queue.add(deadline, lambda: None)[1] for deadline in (5.0, 6.0, 4.0, 5.0, 4.0, 3.9)] == [
        True, False, True, False, False, True,
    ]  # fmt: skip


def test_a_cancelled_timer_does_not_run_and_does_not_count() -> None:
    queue, calls = TimerQueue(), []  # type: ignore[var-annotated]
    first, _ = queue.add(1.0, note(calls, 1))
    second, _ = queue.add(2.0, note(calls, 2))
    first.cancel()
    first.cancel()
    assert queue.next_deadline() == 2.0
    run(queue, 5)
    assert calls == [2]
    second.cancel()  # after it ran: harmless


def test_thousands_of_timers_in_random_order() -> None:
    rng = random.Random(7)
    queue, calls = TimerQueue(), []  # type: ignore[var-annotated]
    deadlines = [rng.random() * 100 for _ in range(10_000)]
    timers = [queue.add(deadline, note(calls, deadline))[0] for deadline in deadlines]
    cancelled = set(rng.sample(range(10_000), 5_000))
    for number in cancelled:
        timers[number].cancel()
    now = 0.0
    while queue.next_deadline() is not None:
        now += rng.random()
        run(queue, now)
    assert calls == sorted(deadline for number, deadline in enumerate(deadlines) if number not in cancelled)


def test_adding_from_many_threads() -> None:
    queue, calls = TimerQueue(), []  # type: ignore[var-annotated]
    at_once(8, lambda n: [queue.add(float(i), note(calls, i)) for i in range(500)])
    run(queue, 1000)
    assert calls == sorted(list(range(500)) * 8)


# -- in the reactor ---------------------------------------------------------------------------------------------------


def test_timers_fire_in_order_and_not_early(reactor: Any) -> None:
    fired: list[tuple[int, float]] = []
    due: dict[int, tuple[float, float]] = {}  # not before, and not after: setting one may take its time
    for number, delay in ((3, 0.09), (1, 0.03), (2, 0.06), (0, 0.0)):
        before = time.monotonic()
        reactor.call_later(delay, lambda n=number: fired.append((n, time.monotonic())))
        due[number] = (before + delay - 0.002, time.monotonic() + delay + 0.002)
    eventually(lambda: len(fired) == 4, "all timers")
    assert all(at >= due[number][0] for number, at in fired)
    assert all(due[first][0] <= due[second][1] for (first, _), (second, _) in pairwise(fired))


def test_an_earlier_timer_does_not_wait_for_a_later_one(reactor: Any) -> None:
    fired = threading.Event()
    reactor.call_later(60, lambda: None)
    time.sleep(0.02)  # the clock sleeps for a minute now
    reactor.call_later(0.01, fired.set)
    assert fired.wait(DEADLINE)


def test_cancelled_timers_stay_silent(reactor: Any) -> None:
    fired: list[str] = []
    timers: list[Any] = []

    def begin() -> None:  # where timers fire: none does meanwhile
        timers.append(reactor.call_later(0.02, lambda: fired.append("cancelled")))
        reactor.call_later(0.04, lambda: fired.append("other"))
        timers[0].cancel()

    reactor.call_later(0.0, begin)
    eventually(lambda: fired, "the other")
    assert fired == ["other"]
    timers[0].cancel()


def test_a_timer_may_cancel_the_next_and_set_another(reactor: Any) -> None:
    fired: list[str] = []
    timers: list[Any] = []

    def first() -> None:
        fired.append("first")
        timers[0].cancel()
        reactor.call_later(0.01, lambda: fired.append("third"))

    timers.append(reactor.call_later(0.2, lambda: fired.append("second")))
    reactor.call_later(0.01, first)
    eventually(lambda: "third" in fired, "the third")
    time.sleep(0.22)
    assert fired == ["first", "third"]


def test_a_failing_timer_is_logged_and_the_clock_goes_on(reactor: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    done = threading.Event()
    reactor.call_later(0.0, fail)
    reactor.call_later(0.02, done.set)
    assert done.wait(DEADLINE)
    assert sum(r.exc_info is not None for r in caplog.records) == 1


def test_ten_thousand_timers(reactor: Any) -> None:
    fired: list[int] = []
    rng = random.Random(3)
    timers = [reactor.call_later(rng.random() * 0.3, lambda n=number: fired.append(n)) for number in range(10_000)]
    for timer in timers[::2]:
        timer.cancel()
    eventually(lambda: len(set(fired) & set(range(1, 10_000, 2))) == 5000, "the odd ones")
    assert len(fired) == len(set(fired))


def test_timers_fire_while_every_worker_is_blocked(make_reactor: Any) -> None:
    reactor = make_reactor(max_workers=1)
    go, fired = threading.Event(), threading.Event()
    for _ in range(3):
        reactor.submit(lambda: go.wait(DEADLINE))
    time.sleep(0.02)
    reactor.call_later(0.01, fired.set)
    assert fired.wait(DEADLINE / 2)
    go.set()


def test_a_closed_reactor_keeps_nothing_for_its_timers(reactor: Any) -> None:
    class Held:
        """What a timer would call."""

        def call(self) -> None: ...

    def held_by(start: Any) -> Any:
        held = Held()
        start(60.0, held.call)
        return weakref.ref(held)

    held = [held_by(reactor.call_later), held_by(reactor.expire_after)]
    assert all(each() is not None for each in held)
    reactor.close()
    held += [held_by(reactor.call_later), held_by(reactor.expire_after)]
    assert [each() for each in held] == [None] * 4


def test_a_sleeping_reactor_costs_no_processor_time(reactor: Any) -> None:
    """A timer far away, a worker that waits: nothing has to tick for long."""
    done = threading.Event()
    reactor.submit(done.set)
    reactor.call_later(60, lambda: None)
    assert done.wait(DEADLINE)
    time.sleep(1.0)
    began = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - began < 0.03


def test_cancelled_timers_do_not_pile_up() -> None:
    """A server that sets a time-out for each of a million acknowledgements keeps few that are not needed any more."""
    queue, calls = TimerQueue(), []  # type: ignore[var-annotated]
    kept = [queue.add(1000.0 + number, note(calls, number))[0] for number in range(100)]
    most = 0
    for number in range(20_000):
        queue.add(500.0 + number, note(calls, "cancelled"))[0].cancel()
        most = max(most, len(queue._heap))
    assert most <= 2 * len(kept) + 64
    run(queue, 1e9)
    assert calls == list(range(100))
