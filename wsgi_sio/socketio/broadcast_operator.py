"""Operators: immutable descriptions of whom an event is for and how; each step returns a new one.

What ``to``, ``except_``, ``volatile`` and the like return, and what gives servers, namespaces and sockets these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..exceptions import LocalProtocolError
from .acks import BroadcastAcks, as_job, gather
from .adapter import Adapter
from .broadcast_options import EVERYBODY, NOBODY, BroadcastOptions, Room, as_rooms
from .handlers import check_event
from .packet import EVENT, Packet

if TYPE_CHECKING:
    from .namespace import Namespace
    from .remote_socket import RemoteSocket
    from .socket import Socket


class Sends:
    """``send`` and ``write``, the event "message", for whatever can emit."""

    __slots__ = ()

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        raise NotImplementedError

    def send(self, *args: Any) -> bool:
        """Emit the event "message"."""
        return self.emit("message", *args)

    def write(self, *args: Any) -> bool:
        """The same as :meth:`send`."""
        return self.emit("message", *args)


class Targets:
    """Whom a broadcast is for: the methods of whatever can make an operator (Server, Namespace, Socket, operators)."""

    __slots__ = ()

    def _operator(self) -> BroadcastOperator:
        raise NotImplementedError

    def to(self, room: Room | Iterable[Room]) -> BroadcastOperator:
        """Those in ``room`` (or any of several), in addition to the rooms named before; a socket's id is a room.

        An empty list adds nobody: if no room is named before or after, nobody is meant.
        """
        operator = self._operator()
        named, rooms = operator.options.rooms, as_rooms(room)
        return operator._with(rooms=(rooms if named is NOBODY else named | rooms) or NOBODY)

    in_ = to

    def except_(self, room: Room | Iterable[Room]) -> BroadcastOperator:
        """Without those in ``room`` (or any of several)."""
        operator = self._operator()
        return operator._with(except_=operator.options.except_ | as_rooms(room))

    @property
    def local(self) -> BroadcastOperator:
        """Only clients of this process."""
        return self._operator()._with(local=True)


class Broadcasts(Targets):
    """How a broadcast is sent, where there is no single client that the same words could mean."""

    __slots__ = ()

    @property
    def volatile(self) -> BroadcastOperator:
        """May be lost: each client gets it only if it can take it now (nothing is queued for it; over polling: a GET
        waits)."""
        return self._operator()._with(volatile=True)

    def compress(self, compress: bool) -> BroadcastOperator:
        """Whether a polling answer that carries it may be compressed."""
        return self._operator()._with(compress=bool(compress))

    def timeout(self, seconds: float) -> BroadcastOperator:
        """How long to wait for acknowledgements, in seconds."""
        return self._operator()._with(timeout=seconds)

    def count(self) -> int:
        """How many sockets a broadcast would reach, on all servers: each answers with a number.  Blocks for that.

        :raises AckTimeout: not all have answered within :meth:`timeout` (the adapter's time without); its ``responses``
            is a list of one number, that of the sockets that are known.
        """
        operator = self._operator()
        return operator._adapter().count_sockets(operator.options)

    def room_counts(self, rooms: Room | Iterable[Room] | None = None) -> dict[Room, int]:
        """How many of the sockets that a broadcast would reach are in each room, on all servers.  Blocks like
        :meth:`count`.

        :param rooms: which; None: those that are not empty, without the rooms that are a client's own id.
        :raises AckTimeout: likewise; its ``responses`` is a list of one dict.
        """
        operator = self._operator()
        return operator._adapter().count_rooms(operator.options, None if rooms is None else as_rooms(rooms))


@dataclass(frozen=True, slots=True)
class BroadcastOperator(Broadcasts, Sends):
    """See the module's text."""

    namespace: Namespace
    options: BroadcastOptions = EVERYBODY

    def _operator(self) -> BroadcastOperator:
        return self

    def _with(self, **changes: Any) -> BroadcastOperator:
        return BroadcastOperator(self.namespace, self.options._replace(**changes))

    def _adapter(self) -> Adapter:
        namespace = self.namespace
        if not namespace.sockets:
            namespace.server.tell_if_unheard()
        return namespace.adapter

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event to everybody described; it is encoded once.

        :param callback: called with (error or None, responses) once all have acknowledged or the time is over; needs
            :meth:`timeout`.
        :return: True.
        :raises LocalProtocolError: the event's name is reserved, or a callback lacks its time-out.
        :raises TypeError: an argument is not JSON and not bytes.
        :raises ValueError: there are more bytes values than ``max_attachments``.
        """
        check_event(event)
        if callback is None:
            packet = Packet(EVENT, self.namespace.name, [event, *args])
            self._adapter().broadcast(packet, self.options)
        else:
            self.collect(event, args, BroadcastAcks(as_job(self.namespace.server.submit, callback)))
        return True

    def emit_with_ack(self, event: str, *args: Any) -> list[Any]:
        """Send an event and block until all have acknowledged; :meth:`timeout` says how long at most.

        :return: the first argument of each answer, in order of arrival.
        :raises AckTimeout: not all have; its ``responses`` are those that came.
        """
        check_event(event)
        return gather(self.namespace.server.reactor, lambda done: self.collect(event, args, BroadcastAcks(done)))

    def collect(self, event: str, args: tuple[Any, ...], acks: BroadcastAcks) -> None:
        """Send an event and let ``acks`` have the acknowledgements.

        :raises LocalProtocolError: there is no time-out.
        """
        timeout = self.options.timeout
        if timeout is None:
            raise LocalProtocolError("a broadcast with acknowledgement needs a time-out: .timeout(seconds).emit(...)")
        packet = Packet(EVENT, self.namespace.name, [event, *args])
        self._adapter().broadcast_with_ack(packet, self.options, acks)
        self.namespace.server.reactor.expire_after(timeout, acks.timed_out)  # an answered collection ignores it

    def fetch_sockets(self) -> list[Socket | RemoteSocket]:
        """The sockets described; those of other servers as they are now.  Blocks for the answers of these.

        :raises AckTimeout: not all have answered within :meth:`timeout` (the adapter's time without); its ``responses``
            are the sockets that are known.
        """
        return self._adapter().fetch_sockets(self.options)

    def sockets_join(self, room: Room | Iterable[Room]) -> None:
        """Make all of them join ``room`` (or several)."""
        self._adapter().add_sockets(self.options, as_rooms(room))

    def sockets_leave(self, room: Room | Iterable[Room]) -> None:
        """Make all of them leave ``room`` (or several)."""
        self._adapter().del_sockets(self.options, as_rooms(room))

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect all of them; see :meth:`Socket.disconnect`."""
        self._adapter().disconnect_sockets(self.options, close)


class SocketOperator(Targets, Sends):
    """How to emit to one socket: what ``volatile``, ``compress`` and ``timeout`` of a socket return. Immutable."""

    __slots__ = ("_options", "_socket")

    def __init__(self, socket: Socket, options: BroadcastOptions) -> None:
        self._socket = socket
        self._options = options

    def _with(self, **changes: Any) -> SocketOperator:
        return SocketOperator(self._socket, self._options._replace(**changes))

    def _operator(self) -> BroadcastOperator:
        return BroadcastOperator(self._socket.nsp, self._options._replace(except_=frozenset([self._socket.id])))

    @property
    def broadcast(self) -> BroadcastOperator:
        """Everybody in the namespace but this client."""
        return self._operator()

    @property
    def volatile(self) -> SocketOperator:
        """See :attr:`Socket.volatile`."""
        return self._with(volatile=True)

    def compress(self, compress: bool) -> SocketOperator:
        """See :meth:`Socket.compress`."""
        return self._with(compress=bool(compress))

    def timeout(self, seconds: float) -> SocketOperator:
        """See :meth:`Socket.timeout`."""
        return self._with(timeout=seconds)

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """See :meth:`Socket.emit`; after :meth:`timeout` the callback gets an error (or None) first."""
        return self._socket._emit(event, args, self._options, callback)

    def emit_with_ack(self, event: str, *args: Any) -> Any:
        """See :meth:`Socket.emit_with_ack`."""
        return self._socket.emit_with_ack(event, *args, timeout=self._options.timeout)
