"""Time-outs of equal length of many, on a clock that the test moves, and on a reactor's that cannot be had at first."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.clock import ManualClock
from tests.support.inprocess import eventually
from tests.support.world import WORLD
from wsgi_sio.runtime import SharedTimeouts


class Waiting:
    """Some that are waited for, and when the time of each was over."""

    def __init__(self, seconds: float) -> None:
        self.clock = ManualClock()
        self.expired: list[tuple[str, float]] = []
        self.timeouts: SharedTimeouts[str] = SharedTimeouts(self.clock.call_later, seconds, self.expire, self.clock)

    def expire(self, key: str) -> None:
        self.expired.append((key, self.clock.now))


@pytest.mark.parametrize("seconds", [0.05, 0.5, 10.0, 45.0])
def test_each_has_its_time_and_one_timer_serves_all(seconds: float) -> None:
    waiting = Waiting(seconds)
    for number in range(10):
        waiting.timeouts.start(f"client {number}")
        assert len(waiting.clock.pending) == 1
        waiting.clock.advance(seconds / 20)
    waiting.clock.advance(2 * seconds)
    expected = [
        (f"client {number}", pytest.approx(1000 + seconds * (1 + number / 20), abs=0.01)) for number in range(10)
    ]
    assert waiting.expired == expected
    assert waiting.clock.pending == []


def test_who_is_waited_for_no_more_is_not_told_of() -> None:
    waiting = Waiting(10)
    for key in "abc":
        waiting.timeouts.start(key)
    waiting.clock.advance(9)
    waiting.timeouts.cancel("a")
    waiting.timeouts.cancel("a")
    waiting.timeouts.cancel("unknown")
    waiting.clock.advance(2)
    assert [key for key, _ in waiting.expired] == ["b", "c"]


def test_the_time_of_one_who_is_begun_with_again_goes_on_from_the_first() -> None:
    waiting = Waiting(10)
    waiting.timeouts.start("a")
    waiting.clock.advance(6)
    waiting.timeouts.start("a")
    waiting.clock.advance(4.1)
    assert waiting.expired == [("a", pytest.approx(1010, abs=0.01))]
    waiting.timeouts.start("a")  # but not from one that is over
    waiting.clock.advance(9.9)
    assert len(waiting.expired) == 1
    waiting.clock.advance(0.2)
    assert len(waiting.expired) == 2


def test_coming_and_going_sets_no_timer_each_time() -> None:
    waiting = Waiting(45)
    for number in range(1000):
        waiting.timeouts.start(f"client {number}")
        waiting.timeouts.cancel(f"client {number}")
        waiting.clock.advance(0.01)
    assert waiting.clock.ticks <= 3
    waiting.clock.advance(100)
    assert waiting.expired == [] and waiting.clock.pending == []


@pytest.mark.parametrize("length", [1.0, 9.9, 10.1, 3600.0])
@pytest.mark.parametrize("ran", [0.0, 1.0, 5.0, 9.99])
def test_a_stall_costs_an_eighth_at_most_and_nobody_is_judged_right_behind_it(length: float, ran: float) -> None:
    waiting = Waiting(10)
    waiting.timeouts.start("a")
    waiting.clock.advance(ran)
    waiting.clock.stall(length)
    woke = waiting.clock.now
    waiting.clock.advance(1.2)  # an eighth is left to be heard in
    assert waiting.expired == []
    waiting.clock.advance(11)
    assert len(waiting.expired) == 1 and waiting.expired[0][1] <= woke + 11.3


def test_a_stall_while_nobody_is_waited_for_costs_the_next_one_nothing() -> None:
    waiting = Waiting(10)
    waiting.timeouts.start("a")
    waiting.timeouts.cancel("a")
    waiting.clock.advance(3)
    waiting.clock.stall(3600)
    waiting.timeouts.start("b")
    waiting.clock.advance(9.9)
    assert waiting.expired == []
    waiting.clock.advance(2)
    assert len(waiting.expired) == 1


def test_one_that_is_late_all_the_time_comes_all_the_same() -> None:
    waiting = Waiting(1)
    waiting.timeouts.start("a")
    for _ in range(16):
        waiting.clock.advance(0.001)
        waiting.clock.stall(5)
    assert len(waiting.expired) == 1


def test_where_the_telling_is_interrupted_the_others_are_told_all_the_same() -> None:
    waiting = Waiting(10)
    told: list[str] = []

    def expire(key: str) -> None:
        told.append(key)
        if key == "a":
            raise KeyboardInterrupt

    timeouts = SharedTimeouts(waiting.clock.call_later, 10, expire, waiting.clock)
    for key in "abc":
        timeouts.start(key)
    with pytest.raises(KeyboardInterrupt):
        waiting.clock.advance(11)
    waiting.clock.advance(3)
    assert told == ["a", "b", "c"]
    assert waiting.clock.pending == []


def test_where_no_timer_can_be_had_the_next_one_tries_again() -> None:
    waiting = Waiting(10)
    real, tries = waiting.clock.call_later, []

    def call_later(delay: float, callback):  # type: ignore[no-untyped-def]
        tries.append(delay)
        if len(tries) == 1:
            raise RuntimeError("can't start new thread")
        return real(delay, callback)

    timeouts = SharedTimeouts(call_later, 10, waiting.expire, waiting.clock)
    with pytest.raises(RuntimeError):
        timeouts.start("a")
    timeouts.start("b")
    waiting.clock.advance(11.5)
    assert [key for key, _ in waiting.expired] == ["a", "b"]


@pytest.mark.skipif(WORLD == "gevent", reason="about threads")
def test_who_comes_just_when_there_is_no_thread_for_the_clock_is_looked_after_with_the_next(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever that is for: nobody need come here again."""
    expired: list[str] = []
    timeouts: SharedTimeouts[str] = SharedTimeouts(reactor.call_later, 0.05, expired.append)

    def refuse(thread: threading.Thread) -> None:
        timeouts.start("b")
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(threading.Thread, "start", refuse)
        timeouts.start("a")
    reactor.call_later(60, lambda: None)
    eventually(lambda: expired == ["a", "b"], "both")
