"""Presence: who is in a room, kept up to date by the joins and leaves of all servers, which are told in batches.

It is there only for rooms that somebody asks for.  Where nobody does, a join costs nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ..refuse_async import refuse_async
from ..runtime import FAILURES, Rank, make_lock
from .adapter import AdaptedNamespace
from .local_presence import WITHIN, Roster
from .plain_values import is_plain

if TYPE_CHECKING:
    from collections.abc import Set

    from .broadcast_options import Room

logger = logging.getLogger("wsgi_sio.socketio")

# How long after its beginning other servers may not have told yet who is there, so that they are asked (seconds).
_UNTOLD: Final = 1.0

AnyListener = TypeVar("AnyListener", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """What listeners get; who joins and leaves (or the reverse) between two of them is in neither.

    :ivar room: None: everybody in the namespace.
    :ivar joined: the ids of the sockets that have joined; at first, of all that are there.
    :ivar left: the ids of those that have left, which are not connected any more, perhaps with their server.
    :ivar count: how many there are now.
    """

    room: Room | None
    joined: frozenset[str]
    left: frozenset[str]
    count: int


class Presence:
    """Who is in a room; get it with :meth:`Namespace.presence`.

    It begins in each process for itself, with the first client there that connects to the namespace, or when ``ids`` or
    ``count`` is first asked for.

    :ivar room: None: everybody in the namespace.
    """

    def __init__(self, namespace: WatchedNamespace, room: Room | None) -> None:
        self.room = room
        self._namespace = namespace
        self._listeners: tuple[Callable[[PresenceChange], object], ...] = ()
        self.after_fork()

    def after_fork(self) -> None:
        """In a forked child: begin anew, when it serves."""
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._roster: Roster | None = None
        self._complete = False
        self._closed = False
        self._members: dict[str, set[str]] = {}  # by server
        self._present: set[str] = set()
        self._untold: dict[str, bool] = {}  # who has joined (or left) since listeners were told last
        self._due = False

    def __repr__(self) -> str:
        return f"<Presence of {self.room!r} in {self._namespace!r}>"

    # -- for applications ---------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many there are: without asking anybody, once other servers have had a second to tell."""
        if not self._is_complete():
            target = self._namespace if self.room is None else self._namespace.in_(self.room)
            return target.count()
        return len(self._present)

    @property
    def ids(self) -> set[str]:
        """The ids of their sockets; likewise."""
        if not self._is_complete():
            target = self._namespace if self.room is None else self._namespace.in_(self.room)
            return {socket.id for socket in target.fetch_sockets()}
        with self._lock:
            return set(self._present)

    def on_change(self, listener: AnyListener) -> AnyListener:
        """Call ``listener(change)``, as a job, after sockets of whatever server have joined or left.

        It gets a :class:`PresenceChange`, at most about twenty a second, and the next one when it has returned. Each
        process has its own listeners called: what they tell clients, they tell those of this process (``.local``).

        :raises TypeError: it is ``async def``.
        """
        refuse_async(listener, "a listener to presence")
        with self._lock:
            self._listeners = (*self._listeners, self._namespace.server.as_handler(listener))
            due = self._becomes_due_locked()
        if due:
            self._tell_soon()
        return listener

    def close(self) -> None:
        """Watch the room no more, in this process."""
        with self._lock:
            closed, self._closed, roster = self._closed, True, self._roster
            self._listeners, self._members, self._present, self._untold = (), {}, set(), {}
        if not closed:
            self._namespace.forget_presence(self)
            if roster is not None:
                roster.unwatch(self)

    # -- for the namespace and its roster -----------------------------------------------------------------------

    def begin(self) -> None:
        """This process serves, or wants to know."""
        if self._roster is not None or self._closed:
            return
        roster = self._namespace.adapter.roster()
        with self._lock:
            begins = self._roster is None and not self._closed
            if begins:
                self._roster = roster
        if begins:
            self._namespace.server.reactor.call_later(_UNTOLD, self._completed)
            roster.watch(self)

    def _completed(self) -> None:
        self._complete = True

    def _is_complete(self) -> bool:
        self.begin()
        return self._complete and not self._closed

    def update(self, server: str, joined: Set[str], left: Set[str] = frozenset(), *, whole: bool = False) -> None:
        """The clients of a server have changed.

        :param whole: ``joined`` are all that it has.
        """
        with self._lock:
            if self._closed:
                return
            members = self._members.setdefault(server, set())
            if whole:
                joined, left = joined - members, members - joined
            members |= joined
            members -= left
            if not members:
                del self._members[server]
            self._note_locked(joined)
            self._note_locked(left)
            due = self._becomes_due_locked()
        if due:
            self._tell_soon()

    def _note_locked(self, sids: Iterable[str]) -> None:
        """See whether they are there: a client that is back elsewhere may be there twice for a moment."""
        members = self._members.values()
        for sid in sids:
            here = any(sid in some for some in members)
            if here == (sid in self._present):
                continue
            if here:
                self._present.add(sid)
            else:
                self._present.remove(sid)
            if self._untold.pop(sid, None) is None:
                self._untold[sid] = here

    # -- telling ------------------------------------------------------------------------------------------------

    def _becomes_due_locked(self) -> bool:
        due = bool(self._untold and self._listeners and not self._due)
        self._due |= due
        return due

    def _tell_soon(self) -> None:
        server = self._namespace.server
        server.reactor.call_later(WITHIN, partial(server.submit, self._tell))

    def _tell(self) -> None:
        with self._lock:
            untold, self._untold = self._untold, {}
            listeners, count = self._listeners, len(self._present)
        joined = frozenset([sid for sid, here in untold.items() if here])
        change = PresenceChange(self.room, joined, frozenset(untold.keys() - joined), count)
        try:
            for listener in listeners if untold else ():
                try:
                    listener(change)
                except FAILURES:
                    logger.exception("a listener to %r failed", self)
        finally:
            with self._lock:
                self._due = False
                due = self._becomes_due_locked()
            if due:
                self._tell_soon()


class Countable(Protocol):
    """Those in a namespace, or in a room of it."""

    def count(self) -> int: ...

    def fetch_sockets(self) -> list[Any]: ...


class WatchedNamespace(AdaptedNamespace, Countable, Protocol):
    """A namespace, for who watches its rooms."""

    def in_(self, room: Room) -> Countable: ...

    def watch_presence(self, room: Room | None) -> Presence: ...

    def forget_presence(self, presence: Presence) -> None: ...


class Watchable:
    """``presence``, for whatever stands for a namespace."""

    __slots__ = ()

    def _own_namespace(self) -> WatchedNamespace:
        raise NotImplementedError

    def presence(self, room: Room | None = None) -> Presence:
        """Who is in ``room`` (None: in the namespace) on all servers, from now on, and what tells of joins and leaves;
        the same object each time.

        What can be asked for seldom is cheaper asked for: ``in_(room).count()``.

        :raises TypeError: the room cannot be named to other servers.
        """
        if room is not None and not is_plain(room):
            raise TypeError(
                f"the room {room!r} cannot be named to other servers: name it by a string, a number or bytes"
            )
        return self._own_namespace().watch_presence(room)
