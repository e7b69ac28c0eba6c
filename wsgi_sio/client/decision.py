"""What a wish to connect has come to, for those who wait in ``connect()``, however late they wake."""

from __future__ import annotations

from ..runtime import make_event, wait_patiently
from .outage import Outage


class Decision:
    """Made once; the next wish begins another. Guarded by the socket's lock.

    :ivar failure: why there is no connection; None when there is one.
    :ivar retry: whether a failed attempt is to be followed by others.
    """

    __slots__ = ("failure", "made", "retry")

    def __init__(self, retry: bool) -> None:
        self.made = make_event()
        self.retry = retry
        self.failure: Exception | None = None

    @property
    def tries_once(self) -> bool:
        """Whether the attempt under way is the only one."""
        return not (self.retry or self.made.is_set())

    def following(self, retry: bool, lost: bool) -> Decision:
        """That of one more wish: this one, as long as it has not been made.

        :param lost: whether the connection is being made again already, which goes on.
        """
        decision = Decision(lost) if self.made.is_set() else self
        decision.retry |= retry
        return decision

    def wait(self, timeout: float | None, outage: Outage) -> None:
        """Block until it has been made.

        :param timeout: seconds; None for ever.
        :param outage: knows why it has not.
        :raises TimedOut: it has not.
        """
        if not wait_patiently(self.made.wait, timeout):
            raise outage.timed_out(timeout or 0)

    def make(self, failure: Exception | None) -> None:
        """Tell everyone; the first to do so counts."""
        if not self.made.is_set():
            self.failure = failure
            self.made.set()
