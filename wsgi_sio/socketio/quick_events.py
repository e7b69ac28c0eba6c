"""Which events are handled so quickly that the acknowledgements of those before them may wait, and leave with theirs.

Only what has been seen to be quick counts as such, so that a handler that computes, or blocks, holds up nothing that
was ready before it.
"""

from __future__ import annotations

# How long the handling of such an event takes at most (seconds).
QUICK = 0.0005
# So many names are remembered: clients may send as many different ones as they like, where there is a catch-all.
_MOST = 1000


class QuickEvents:
    """The names of such events in a namespace; from any thread."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: set[str] = set()

    def note(self, event: str, quick: bool) -> None:
        """How an event has been handled the last time."""
        if not quick:
            self.names.discard(event)
        elif len(self.names) < _MOST:
            self.names.add(event)
        else:
            self.names = {event}
