"""One timer for all sessions: a ping after each quiet interval, and the end for who does not answer.

The interval is the same for everybody, so the order in which sessions were entered is the order in which they are due:
two dicts, always sorted, and every change costs O(1).

Pings are due by the clock; the silence of a client is measured in time in which it could have been heard.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from math import inf
from typing import Protocol

from ..runtime import PIECES, HeardTime, Rank, Reactor, make_lock, sleepless_clock
from .transport import Transport

# How soon the next tick may be (seconds): differences between clocks are not to make it turn on the spot.
_SOONEST = 0.001


class Pinged(Protocol):
    """A :class:`Session`.

    :ivar pong_awaited: whether its client has been pinged, and nothing has come since.
    """

    pong_awaited: bool
    transport: Transport

    @property
    def paused(self) -> bool: ...

    def ping(self) -> None: ...

    def close(self, reason: str, *, abort: bool) -> bool: ...


class Heartbeat:
    """Pings sessions ``interval`` seconds after their last pong and ends those silent for ``timeout`` more.

    While pongs are awaited it ticks often enough to notice that the process has stood still; they come in milliseconds,
    so that is seldom.

    :param clock: in seconds; tests bring their own.
    """

    def __init__(
        self, reactor: Reactor, interval: float, timeout: float, clock: Callable[[], float] = sleepless_clock
    ) -> None:
        self._reactor = reactor
        self._interval = interval
        self._timeout = timeout
        self._clock = clock
        # Pinging a little late lets one wake-up serve many sessions.
        self._slack = min(0.05, interval / 20, timeout / 20)
        self._step = timeout / PIECES
        self._heard = HeardTime(self._step, clock)
        self._lock = make_lock(Rank.LEAF)
        self._due: dict[Pinged, float] = {}  # by the clock
        self._awaited: dict[Pinged, float] = {}  # in heard time
        self._armed_for = inf
        self._generation = 0

    def start(self, session: Pinged) -> None:
        """Begin (or begin again) the wait for the session's next ping."""
        with self._lock:
            self._awaited.pop(session, None)
            self._due.pop(session, None)
            deadline = self._due[session] = self._clock() + self._interval
            session.pong_awaited = False
            earlier = deadline + self._slack < self._armed_for
        if earlier:
            self._arm()

    def stop(self, session: Pinged) -> None:
        """Forget the session: it has ended, or nothing is read from it for a while."""
        with self._lock:
            self._due.pop(session, None)
            self._awaited.pop(session, None)
            session.pong_awaited = False

    def extend(self, session: Pinged) -> None:
        """Something else came before the pong, which must be on its way: wait anew, once for each ping."""
        with self._lock:
            if self._awaited.pop(session, None) is not None:
                self._awaited[session] = self._heard.read() + self._timeout
            session.pong_awaited = False

    def _arm(self) -> None:
        with self._lock:
            now = self._clock()
            next_ping = next(iter(self._due.values()), inf) + self._slack - now
            next_end = self._heard.until(next(iter(self._awaited.values()), inf))
            delay = max(_SOONEST, min(next_ping, next_end, self._step if self._awaited else inf))
            self._heard.expect_look(delay)
            self._armed_for = now + delay
            if delay == inf:
                return
            self._generation += 1
            generation = self._generation
        self._reactor.call_later(delay, lambda: self._tick(generation))

    def _tick(self, generation: int) -> None:
        if generation != self._generation:
            return  # a later call of _arm has replaced this timer
        with self._lock:
            silent = list(_take_due(self._awaited, self._heard.read())) if self._heard.look() else []
            to_ping = list(_take_due(self._due, self._clock()))
            deadline = self._heard.read() + self._timeout
            for session in to_ping:
                self._awaited[session] = deadline
                session.pong_awaited = True
        try:
            for session in silent:
                if session.paused or session.transport.unread:  # its pong may well have come, only nobody has read it
                    self.start(session)
                else:
                    session.close("ping timeout", abort=True)
            for session in to_ping:
                session.ping()
        finally:
            self._arm()


def _take_due(queue: dict[Pinged, float], now: float) -> dict[Pinged, float]:
    due = dict(takewhile(lambda entry: entry[1] <= now, queue.items()))
    for session in due:
        del queue[session]
    return due
