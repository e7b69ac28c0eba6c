"""Which events are handled so quickly that the acknowledgements of those before them may wait, and leave with theirs.

Only what has been quick again and again counts as such, so that a handler that computes, or blocks, holds up nothing
that was ready before it.
"""

from __future__ import annotations

from typing import Any

# How long the handling of such an event takes at most (seconds), and how often in a row it has to have been so quick.
_QUICK, _IN_A_ROW = 0.0005, 10
# So many names are remembered, and none that is longer than so many characters: clients may send any names they like.
_MOST, _LONGEST = 1000, 100


class QuickEvents:
    """The names of such events in a namespace; from any thread."""

    __slots__ = ("_in_a_row", "names")

    def __init__(self) -> None:
        self.names: set[Any] = set()
        self._in_a_row: dict[Any, int] = {}

    def note(self, event: Any, seconds: float) -> None:
        """An event, which may be a number, has been handled in that time."""
        if seconds >= _QUICK:
            self.names.discard(event)
            self._in_a_row.pop(event, None)
        elif event not in self.names:
            self._count(event)

    def _count(self, event: Any) -> None:
        times = self._in_a_row.pop(event, 0) + 1
        if len(str(event)) > _LONGEST:
            return
        if times < _IN_A_ROW:
            if len(self._in_a_row) >= _MOST:
                self._in_a_row.clear()
            self._in_a_row[event] = times
        else:
            if len(self.names) >= _MOST:
                self.names.clear()
            self.names.add(event)
