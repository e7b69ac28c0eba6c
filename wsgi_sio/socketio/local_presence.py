"""Roster: who of this process is in the rooms that are watched, by looking, at most every 50 ms, at those that changed.

A look compares who is there with who was: whatever happened in between, and in whatever order it was told, the outcome
is right.  Each job runs in one queue, so that none of them meets another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Set
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ..runtime import Rank, SerialQueue, Timer, make_lock

if TYPE_CHECKING:
    from .broadcast_options import Room
    from .interfaces import NamespaceInterface

logger = logging.getLogger("wsgi_sio.adapters")

# How long changes are gathered before they are told (seconds).
WITHIN: Final = 0.05
# How often everything is looked at, changed or not (seconds): what no event of the adapter tells is seen then.
BEAT: Final = 3.0
# What stands for this process where servers have names.
HERE: Final = ""

_EVENTS: Final = ("join-room", "leave-room")
_MANY: Final = 10_000


class KnowsRooms(Protocol):
    """An adapter, as far as it is looked at here."""

    def on(self, event: str, listener: Callable[..., object]) -> object: ...

    def off(self, event: str, listener: Callable[..., object]) -> None: ...

    def sockets(self, rooms: frozenset[Room]) -> Set[str]: ...

    def socket_rooms(self, sid: str) -> Set[Room]: ...


class Watcher(Protocol):
    """Who is told: a :class:`Presence`."""

    room: Room | None

    def update(self, server: str, joined: Set[str], left: Set[str] = ..., *, whole: bool = ...) -> None: ...


class RoomDiff(NamedTuple):
    """Who has joined a room, and who has left it, since it was looked at last."""

    room: Room | None
    joined: set[str]
    left: set[str]


class Roster:
    """See the module's text; one for each adapter, made when it is first asked for."""

    def __init__(self, namespace: NamespaceInterface, adapter: KnowsRooms) -> None:
        self._namespace = namespace
        self._adapter = adapter
        self._reactor = namespace.server.reactor
        self._jobs = SerialQueue(self._reactor.submit, limit=_MANY, owner=_Backlog())
        self._lock = make_lock(Rank.LEAF)  # guards the next two
        self._changed: set[Room | None] = set()
        self._due = False
        self._rooms: frozenset[Room | None] = frozenset()  # that are looked at; replaced, never changed
        # Only jobs touch the rest.
        self._watching: dict[Room | None, Watcher] = {}
        self._seen: dict[Room | None, set[str]] = {}
        self._beat: Timer | None = None
        self.closed = False

    # -- from any thread ----------------------------------------------------------------------------------------

    def watch(self, presence: Watcher) -> None:
        """Tell ``presence`` who is in its room, from now on."""
        self._jobs.put(self._watch, presence)

    def unwatch(self, presence: Watcher) -> None:
        """Tell it no more."""
        self._jobs.put(self._unwatch, presence)

    def close(self) -> None:
        """The adapter is closing."""
        self.closed = True
        self.stop_listening(self._adapter)

    def stop_listening(self, adapter: KnowsRooms) -> None:
        """Leave ``adapter``: the adapter's own, or its successor in a forked child, which has its listeners."""
        for event in _EVENTS:
            adapter.off(event, self._on_change)

    def _on_change(self, room: Room, sid: str) -> None:
        """A listener to the adapter: whoever joins and leaves runs it."""
        rooms = self._rooms
        if room in rooms:
            self._look_soon(room)
        if room == sid:  # it has been let in, perhaps with rooms, or leaves
            if None in rooms:
                self._look_soon(None)
            for other in self._adapter.socket_rooms(sid):
                if other in rooms:
                    self._look_soon(other)

    def _look_soon(self, room: Room | None) -> None:
        if room in self._changed:  # what is in it when it is replaced is looked at after that
            return
        with self._lock:
            self._changed.add(room)
        self._run_soon()

    def _run_soon(self) -> None:
        with self._lock:
            due, self._due = self._due, True
        if not due:
            self._reactor.call_later(WITHIN, partial(self._jobs.put, self._look_at_changed))

    # -- jobs ---------------------------------------------------------------------------------------------------

    def _watch(self, presence: Watcher) -> None:
        if self.closed:
            return
        self._watching[presence.room] = presence
        if presence.room in self._seen:
            presence.update(HERE, self._seen[presence.room], whole=True)
        self._choose_rooms()

    def _unwatch(self, presence: Watcher) -> None:
        if self._watching.get(presence.room) is presence:
            del self._watching[presence.room]
            self._choose_rooms()

    def _wanted(self) -> frozenset[Room | None]:
        """The rooms that somebody wants to know of."""
        return frozenset(self._watching)

    def _choose_rooms(self) -> None:
        """Look at what is wanted, and at nothing else."""
        before, self._rooms = self._rooms, self._wanted()
        for room in self._seen.keys() - self._rooms:
            del self._seen[room]
        if self._rooms and not before:
            for event in _EVENTS:
                self._adapter.on(event, self._on_change)
        elif before and not self._rooms:
            self.stop_listening(self._adapter)
        if self._rooms and self._beat is None:
            self._beat = self._reactor.call_later(BEAT, partial(self._jobs.put, self._on_beat))
        self._tell(self._look(self._rooms - before))

    def _look_at_changed(self) -> None:
        with self._lock:
            changed, self._changed, self._due = self._changed, set(), False
        self._tell(self._look(changed & self._rooms))

    def _on_beat(self) -> None:
        self._beat = None
        if self.closed or not self._rooms:
            return
        self._beat = self._reactor.call_later(BEAT, partial(self._jobs.put, self._on_beat))
        self._tell(self._look(self._rooms))

    def _look(self, rooms: Iterable[Room | None]) -> list[RoomDiff]:
        diffs = []
        for room in rooms:
            now, before = self._present(room), self._seen.get(room, set())
            if now != before:
                self._seen[room] = now
                diffs.append(RoomDiff(room, now - before, before - now))
        return diffs

    def _present(self, room: Room | None) -> set[str]:
        """Those in ``room`` that broadcasts reach."""
        sids = self._adapter.sockets(frozenset() if room is None else frozenset([room]))
        return sids & self._namespace.sockets.keys()

    def _tell(self, diffs: list[RoomDiff]) -> None:
        for room, joined, left in diffs:
            presence = self._watching.get(room)
            if presence is not None:
                presence.update(HERE, joined, left)


class _Backlog:
    """Who fills the queue cannot be made to stop: other servers do."""

    def mailbox_full(self) -> None:
        logger.warning("%d %s are waiting: is a handler or the bus too slow?", _MANY, "messages about presence")

    def mailbox_has_room(self) -> None:
        """Good."""

    def mailbox_overflows(self) -> None:
        """It has been said."""
