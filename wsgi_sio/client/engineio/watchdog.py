"""Notices that the server has gone silent, and that this machine has slept (Engine.IO protocol, "Heartbeat")."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...runtime import Reactor, Timer

# On Linux the monotonic clock stands still while the machine sleeps, on macOS only Python's own choice of it does.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def sleepless_clock() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class Watchdog:
    """Calls ``on_silence`` when nobody has called :meth:`feed` for too long.

    :param on_silence: called on a reactor's thread; must not block.
    :param clock: in seconds; tests bring their own.
    """

    __slots__ = ("_clock", "_deadline", "_on_silence", "_patience", "_reactor", "_running", "_timer")

    def __init__(
        self,
        reactor: Reactor,
        on_silence: Callable[[], object],
        clock: Callable[[], float] = sleepless_clock,
    ) -> None:
        self._reactor = reactor
        self._on_silence = on_silence
        self._clock = clock
        self._patience = 0.0
        self._deadline = 0.0
        self._running = False
        self._timer: Timer | None = None

    def start(self, patience: float) -> None:
        """Begin to watch; ``patience`` is in seconds."""
        self._patience = patience
        self._running = True
        self.feed()
        self._watch()

    def feed(self) -> None:
        """The server has been heard."""
        self._deadline = self._clock() + self._patience

    @property
    def expired(self) -> bool:
        """Whether the server has been silent for too long, or should have been heard while the machine slept."""
        return self._running and self._clock() > self._deadline

    def stop(self) -> None:
        """Watch no longer."""
        self._running = False
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _watch(self) -> None:
        timer = self._timer = self._reactor.call_later(max(0.001, self._deadline - self._clock()), self._check)
        if not self._running:  # stopped meanwhile
            timer.cancel()

    def _check(self) -> None:
        if self.expired:
            self._on_silence()
        elif self._running:
            self._watch()  # fed meanwhile: a ping costs no timer
