"""What comes from a socket's client: events, which go through its middlewares to handlers, and acknowledgements.

What a handler returns goes back as the acknowledgement of its event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from ..logtext import quote
from ..runtime import FAILURES, SerialQueue
from .handlers import NO_ACK, HandlerTable
from .packet import ACK, DISCONNECT, EVENT, Packet
from .quick_events import QuickEvents
from .testing_hooks import tell_tester

if TYPE_CHECKING:
    from .acks import Waiter
    from .connection import Connection
    from .on_any import AnyListener
    from .socket_handshake import Handshake

logger = logging.getLogger("wsgi_sio.socketio")

EventMiddleware = Callable[[list[Any]], object]


class DispatchingNamespace(Protocol):
    """A namespace, for what comes from its sockets."""

    @property
    def name(self) -> str: ...

    @property
    def quick_events(self) -> QuickEvents: ...

    def runs_concurrently(self, own: HandlerTable, data: list[Any]) -> bool: ...

    def dispatch(self, socket: Any, own: HandlerTable, data: list[Any]) -> Any: ...

    def dispatch_told(self, socket: Any, own: HandlerTable, data: list[Any], size: int) -> Any: ...

    def tell_error(self, socket: Any, own: HandlerTable, error: BaseException) -> None: ...


class Receives:
    """The half of :class:`Socket` that the client causes."""

    __slots__ = ()

    nsp: DispatchingNamespace
    conn: Connection
    handshake: Handshake
    _acks: dict[int, Waiter]
    _handlers: HandlerTable
    _incoming: tuple[AnyListener, ...]
    _mailbox: SerialQueue
    _middlewares: tuple[EventMiddleware, ...]
    _muted: bool

    def _on_disconnect(self) -> None:
        raise NotImplementedError

    def _tell(self, listeners: tuple[AnyListener, ...], data: list[Any]) -> None:
        raise NotImplementedError

    # -- on an I/O thread -----------------------------------------------------------------------------------------

    def receive(self, packet: Packet, size: int, cost: int) -> None:
        """Take a packet that is for this socket, its payload's size in bytes, and what it costs the mailbox."""
        kind = packet.type
        if kind == EVENT:
            beside = self.nsp.runs_concurrently(self._handlers, packet.data)
            queue = self._mailbox.run_beside if beside else self._mailbox.put
            queue(self._run_event, packet, size, not beside, cost=cost)
        elif kind == ACK:
            waiter = self._acks.pop(packet.id, None) if packet.id is not None else None
            if waiter is not None:
                waiter.answer(packet.data)
        elif kind == DISCONNECT:
            self._on_disconnect()

    def undecodable(self, error: Exception) -> None:
        """The client has sent what is no packet, which is the end of it: tell its handlers of ``error`` before."""
        if self._handlers.find("error"):
            self._mailbox.put(self.nsp.tell_error, self, self._handlers, error)

    # -- in the mailbox -------------------------------------------------------------------------------------------

    def _run_event(self, packet: Packet, size: int, in_order: bool) -> None:
        data = packet.data
        in_row = in_order and (self._mailbox.is_followed or self.conn.session.held > 0)
        followed_soon = False
        try:
            if self._muted or not data:
                return
            event, began = data[0], monotonic() if in_row else 0.0
            if self._incoming:
                self._tell(self._incoming, data)
            if self._middlewares and not self._passes(data):
                result = NO_ACK
            elif logger.isEnabledFor(logging.DEBUG):
                result = self.nsp.dispatch_told(self, self._handlers, data, size)
            else:
                result = self.nsp.dispatch(self, self._handlers, data)
            if in_row:
                ended = monotonic()
                self.nsp.quick_events.note(event, ended - began)
                followed_soon = self._is_followed_soon()
            if packet.id is not None and result is not NO_ACK:
                args = [] if result is None else list(result) if isinstance(result, tuple) else [result]
                try:
                    answer = Packet(ACK, self.nsp.name, args, packet.id)
                    if followed_soon:
                        self.conn.acknowledge_soon(answer, ended)
                    else:
                        self.conn.acknowledge(answer)
                except (TypeError, ValueError) as error:
                    tell_tester(self.handshake.environ, error)
                    logger.exception("what the handler of %s returned cannot be sent to %r", quote(data[0]), self)
        finally:
            if in_row and not followed_soon and self.conn.session.held:
                self.conn.session.release()

    def _is_followed_soon(self) -> bool:
        """Whether the next thing this worker does is to handle an event, and that is known to be quick."""
        following = self._mailbox.following(self._run_event)
        if following is None:
            return False
        data = following[0].data
        return bool(data) and data[0] in self.nsp.quick_events.names

    def _passes(self, data: list[Any]) -> bool:
        """Run the middlewares over an event; False when one has refused it."""
        try:
            for middleware in self._middlewares:
                middleware(data)
        except FAILURES as error:
            self.nsp.tell_error(self, self._handlers, error)
            return False
        return bool(data)
