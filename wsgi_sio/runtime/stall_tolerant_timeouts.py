"""Time-outs of what others are to do, judged only by time in which they could have been heard.

A process may stand still: SIGSTOP, a suspended machine, a blocked hub, a long garbage collection.  What others sent
meanwhile lies in the kernel, while on the clock their time is over.  So the time of a time-out is counted in pieces,
each from when the end of the one before was noticed: a stall, however long, costs one piece.  And nothing is judged
right behind a stall, lest that comes before what has arrived is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from .timer_queue import Timer

# On Linux the monotonic clock stands still while the machine sleeps, on macOS only Python's own choice of it does.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))

# In how many pieces a time-out is counted, and how long the shortest is (seconds).
PIECES = 8
_SHORTEST = 0.1

# How late a timer may be before it counts as a stall (seconds).
LATE = 0.1


def sleepless_clock() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def pieces(seconds: float) -> tuple[int, float]:
    """In how many a time-out is counted, and how long each is."""
    count = min(PIECES, int(seconds / _SHORTEST)) or 1
    return count, seconds / count


class PatientTimer:
    """Calls back once others have had ``seconds`` in which they could be heard.

    :param call_later: the reactor's.
    :param clock: in seconds; tests bring their own.
    """

    __slots__ = ("_call_later", "_callback", "_clock", "_due", "_left", "_length", "_timer")

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], Timer],
        seconds: float,
        callback: Callable[[], None],
        clock: Callable[[], float] = sleepless_clock,
    ) -> None:
        self._call_later = call_later
        self._callback: Callable[[], None] | None = callback
        self._clock = clock
        self._left, self._length = pieces(seconds)
        self._wait()

    def cancel(self) -> None:
        """Forget the callback; harmless when it has already run."""
        self._callback = None
        self._timer.cancel()

    def _wait(self) -> None:
        self._due = self._clock() + self._length
        timer = self._timer = self._call_later(self._length, self._passed)
        if self._callback is None:  # cancelled meanwhile
            timer.cancel()

    def _passed(self) -> None:
        if self._callback is None:
            return
        self._left -= 1
        stalled = self._clock() > self._due + LATE
        if self._left > 0 or (self._left == 0 and stalled):
            self._wait()
            return
        callback, self._callback = self._callback, None
        callback()


def wait_patiently(
    wait: Callable[[float | None], bool], seconds: float | None, clock: Callable[[], float] = sleepless_clock
) -> bool:
    """Wait until something has come from others, or they have had ``seconds`` in which they could be heard.

    :param wait: waits for up to so many seconds (None: for ever), and tells whether it has come: that of an event.
    :param clock: in seconds; tests bring their own.
    :return: whether it has come.
    """
    if seconds is None:
        return wait(None)
    count, length = pieces(seconds)
    due = 0.0
    for _ in range(count):
        due = clock() + length
        if wait(length):
            return True
    return clock() > due + LATE and wait(length)


class HeardTime:
    """A clock for many time-outs: seconds in which others could be heard, by somebody who looks at it in time.

    Guarded by whoever uses it.

    :param grace: seconds after a stall in which nobody is to be judged.
    :param clock: in seconds; tests bring their own.
    """

    __slots__ = ("_allowed", "_clock", "_grace", "_heard", "_judges_from", "_looked", "_stalled")

    def __init__(self, grace: float, clock: Callable[[], float] = sleepless_clock) -> None:
        self._grace = grace
        self._clock = clock
        self._heard = 0.0
        self._looked = clock()
        self._allowed = inf
        self._stalled = False
        self._judges_from = self._looked

    def read(self) -> float:
        """The time."""
        return self._heard + min(self._clock() - self._looked, self._allowed)

    def expect_look(self, delay: float) -> None:
        """The next :meth:`look` is due in ``delay`` seconds: what passes beyond that was a stall."""
        self._allowed = self._clock() - self._looked + delay + LATE

    def look(self) -> bool:
        """Count the time since the last look; whether others may be judged by it."""
        self._heard = self.read()
        now = self._clock()
        stalled = now - self._looked > self._allowed
        self._looked = now
        if stalled and not self._stalled:  # who is late all the time has to judge some time
            self._judges_from = now + self._grace
        self._stalled = stalled
        return now >= self._judges_from

    def until(self, moment: float) -> float:
        """Seconds before those whose time is over at ``moment`` may be judged."""
        return max(moment - self.read(), self._judges_from - self._clock())
