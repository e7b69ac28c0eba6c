"""A clock that only the test moves, with a reactor's timers by it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from wsgi_sio.runtime.stall_tolerant_timeouts import PatientTimer


class Pending:
    """A timer that has not fired."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Called, it tells the time; and it stands in for a reactor of which only timers are wanted.

    :ivar ticks: how many timers have fired.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.ticks = 0
        self._timers: list[tuple[float, int, Pending]] = []
        self._order = count()

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Pending:
        assert delay >= 0
        timer = Pending(self.now + delay, callback)
        heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def expire_after(self, seconds: float, callback: Callable[[], None]) -> PatientTimer:
        return PatientTimer(self.call_later, seconds, callback, self)

    @property
    def pending(self) -> list[Pending]:
        """The timers that are to fire."""
        return [timer for *_, timer in self._timers if not timer.cancelled]

    def advance(self, seconds: float) -> None:
        """Time passes, and every timer fires when it is due; one that was due before fires at once."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heappop(self._timers)
            if not timer.cancelled:
                self.now = max(self.now, due)
                self.ticks += 1
                timer.callback()
        self.now = max(self.now, end)

    def stall(self, seconds: float) -> None:
        """Time passes, and nothing happens: timers that were due fire behind it, late."""
        self.now += seconds
