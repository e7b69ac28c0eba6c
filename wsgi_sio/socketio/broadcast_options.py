"""Whom a broadcast is for: rooms, and the other options that say so, as values that adapters pass on."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple

# Any value but None that is no iterable, which would name several; strings and bytes are one each.
Room = Hashable

# The rooms of a broadcast that names rooms, but an empty list of them: what this holds can be joined by nobody.
NOBODY: Final[frozenset[Room]] = frozenset([object()])


class BroadcastOptions(NamedTuple):
    """Whom a broadcast is for: the union of ``rooms`` (none: everybody) without ``except_``; and how.

    :ivar timeout: seconds to wait for acknowledgements.
    :ivar posted: whether who gives it to the adapter must not wait: a reader has the next message to read.
    """

    rooms: frozenset[Room] = frozenset()
    except_: frozenset[Room] = frozenset()
    local: bool = False
    volatile: bool = False
    compress: bool = True
    timeout: float | None = None
    posted: bool = False

    @property
    def stays_here(self) -> bool:
        """Whether no other server need know of it: it is only for clients of this one, or for nobody."""
        return self.local or self.rooms is NOBODY


EVERYBODY = BroadcastOptions()


def as_rooms(rooms: Room | Iterable[Room]) -> frozenset[Room]:
    """One room, several, or (an empty iterable) none.

    :raises TypeError: None, which names no room, or a value that cannot be hashed.
    """
    if isinstance(rooms, (str, bytes)):
        return frozenset([rooms])
    if rooms is None:
        raise TypeError("None is not a room; an empty list names none")
    return frozenset(rooms if isinstance(rooms, Iterable) else [rooms])
