"""The adapter of a single process that can give clients their lost sessions back."""

from __future__ import annotations

import secrets
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..runtime import Timer
from ..socketio.packet import EVENT, Packet
from .base import BroadcastOptions, Room, SavedSession
from .memory import MemoryAdapter

if TYPE_CHECKING:
    from ..socketio.namespace import Namespace
    from ..socketio.socket import Socket


# What an event weighs beside its payload (bytes), so that a million tiny ones are not for free.
_OVERHEAD = 512

# What has expired is dropped in this many steps a duration: late by less than one of them, and not for each event.
_STEPS = 10


class SessionAwareAdapter(MemoryAdapter):
    """Keeps the events, each with its offset, and the sessions whose connection was lost.

    An event is encoded, remembered, and given its place in the order of each recipient's packets under one lock, or
    offsets would not arrive in order and a client that says "up to here" would be wrong; it is sent after unlocking.

    :param duration: seconds for which both are kept.
    :param max_stored: bytes of events that are kept at most.
    """

    def __init__(self, namespace: Namespace, duration: float, max_stored: int) -> None:
        super().__init__(namespace)
        self._duration = duration
        self._log = EventLog(max_stored)
        self._sessions: dict[str, tuple[float, SavedSession]] = {}  # by pid, the oldest first
        self._watched = False  # whether a timer is set, or about to be, for what is kept
        self._timer: Timer | None = None
        self._closed = False

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        if packet.type != EVENT or packet.id is not None or options.volatile or self._closed:
            super().broadcast(packet, options)
            return
        alone = self._only_one(options)
        if alone is not None:
            alone.wait_for_room()
        with self._lock:
            marked = replace(packet, data=[*packet.data, self._log.next_offset()])
            batch = self._namespace.server.encode(marked, options.compress)
            self._log.append(batch, options)
            unwatched, self._watched = not self._watched, True
            recipients = [socket for socket in self._find_locked(options) if not socket.gone]
            sends = [socket.reserve(batch, alone is not None) for socket in recipients]
        if unwatched:
            self._drop_in(self._duration)
        for send in sends:  # all, before any listener may wait, or raise, while the others' clients get nothing
            send()
        for socket in recipients:
            socket.tell_outgoing(packet.data)

    def persist_session(self, session: SavedSession) -> None:
        with self._lock:
            if self._closed:
                return
            self._sessions.pop(session.pid, None)
            self._sessions[session.pid] = time.monotonic(), session
            unwatched, self._watched = not self._watched, True
        if unwatched:
            self._drop_in(self._duration)

    def restore_session(self, pid: str, offset: str) -> SavedSession | None:
        with self._lock:
            if self._log.after(offset) is None:
                return None
            since, session = self._sessions.pop(pid, (0.0, None))
        return session if since >= time.monotonic() - self._duration else None

    def catch_up(self, socket: Socket, session: SavedSession, offset: str, welcome: list[Any]) -> bool:
        with self._lock:
            entries = self._log.after(offset)
            if entries is None:
                return False
            missed = [packet for entry in entries if entry.is_for(session.rooms) for packet in entry.batch]
            self._namespace.sockets[socket.id] = socket  # here, since broadcasts reach it from now on
            send = socket.reserve([*missed, *welcome])
        send()
        return True

    def _drop_in(self, seconds: float) -> None:
        """Set the timer, with no lock held."""
        adapter = weakref.ref(self)  # a forgotten namespace is not kept alive for what it has kept

        def drop() -> None:
            alive = adapter()
            if alive is not None:
                alive._drop_expired()

        self._timer = self._namespace.server.reactor.call_later(seconds, drop)

    def _drop_expired(self) -> None:
        """Drop what is too old, and come again when the next will be; not when nothing is left."""
        now = time.monotonic()
        expired = now - self._duration
        with self._lock:
            oldest = self._log.drop_until(expired)
            for pid, (since, _) in list(self._sessions.items()):
                if since > expired:
                    oldest = since if oldest is None else min(oldest, since)
                    break
                del self._sessions[pid]
            self._watched = oldest is not None
        if oldest is not None:
            self._drop_in(max(oldest - expired, self._duration / _STEPS))

    def close(self) -> None:
        super().close()
        with self._lock:
            self._closed = True
            self._sessions.clear()
            self._log.clear()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


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


def session_aware(duration: float, max_stored: int) -> Callable[[Namespace], SessionAwareAdapter]:
    """The factory of adapters for :class:`wsgi_sio.Server`."""
    return lambda namespace: SessionAwareAdapter(namespace, duration, max_stored)
