"""The adapter of a single process, who is in which room: two maps under one lock."""

from __future__ import annotations

from functools import cache, partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from ..runtime import Rank, make_lock
from .adapter import AckCollector, Adapter, RoomChange
from .broadcast_options import BroadcastOptions, Room
from .long_broadcasts import FEW, LongBroadcasts, PlacedBroadcast, Send
from .packet import Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from .interfaces import NamespaceInterface, SocketInterface

_NONE: Final[frozenset[str]] = frozenset()


class MemoryAdapter(Adapter):
    """Rooms in memory; joining, leaving and disconnecting cost O(own rooms).

    Most clients are in one room all their life, which is their own: then both maps share one frozen set.  A set that
    has to change is thawed before.
    """

    def __init__(self, namespace: NamespaceInterface) -> None:
        super().__init__(namespace)
        self._lock = make_lock(Rank.ADAPTER)
        self._members: dict[Room, set[str] | frozenset[str]] = {}
        self._rooms: dict[str, set[Room] | frozenset[Room]] = {}
        self._long = LongBroadcasts()

    def is_alone(self) -> bool:
        return True

    def open(self, sid: str) -> None:
        with self._lock:
            self._rooms[sid] = _NONE

    def add_all(self, sid: str, rooms: frozenset[Room]) -> None:
        with self._lock:
            changes = self._join_locked(sid, rooms)
        if self._listeners:
            self._tell(changes)

    def _join_locked(self, sid: str, rooms: frozenset[Room]) -> list[RoomChange]:
        changes: list[RoomChange] = []
        mine = self._rooms.get(sid)
        if mine is None:
            return changes
        new = frozenset(rooms - mine)
        shared: frozenset[Any] | None = new if not mine and new == {sid} else None
        if shared:
            self._rooms[sid] = shared
        else:
            _thaw(self._rooms, sid).update(new)
        for room in new:
            if room in self._members:
                _thaw(self._members, room).add(sid)
            else:
                self._members[room] = shared or {sid}
                changes.append(("create-room", room))
            changes.append(("join-room", room, sid))
        return changes

    def del_(self, sid: str, room: Room) -> None:
        changes: list[RoomChange] = []
        with self._lock:
            mine = self._rooms.get(sid)
            if mine is not None and room in mine:
                _thaw(self._rooms, sid).remove(room)
                self._leave_locked(sid, room, changes)
        if self._listeners:
            self._tell(changes)

    def del_all(self, sid: str) -> None:
        changes: list[RoomChange] = []
        with self._lock:
            for room in self._rooms.pop(sid, ()):
                self._leave_locked(sid, room, changes)
        if self._listeners:
            self._tell(changes)

    def _leave_locked(self, sid: str, room: Room, changes: list[RoomChange]) -> None:
        members = _thaw(self._members, room)
        members.discard(sid)
        changes.append(("leave-room", room, sid))
        if not members:
            del self._members[room]
            changes.append(("delete-room", room))

    def sockets(self, rooms: frozenset[Room]) -> set[str]:
        with self._lock:
            return set(self._union_locked(rooms) if rooms else self._rooms)

    def socket_rooms(self, sid: str) -> set[Room]:
        with self._lock:
            return set(self._rooms.get(sid, ()))

    def room_size(self, room: Room) -> int:
        with self._lock:
            return len(self._members.get(room, ()))

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        recipients = self.local_sockets(options)
        if recipients:
            batch = self._namespace.server.encode(packet, options.compress)
            self._deliver(recipients, packet.data, batch, options)

    def _deliver(
        self, recipients: Sequence[SocketInterface], data: list[Any], batch: list[Any], options: BroadcastOptions
    ) -> None:
        """Send to ``recipients`` what ``data`` has been encoded to; empty: nobody listened to what goes out."""
        volatile, alone = options.volatile, self._only_one(options) is not None
        if self._long.under_way or len(recipients) > FEW:
            for socket in recipients if alone and not volatile else ():  # first: what comes behind it must not overtake
                socket.wait_for_room()
            self._run_long(recipients, lambda socket: socket.deliver(data, batch, volatile, alone), options.posted)
            return
        for socket in recipients:
            socket.deliver(data, batch, volatile, alone)

    def _run_long(self, recipients: Sequence[SocketInterface], send: Send, posted: bool) -> None:
        self._long.run(recipients, send, self._namespace.server.reactor, posted)

    def _reserve_locked(
        self,
        recipients: Sequence[SocketInterface],
        batch: list[Any],
        data: Callable[[], list[Any]],
        patient: bool,
        posted: bool,
        at_once: bool = False,
    ) -> Callable[[], None]:
        """Give an encoded event, which is kept, its place in the order of what each of ``recipients`` gets.

        :param data: gives what has been encoded, for the listeners.
        :param patient: see :meth:`Socket.reserve`.
        :param posted: see :class:`BroadcastOptions`.
        :param at_once: nobody is to have a turn meanwhile.
        :return: sends it, and has to be called soon, without the lock.
        """
        few = len(recipients) <= FEW and not self._long.under_way
        if few or not self._namespace.server.reactor.one_thread:
            if len(recipients) == 1 and not recipients[0].listeners_any_outgoing:  # often, and so in fewer steps
                return recipients[0].reserve(batch, patient)
            sends = [socket.reserve(batch, patient) for socket in recipients]
            return partial(_send_all, sends, recipients, data)

        def place(socket: SocketInterface) -> Callable[[], None] | None:
            # Who has left may have come again over the same connection.
            return None if socket.gone else socket.reserve(batch, patient)

        def tell(socket: SocketInterface) -> None:
            socket.tell_outgoing(told())

        long, told = self._long, cache(data)
        broadcast = long.begin(PlacedBroadcast(recipients, place, self._lock, tell))
        finish = long.finish_at_once if at_once else long.post if posted else long.finish
        return partial(finish, broadcast, self._namespace.server.reactor)

    def bring_up_to_date(self, socket: SocketInterface) -> None:
        if self._long.under_way:
            self._long.reach(socket)

    def say_farewell(self, socket: SocketInterface) -> None:
        self.bring_up_to_date(socket)

    def _only_one(self, options: BroadcastOptions) -> SocketInterface | None:
        """The client that is meant alone, by its id, if one is and the sender may be held back for it."""
        if options.posted or len(options.rooms) != 1:
            return None
        (room,) = options.rooms
        return self._namespace.sockets.get(room) if isinstance(room, str) else None

    def broadcast_with_ack(self, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        acks.await_servers(1)
        recipients = self.local_sockets(options)
        packet.id = ack_id = self._namespace.next_ack_id()
        batch = self._namespace.server.encode(packet, options.compress) if recipients else []
        acks.server_asked(len(recipients))  # first, since the first may answer before the last is asked

        def ask(socket: SocketInterface) -> None:
            socket.expect_ack(ack_id, acks, options.timeout)
            socket.deliver(packet.data, batch, options.volatile)

        self._run_long(recipients, ask, options.posted)

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        # What has been begun after this does not come in front of it: see Broadcast.reach().
        self._run_long(self.local_sockets(options), methodcaller("disconnect", close), options.posted)

    def local_sockets(self, options: BroadcastOptions) -> Sequence[SocketInterface]:
        with self._lock:
            return self._find_locked(options)

    def _find_locked(self, options: BroadcastOptions) -> list[SocketInterface]:
        sockets, sids = self._namespace.sockets, self._select_locked(options)
        if sids is None:
            return list(sockets.values())
        return [socket for socket in map(sockets.get, list(sids)) if socket is not None]

    def _select_locked(self, options: BroadcastOptions) -> Set[str] | None:
        """Whom ``options`` mean, those who are not connected yet too; None: everybody.  Not to be changed."""
        sids: Set[str]
        if options.rooms:
            sids = self._union_locked(options.rooms)
        elif not options.except_:
            return None
        else:
            sids = set(self._rooms)
        return sids - self._union_locked(options.except_) if options.except_ else sids

    def count_sockets(self, options: BroadcastOptions) -> int:
        sockets = self._namespace.sockets
        with self._lock:
            sids = self._select_locked(options)
            return len(sockets) if sids is None else sum(map(sockets.__contains__, sids))

    def count_rooms(self, options: BroadcastOptions, rooms: frozenset[Room] | None) -> dict[Room, int]:
        sockets, found = self._namespace.sockets, {}
        with self._lock:
            sids = self._select_locked(options)
            counted = sockets.keys() if sids is None else sockets.keys() & sids
            outside = self._rooms.keys() - counted  # as a rule nobody
            for room in [room for room in self._members if room not in self._rooms] if rooms is None else rooms:
                members = self._members.get(room, _NONE)
                few, many = (outside, members) if len(outside) < len(members) else (members, outside)
                count = len(members) - sum(map(many.__contains__, few))
                if count or rooms is not None:
                    found[room] = count
        return found

    def _union_locked(self, rooms: frozenset[Room]) -> Set[str]:
        """The members of all ``rooms``; not to be changed, since it may be a room's own set."""
        if len(rooms) == 1:
            (room,) = rooms
            return self._members.get(room, _NONE)
        members: set[str] = set()
        for room in rooms:
            members.update(self._members.get(room, ()))
        return members


def _send_all(
    sends: list[Callable[[], None]], recipients: Sequence[SocketInterface], data: Callable[[], list[Any]]
) -> None:
    for send in sends:  # all, before any listener may wait, or raise, while the others' clients get nothing
        send()
    told: list[Any] = []
    for socket in recipients:
        if socket.listeners_any_outgoing:
            told = told or data()
            socket.tell_outgoing(told)


def _thaw(sets: dict[Any, set[Any] | frozenset[Any]], key: Any) -> set[Any]:
    """One of ``sets``, from now on one that may be changed."""
    found = sets[key]
    if not isinstance(found, set):
        found = sets[key] = set(found)
    return found
