"""The adapter of a single process that can give clients their lost sessions back."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..runtime import Timer
from .adapter import BroadcastOptions, SavedSession
from .memory_adapter import MemoryAdapter
from .packet import EVENT, Packet
from .recovery_log import EventLog

if TYPE_CHECKING:
    from .namespace import Namespace
    from .socket import Socket

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


def session_aware(duration: float, max_stored: int) -> Callable[[Namespace], SessionAwareAdapter]:
    """The factory of adapters for :class:`wsgi_sio.Server`."""
    return lambda namespace: SessionAwareAdapter(namespace, duration, max_stored)
