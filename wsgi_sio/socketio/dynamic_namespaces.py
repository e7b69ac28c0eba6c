"""Dynamic namespaces: a parent, given by a pattern or a function, makes a child for each name that clients ask for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..exceptions import LocalProtocolError
from ..refuse_async import refuse_async
from .adapter import AckCollector, Adapter
from .broadcast_options import BroadcastOptions, Room
from .namespace import Namespace
from .packet import Packet
from .presence import Presence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .interfaces import SocketInterface
    from .server import Server

# Decides by (name, auth) whether a client may have the namespace.
NamespaceTest = Callable[[str, dict[str, Any]], bool]


class ParentNamespace(Namespace):
    """What :meth:`Server.of` returns for a pattern or a function.

    Handlers and middlewares are inherited by the children that are made afterwards; what is emitted here reaches all
    children.

    :ivar children: the children by name.
    """

    def __init__(self, server: Server, name: str, test: re.Pattern[str] | NamespaceTest, kind: type[Namespace]) -> None:
        refuse_async(test, "the test of a dynamic namespace")
        self.children: dict[str, Namespace] = {}
        super().__init__(server, name)
        self._test = test
        self._kind = kind

    def _make_adapter(self) -> Adapter:
        return _ParentAdapter(self)

    def watch_presence(self, room: Room | None) -> Presence:
        raise LocalProtocolError("presence() is not supported on parent namespaces")

    def matches(self, name: str, auth: dict[str, Any]) -> bool:
        """Whether a client may have a child of that name."""
        if isinstance(self._test, re.Pattern):
            return self._test.search(name) is not None
        return bool(self._test(name, auth))

    def matches_by_name(self, name: str) -> bool:
        """Whether the name alone, without a client, is enough for a child."""
        return isinstance(self._test, re.Pattern) and self.matches(name, {})

    def make_child(self, name: str, kind: type[Namespace] | None = None) -> Namespace:
        """A namespace that handles what this one does; of another kind, if one is given."""
        child = (kind or self._kind)(self.server, name)
        child.inherit(self)
        return child


class _ParentAdapter(Adapter):
    """Passes broadcasts on to the children; a parent has no sockets of its own."""

    def __init__(self, parent: ParentNamespace) -> None:
        super().__init__(parent)
        self._parent = parent

    def _children(self) -> list[Namespace]:
        return list(self._parent.children.values())

    def open(self, sid: str) -> None:
        raise LocalProtocolError("no client connects to a parent namespace")

    def add_all(self, sid: str, rooms: frozenset[Room]) -> None:
        raise LocalProtocolError("no client is in a parent namespace")

    def del_(self, sid: str, room: Room) -> None:
        raise LocalProtocolError("no client is in a parent namespace")

    def del_all(self, sid: str) -> None:
        raise LocalProtocolError("no client is in a parent namespace")

    def sockets(self, rooms: frozenset[Room]) -> set[str]:
        return set().union(*[child.adapter.sockets(rooms) for child in self._children()])

    def socket_rooms(self, sid: str) -> set[Room]:
        return set().union(*[child.adapter.socket_rooms(sid) for child in self._children()])

    def room_size(self, room: Room) -> int:
        return sum(child.adapter.room_size(room) for child in self._children())

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        for child in self._children():
            child.adapter.broadcast(replace(packet, nsp=child.name), options)

    def broadcast_with_ack(self, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        acks.await_servers(1)  # not complete before the last child
        for child in self._children():
            child.adapter.broadcast_with_ack(replace(packet, nsp=child.name), options, acks)
        acks.server_asked(0)

    def local_sockets(self, options: BroadcastOptions) -> Sequence[SocketInterface]:
        raise LocalProtocolError("fetch_sockets() is not supported on parent namespaces")

    def count_sockets(self, options: BroadcastOptions) -> int:
        return sum(child.adapter.count_sockets(options) for child in self._children())

    def count_rooms(self, options: BroadcastOptions, rooms: frozenset[Room] | None) -> dict[Room, int]:
        found: Counter[Room] = Counter()
        for child in self._children():
            found.update(child.adapter.count_rooms(options, rooms))
        return dict(found)

    def add_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        for child in self._children():
            child.adapter.add_sockets(options, rooms)

    def del_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        for child in self._children():
            child.adapter.del_sockets(options, rooms)

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        for child in self._children():
            child.adapter.disconnect_sockets(options, close)
