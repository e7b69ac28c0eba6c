"""What waits until the server can be reached, in order, and perhaps not without bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from ..exceptions import Disconnected

Item = TypeVar("Item")

# Why an event fails that the policy drops.
DROPPED = "dropped from the full send buffer"


class Buffer(Generic[Item]):
    """A queue with a policy for when it is full. Not locked: that is its owner's business.

    :param limit: how many items may wait; None for any number.
    :param policy: ``raise``, ``drop_oldest`` or ``drop_newest``.
    """

    __slots__ = ("_items", "_limit", "_policy")

    def __init__(self, limit: int | None, policy: str) -> None:
        self._limit = limit
        self._policy = policy
        self._items: deque[Item] = deque()

    def add(self, item: Item, *, pinned: int = 0) -> Item | None:
        """Append ``item``.

        :param pinned: how many of the oldest items must not be dropped.
        :return: what the policy drops for it, perhaps ``item`` itself.
        :raises Disconnected: the buffer is full, and its policy is to raise.
        """
        if self._limit is None or len(self._items) < self._limit:
            self._items.append(item)
            return None
        if self._policy == "raise":
            raise Disconnected(f"not connected, and max_send_buffer={self._limit} events wait already")
        if self._policy == "drop_newest" or pinned >= len(self._items):
            return item
        oldest = self._items[pinned]
        del self._items[pinned]
        self._items.append(item)
        return oldest

    def put_back(self, items: Iterable[Item]) -> None:
        """Return what :meth:`take_all` gave, in front of what has come since; no policy applies."""
        self._items.extendleft(reversed(list(items)))

    def take_all(self) -> list[Item]:
        """Empty it."""
        items = list(self._items)
        self._items.clear()
        return items

    def discard(self, unwanted: Callable[[Item], bool]) -> None:
        """Forget the items for which ``unwanted`` is true."""
        if any(map(unwanted, self._items)):
            self._items = deque(item for item in self._items if not unwanted(item))

    def head(self) -> Item | None:
        """The oldest item, left in its place."""
        return self._items[0] if self._items else None

    def drop_head(self) -> None:
        """Forget the oldest item."""
        self._items.popleft()

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
