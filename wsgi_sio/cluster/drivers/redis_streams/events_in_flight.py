"""What a server has given to a stream, and not read there yet.  Guarded by its owner's lock; no I/O."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any

from ....socketio.broadcast_options import BroadcastOptions, Room
from .session_format import Trail


@dataclass(slots=True, eq=False)
class EventInFlight:
    """An event of this server's.

    :ivar written: the entry's data, by which it is known when it is read.
    :ivar batch: it, encoded for clients, without an offset.
    :ivar data: its name and arguments.
    :ivar alone: whether it is for one client of this server, whose sender has been held back for it.
    :ivar number: how many there have been, with it.
    :ivar early: whether the clients of this server have been sent it already, since it took too long...
    :ivar turn: ...and when: those who were let in after that have not.
    """

    written: bytes
    batch: list[Any]
    data: list[Any]
    options: BroadcastOptions
    alone: bool
    since: float = field(default_factory=time.monotonic)
    number: int = 0
    early: bool = False
    turn: int = 0


class EventsInFlight:
    """See the module's text.

    :ivar last: the number of the latest.
    """

    def __init__(self) -> None:
        self.last = 0
        self._turn = 0
        self._open: deque[EventInFlight] = deque()
        self._leavers: dict[Room, dict[str, int]] = {}  # who has left a room, and the latest event that is for them yet

    def __len__(self) -> int:
        return len(self._open)

    def add(self, event: EventInFlight) -> None:
        """One is given to the stream."""
        self.last += 1
        event.number = self.last
        self._open.append(event)

    def match(self, written: bytes) -> EventInFlight | None:
        """That event has been read: the first that was written so; None when there is none."""
        for index, event in enumerate(self._open):
            if event.written == written:
                del self._open[index]
                return event
        return None

    def remove(self, event: EventInFlight) -> bool:
        """It will not be read; False when it was not open."""
        try:
            self._open.remove(event)
        except ValueError:
            return False
        self.tidy()
        return True

    def late_one(self) -> EventInFlight | None:
        """The first that clients have not been sent; from now on it counts as sent early."""
        event = next((event for event in self._open if not event.early), None)
        if event is not None:
            event.early, event.turn = True, self.next_turn()
        return event

    def next_turn(self) -> int:
        """Something happens to clients here: its number."""
        self._turn += 1
        return self._turn

    def oldest(self) -> float | None:
        """When the first of those that clients have not been sent was emitted."""
        return next((event.since for event in self._open if not event.early), None)

    def forget(self, since: float) -> None:
        """Wait no more for those that were sent early, and emitted before ``since``."""
        while self._open and self._open[0].early and self._open[0].since < since:
            self._open.popleft()
        self.tidy()

    def owed(self, rooms: Set[Room]) -> list[EventInFlight]:
        """Those that are for whoever is in ``rooms``, and have not been sent."""
        return [event for event in self._open if not event.early and is_for(event.options, rooms)]

    # -- those who leave a room before what was emitted to it has been read -------------------------------------

    def left(self, sid: str, room: Room) -> None:
        """A socket leaves a room."""
        if self._open:
            self._leavers.setdefault(room, {})[sid] = self.last

    def leavers(self, event: EventInFlight) -> Iterator[str]:
        """The sockets that were in the event's rooms when it was emitted, and are not any more."""
        for room in event.options.rooms if self._leavers else ():
            for sid, last in self._leavers.get(room, {}).items():
                if event.number <= last:
                    yield sid

    def tidy(self) -> None:
        """Forget the leavers when nothing is for them any more."""
        if not self._open and self._leavers:
            self._leavers = {}


def wants(trail: Any, position: int, own: EventInFlight | None) -> bool:
    """Whether a socket has not had the entry at ``position``, which may be an event of this server's."""
    early = own is not None and own.early
    if not isinstance(trail, Trail):
        return not early
    if early and own is not None and trail.number < own.turn:
        return False
    return position > trail.floor and position not in trail.had


def is_for(options: BroadcastOptions, rooms: Set[Room]) -> bool:
    """Whether whoever is in ``rooms`` gets an event with ``options``."""
    return not (options.rooms and options.rooms.isdisjoint(rooms)) and options.except_.isdisjoint(rooms)
