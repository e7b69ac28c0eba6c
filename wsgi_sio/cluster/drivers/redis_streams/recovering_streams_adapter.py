"""RecoveringStreamsAdapter: servers on one Redis stream; clients go on at any of them, also when theirs was killed.

The sessions are in Redis (session_store.py); what a client has missed is remembered here, or read from the stream anew.
How events get their offsets is in event_offsets.py.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ....socketio.adapter import SavedSession
from ....socketio.broadcast_options import Room
from ....socketio.recovery_offsets import Batch
from ...bus import SharedBus
from ...bus.redis_streams_bus import RedisStreams
from ...cluster_node import Audience, ClusterNode
from ...messages import Message
from ...pending_requests import Question
from .event_offsets import OffsetsAdapter
from .events_in_flight import is_for
from .session_format import Trail
from .session_store import SessionStore
from .stream_entries import message_of

if TYPE_CHECKING:
    from ....socketio.interfaces import SocketInterface
    from ....socketio.namespace import Namespace
    from ....socketio.recovery import RecoveryConfig

logger = logging.getLogger("wsgi_sio.adapters")


class RecoveringStreamsAdapter(OffsetsAdapter):
    """See the module's text.

    :param recovery: for how long, and how much, is kept.
    :param session_prefix: what the keys of sessions begin with.
    :param save_interval: seconds between looks for changed sessions.
    """

    def __init__(
        self,
        namespace: Namespace,
        shared: SharedBus,
        stream: str,
        recovery: RecoveryConfig,
        *,
        session_prefix: str = "sio:session:",
        save_interval: float = 2.0,
        **options: Any,
    ) -> None:
        super().__init__(namespace, shared, stream, recovery, **options)
        self._sessions = SessionStore(self, namespace, session_prefix, self._kept.duration, save_interval)

    def start(self) -> None:
        super().start()
        self._sessions.start()

    def close(self) -> None:
        super().close()
        self._sessions.close()

    # -- for the store of sessions ------------------------------------------------------------------------------

    @property
    def bus(self) -> RedisStreams | None:
        """The bus of this process; None before it has joined."""
        return self._bus

    @property
    def stream(self) -> bytes:
        """The stream's key."""
        return self._stream

    def lives(self, uid: str) -> bool:
        """Whether the server of that name listens, as far as is known."""
        return self._bus is not None and self._bus.count(f"{self._channel}{uid}#") != 0

    def ask(self, audience: Audience, question: Question, timeout: float, kind: int, data: dict[str, Any]) -> None:
        """Ask another server."""
        self._ask(audience, question, timeout, kind, data)

    def respond(self, node: ClusterNode, requester: str, kind: int, data: dict[str, Any]) -> None:
        """Answer one."""
        self._respond(node, requester, kind, data)

    # -- sessions -----------------------------------------------------------------------------------------------

    def add_all(self, sid: str, rooms: frozenset[Room]) -> None:
        super().add_all(sid, rooms)
        self._sessions.note_change(sid)

    def del_(self, sid: str, room: Room) -> None:
        super().del_(sid, room)
        self._sessions.note_change(sid)

    def begin_session(self, socket: SocketInterface) -> None:
        self.join_cluster()
        with self._lock:
            socket.trail = Trail(self.here_locked(), number=self._own.next_turn())

    def keep_session(self, socket: SocketInterface) -> None:
        self._sessions.save(socket)

    def drop_session(self, socket: SocketInterface) -> None:
        self._sessions.drop(socket)

    def persist_session(self, session: SavedSession) -> None:
        self._sessions.persist(session)

    def restore_session(self, pid: str, offset: str) -> SavedSession | None:
        self.join_cluster()
        return self._sessions.restore(pid, offset)

    def _receive(self, node: ClusterNode, message: Message) -> None:
        if not self._sessions.take(node, message):
            super()._receive(node, message)

    # -- what has been missed -----------------------------------------------------------------------------------

    def has_all_since(self, position: int) -> bool:
        """Whether this process remembers all that came after ``position``."""
        with self._lock:
            return position >= max(self._base, self._kept.log.forgotten)

    def catch_up(self, socket: SocketInterface, session: SavedSession, offset: str, welcome: list[Any]) -> bool:
        trail: Trail = session.trail
        with self._lock:
            mark = self.here_locked()
        missed: list[Batch] = []
        start = trail.floor
        if start < mark and not self.has_all_since(start):
            try:
                missed = self._fetch(trail, session.rooms, mark)
                start = mark
            except OSError as error:
                logger.warning("what a client has missed cannot be had from Redis: %s", error)
                return False
        with self._lock:
            log = self._kept.log
            if start < min(max(self._base, log.forgotten), self.here_locked()):
                return False
            for entry in log.since(log.first_after(start)):
                if entry.is_for(session.rooms) and entry.seq not in trail.had:
                    missed.append(entry.batch)
            trail.floor, trail.number = max(trail.floor, self.here_locked()), self._own.next_turn()
            self._namespace.take_restored(socket)  # here, since broadcasts reach it from now on
            send = socket.reserve([*[part for batch in missed for part in batch], *welcome])
        send()
        return True

    def _fetch(self, trail: Trail, rooms: frozenset[Room], mark: int) -> list[Batch]:
        """The events for a session behind its client's offset, up to ``mark``, from Redis.

        :raises OSError: it does not answer.
        """
        found = []
        for entry_id, position, fields in self._bus.range(self._stream, trail.floor, mark) if self._bus else ():
            if fields.get(b"nsp") != self._topic or position in trail.had:
                continue
            try:
                event = self.event_in(message_of(fields))
            except Exception as error:  # junk, of whatever kind
                self.report_junk(error)
                continue
            if event is not None and is_for(event[1], rooms):
                found.append(self._offsets.add(event[0], entry_id))
        return found
