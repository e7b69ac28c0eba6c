"""Namespace: its sockets, handlers and middlewares, and how a client is admitted and dismissed."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from ..adapters.base import Adapter, Room
from ..exceptions import ConnectRefused
from .broadcast import BroadcastOperator, Broadcasts
from .handlers import LIFE_CYCLE, NO_ACK, HandlerTable, Listens, call
from .handshake import Handshake

if TYPE_CHECKING:
    from .connection import Connection
    from .server import Server
    from .socket import Socket

logger = logging.getLogger("wsgi_sio.socketio")

Middleware = Callable[["Socket"], object]
AnyMiddleware = TypeVar("AnyMiddleware", bound=Middleware)


class Namespace(Broadcasts, Listens):
    """One namespace of a :class:`Server`; get it with :meth:`Server.of`.

    Handlers get the :class:`Socket` first, then what the client sent. Special events, in the order of a client's life:

    * ``connect(socket[, auth])``: before the client is told that it is connected; raise :class:`ConnectRefused` or
      return False to refuse it.
    * ``connection(socket)``: right after, as in the reference.
    * ``disconnecting(socket[, reason])``: it has left, its rooms are still known.
    * ``disconnect(socket[, reason])``.

    :ivar name: such as ``/chat``.
    :ivar sockets: the connected sockets by id.
    :ivar adapter: who is in which room.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.sockets: dict[str, Socket] = {}
        self.adapter: Adapter = server.adapter_class(self.sockets)
        self._handlers = HandlerTable()
        self._middlewares: tuple[Middleware, ...] = ()
        self._ack_ids = count()
        self._all_concurrent = server.async_handlers

    def __repr__(self) -> str:
        return f"<Namespace {self.name!r}>"

    # -- set-up -------------------------------------------------------------------------------------------------

    def use(self, middleware: AnyMiddleware) -> AnyMiddleware:
        """Run ``middleware(socket)`` for each client that connects, before its ``connect`` handlers.

        What it raises refuses the client: a :class:`ConnectRefused` with its message and data, anything else is
        logged and refuses with its text.
        """
        self._middlewares = (*self._middlewares, middleware)
        return middleware

    def next_ack_id(self) -> int:
        """A fresh acknowledgement id; the sockets of a namespace share one counter."""
        return next(self._ack_ids)

    # -- sending ------------------------------------------------------------------------------------------------

    def _operator(self) -> BroadcastOperator:
        return BroadcastOperator(self)

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event to everybody in the namespace; see :meth:`BroadcastOperator.emit`."""
        return self._operator().emit(event, *args, callback=callback)

    def send(self, *args: Any) -> bool:
        """Emit the event "message"."""
        return self.emit("message", *args)

    def fetch_sockets(self) -> list[Socket]:
        """All sockets of the namespace."""
        return self._operator().fetch_sockets()

    def sockets_join(self, room: Room | list[Room]) -> None:
        """Make all sockets join a room, or several."""
        self._operator().sockets_join(room)

    def sockets_leave(self, room: Room | list[Room]) -> None:
        """Make all sockets leave a room, or several."""
        self._operator().sockets_leave(room)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect everybody; see :meth:`Socket.disconnect`."""
        self._operator().disconnect_sockets(close)

    # -- a client's life (for Socket; all but new_socket and runs_concurrently run in its mailbox) ---------------

    def new_socket(self, conn: Connection, auth: dict[str, Any]) -> Socket:
        """Make the socket of a client that wants to connect."""
        from .socket import Socket

        return Socket(self, conn, secrets.token_urlsafe(15), Handshake(conn.session.environ, auth))

    def admit(self, socket: Socket) -> None:
        """Run the gates, then let the client in, or tell it why not."""
        if not socket.conn.session.open:
            return  # it has left already, and its dismissal may even have been
        self.adapter.open(socket.id)
        try:
            for middleware in self._middlewares:
                middleware(socket)
            gates = self._handlers.find("connect")
            if gates:
                auth = socket.handshake.auth
                if call(self._handlers, gates, "connect", (socket, auth), socket) is False:
                    raise ConnectRefused()
        except ConnectRefused as refusal:
            data = {} if refusal.data is None else {"data": refusal.data}
            socket.refuse({"message": refusal.message, **data})
            return
        except Exception as error:
            logger.exception("connecting %r failed, so it is refused", socket)
            socket.refuse({"message": str(error)})
            return
        if not socket.accept():
            return  # it has left meanwhile; its dismissal waits in the mailbox
        self.sockets[socket.id] = socket
        self.adapter.add_all(socket.id, frozenset([socket.id]))
        socket.conn.joined()
        socket.answer_connect()
        self.run("connection", socket)

    def dismiss(self, socket: Socket, own: HandlerTable, reason: str, was_connected: bool) -> None:
        """Run the handlers for a client that has left, and forget it."""
        if was_connected:
            self.run("disconnecting", socket, reason)
            self._run_own("disconnecting", socket, own, reason)
        self.adapter.del_all(socket.id)
        self.sockets.pop(socket.id, None)
        if was_connected:
            self.run("disconnect", socket, reason)
            self._run_own("disconnect", socket, own, reason)

    def run(self, event: str, socket: Socket, *args: Any) -> None:
        """Run the handlers of a life-cycle event; what they raise is logged."""
        handlers = self._handlers.find(event)
        if handlers:
            try:
                call(self._handlers, handlers, event, (socket, *args), socket)
            except Exception:
                logger.exception("a handler of %r failed for %r", event, socket)

    def _run_own(self, event: str, socket: Socket, own: HandlerTable, reason: str) -> None:
        try:
            call(own, own.find(event), event, (reason,), socket, own=0)
        except Exception:
            logger.exception("a handler of %r failed for %r", event, socket)

    def dispatch(self, socket: Socket, own: HandlerTable, data: list[Any]) -> Any:
        """Run the handlers of an event from the client; gives what to acknowledge with, or NO_ACK."""
        event = data[0]
        # "connection" is no reserved name, but its handler is not for clients to call.
        handlers = () if event in LIFE_CYCLE else self._handlers.find(event)
        listeners = own.find(event) if own else ()
        if not handlers and not listeners:
            return NO_ACK
        result = None
        try:
            if handlers:
                result = call(self._handlers, handlers, event, (socket, *data[1:]), socket)
            if listeners:
                returned = call(own, listeners, event, tuple(data[1:]), socket, own=0)
                result = returned if result is None else result
        except Exception:
            logger.exception("a handler of %r failed for %r", event, socket)
            return NO_ACK
        return result

    def runs_concurrently(self, data: list[Any]) -> bool:
        """Whether an event may run beside the client's other events."""
        return self._all_concurrent or (bool(data) and data[0] in self._handlers.concurrent)
