"""EventLog: the latest events of a namespace, for clients that come back and have missed some."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .broadcast_options import BroadcastOptions, Room

# What an event weighs beside its payload (bytes), so that a million tiny ones are not for free.
_OVERHEAD = 512


@dataclass(slots=True)
class Entry:
    """An event that may have to be sent again; not changed.

    :ivar origin: where it comes from, if others have it too, and its number there (cluster/workers/event_history.py).
    """

    since: float
    size: int
    batch: list[Any]
    rooms: frozenset[Room]
    except_: frozenset[Room]
    origin: str = ""
    seq: int = 0

    def is_for(self, rooms: frozenset[Room]) -> bool:
        """Whether whoever is in ``rooms`` gets it."""
        return not (self.rooms and self.rooms.isdisjoint(rooms)) and self.except_.isdisjoint(rooms)


class EventLog:
    """The latest events in order, each with an offset; guarded by its owner's lock.

    :param max_stored: bytes that are kept at most.
    :ivar name: no other log has it, nor another life of this one: no offset of theirs is one here.
    :ivar forgotten: the number at its origin of the latest entry that has been dropped.
    """

    def __init__(self, max_stored: int) -> None:
        self.name = secrets.token_urlsafe(6)
        self._max_stored = max_stored
        self._entries: deque[Entry] = deque()
        self._size = 0
        self._first = 0  # the number of the oldest entry
        self.forgotten = 0
        self._prefix = f"{self.name}."

    def tag(self, tag: str) -> None:
        """Put what names this process among others in front of all offsets from now on."""
        self._prefix = f"{tag}.{self.name}."

    @property
    def next(self) -> int:
        """The number of what is appended next."""
        return self._first + len(self._entries)

    def next_offset(self) -> str:
        """The offset of what is appended next."""
        return f"{self._prefix}{self._first + len(self._entries):x}"

    def offset_of(self, number: int) -> str:
        """The offset of the entry of that number."""
        return f"{self._prefix}{number:x}"

    def append(self, batch: list[Any], options: BroadcastOptions, origin: str = "", seq: int = 0) -> None:
        """Remember an encoded event, and forget the oldest when that is too much."""
        size = _OVERHEAD + sum(packet.size for packet in batch)
        self._entries.append(Entry(time.monotonic(), size, batch, options.rooms, options.except_, origin, seq))
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
        oldest = self._entries.popleft()
        self._size -= oldest.size
        self._first += 1
        self.forgotten = oldest.seq

    def after(self, offset: str) -> Iterator[Entry] | None:
        """What followed ``offset``; None when not all of that is known any more, or the offset is not of this log."""
        number = self.number_after(offset)
        return None if number is None else self.since(number)

    def number_after(self, offset: str) -> int | None:
        """The number of what followed ``offset``, whether or not there is anything yet; None likewise."""
        try:
            number = int(offset.removeprefix(self._prefix), 16) + 1
        except ValueError:
            return None
        return number if offset.startswith(self._prefix) and self.reaches(number) else None

    def reaches(self, number: int) -> bool:
        """Whether all is known from the entry of that number on."""
        return self._first <= number <= self._first + len(self._entries)

    def first_after(self, seq: int) -> int:
        """The number of the first entry above ``seq``, where the entries' own numbers ascend."""
        low, high = 0, len(self._entries)
        while low < high:
            middle = (low + high) // 2
            if self._entries[middle].seq <= seq:
                low = middle + 1
            else:
                high = middle
        return self._first + low

    def since(self, number: int) -> Iterator[Entry]:
        """What is known from the entry of that number on."""
        return islice(self._entries, number - self._first, None)

    def backwards(self) -> Iterator[tuple[int, Entry]]:
        """All entries with their numbers, the latest first."""
        return zip(range(self.next - 1, self._first - 1, -1), reversed(self._entries), strict=True)
