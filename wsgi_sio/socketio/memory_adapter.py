"""The adapter of a single process, who is in which room: two maps under one lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..runtime import Rank, make_lock
from .adapter import AckCollector, Adapter, RoomChange
from .broadcast_options import BroadcastOptions, Room
from .long_broadcasts import FEW, LongBroadcasts, Send
from .packet import Packet

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

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
            self._deliver(recipients, packet, self._namespace.server.encode(packet, options.compress), options)

    def _deliver(
        self, recipients: Sequence[SocketInterface], packet: Packet, batch: list[Any], options: BroadcastOptions
    ) -> None:
        """Send to ``recipients`` what ``packet`` has been encoded to."""
        data, volatile = packet.data, options.volatile
        alone = self._only_one(options) is not None
        if self._long.under_way or len(recipients) > FEW:
            self._run_long(recipients, lambda socket: socket.deliver(data, batch, volatile, alone))
            return
        for socket in recipients:
            socket.deliver(data, batch, volatile, alone)

    def _run_long(self, recipients: Sequence[SocketInterface], send: Send) -> None:
        self._long.run(recipients, send, self._namespace.server.reactor)

    def _only_one(self, options: BroadcastOptions) -> SocketInterface | None:
        """The client that is meant alone, by its id, if one is: then the sender may be held back."""
        room = next(iter(options.rooms)) if len(options.rooms) == 1 else None
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

        self._run_long(recipients, ask)

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


def _thaw(sets: dict[Any, set[Any] | frozenset[Any]], key: Any) -> set[Any]:
    """One of ``sets``, from now on one that may be changed."""
    found = sets[key]
    if not isinstance(found, set):
        found = sets[key] = set(found)
    return found
