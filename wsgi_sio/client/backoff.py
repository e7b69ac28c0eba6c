"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random
from collections.abc import Callable

# Beyond, the doubling would only make numbers that the maximum cuts anyway.
_MOST_DOUBLINGS = 63


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


class BackoffOptions:
    """The options of a back-off that may be changed at any time, for whoever has one."""

    _backoff: Backoff

    @property
    def reconnection_delay(self) -> float:
        """Seconds before the first attempt to reconnect."""
        return self._backoff.delay

    @reconnection_delay.setter
    def reconnection_delay(self, seconds: float) -> None:
        self._backoff.delay = seconds

    @property
    def reconnection_delay_max(self) -> float:
        """The longest wait between two attempts, in seconds."""
        return self._backoff.most

    @reconnection_delay_max.setter
    def reconnection_delay_max(self, seconds: float) -> None:
        self._backoff.most = seconds

    @property
    def randomization_factor(self) -> float:
        """How far a wait may be off: 0.5 for half as long to half as long again."""
        return self._backoff.jitter

    @randomization_factor.setter
    def randomization_factor(self, factor: float) -> None:
        self._backoff.jitter = factor
