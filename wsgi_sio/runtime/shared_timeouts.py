"""Time-outs of equal length of very many: each costs an entry in a dict, and one timer serves all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Generic, TypeVar

from .locks import Rank, make_lock
from .stall_tolerant_timeouts import HeardTime, pieces, sleepless_clock
from .timer_queue import Timer

# How soon the next look may be (seconds): differences between clocks are not to make it turn on the spot.
_SOONEST = 0.001

Key = TypeVar("Key")


class SharedTimeouts(Generic[Key]):
    """Calls ``expire`` with who has been in here for ``seconds`` in which it could be heard (see
    stall_tolerant_timeouts.py); it has been taken out before.

    What has come by then is read first where a stall came before, so a time-out may come an eighth of its time late.

    :param call_later: the reactor's.
    :param expire: must not block.
    :param clock: in seconds; tests bring their own.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], Timer],
        seconds: float,
        expire: Callable[[Key], None],
        clock: Callable[[], float] = sleepless_clock,
    ) -> None:
        self._call_later = call_later
        self._seconds = seconds
        self._expire = expire
        _, self._step = pieces(seconds)
        self._heard = HeardTime(self._step, clock)
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._deadlines: dict[Key, float] = {}  # in heard time; sorted, for all are of equal length
        self._looking = False

    def start(self, key: Key) -> None:
        """Begin to wait for ``key``, unless it is being waited for."""
        with self._lock:
            if not self._looking:
                self._heard.look()  # nobody has for a while, nor had to
            self._deadlines.setdefault(key, self._heard.read() + self._seconds)
            look, self._looking = not self._looking, True
        if look:
            self._look_soon()

    def cancel(self, key: Key) -> None:
        """Wait for it no more; harmless when it is not being waited for."""
        with self._lock:
            self._deadlines.pop(key, None)

    def _look_soon(self) -> None:
        with self._lock:
            first = next(iter(self._deadlines.values()), self._heard.read() + self._seconds)
            delay = max(_SOONEST, min(self._step, self._heard.until(first)))
            self._heard.expect_look(delay)
        try:
            self._call_later(delay, self._look)
        except BaseException:  # no thread for the clock, or a signal handler's
            self._looking = False  # who came meanwhile is looked after with the next thread: see call_later()
            raise

    def _look(self) -> None:
        with self._lock:
            due: list[Key] = []
            if self._heard.look():
                now = self._heard.read()
                due = [key for key, _ in takewhile(lambda entry: entry[1] <= now, self._deadlines.items())]
            for key in due:
                del self._deadlines[key]
        try:
            while due:
                self._expire(due.pop(0))
        finally:  # whatever has interrupted it, the others have their turn yet
            with self._lock:
                if due:
                    self._deadlines = {**dict.fromkeys(due, 0.0), **self._deadlines}
                goes_on = self._looking = bool(self._deadlines)
            if goes_on:
                self._look_soon()
