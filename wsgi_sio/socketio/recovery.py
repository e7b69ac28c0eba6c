"""Connection state recovery: a client that lost its connection gets its id, rooms, data and missed events back.

The client learns a private id (``pid``) when it connects, and with each event an offset as its last argument; when it
connects again it sends both.  What was missed comes before the answer to CONNECT, as in the reference.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from ..engineio.config import refuse_unknown_options
from ..runtime import Rank, make_lock
from ..validation import BYTES, LASTING_SECONDS, check_options, type_hints
from .adapter import AdaptedNamespace, Adapter, SavedSession
from .broadcast_options import Room

if TYPE_CHECKING:
    from .interfaces import SocketInterface

# Of the reasons of a disconnection, those that nobody wanted.
RECOVERABLE = frozenset(
    (
        "transport error",
        "transport close",
        "forced close",
        "ping timeout",
        "server shutting down",
        "forced server close",
    )
)

_NUMBERS = {"max_disconnection_duration": LASTING_SECONDS, "max_stored": BYTES}

# How long a client that is back waits for the handlers of its previous connection (seconds); then it begins anew.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryConfig:
    """What ``connection_state_recovery`` may say.

    :param max_disconnection_duration: seconds for which sessions and events are kept.
    :param skip_middlewares: whether ``use`` middlewares are not run again for a recovered client.
    :param max_stored: bytes of events that a namespace keeps at most; the oldest go first, and clients that would need
        them are not recovered.
    :raises TypeError: for a value of the wrong type.
    :raises ValueError: for a value that makes no sense.
    """

    max_disconnection_duration: float = 120.0
    skip_middlewares: bool = True
    max_stored: int = 50_000_000

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in check_options(given, type_hints(RecoveryConfig), _NUMBERS).items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, option: bool | Mapping[str, Any] | None) -> RecoveryConfig | None:
        """Read the option: True takes the defaults; None without recovery."""
        if option is None or isinstance(option, bool):
            return cls() if option else None
        refuse_unknown_options(option, [field.name for field in fields(cls)])
        return cls(**option)


class Recovery:
    """The recovery of one namespace's clients."""

    def __init__(self, namespace: AdaptedNamespace, config: RecoveryConfig) -> None:
        self._namespace = namespace
        self._config = config
        self._lock = make_lock(Rank.LEAF)
        self._live: dict[str, SocketInterface] = {}  # by pid, until what is kept of them has been
        self._behind: dict[SocketInterface, _Follower] = {}  # who waits for one of these to be over

    def begin(self, socket: SocketInterface) -> None:
        """Have a new socket admitted: if its previous connection is not quite over, behind the handlers of that one; if
        another process has its session, when that has come."""
        auth = socket.handshake.auth
        pid, offset = auth.get("pid"), auth.get("offset", "")
        if not isinstance(pid, str):
            socket.begin()
        elif not self.follow(pid, socket.begin, partial(_end_half_open, socket)):
            adapter, known = self._namespace.adapter, isinstance(offset, str) and socket.conn.recoverable
            if not known or not adapter.call_session(pid, str(offset), socket.begin):
                socket.begin()

    def follow(self, pid: str, begin: Callable[[], object], overtaken: Callable[[], object]) -> bool:
        """End the half-open connection of the client ``pid``, if it has one here, and then, behind its handlers, call
        ``begin``; or instead, when somebody comes who has overtaken this one, ``overtaken``.

        :return: False when it has none; then neither is called.
        """
        with self._lock:
            previous = self._live.get(pid)
            if previous is None:
                return False
            before = self._behind.get(previous)
            follower = self._behind[previous] = _Follower(begin, overtaken)
        self._namespace.server.reactor.expire_after(_PATIENCE, lambda: self._wait_no_longer(follower, previous))
        _end_half_open(previous)
        if before is not None:
            before.overtaken()
        return True

    def _wait_no_longer(self, follower: _Follower, previous: SocketInterface) -> None:
        with self._lock:
            waits = self._behind.get(previous) is follower
            if waits:
                del self._behind[previous]
        if waits:
            follower.begin()

    def restore(self, socket: SocketInterface) -> Restored | None:
        """Give a socket its old self, or else a new private id."""
        if not socket.conn.recoverable:
            return None
        adapter, auth = self._namespace.adapter, socket.handshake.auth
        pid, offset = auth.get("pid"), auth.get("offset", "")  # a client that has got no event yet has no offset
        if (
            not isinstance(pid, str)
            or not isinstance(offset, str)
            or not (saved := adapter.restore_session(pid, offset))
        ):
            socket.pid = secrets.token_urlsafe(15)
            adapter.begin_session(socket)
            return None
        socket.id, socket.pid, socket.data, socket.trail = saved.sid, saved.pid, saved.data, saved.trail
        socket.recovered = True
        self.connected(socket)  # who comes again before it is let in waits for it
        return Restored(adapter, socket, saved, offset, self._config.skip_middlewares)

    def connected(self, socket: SocketInterface) -> None:
        """The client of a socket knows its private id."""
        if socket.pid:
            with self._lock:
                self._live[socket.pid] = socket
            self._namespace.adapter.keep_session(socket)

    def left(self, socket: SocketInterface, rooms: set[Room], reason: str, was_connected: bool) -> None:
        """A socket has left, and was in ``rooms``: keep what can be given back to its client, if that knows the pid."""
        if reason in RECOVERABLE and socket.pid and (was_connected or socket.recovered):
            session = SavedSession(socket.id, socket.pid, frozenset(rooms), socket.data, socket.trail)
            self._namespace.adapter.persist_session(session)
        elif socket.pid:
            self._namespace.adapter.drop_session(socket)
        with self._lock:
            if self._live.get(socket.pid) is socket:
                del self._live[socket.pid]
            behind = self._behind.pop(socket, None)
        if behind is not None:
            behind.begin()


@dataclass(frozen=True, slots=True, eq=False)
class _Follower:
    """Who waits for a connection to be over."""

    begin: Callable[[], object]
    overtaken: Callable[[], object]


def _end_half_open(socket: SocketInterface) -> None:
    """The client has given this connection up."""
    if not socket.gone:
        socket.conn.close("transport close")


@dataclass(frozen=True, slots=True)
class Restored:
    """A socket that has its old self back, but not yet what it has missed."""

    adapter: Adapter
    socket: SocketInterface
    saved: SavedSession
    offset: str
    skip_middlewares: bool

    def catch_up(self) -> None:
        """Give it that, and the answer to its CONNECT."""
        socket = self.socket
        welcome = socket.nsp.server.encode(socket.connect_packet())
        if not self.adapter.catch_up(socket, self.saved, self.offset, welcome):
            socket.conn.close()  # what it has missed is gone since we looked: let it come again, as a new one
