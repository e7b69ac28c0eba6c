"""What a wish to connect has come to, for those who wait in ``connect()``, however late they wake."""

from __future__ import annotations

from ..runtime import make_event


class Decision:
    """Made once; the next wish begins another. Guarded by the socket's lock.

    :ivar failure: why there is no connection; None when there is one.
    """

    __slots__ = ("failure", "made")

    def __init__(self) -> None:
        self.made = make_event()
        self.failure: Exception | None = None

    def make(self, failure: Exception | None) -> None:
        """Tell everyone; the first to do so counts."""
        if not self.made.is_set():
            self.failure = failure
            self.made.set()
