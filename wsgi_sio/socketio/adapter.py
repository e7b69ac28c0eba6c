"""What a namespace asks of its adapter, and what the adapter may ask of the namespace."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..refuse_async import refuse_async
from ..runtime import FAILURES, Rank, make_lock
from .broadcast_options import BroadcastOptions, Room
from .interfaces import InRooms, NamespaceInterface, SocketInterface
from .local_presence import Roster
from .packet import Packet

logger = logging.getLogger("wsgi_sio.adapters")

RoomListener = Callable[..., object]
# An event with its arguments.
RoomChange = tuple[Any, ...]

ROOM_EVENTS = ("create-room", "delete-room", "join-room", "leave-room")


@dataclass(frozen=True, slots=True)
class SavedSession:
    """What is kept of a socket whose connection was lost, so that its client may have it back.

    :ivar sid: the socket's id.
    :ivar pid: its private id, which only its client knows.
    :ivar trail: the adapter's own, which the socket has as well: how the session has come to this process.
    """

    sid: str
    pid: str
    rooms: frozenset[Room]
    data: dict[str, Any] = field(default_factory=dict)
    trail: Any = None


def tally(sockets: Iterable[InRooms], rooms: frozenset[Room] | None) -> dict[Room, int]:
    """See :meth:`Adapter.count_rooms`."""
    found: Counter[Room] = Counter()
    for socket in sockets:
        found.update(socket.rooms - {socket.id} if rooms is None else socket.rooms & rooms)
    return dict(found) if rooms is None else {room: found[room] for room in rooms}


class AckCollector(Protocol):
    """Who is told of the acknowledgements of a broadcast; callable from any thread, and must not block."""

    def await_servers(self, count: int) -> None:
        """So many servers are going to ask their clients, and to report with :meth:`server_asked`."""

    def server_asked(self, clients: int) -> None:
        """One of them has asked so many clients."""

    def server_gone(self, clients: int) -> None:
        """One of them has gone, and with it so many clients that have been asked: they will not answer."""

    def answer(self, args: list[Any]) -> None:
        """A client has acknowledged."""

    def lost(self) -> None:
        """A client has left instead."""


class Adapter(ABC):
    """Rooms of one namespace, and how its broadcasts reach them.

    :param namespace: its connected sockets get the broadcasts; those that are still connecting may be in rooms already
        but get none.
    """

    def __init__(self, namespace: NamespaceInterface) -> None:
        self._namespace = namespace
        self._listeners: dict[str, tuple[RoomListener, ...]] = {}
        self._roster_lock = make_lock(Rank.LEAF)  # guards the next one
        self._roster: Roster | None = None

    def on(self, event: str, listener: RoomListener) -> RoomListener:
        """Call ``listener`` after rooms have changed, in the thread that changed them; it must not block.

        :param event: ``create-room`` and ``delete-room``, with (room); ``join-room`` and ``leave-room``, with (room,
            socket id).
        :raises ValueError: there is no such event.
        """
        if event not in ROOM_EVENTS:
            raise ValueError(f"an adapter has the events {', '.join(ROOM_EVENTS)}, not {event!r}")
        refuse_async(listener, f"a listener to {event!r}")
        self._listeners[event] = (*self._listeners.get(event, ()), listener)
        return listener

    def off(self, event: str, listener: RoomListener) -> None:
        """Call ``listener`` no more."""
        left = tuple(other for other in self._listeners.get(event, ()) if other != listener)
        if left:
            self._listeners[event] = left
        else:  # so that nothing is told where nobody listens
            self._listeners.pop(event, None)

    def is_alone(self) -> bool:
        """Whether it knows only the clients of its own process."""
        return False

    def is_elsewhere(self, sid: object) -> bool:
        """Whether it can be told that ``sid`` is the id of a client of another process."""
        return False

    def look_around(self) -> None:
        """Find out who else there is, should this process emit before it serves; may block, where that is allowed."""

    def begin(self) -> None:
        """The namespace is known to clients from now on."""

    def take_listeners(self, former: Adapter) -> None:
        """Call the listeners of ``former``, in whose place this one comes, but what it listens with itself."""
        for event, listeners in former._listeners.items():
            others = [listener for listener in listeners if getattr(listener, "__self__", None) is not former]
            self._listeners[event] = (*self._listeners.get(event, ()), *others)
        if former._roster is not None:  # which is the parent's
            former._roster.stop_listening(self)

    def _tell(self, changes: list[RoomChange]) -> None:
        """Call the listeners; the caller has released its lock."""
        for event, *args in changes:
            for listener in self._listeners.get(event, ()):
                try:
                    listener(*args)
                except FAILURES:
                    logger.exception("a listener to %r failed", event)

    @abstractmethod
    def open(self, sid: str) -> None:
        """A socket exists from now on: it may join rooms until :meth:`del_all`."""

    @abstractmethod
    def add_all(self, sid: str, rooms: frozenset[Room]) -> None:
        """Put a socket into ``rooms``; nothing happens when it has gone."""

    @abstractmethod
    def del_(self, sid: str, room: Room) -> None:
        """Take a socket out of a room."""

    @abstractmethod
    def del_all(self, sid: str) -> None:
        """Take a socket out of all its rooms, for good: O(its own rooms)."""

    @abstractmethod
    def sockets(self, rooms: frozenset[Room]) -> set[str]:
        """The ids of the sockets in any of ``rooms``; of all sockets when there are none."""

    @abstractmethod
    def socket_rooms(self, sid: str) -> set[Room]:
        """The rooms of a socket."""

    @abstractmethod
    def room_size(self, room: Room) -> int:
        """How many sockets are in a room."""

    @abstractmethod
    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        """Send ``packet``, encoded once, to all it is for."""

    @abstractmethod
    def broadcast_with_ack(self, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        """Likewise, telling ``acks`` which servers and clients are asked, and what they answer."""

    @abstractmethod
    def local_sockets(self, options: BroadcastOptions) -> Sequence[SocketInterface]:
        """Those of this process that a broadcast with ``options`` would reach."""

    def fetch_sockets(self, options: BroadcastOptions) -> list[Any]:
        """The sockets, and remote sockets, that a broadcast with ``options`` would reach; may block."""
        return [*self.local_sockets(options)]

    def count_sockets(self, options: BroadcastOptions) -> int:
        """How many these are, without fetching them if that can be; may block."""
        return len(self.fetch_sockets(options))

    def count_rooms(self, options: BroadcastOptions, rooms: frozenset[Room] | None) -> dict[Room, int]:
        """How many of these are in each of ``rooms``; None: of all rooms but that of each client's id, where there are
        any; may block."""
        return tally(self.fetch_sockets(options), rooms)

    def add_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        """Put all of them into ``rooms``."""
        for socket in self.local_sockets(options):
            socket.join(rooms)

    def del_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        """Take all of them out of ``rooms``."""
        for socket in self.local_sockets(options):
            for room in rooms:
                socket.leave(room)

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        """Disconnect all of them."""
        for socket in self.local_sockets(options):
            socket.disconnect(close)

    def server_count(self) -> int:
        """How many servers share the namespace, this one included."""
        return 1

    def server_side_emit(self, data: list[Any], done: Callable[[Exception | None, list[Any]], None] | None) -> None:
        """Send an event to the other servers of the namespace, of which there are none unless the adapter knows some.

        :param data: the event's name and arguments.
        :param done: called once with (error or None, what they answered), if answers are wanted; must not block.
        """
        logger.warning("%s does not reach other servers: the event %r stays here", type(self).__name__, data[0])
        if done is not None:
            done(None, [])

    def bring_up_to_date(self, socket: SocketInterface) -> None:
        """A socket is about to be sent something that is for it alone: send it first what is under way to it."""

    # -- connection state recovery: an adapter that offers none remembers nothing ---------------------------------

    def begin_session(self, socket: SocketInterface) -> None:
        """A socket that is not let in yet has got its private id, and is no continuation of another."""

    def keep_session(self, socket: SocketInterface) -> None:
        """A socket's client is about to learn its private id; what is kept elsewhere may be kept from now on."""

    def drop_session(self, socket: SocketInterface) -> None:
        """A client that has known its private id has left for good: keep nothing of it."""

    def say_farewell(self, socket: SocketInterface) -> None:
        """A socket is about to be thrown out: send it what has been emitted to it before, if anything is on its way."""

    def persist_session(self, session: SavedSession) -> None:
        """Keep the session of a client whose connection was lost."""

    def call_session(self, pid: str, offset: str, then: Callable[[], object]) -> bool:
        """Look for the session in other processes, if it may be there and is not here; must not block.

        :param then: called once, by anybody, when :meth:`restore_session` can be asked.
        :return: False when there is nothing to wait for; ``then`` is not called.
        """
        return False

    def restore_session(self, pid: str, offset: str) -> SavedSession | None:
        """Take back what was kept for a client that has events up to ``offset``; None when it was not, or too long."""
        return None

    def catch_up(self, socket: SocketInterface, session: SavedSession, offset: str, welcome: list[Any]) -> bool:
        """Have broadcasts reach a restored socket, which is in its rooms already, from now on; but first send it what
        it has missed, then ``welcome`` (an encoded packet).

        Nothing is lost, doubled or reordered beside the broadcasts of other threads.

        :return: False when what it has missed is not known any more.
        """
        return False

    # -- presence -----------------------------------------------------------------------------------------------

    def roster(self) -> Roster:
        """What tells who is in rooms that are watched."""
        if self._roster is None:
            made = self._make_roster()
            with self._roster_lock:
                self._roster = self._roster or made
        return self._roster

    def _make_roster(self) -> Roster:
        return Roster(self._namespace, self)

    def close(self) -> None:
        """The namespace is closing."""
        if self._roster is not None:
            self._roster.close()


class AdaptedNamespace(NamespaceInterface, Protocol):
    """A namespace, for what lies between it and its adapter."""

    @property
    def adapter(self) -> Adapter: ...
