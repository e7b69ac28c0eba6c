"""The adapter of a single process that can give clients their lost sessions back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .adapter import SavedSession
from .broadcast_options import BroadcastOptions
from .memory_adapter import MemoryAdapter
from .packet import EVENT, Packet
from .recovery_offsets import Offsets
from .recovery_store import RecoveryStore

if TYPE_CHECKING:
    from .interfaces import NamespaceInterface, SocketInterface


class SessionAwareAdapter(MemoryAdapter):
    """Keeps the events, each with its offset, and the sessions whose connection was lost.

    An event is remembered, and given its place in the order of each recipient's packets, under one lock, or offsets
    would not arrive in order and a client that says "up to here" would be wrong; it is sent after unlocking.

    :param duration: seconds for which both are kept.
    :param max_stored: bytes of events that are kept at most.
    """

    def __init__(self, namespace: NamespaceInterface, duration: float, max_stored: int) -> None:
        super().__init__(namespace)
        self._kept = RecoveryStore(namespace, self._lock, duration, max_stored)
        self._offsets = Offsets(namespace.server)

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        kept, server = self._kept, self._namespace.server
        if packet.type != EVENT or packet.id is not None or options.volatile or kept.closed:
            super().broadcast(packet, options)
            return
        alone = self._only_one(options)
        if alone is not None:
            alone.wait_for_room()
        event = server.encode(packet, options.compress)
        with self._lock:
            batch = self._offsets.add(event, kept.log.next_offset())
            kept.log.append(batch, options)
            unwatched = kept.begin_watch_locked()
            recipients = [socket for socket in self._find_locked(options) if not socket.gone]
            send = self._reserve_locked(recipients, batch, lambda: packet.data, alone is not None, options.posted)
        if unwatched:
            kept.watch()
        send()

    def persist_session(self, session: SavedSession) -> None:
        self._kept.persist(session)

    def restore_session(self, pid: str, offset: str) -> SavedSession | None:
        kept = self._kept
        with self._lock:
            return None if kept.log.number_after(offset) is None else kept.pop_locked(pid)

    def catch_up(self, socket: SocketInterface, session: SavedSession, offset: str, welcome: list[Any]) -> bool:
        with self._lock:
            entries = self._kept.log.after(offset)
            if entries is None:
                return False
            missed = [packet for entry in entries if entry.is_for(session.rooms) for packet in entry.batch]
            self._namespace.take_restored(socket)  # here, since broadcasts reach it from now on
            send = socket.reserve([*missed, *welcome])
        send()
        return True

    def close(self) -> None:
        super().close()
        self._kept.close()


def session_aware(duration: float, max_stored: int) -> Callable[[NamespaceInterface], SessionAwareAdapter]:
    """The factory of adapters for :class:`wsgi_sio.Server`."""
    return lambda namespace: SessionAwareAdapter(namespace, duration, max_stored)
