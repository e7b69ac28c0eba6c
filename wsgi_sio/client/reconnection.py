"""Reconnecting: whether there is another attempt, how long to wait for it, and what is told of those that failed."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from ..exceptions import ConnectionFailed, TimedOut
from ..logtext import one_line
from ..runtime import Timer
from .options import ClientOptions

logger = logging.getLogger("wsgi_sio.client.outage")

# How much of a failure's text is shown, the server's words included (characters).
_SHOWN = 300
# Beyond, the doubling would only make numbers that the maximum cuts anyway.
_MOST_DOUBLINGS = 63


class Reconnection:
    """Whether, when and how often a manager tries again. All but its settings is guarded by the manager's lock.

    :ivar wanted: whether it does.
    :ivar attempts: how often before it gives up; None for ever.
    :ivar backoff: how long it waits for each.
    :ivar outage: why there is no connection.
    :ivar under_way: from the loss of a connection until there is another, or no hope of one.
    :ivar awaited: the timer of the next attempt.
    :ivar number: counts whatever makes an awaited attempt obsolete.
    """

    __slots__ = ("attempts", "awaited", "backoff", "number", "outage", "under_way", "wanted")

    def __init__(self, options: ClientOptions, who: object) -> None:
        self.wanted = options.reconnection
        self.attempts = options.reconnection_attempts
        self.backoff = Backoff(options.reconnection_delay, options.reconnection_delay_max, options.randomization_factor)
        self.outage = Outage(self, who)
        self.under_way = False
        self.awaited: Timer | None = None
        self.number = 0

    def after_fork(self, who: object) -> None:
        """In a forked child: await nothing."""
        self.outage = Outage(self, who)
        self.under_way = False
        self.begin_locked()

    def begin_locked(self) -> Timer | None:
        """An attempt begins, or there is none to come; the timer of the one that is not awaited any more."""
        self.number += 1
        awaited, self.awaited = self.awaited, None
        return awaited

    def succeeded_locked(self) -> int:
        """There is a connection; at which attempt."""
        attempts = self.backoff.attempts
        self.end_locked()
        return attempts

    def end_locked(self) -> None:
        """There is a connection, or nobody wants one any more."""
        self.under_way = False
        self.backoff.reset()
        self.outage.end()

    def next_locked(self, wanted: bool) -> tuple[int, float] | None:
        """The number of the next attempt and the seconds before it; None if it is not ``wanted``, or one too many."""
        if not wanted or (self.attempts is not None and self.backoff.attempts >= self.attempts):
            self.backoff.reset()
            return None
        self.under_way = True
        self.number += 1
        return self.number, self.backoff.next_delay()


class Backoff:
    """Delays that double with each attempt and are spread at random, so that a server's clients come back one by one.

    The deviation from the doubled delay is uniform in [0, ``jitter`` times the delay), up or down alike.

    :ivar attempts: how many delays have been given since the last :meth:`reset`.
    :param delay: the first delay, in seconds, before it is spread.
    :param most: no delay is longer (seconds).
    :param jitter: 0 to 1.
    :param rand: gives numbers from [0, 1).
    """

    __slots__ = ("attempts", "delay", "jitter", "most", "rand")

    def __init__(self, delay: float, most: float, jitter: float, rand: Callable[[], float] = random.random) -> None:
        self.delay = delay
        self.most = most
        self.jitter = jitter
        self.rand = rand
        self.attempts = 0

    def next_delay(self) -> float:
        """Count one more attempt, and return how many seconds to wait for it."""
        delay = self.delay * (1 << min(self.attempts, _MOST_DOUBLINGS))
        self.attempts += 1
        if self.jitter:
            drawn = self.rand()
            deviation = drawn * self.jitter * delay
            # As the reference does it: one number gives both, its first decimal the direction.
            delay += deviation if int(drawn * 10) % 2 else -deviation
        return min(delay, self.most)

    def reset(self) -> None:
        """A connection has been made: begin anew."""
        self.attempts = 0


class Outage:
    """The failed attempts since there was a connection: the first is a warning, the others are logged at DEBUG.

    :ivar cause: the last failure; None before one, and while all is well.
    """

    __slots__ = ("_reconnection", "_told", "_who", "cause")

    def __init__(self, reconnection: Reconnection, who: object) -> None:
        self._reconnection = reconnection
        self._who = who
        self._told = False
        self.cause: Exception | None = None

    def end(self) -> None:
        """There is a connection, or nobody wants one any more. Under the manager's lock."""
        self._told = False
        self.cause = None

    def goes_on(self, delay: float) -> None:
        """An attempt has failed; the next one follows in ``delay`` seconds."""
        who, cause = self._who, self.cause
        if cause is None or self._told:
            logger.debug("%r: no connection: %s; next attempt in %.1f s", who, _show(cause), delay)
            return
        self._told = True
        most = self._reconnection.attempts
        logger.warning(
            "%r cannot connect: %s; it tries again in %.1f s, later every %g s at most, %s; from now on failures are"
            " logged at DEBUG",
            who, _show(cause), delay, self._reconnection.backoff.most,
            "until connect(timeout=) or reconnection_attempts= ends that" if most is None
            else f"up to reconnection_attempts={most}",
        )  # fmt: skip

    def stays(self) -> None:
        """An attempt has failed, and was the last."""
        plan = self._reconnection
        why = f"after reconnection_attempts={plan.attempts}" if plan.wanted else "at once"
        logger.warning("%r cannot connect, and gives up %s: %s", self._who, why, _show(self.cause))

    def timed_out(self, seconds: float) -> TimedOut:
        """The error for somebody who has waited in vain so long."""
        error = TimedOut(f"not connected within {seconds:g} s: {_show(self.cause)}")
        error.__cause__ = self.cause
        return error


def _show(cause: Exception | None) -> str:
    if cause is None:
        return "the server has not answered"
    said = cause.context if isinstance(cause, ConnectionFailed) else None
    return one_line(f"{cause}: {said}" if said else str(cause), _SHOWN)


class ReconnectionOptions:
    """The options of reconnecting that may be changed at any time, for whoever reconnects."""

    _reconnection: Reconnection

    def _stop_reconnecting(self) -> None:
        raise NotImplementedError

    @property
    def reconnection(self) -> bool:
        """Whether a lost connection is made again; set to False, it also stops an attempt that is still waiting."""
        return self._reconnection.wanted

    @reconnection.setter
    def reconnection(self, wanted: bool) -> None:
        self._reconnection.wanted = wanted
        if not wanted:
            self._stop_reconnecting()

    @property
    def reconnection_attempts(self) -> int | None:
        """How often to try before giving up; None for ever."""
        return self._reconnection.attempts

    @reconnection_attempts.setter
    def reconnection_attempts(self, attempts: int | None) -> None:
        self._reconnection.attempts = attempts

    @property
    def reconnection_delay(self) -> float:
        """Seconds before the first attempt to reconnect."""
        return self._reconnection.backoff.delay

    @reconnection_delay.setter
    def reconnection_delay(self, seconds: float) -> None:
        self._reconnection.backoff.delay = seconds

    @property
    def reconnection_delay_max(self) -> float:
        """The longest wait between two attempts, in seconds."""
        return self._reconnection.backoff.most

    @reconnection_delay_max.setter
    def reconnection_delay_max(self, seconds: float) -> None:
        self._reconnection.backoff.most = seconds

    @property
    def randomization_factor(self) -> float:
        """How far a wait may be off: 0.5 for half as long to half as long again."""
        return self._reconnection.backoff.jitter

    @randomization_factor.setter
    def randomization_factor(self, factor: float) -> None:
        self._reconnection.backoff.jitter = factor
