"""The adapter of a single process, who is in which room: two maps under one lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..runtime import Rank, make_lock
from .adapter import AckCollector, Adapter, BroadcastOptions, Room, RoomChange
from .packet import Packet

if TYPE_CHECKING:
    from .namespace import Namespace
    from .socket import Socket


class MemoryAdapter(Adapter):
    """Rooms in memory; joining, leaving and disconnecting cost O(own rooms)."""

    one_process = True

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(namespace)
        self._lock = make_lock(Rank.ADAPTER)
        self._members: dict[Room, set[str]] = {}
        self._rooms: dict[str, set[Room]] = {}

    def open(self, sid: str) -> None:
        with self._lock:
            self._rooms[sid] = set()

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
        for room in rooms - mine:
            mine.add(room)
            members = self._members.get(room)
            if members is None:
                members = self._members[room] = set()
                changes.append(("create-room", room))
            members.add(sid)
            changes.append(("join-room", room, sid))
        return changes

    def del_(self, sid: str, room: Room) -> None:
        changes: list[RoomChange] = []
        with self._lock:
            mine = self._rooms.get(sid)
            if mine is not None and room in mine:
                mine.remove(room)
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
        members = self._members[room]
        members.discard(sid)
        changes.append(("leave-room", room, sid))
        if not members:
            del self._members[room]
            changes.append(("delete-room", room))

    def sockets(self, rooms: frozenset[Room]) -> set[str]:
        with self._lock:
            return self._union_locked(rooms) if rooms else set(self._rooms)

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
            volatile = options.volatile
            alone = self._only_one(options) is not None
            for socket in recipients:
                socket.deliver(packet.data, batch, volatile, alone)

    def _only_one(self, options: BroadcastOptions) -> Socket | None:
        """The client that is meant alone, by its id, if one is: then the sender may be held back."""
        room = next(iter(options.rooms)) if len(options.rooms) == 1 else None
        return self._namespace.sockets.get(room) if isinstance(room, str) else None

    def broadcast_with_ack(self, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        acks.await_servers(1)
        recipients = self.local_sockets(options)
        packet.id = ack_id = self._namespace.next_ack_id()
        batch = self._namespace.server.encode(packet, options.compress) if recipients else []
        acks.server_asked(len(recipients))  # first, since the first may answer before the last is asked
        for socket in recipients:
            socket.expect_ack(ack_id, acks, options.timeout)
            socket.deliver(packet.data, batch, options.volatile)

    def local_sockets(self, options: BroadcastOptions) -> list[Socket]:
        with self._lock:
            return self._find_locked(options)

    def _find_locked(self, options: BroadcastOptions) -> list[Socket]:
        sockets = self._namespace.sockets
        if options.rooms:
            sids = self._union_locked(options.rooms)
        elif not options.except_:
            return list(sockets.values())
        else:
            sids = set(self._rooms)
        if options.except_:
            sids = sids - self._union_locked(options.except_)
        return [socket for socket in map(sockets.get, list(sids)) if socket is not None]

    def _union_locked(self, rooms: frozenset[Room]) -> set[str]:
        """The members of all ``rooms``; not to be changed, since it may be a room's own set."""
        if len(rooms) == 1:
            (room,) = rooms
            return self._members.get(room, set())
        return set().union(*[self._members.get(room, ()) for room in rooms])
