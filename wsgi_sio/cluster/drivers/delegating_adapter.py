"""DelegatingAdapter: one beside another adapter, to which it leaves what it says nothing about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...socketio.adapter import Adapter, SavedSession
from ...socketio.broadcast_options import BroadcastOptions, Room

if TYPE_CHECKING:
    from ...socketio.acks import Done
    from ...socketio.interfaces import SocketInterface
    from ...socketio.local_presence import Roster
    from ...socketio.namespace import Namespace


class DelegatingAdapter(Adapter):
    """See the module's text.

    :ivar inner: the other adapter.
    """

    def __init__(self, namespace: Namespace, inner: Adapter) -> None:
        super().__init__(namespace)
        self.inner = inner

    def on(self, event: str, listener: Callable[..., object]) -> Callable[..., object]:
        return self.inner.on(event, listener)

    def off(self, event: str, listener: Callable[..., object]) -> None:
        self.inner.off(event, listener)

    def roster(self) -> Roster:
        return self.inner.roster()

    def take_listeners(self, former: Adapter) -> None:
        self.inner.take_listeners(former.inner if isinstance(former, DelegatingAdapter) else former)

    def look_around(self) -> None:
        self.inner.look_around()

    def begin(self) -> None:
        self.inner.begin()

    def add_all(self, sid: str, rooms: frozenset[Room]) -> None:
        self.inner.add_all(sid, rooms)

    def del_(self, sid: str, room: Room) -> None:
        self.inner.del_(sid, room)

    def del_all(self, sid: str) -> None:
        self.inner.del_all(sid)

    def sockets(self, rooms: frozenset[Room]) -> set[str]:
        return self.inner.sockets(rooms)

    def socket_rooms(self, sid: str) -> set[Room]:
        return self.inner.socket_rooms(sid)

    def room_size(self, room: Room) -> int:
        return self.inner.room_size(room)

    def local_sockets(self, options: BroadcastOptions) -> Sequence[SocketInterface]:
        return self.inner.local_sockets(options)

    def fetch_sockets(self, options: BroadcastOptions) -> list[Any]:
        return self.inner.fetch_sockets(options)

    def count_sockets(self, options: BroadcastOptions) -> int:
        return self.inner.count_sockets(options)

    def count_rooms(self, options: BroadcastOptions, rooms: frozenset[Room] | None) -> dict[Room, int]:
        return self.inner.count_rooms(options, rooms)

    def bring_up_to_date(self, socket: SocketInterface) -> None:
        self.inner.bring_up_to_date(socket)

    def server_count(self) -> int:
        return self.inner.server_count()

    def server_side_emit(self, data: list[Any], done: Done | None) -> None:
        self.inner.server_side_emit(data, done)

    def begin_session(self, socket: SocketInterface) -> None:
        self.inner.begin_session(socket)

    def keep_session(self, socket: SocketInterface) -> None:
        self.inner.keep_session(socket)

    def drop_session(self, socket: SocketInterface) -> None:
        self.inner.drop_session(socket)

    def say_farewell(self, socket: SocketInterface) -> None:
        self.inner.say_farewell(socket)

    def persist_session(self, session: SavedSession) -> None:
        self.inner.persist_session(session)

    def call_session(self, pid: str, offset: str, then: Callable[[], object]) -> bool:
        return self.inner.call_session(pid, offset, then)

    def restore_session(self, pid: str, offset: str) -> SavedSession | None:
        return self.inner.restore_session(pid, offset)

    def catch_up(self, socket: SocketInterface, session: SavedSession, offset: str, welcome: list[Any]) -> bool:
        return self.inner.catch_up(socket, session, offset, welcome)
