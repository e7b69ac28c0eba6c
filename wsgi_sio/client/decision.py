"""What a wish to connect has come to, for those who wait in ``connect()``, however late they wake."""

from __future__ import annotations

from ..exceptions import TimedOut
from ..runtime import make_event, wait_patiently


class Decision:
    """Made once; the next wish begins another. Guarded by the socket's lock.

    :ivar failure: why there is no connection; None when there is one.
    """

    __slots__ = ("failure", "made")

    def __init__(self) -> None:
        self.made = make_event()
        self.failure: Exception | None = None

    def wait(self, timeout: float | None) -> None:
        """Block until it has been made.

        :param timeout: seconds; None for ever.
        :raises TimedOut: it has not.
        """
        if not wait_patiently(self.made.wait, timeout):
            raise TimedOut(f"not connected within {timeout:g} s")

    def make(self, failure: Exception | None) -> None:
        """Tell everyone; the first to do so counts."""
        if not self.made.is_set():
            self.failure = failure
            self.made.set()
