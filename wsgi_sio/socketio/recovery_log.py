"""EventLog: the latest events of a namespace, for clients that come back and have missed some."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .adapter import BroadcastOptions, Room

# What an event weighs beside its payload (bytes), so that a million tiny ones are not for free.
_OVERHEAD = 512


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event that may have to be sent again."""

    since: float
    size: int
    batch: list[Any]
    rooms: frozenset[Room]
    except_: frozenset[Room]

    def is_for(self, rooms: frozenset[Room]) -> bool:
        """Whether whoever is in ``rooms`` gets it."""
        return not (self.rooms and self.rooms.isdisjoint(rooms)) and self.except_.isdisjoint(rooms)


class EventLog:
    """The latest events in order, each with an offset; guarded by its owner's lock.

    :param max_stored: bytes that are kept at most.
    """

    def __init__(self, max_stored: int) -> None:
        self._max_stored = max_stored
        self._entries: deque[_Entry] = deque()
        self._size = 0
        self._first = 0  # the number of the oldest entry
        self._prefix = f"{secrets.token_urlsafe(6)}."  # no offset of another log, or another life of this, is one here

    def next_offset(self) -> str:
        """The offset of what is appended next."""
        return f"{self._prefix}{self._first + len(self._entries):x}"

    def append(self, batch: list[Any], options: BroadcastOptions) -> None:
        """Remember an encoded event, and forget the oldest when that is too much."""
        size = _OVERHEAD + sum(packet.size for packet in batch)
        self._entries.append(_Entry(time.monotonic(), size, batch, options.rooms, options.except_))
        self._size += size
        while self._entries and self._size > self._max_stored:
            self._drop_oldest()

    def drop_until(self, expired: float) -> float | None:
        """Forget what was appended until ``expired``, by the monotonic clock; when the oldest of the rest was."""
        while self._entries:
            oldest = self._entries[0].since
            if oldest > expired:
                return oldest
            self._drop_oldest()
        return None

    def clear(self) -> None:
        """Forget everything."""
        while self._entries:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._size -= self._entries.popleft().size
        self._first += 1

    def after(self, offset: str) -> Iterator[_Entry] | None:
        """What followed ``offset``; None when not all of that is known any more, or the offset is not of this log."""
        try:
            number = int(offset.removeprefix(self._prefix), 16) + 1 - self._first
        except ValueError:
            return None
        if not offset.startswith(self._prefix) or not 0 <= number <= len(self._entries):
            return None
        return islice(self._entries, number, None)
