"""Time-outs of what others are to do, on clocks that the test moves, and in the reactors of both clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.clock import ManualClock, Pending
from tests.support.inprocess import eventually
from wsgi_sio.runtime import HeardTime, wait_patiently
from wsgi_sio.runtime.stall_tolerant_timeouts import PatientTimer, sleepless_clock

Timed = tuple[PatientTimer, list[float]]


def timed(clock: ManualClock, seconds: float) -> Timed:
    """A time-out, and when it has fired."""
    fired: list[float] = []
    return clock.expire_after(seconds, lambda: fired.append(clock.now)), fired


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.5, 10.0, 45.0])
def test_without_a_stall_it_is_an_ordinary_timer(clock: ManualClock, seconds: float) -> None:
    _, fired = timed(clock, seconds)
    clock.advance(seconds * 0.99)
    assert fired == ([] if seconds else [1000.0])
    clock.advance(seconds + 1)
    assert fired == [pytest.approx(1000 + seconds)]
    assert clock.pending == []


@pytest.mark.parametrize("length", [1.0, 9.9, 10.1, 3600.0])
@pytest.mark.parametrize("ran", [0.0, 1.0, 5.0, 9.99])
def test_a_stall_costs_an_eighth_at_most(clock: ManualClock, ran: float, length: float) -> None:
    _, fired = timed(clock, 10)
    clock.advance(ran)
    clock.stall(length)
    woke = clock.now
    clock.advance(max(1.24, 8.74 - ran))  # an eighth of the time is left in any case
    assert fired == []
    clock.advance(10)
    assert fired and fired[0] <= woke + 10


def test_one_that_is_late_all_the_time_fires_all_the_same(clock: ManualClock) -> None:
    _, fired = timed(clock, 1)
    for _ in range(12):
        clock.advance(0.001)
        clock.stall(5)
    assert len(fired) == 1


def test_a_cancelled_one_is_silent_and_leaves_no_timer(clock: ManualClock) -> None:
    timer, fired = timed(clock, 10)
    clock.advance(4)
    timer.cancel()
    timer.cancel()
    assert timer._callback is None  # nor what that holds
    assert clock.pending == []
    clock.advance(100)
    assert fired == []
    done, fired = timed(clock, 10)
    clock.advance(100)
    done.cancel()  # after it has fired: harmless
    assert len(fired) == 1


def test_one_cancelled_while_it_is_set_again_leaves_no_timer(clock: ManualClock) -> None:
    """By another thread, between two of its instructions."""
    timer, fired = timed(clock, 10)
    real = clock.call_later

    def cancelling(delay: float, callback: Callable[[], None]) -> Pending:
        pending = real(delay, callback)
        timer.cancel()
        return pending

    timer._call_later = cancelling
    clock.advance(100)
    assert fired == [] and clock.pending == []


# -- waiting --------------------------------------------------------------------------------------------------------


class Script:
    """What an event does: in each wait, so much time passes, and it is set or not."""

    def __init__(self, clock: ManualClock, *waits: tuple[float | None, bool]) -> None:
        self._clock = clock
        self._waits = list(waits)
        self.asked: list[float | None] = []

    def wait(self, seconds: float | None) -> bool:
        self.asked.append(seconds)
        takes, outcome = self._waits.pop(0)
        self._clock.now += seconds or 0.0 if takes is None else takes
        return outcome


def test_waiting_ends_when_it_comes_or_the_time_is_over(clock: ManualClock) -> None:
    in_vain = Script(clock, *[(None, False)] * 8)
    assert not wait_patiently(in_vain.wait, 10, clock)
    assert in_vain.asked == [1.25] * 8
    coming = Script(clock, (None, False), (0.1, True))
    assert wait_patiently(coming.wait, 10, clock)
    for_ever = Script(clock, (1000, True))
    assert wait_patiently(for_ever.wait, None, clock) and for_ever.asked == [None]


def test_waiting_through_a_stall_leaves_time_to_read_what_has_come(clock: ManualClock) -> None:
    early = Script(clock, (3600, False), (0.1, True))
    assert wait_patiently(early.wait, 10, clock)
    at_the_end = Script(clock, *[(None, False)] * 7, (3600, False), (0.1, True))
    assert wait_patiently(at_the_end.wait, 10, clock)
    in_vain = Script(clock, *[(3600, False)] * 9)
    assert not wait_patiently(in_vain.wait, 10, clock)


# -- the clock of many ----------------------------------------------------------------------------------------------


def test_heard_time_is_ordinary_time_for_who_looks_when_it_was_planned(clock: ManualClock) -> None:
    heard = HeardTime(1, clock)
    began = heard.read()
    for _ in range(100):
        heard.expect_look(2)
        clock.now += 2.05  # timers are a little late
        assert heard.look()
    assert heard.read() - began == pytest.approx(205)


def test_heard_time_stands_still_in_a_stall_and_nobody_is_judged_right_behind_it(clock: ManualClock) -> None:
    heard = HeardTime(1, clock)
    heard.expect_look(2)
    clock.now += 500
    at_most = heard.read()
    assert at_most == pytest.approx(2.1)
    assert not heard.look() and heard.read() == at_most
    assert heard.until(1) == pytest.approx(1)
    assert heard.until(at_most + 7) == pytest.approx(7)
    heard.expect_look(0.5)
    clock.now += 0.5
    assert not heard.look()
    heard.expect_look(0.5)
    clock.now += 0.5
    assert heard.look() and heard.read() == pytest.approx(at_most + 1)


# -- in the reactors ------------------------------------------------------------------------------------------------


def hold(seconds: float) -> None:
    """Use the thread up, and gevent's hub with it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def on_clock(reactor: Any, action: Callable[[], None]) -> None:
    """Have something done where timers fire: none does meanwhile, however slow the machine is."""
    reactor.call_later(0.0, action)


def test_a_reactors_time_outs_wait_for_what_has_come_while_its_clock_was_held(reactor: Any) -> None:
    fired: list[tuple[str, float]] = []
    woke: list[float] = []

    def begin() -> None:
        reactor.call_later(0.4, lambda: fired.append(("ordinary", sleepless_clock())))
        reactor.expire_after(0.4, lambda: fired.append(("patient", sleepless_clock())))
        hold(0.6)
        woke.append(sleepless_clock())

    on_clock(reactor, begin)
    eventually(lambda: len(fired) == 2, "both")
    assert [name for name, _ in fired] == ["ordinary", "patient"]
    assert fired[1][1] >= woke[0] + 0.3 - 0.01  # one of four pieces is gone


def test_a_reactors_time_out_can_be_cancelled(reactor: Any) -> None:
    fired: list[str] = []
    timers: list[Any] = []

    def cancel() -> None:
        timers[0].cancel()

    def begin() -> None:
        reactor.call_later(0.15, cancel)  # in its second piece, and before its end in any case
        timers.append(reactor.expire_after(0.2, lambda: fired.append("cancelled")))
        reactor.expire_after(0.3, lambda: fired.append("other"))

    on_clock(reactor, begin)
    eventually(lambda: "other" in fired, "the other")
    assert fired == ["other"]
