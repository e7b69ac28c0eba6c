"""The report of an outage: one line when a bus ceases to work, and one when it works again."""

from __future__ import annotations

import logging
import random
import time

from ...logtext import one_line
from ...runtime import Rank, Reactor, make_lock

logger = logging.getLogger("wsgi_sio.bus")

# The waits between attempts to reach a bus again, in seconds: the first, and the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 3.0
# For how long a bus works again before that is believed (seconds), so that a flickering one is told of once.
_STEADY = 1.0


class Outage:
    """Tells when a bus does not work, once, and when it does again, with what was lost meanwhile.

    :param where: the bus, as the log may show it.
    """

    def __init__(self, reactor: Reactor, where: str) -> None:
        self._reactor = reactor
        self._where = where
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._failing: set[str] = set()
        self._since: float | None = None
        self._turns = 0  # how often something has begun or ceased to work
        self._lost = 0
        self.total_lost = 0

    @property
    def lasts(self) -> bool:
        """Whether something does not work just now."""
        return bool(self._failing)

    def failed(self, part: str, error: object) -> None:
        """A part (the publisher, the reader...) does not work."""
        with self._lock:
            self._turns += 1
            self._failing.add(part)
            begins = self._since is None
            if begins:
                self._since = time.monotonic()
        if begins:
            logger.warning(
                "%s does not work (%s): until it does, clients of other servers get nothing from this one, or late",
                self._where,
                one_line(f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)),
            )

    def works(self, part: str) -> None:
        """It works again."""
        with self._lock:
            if part not in self._failing:
                return
            self._failing.discard(part)
            self._turns += 1
            turn, over = self._turns, not self._failing
        if over:
            self._reactor.call_later(_STEADY, lambda: self._end(turn))

    def lost(self, count: int) -> None:
        """So many messages have been lost, or nobody knows whether they arrived."""
        with self._lock:
            self._lost += count
            self.total_lost += count

    def _end(self, turn: int) -> None:
        with self._lock:
            if turn != self._turns or self._since is None:
                return  # it has failed again
            seconds, self._since = time.monotonic() - _STEADY - self._since, None
            lost, self._lost = self._lost, 0
        logger.warning(
            "%s works again after %.1f s: %s that this server published then",
            self._where,
            max(0.0, seconds),
            f"{lost} messages were lost (or nobody knows) of those" if lost else "nothing was lost",
        )


def wait_before(attempt: int) -> float:
    """Seconds to wait before a bus is tried again, after ``attempt`` failures; not the same for all who do."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(attempt, 20)) * random.uniform(0.5, 1.0)
