"""Which siblings have been handed a client and have not yet said that they have taken it."""

from __future__ import annotations

from time import monotonic
from weakref import WeakKeyDictionary

from ...runtime import Rank, make_lock
from ...siblings import Link

# How long a handover may be under way before its sibling is given no more (seconds): as a rule it takes a millisecond.
_PATIENCE = 0.25


class Handed:
    """See the module's text; a sibling that stands still looks like the least loaded of all, otherwise."""

    def __init__(self) -> None:
        self._lock = make_lock(Rank.LEAF)
        self._under_way: WeakKeyDictionary[Link, tuple[int, float]] = WeakKeyDictionary()  # how many, since when

    def add(self, link: Link) -> None:
        """A client is about to be handed over."""
        with self._lock:
            number, since = self._under_way.get(link, (0, monotonic()))
            self._under_way[link] = number + 1, since

    def taken(self, link: Link) -> None:
        """The sibling has taken one, or it has come back."""
        with self._lock:
            number, _ = self._under_way.pop(link, (0, 0.0))
            if number > 1:
                self._under_way[link] = number - 1, monotonic()

    def waits(self, link: Link) -> bool:
        """Whether one has been under way for long."""
        found = self._under_way.get(link)
        return found is not None and monotonic() - found[1] > _PATIENCE
