"""SessionStore: the sessions of one namespace in Redis; saved while they live, and given back. See session_format.py.

A change of rooms is saved at once; ``socket.data`` is the application's, so it is looked at now and then.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from ....exceptions import AckTimeout, Disconnected
from ....logtext import one_line
from ....runtime import Rank, Timer, make_lock
from ....socketio.acks import gather
from ....socketio.adapter import SavedSession
from ... import messages
from ...bus.redis_stream_reader import id_at, position_of
from ...bus.redis_streams_bus import RedisStreams
from ...cluster_node import Audience, ClusterNode
from ...messages import Message
from ...pending_requests import Question
from .session_format import Stored, Trail, claim, digest, pack_session, unpack_session, write

if TYPE_CHECKING:
    from ....socketio.broadcast_options import Room
    from ....socketio.interfaces import SocketInterface
    from ....socketio.namespace import Namespace

logger = logging.getLogger("wsgi_sio.adapters")

# How long a client that is back waits for the server that has its session to let go of it (seconds).
_PATIENCE: Final = 1.5


class HasSessions(Protocol):
    """The adapter whose sessions are kept.

    :ivar early: the positions in the stream of its own events that were sent before they were read there, each with its
        turn among what has happened to clients here.
    """

    early: deque[tuple[int, int]]

    @property
    def uid(self) -> str: ...

    @property
    def bus(self) -> RedisStreams | None:
        """The bus of this process; None before it has joined."""

    @property
    def stream(self) -> bytes:
        """The stream's key."""

    def socket_rooms(self, sid: str) -> set[Room]: ...

    def has_all_since(self, position: int) -> bool: ...

    def lives(self, uid: str) -> bool:
        """Whether the server of that name listens, as far as is known."""

    def join_cluster(self) -> ClusterNode: ...

    def publish_response(self, requester: str, message: Message) -> None: ...

    def ask(self, audience: Audience, question: Question, timeout: float, kind: int, data: dict[str, Any]) -> None:
        """Ask another server."""

    def respond(self, node: ClusterNode, requester: str, kind: int, data: dict[str, Any]) -> None:
        """Answer one."""


class SessionStore:
    """See the module's text.

    :param prefix: what the keys begin with.
    :param duration: seconds for which a session is kept when its client has gone.
    :param interval: seconds between looks for changes.
    """

    def __init__(
        self,
        adapter: HasSessions,
        namespace: Namespace,
        prefix: str,
        duration: float,
        interval: float,
    ) -> None:
        self._adapter = adapter
        self._namespace = namespace
        self._prefix = prefix
        self._duration = duration
        self._interval = interval
        # While its client is there a session is written anew so often, and kept for so much longer.
        self._renewal = duration / 2
        self._lock = make_lock(Rank.LEAF)  # guards the next two
        self._changed: set[str] = set()
        self._watched = False
        self._timer: Timer | None = None
        self._told = False
        self._closed = False

    def start(self) -> None:
        """In each process, before there are sessions."""
        self._lock = make_lock(Rank.LEAF)
        self._changed, self._watched = set(), False

    def close(self) -> None:
        """Look for changes no more; what is kept stays."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _key(self, pid: str) -> bytes:
        return f"{self._prefix}{pid}".encode()

    # -- saving -------------------------------------------------------------------------------------------------

    def note_change(self, sid: str) -> None:
        """The rooms of a socket have changed."""
        socket = self._namespace.sockets.get(sid)
        if socket is None or not isinstance(socket.trail, Trail) or not socket.trail.content:
            return  # it is saved when it is let in
        with self._lock:
            begins = not self._changed
            self._changed.add(sid)
        if begins:
            self._namespace.server.reactor.submit(self._save_changed)

    def _save_changed(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        for socket in map(self._namespace.sockets.get, changed):
            if socket is not None:
                self.save(socket)

    def save(self, socket: SocketInterface) -> None:
        """Save the session of a socket that lives, if it is not what has been saved."""
        trail, bus = socket.trail, self._adapter.bus
        if not isinstance(trail, Trail) or bus is None or trail.over:
            return
        with self._lock:
            watches, self._watched = not self._watched, True
        if watches:
            self._watch()
        rooms = self._adapter.socket_rooms(socket.id)
        content = self._pack(socket.id, socket.pid, frozenset(rooms), socket.data, trail, self._adapter.uid)
        now = time.monotonic()
        if content is None or (content == trail.content and now - trail.renewed < self._renewal):
            return
        trail.content, trail.renewed = content, now
        self._write(socket.pid, content, trail, self._duration + self._renewal, partial(self._lost, socket))

    def _pack(
        self, sid: str, pid: str, rooms: frozenset[Any], data: dict[str, Any], trail: Trail, live: str
    ) -> bytes | None:
        had = trail.had | {position for position, turn in list(self._adapter.early) if turn > trail.number}
        try:
            return pack_session(Stored(sid, pid, rooms, data, live, trail.since, had))
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            level, self._told = logging.DEBUG if self._told else logging.WARNING, True
            logger.log(
                level,
                "%r: a client's session cannot be saved, so the client begins anew when it comes back: %s. Keep plain"
                " values in socket.data (None, booleans, numbers, strings, bytes, lists, dicts), and name rooms by"
                " strings (told once)",
                self._namespace,
                one_line(str(error)),
            )
            return None

    def _write(self, pid: str, value: bytes, trail: Trail, seconds: float, lost: Any = None) -> None:
        digests = list(trail.digests)
        if value:
            trail.digests.append(digest(value))
        bus = self._adapter.bus
        if bus is not None:
            bus.post(*write(self._key(pid), value, seconds, [*digests, *list(trail.digests)[-1:]]), done=lost)

    def _lost(self, socket: SocketInterface, answer: Any) -> None:
        """The answer to a saving: if another server has the session, its client is there."""
        trail = socket.trail
        if isinstance(answer, Exception):
            trail.renewed = 0.0  # again, at the next look
        elif answer == 0 and not trail.over:
            trail.over = True
            if not socket.gone:
                logger.debug("%r goes on at another server", socket)
                socket.conn.close("transport close")

    def persist(self, session: SavedSession) -> None:
        """Save the session of a client that has gone."""
        trail, bus = session.trail, self._adapter.bus
        if not isinstance(trail, Trail) or bus is None or trail.over:
            return
        trail.over = True
        content = self._pack(session.sid, session.pid, session.rooms, session.data, trail, "")
        if content is not None:
            self._write(session.pid, content, trail, self._duration)

    def drop(self, socket: SocketInterface) -> None:
        """Forget the session of a client that has left for good."""
        trail, bus = socket.trail, self._adapter.bus
        if isinstance(trail, Trail) and trail.content and bus is not None and not trail.over:
            trail.over = True
            self._write(socket.pid, b"", trail, 0)

    def _watch(self) -> None:
        store = weakref.ref(self)  # a forgotten namespace is not kept alive for this

        def look() -> None:
            alive = store()
            if alive is not None and not alive._closed:
                alive._namespace.server.reactor.submit(alive._look)

        self._timer = self._namespace.server.reactor.call_later(self._interval, look)

    def _look(self) -> None:
        """Save what has changed; come again as long as somebody is there."""
        sockets = [socket for socket in list(self._namespace.sockets.values()) if isinstance(socket.trail, Trail)]
        for socket in sockets:
            if socket.trail.content and not socket.gone:
                self.save(socket)
        with self._lock:
            self._watched = bool(sockets)
        if sockets:
            self._watch()

    # -- giving back --------------------------------------------------------------------------------------------

    def restore(self, pid: str, offset: str) -> SavedSession | None:
        """Take over the session of a client that has events up to ``offset``; blocks for a bounded time."""
        try:
            return self._restore(pid, offset)
        except ValueError as error:
            logger.debug("%r: a client's session, or its offset, makes no sense: %s", self._namespace, error)
        except OSError as error:
            logger.warning("%r: a client begins anew, since Redis does not answer: %s", self._namespace, error)
        return None

    def _restore(self, pid: str, offset: str) -> SavedSession | None:
        bus, adapter, key = self._adapter.bus, self._adapter, self._key(pid)
        floor = position_of(offset) if offset else None
        if bus is None:
            return None
        (raw,) = bus.call((b"GET", key))
        stored = None if raw is None else unpack_session(raw, pid)
        if stored is not None and stored.live and stored.live != adapter.uid and self._ask(stored.live, pid):
            (raw,) = bus.call((b"GET", key))
            stored = None if raw is None else unpack_session(raw, pid)
        if stored is None:
            return None
        since = stored.since if stored.since is not None else floor
        if since is None:  # Node has saved it, and its client has got no event yet
            return None
        start = since if floor is None else max(floor, since)
        if not adapter.has_all_since(start) and not self._reaches(bus, start):
            return None
        trail = Trail(since, start, had=stored.had)
        live = Stored(stored.sid, pid, stored.rooms, stored.data, adapter.uid, trail.since, stored.had)
        content = pack_session(live)
        (claimed,) = bus.call(claim(key, content, self._duration + self._renewal, raw))
        if not claimed:
            return None  # somebody has been faster
        trail.content, trail.renewed = content, time.monotonic()
        trail.digests.append(digest(content))
        return SavedSession(stored.sid, pid, stored.rooms, stored.data, trail)

    def _reaches(self, bus: RedisStreams, start: int) -> bool:
        """Whether the stream has all that came after ``start``: that entry itself is there, or an earlier one."""
        stream, here = self._adapter.stream, id_at(start).encode()
        itself, first = bus.call((b"XRANGE", stream, here, here), (b"XRANGE", stream, b"-", b"+", b"COUNT", b"1"))
        if itself or (first and position_of(first[0][0].decode()) <= start):
            return True
        if start == 0 and first:  # it was empty then: has nothing been trimmed since?
            (info,) = bus.call((b"XINFO", b"STREAM", stream))
            facts = dict(zip(info[::2], info[1::2], strict=True))
            return b"entries-added" in facts and facts[b"entries-added"] == facts[b"length"]
        return start == 0 and not first

    def _ask(self, owner: str, pid: str) -> bool:
        """Have the server that has a session let go of it, if it lives; whether the session may have changed."""
        adapter, node = self._adapter, self._adapter.join_cluster()
        if not adapter.lives(owner):
            return False
        audience = Audience(node, lambda: 1, partial(adapter.publish_response, owner))
        question = {"pid": pid}
        try:
            gather(
                self._namespace.server.reactor,
                lambda done: adapter.ask(audience, Question(1, done, []), _PATIENCE, messages.FIND_SESSION, question),
            )
        except (AckTimeout, Disconnected) as error:
            logger.debug("%r: the server that has a session does not let go of it: %s", self._namespace, error)
        return True

    def take(self, node: ClusterNode, message: Message) -> bool:
        """Whether a message of another server is about sessions; on the bus's reader, so nothing may block."""
        kind, sender, data = message["type"], message["uid"], message.get("data") or {}
        if kind == messages.FIND_SESSION:
            self._namespace.server.reactor.submit(partial(self._let_go, node, sender, data["requestId"], data["pid"]))
        elif kind == messages.FIND_SESSION_RESPONSE:
            node.questions.update(data["requestId"], lambda question: question.answer_locked(sender, [None]))
        else:
            return False
        return True

    def _let_go(self, node: ClusterNode, sender: str, request_id: str, pid: str) -> None:
        """The client ``pid`` is at the server ``sender`` now: its connection here is over, or will be soon."""
        recovery = self._namespace.recovery
        response = {"requestId": request_id, "packet": None}
        answer = partial(self._adapter.respond, node, sender, messages.FIND_SESSION_RESPONSE, response)
        if recovery is None or not recovery.follow(pid, answer, answer):
            answer()
