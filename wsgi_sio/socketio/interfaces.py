"""What a server, its namespaces, sockets and connections are to the parts below them: adapters, recovery, presence.

Only type checkers read it.  ``Server``, ``Namespace`` and ``Socket`` know each other by their whole classes, since
applications reach one from another; everybody else here knows of them what stands below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..engineio import EngineServer, Session
from ..engineio.packet import Packet as EnginePacket
from ..runtime import Reactor, SharedTimeouts
from .acks import Waiter
from .broadcast_options import Room
from .jsoncodec import JSONCodec
from .packet import Packet
from .parser import Parser
from .socket_handshake import Handshake


class ServerInterface(Protocol):
    """The server, for adapters and the like."""

    @property
    def engine(self) -> EngineServer: ...

    @property
    def reactor(self) -> Reactor: ...

    @property
    def parser(self) -> Parser: ...

    @property
    def json(self) -> JSONCodec | None: ...

    @property
    def max_attachments(self) -> int: ...

    def encode(self, packet: Packet, compress: bool = ...) -> list[EnginePacket]: ...

    def submit(self, job: Callable[[], Any]) -> None: ...

    def as_handler(self, func: Callable[..., Any]) -> Callable[..., Any]: ...


class ConnectableServer(ServerInterface, Protocol):
    """The server, for connections, which come to have sockets in its namespaces."""

    @property
    def connect_timeout(self) -> float: ...

    @property
    def outside(self) -> SharedTimeouts[Any]: ...

    @property
    def has_parents(self) -> bool: ...

    def enter_namespace(self, name: str) -> ConnectableNamespace | None: ...

    def enter_dynamic_namespace(self, name: str, auth: dict[str, Any]) -> ConnectableNamespace | None: ...

    def leave_namespace(self, namespace: Any) -> None: ...


class NamespaceInterface(Protocol):
    """A namespace, for its adapter."""

    @property
    def name(self) -> str: ...

    @property
    def server(self) -> ServerInterface: ...

    @property
    def sockets(self) -> Mapping[str, SocketInterface]: ...

    @property
    def server_side_handlers(self) -> RunsEvents: ...

    @property
    def recovery(self) -> KnowsPredecessors | None: ...

    def next_ack_id(self) -> int: ...

    def take_restored(self, socket: Any) -> None: ...


class ConnectableNamespace(NamespaceInterface, Protocol):
    """A namespace, for connections."""

    def new_socket(self, conn: Any, auth: dict[str, Any]) -> SocketInterface: ...

    def receive(self, socket: Any) -> None: ...


class RunsEvents(Protocol):
    """The handlers of other servers' events."""

    def run(self, data: list[Any]) -> Any: ...


class KnowsPredecessors(Protocol):
    """The recovery of a namespace, for adapters that are asked for a session."""

    def follow(self, pid: str, begin: Callable[[], object], overtaken: Callable[[], object]) -> bool: ...


class ConnectionInterface(Protocol):
    """A client, for what happens to its sockets."""

    @property
    def session(self) -> Session: ...

    @property
    def recoverable(self) -> bool: ...

    def close(self, reason: str = ...) -> None: ...


class SocketInterface(Protocol):
    """A socket.

    :ivar trail: its adapter's own.
    """

    id: str
    pid: str
    data: dict[str, Any]
    recovered: bool
    trail: Any

    @property
    def nsp(self) -> NamespaceInterface: ...

    @property
    def conn(self) -> ConnectionInterface: ...

    @property
    def handshake(self) -> Handshake: ...

    @property
    def connected(self) -> bool: ...

    @property
    def gone(self) -> bool: ...

    @property
    def rooms(self) -> set[Room]: ...

    @property
    def listeners_any_outgoing(self) -> tuple[Callable[..., object], ...]: ...

    # -- for adapters

    def deliver(self, data: list[Any], batch: list[Any], volatile: bool, patient: bool = ...) -> bool: ...

    def reserve(self, batch: list[Any], patient: bool = ...) -> Callable[[], None]: ...

    def wait_for_room(self) -> None: ...

    def tell_outgoing(self, data: list[Any]) -> None: ...

    def expect_ack(self, ack_id: int, waiter: Waiter, timeout: float | None = ...) -> None: ...

    def join(self, room: Any) -> None: ...

    def leave(self, room: Room) -> None: ...

    def disconnect(self, close: bool = ...) -> None: ...

    # -- for its connection, and for recovery

    def begin(self) -> None: ...

    def connect_packet(self) -> Packet: ...

    def receive(self, packet: Packet, size: int, cost: int) -> None: ...

    def undecodable(self, error: Exception) -> None: ...

    def run_in_order(self, job: Callable[[], object]) -> None: ...

    def throw_out(self) -> None: ...

    def let_go(self, reason: str) -> None: ...

    def lost(self, reason: str) -> bool: ...


class InRooms(Protocol):
    """A socket of this server, or of another one."""

    @property
    def id(self) -> str: ...

    @property
    def rooms(self) -> set[Room]: ...
