"""Timers: what one is, and a heap of deadlines, which never looks at the clock itself, so tests drive it by hand."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Protocol

from .locks import Rank, make_lock

# A heap that is not worth sweeping.
_SMALL = 64


class Timer(Protocol):
    """A pending call."""

    def cancel(self) -> None:
        """Do not make the call; harmless when it has been made."""


class QueuedTimer:
    """One entry of a :class:`TimerQueue`."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callable[[], None]) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the callback; harmless when it has already run."""
        self.callback = None


class TimerQueue:
    """Timers in order of their deadline; safe to use from any thread."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, QueuedTimer]] = []
        self._sweep_at = _SMALL
        self._order = count()
        self._lock = make_lock(Rank.LEAF)

    def add(self, deadline: float, callback: Callable[[], None]) -> tuple[QueuedTimer, bool]:
        """Queue ``callback`` for ``deadline``; the second value tells whether it is now the first one due."""
        timer = QueuedTimer(deadline, callback)
        with self._lock:
            if len(self._heap) >= self._sweep_at:
                self._sweep_locked()
            heapq.heappush(self._heap, (deadline, next(self._order), timer))
            return timer, self._heap[0][2] is timer

    def _sweep_locked(self) -> None:
        """Drop the cancelled ones; done whenever the heap has doubled, it costs each timer a constant."""
        self._heap = [entry for entry in self._heap if entry[2].callback is not None]
        heapq.heapify(self._heap)
        self._sweep_at = max(_SMALL, 2 * len(self._heap))

    def next_deadline(self) -> float | None:
        """When the first live timer is due, or None; cancelled ones at the front are dropped on the way."""
        with self._lock:
            while self._heap and self._heap[0][2].callback is None:
                heapq.heappop(self._heap)
            return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Forget all: what they would call need not live until they are due."""
        with self._lock:
            heap, self._heap = self._heap, []
        for _, _, timer in heap:
            timer.cancel()

    def take_due(self, now: float) -> list[Callable[[], None]]:
        """Remove and return the callbacks that are due at ``now``, earliest first."""
        due = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                timer = heapq.heappop(self._heap)[2]
                if timer.callback is not None:
                    due.append(timer.callback)
                    timer.cancel()  # who has the timer may be whom it would call
        return due
