"""One timer for all sessions: a ping after each quiet interval, and the end for who does not answer.

The interval is the same for everybody, so the order in which sessions were entered is the order in which they are due:
two dicts, always sorted, and every change costs O(1).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from ..runtime import Rank, Reactor, make_lock

if TYPE_CHECKING:
    from .session import Session


class Heartbeat:
    """Pings sessions ``interval`` seconds after their last pong and ends those silent for ``timeout`` more.

    :param clock: the monotonic clock, in seconds; tests bring their own.
    """

    def __init__(
        self, reactor: Reactor, interval: float, timeout: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._reactor = reactor
        self._interval = interval
        self._timeout = timeout
        self._clock = clock
        # Pinging a little late lets one wake-up serve many sessions.
        self._slack = min(0.05, interval / 20, timeout / 20)
        self._lock = make_lock(Rank.LEAF)
        self._due: dict[Session, float] = {}
        self._awaited: dict[Session, float] = {}
        self._armed_for = inf
        self._generation = 0

    def start(self, session: Session) -> None:
        """Begin (or begin again) the wait for the session's next ping."""
        with self._lock:
            self._awaited.pop(session, None)
            self._due.pop(session, None)
            deadline = self._due[session] = self._clock() + self._interval
            session.pong_awaited = False
            earlier = deadline < self._armed_for
        if earlier:
            self._arm()

    def stop(self, session: Session) -> None:
        """Forget the session: it has ended, or nothing is read from it for a while."""
        with self._lock:
            self._due.pop(session, None)
            self._awaited.pop(session, None)
            session.pong_awaited = False

    def extend(self, session: Session) -> None:
        """Something else came before the pong, which must be on its way: wait anew, once for each ping."""
        with self._lock:
            if self._awaited.pop(session, None) is not None:
                self._awaited[session] = self._clock() + self._timeout
            session.pong_awaited = False

    def _arm(self) -> None:
        with self._lock:
            next_ping = next(iter(self._due.values()), inf)
            next_end = next(iter(self._awaited.values()), inf)
            self._armed_for = min(next_ping, next_end)
            if self._armed_for == inf:
                return
            self._generation += 1
            generation = self._generation
            delay = max(0.0, min(next_ping + self._slack, next_end) - self._clock())
        self._reactor.call_later(delay, lambda: self._tick(generation))

    def _tick(self, generation: int) -> None:
        if generation != self._generation:
            return  # a later call of _arm has replaced this timer
        with self._lock:
            now = self._clock()
            silent = list(_take_due(self._awaited, now))
            to_ping = _take_due(self._due, now)
            for session, due in to_ping.items():
                self._awaited[session] = due + self._timeout  # that the ping went out late is not to be noticed
                session.pong_awaited = True
        try:
            for session in silent:
                if session.paused:  # its pong may well have come, only nobody reads
                    self.start(session)
                else:
                    session.close("ping timeout", abort=True)
            for session in to_ping:
                session.ping()
        finally:
            self._arm()


def _take_due(queue: dict[Session, float], now: float) -> dict[Session, float]:
    due = dict(takewhile(lambda entry: entry[1] <= now, queue.items()))
    for session in due:
        del queue[session]
    return due
