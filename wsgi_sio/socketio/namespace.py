"""Namespace: its sockets, handlers and middlewares, and how a client is admitted and dismissed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import AckTimeout, ConnectRefused, Disconnected
from ..logtext import quote
from ..refuse_async import refuse_async
from ..runtime import FAILURES
from .adapter import Adapter
from .broadcast_operator import BroadcastOperator, Broadcasts, Sends
from .broadcast_options import Room
from .handlers import CATCH_ALL, INTERNAL_ERROR, LIFE_CYCLE, NO_ACK, HandlerTable, call
from .listens import Listens
from .presence import Presence, Watchable
from .quick_events import QuickEvents
from .recovery import Recovery
from .remote_socket import RemoteSocket
from .server_side_emit import ServerSide, ServerSideHandlers
from .socket import Socket
from .socket_handshake import Handshake

if TYPE_CHECKING:
    from .connection import Connection
    from .server import Server

logger = logging.getLogger("wsgi_sio.socketio")

Middleware = Callable[[Any], object]  # its argument is a Socket, perhaps a framework's own
AnyErrorHandler = TypeVar("AnyErrorHandler", bound=Callable[..., Any])
AnyMiddleware = TypeVar("AnyMiddleware", bound=Middleware)


class Namespace(Broadcasts, Sends, Listens, ServerSide, Watchable):
    """One namespace of a :class:`Server`; get it with :meth:`Server.of`.

    Handlers get the :class:`Socket` first, then what the client sent. Special events, in the order of a client's life:

    * ``connect(socket[, auth])``: before the client is told that it is connected; raise :class:`ConnectRefused` or
      return False to refuse it.
    * ``connection(socket)``: right after, as in the reference.
    * ``disconnecting(socket[, reason])``: it has left, its rooms are still known.
    * ``disconnect(socket[, reason])``.

    ``*`` handles, as ``handler(socket, event, *args)``, the events that have no handler of their own.

    :ivar name: such as ``/chat``.
    :ivar sockets: the connected sockets by id.
    :ivar adapter: who is in which room.

    A subclass handles an event with each method ``on_<event>(self, socket, *args)``, and what these raise with
    ``on_error(self, socket, error, event, args)``; give it to :meth:`Server.of`.
    """

    # What clients are made of; a framework's subclass has its own.
    socket_class: type[Socket] = Socket

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.sockets: dict[str, Socket] = {}
        self.adapter = self._make_adapter()
        self.recovery = self._make_recovery()
        self._handlers = HandlerTable(server.as_handler)
        self.server_side_handlers = ServerSideHandlers(server)
        self._middlewares: tuple[Middleware, ...] = ()
        self._error_handler: Callable[..., Any] | None = None
        self._ack_ids = count()
        self.clients = 0  # that are in, or on their way in or out; guarded by the server
        self._presences: dict[Room | None, Presence] = {}
        self._has_begun = False  # in this process a client has come
        self._all_concurrent = server.async_handlers
        self.quick_events = QuickEvents()
        if type(self).on_error is not Namespace.on_error:  # a method of the application's, not the decorator
            refuse_async(self.on_error, "the handler of errors")
            self._error_handler = self.on_error
        for attribute in dir(type(self)):
            if attribute.startswith("on_") and not hasattr(Namespace, attribute):
                self.on(attribute[3:], getattr(self, attribute))

    def _make_adapter(self) -> Adapter:
        return self.server.make_adapter(self)

    def _make_recovery(self) -> Recovery | None:
        return None if self.server.recovery is None else Recovery(self, self.server.recovery)

    def after_fork(self) -> None:
        """In a forked child: have no clients, and an adapter of its own, since one may have threads, timers or
        connections, even in a process that has not served.
        """
        self._handlers.after_fork()
        self.server_side_handlers.after_fork()
        for socket in self.sockets.values():
            socket.after_fork()
        self.sockets = {}
        self.clients = 0
        self.adapter, former = self._make_adapter(), self.adapter
        self.adapter.take_listeners(former)
        self.recovery = self._make_recovery()
        self._has_begun = False
        for presence in self._presences.values():
            presence.after_fork()

    def __repr__(self) -> str:
        return f"<Namespace {quote(self.name)}>"

    # -- set-up -------------------------------------------------------------------------------------------------

    def use(self, middleware: AnyMiddleware) -> AnyMiddleware:
        """Run ``middleware(socket)`` for each client that connects, before its ``connect`` handlers.

        What it raises refuses the client: a :class:`ConnectRefused` with its message and data; anything else is
        logged, and the client is told no more than "Internal error".

        :raises TypeError: it is ``async def``.
        """
        refuse_async(middleware, "a middleware")
        self._middlewares = (*self._middlewares, middleware)
        return middleware

    def on_error(self, handler: AnyErrorHandler) -> AnyErrorHandler:
        """Call ``handler(socket, error, event, args)`` for what an event's handler raises; it has been logged.

        ``sys.exit()`` is such an error as well: it ends neither a worker nor the server.

        What it returns acknowledges the event, so that the client can be told; None and NO_ACK do not.

        :raises TypeError: it is ``async def``.
        """
        refuse_async(handler, "the handler of errors")
        self._error_handler = handler
        return handler

    def inherit(self, parent: Namespace) -> None:
        """Take over what ``parent`` has been given so far."""
        self._handlers.add_all(parent._handlers)
        self._middlewares = parent._middlewares
        if parent._error_handler is not None:  # else a kind of namespace keeps its own
            self._error_handler = parent._error_handler

    def take_restored(self, socket: Any) -> None:
        """Have broadcasts reach a socket that its adapter has given its rooms back; under the adapter's lock."""
        self.sockets[socket.id] = socket

    def next_ack_id(self) -> int:
        """A fresh acknowledgement id; the sockets of a namespace share one counter."""
        return next(self._ack_ids)

    # -- sending ------------------------------------------------------------------------------------------------

    def _operator(self) -> BroadcastOperator:
        return BroadcastOperator(self)

    def _own_namespace(self) -> Namespace:
        return self

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event to everybody in the namespace; see :meth:`BroadcastOperator.emit`."""
        return self._operator().emit(event, *args, callback=callback)

    def fetch_sockets(self) -> list[Socket | RemoteSocket]:
        """All sockets of the namespace."""
        return self._operator().fetch_sockets()

    def sockets_join(self, room: Room | Iterable[Room]) -> None:
        """Make all sockets join a room, or several."""
        self._operator().sockets_join(room)

    def sockets_leave(self, room: Room | Iterable[Room]) -> None:
        """Make all sockets leave a room, or several."""
        self._operator().sockets_leave(room)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect everybody; see :meth:`Socket.disconnect`."""
        self._operator().disconnect_sockets(close)

    # -- presence (the method itself is Watchable's) ---------------------------------------------------------------

    def watch_presence(self, room: Room | None) -> Presence:
        """See :meth:`presence`."""
        presence = self._presences.setdefault(room, Presence(self, room))
        if self._has_begun:
            presence.begin()
        return presence

    def forget_presence(self, presence: Presence) -> None:
        """It is closed."""
        if self._presences.get(presence.room) is presence:
            del self._presences[presence.room]

    def _begin(self) -> None:
        self._has_begun = True
        for presence in list(self._presences.values()):
            presence.begin()

    # -- a client's life (for Socket; from admit to tell_error in its mailbox) ------------------------------------

    def new_socket(self, conn: Connection, auth: dict[str, Any]) -> Socket:
        """Make the socket of a client that wants to connect."""
        return self.socket_class(self, conn, conn.new_socket_id(self.name), Handshake(conn.session.environ, auth))

    def new_handler_table(self) -> HandlerTable:
        """What a socket keeps its own handlers in."""
        return self._handlers.like()

    def receive(self, socket: Socket) -> None:
        """Have a new socket admitted."""
        if self.recovery is None:
            socket.begin()
        else:
            self.recovery.begin(socket)

    def admit(self, socket: Socket) -> None:
        """Run the gates, then let the client in, or tell it why not."""
        if socket.gone:
            return  # it has left already, and its dismissal may even have been
        try:
            restored = None if self.recovery is None else self.recovery.restore(socket)
            self.adapter.open(socket.id)
            if not self._has_begun:
                self._begin()
            if restored is not None:
                self.adapter.add_all(socket.id, restored.saved.rooms)
            for middleware in () if restored and restored.skip_middlewares else self._middlewares:
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
        except BaseException as error:
            if not _has_left(socket, error):
                logger.exception("connecting %r failed, so it is refused", socket)
            socket.refuse({"message": INTERNAL_ERROR})
            if not isinstance(error, FAILURES):
                raise  # the end of the worker is none of the client's business
            return
        if restored is None:  # before it is connected: what it is sent from then on goes through the adapter
            self.sockets[socket.id] = socket
            self.adapter.add_all(socket.id, frozenset([socket.id]))
        if not socket.accept():
            return  # it has left meanwhile; its dismissal waits in the mailbox
        how = "connected" if restored is None else "recovered its connection"
        logger.debug("%r has %s over %s", socket, how, socket.conn.session.transport.name)
        socket.conn.joined()
        if self.recovery is not None:
            self.recovery.connected(socket)
        if restored is not None:
            restored.catch_up()
        else:
            socket.conn.send_packet(socket.connect_packet())
        self.run("connection", socket)

    def dismiss(self, socket: Socket, own: HandlerTable, reason: str, was_connected: bool) -> None:
        """Run the handlers for a client that has left, and forget it, even if one of them ends its thread."""
        logger.debug("%r has disconnected: %s", socket, reason)
        try:
            if was_connected:
                self._run_last("disconnecting", socket, own, reason)
        finally:
            rooms = self.adapter.socket_rooms(socket.id) if self.recovery is not None else set()
            self.adapter.del_all(socket.id)
            self.sockets.pop(socket.id, None)
            try:
                if was_connected:
                    self._run_last("disconnect", socket, own, reason)
            finally:
                self.forget(socket, rooms, reason, was_connected)

    def forget(self, socket: Socket, rooms: set[Room], reason: str, was_connected: bool) -> None:
        """The last of a socket that has left, or has been refused."""
        if self.recovery is not None:
            self.recovery.left(socket, rooms, reason, was_connected)
        socket.drop_listeners()
        self.server.leave_namespace(self)

    def run(self, event: str, socket: Socket, *args: Any) -> None:
        """Run the handlers of a life-cycle event; what they raise is logged."""
        handlers = self._handlers.find(event)
        if handlers:
            try:
                call(self._handlers, handlers, event, (socket, *args), socket)
            except FAILURES as error:
                if not _has_left(socket, error):
                    logger.exception("a handler of %r failed for %r", event, socket)

    def _run_last(self, event: str, socket: Socket, own: HandlerTable, reason: str) -> None:
        self.run(event, socket, reason)
        try:
            call(own, own.find(event), event, (reason,), socket, own=0)
        except FAILURES as error:
            if not _has_left(socket, error):
                logger.exception("a handler of %r failed for %r", event, socket)

    def dispatch(self, socket: Socket, own: HandlerTable, data: list[Any]) -> Any:
        """Run the handlers of an event from the client; gives what to acknowledge with, or NO_ACK."""
        event, *args = data
        # Not all of these are reserved names, but their handlers are not for clients to call.
        handlers = () if event in LIFE_CYCLE or event == CATCH_ALL else self._handlers.find(event)
        listeners = own.find(event) if own else ()
        others = () if handlers or listeners else self._handlers.find(CATCH_ALL)
        if not (handlers or listeners or others):
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("nothing handles the event %s of %r", quote(event), socket)
            return NO_ACK
        result = None
        try:
            if handlers:
                result = call(self._handlers, handlers, event, (socket, *args), socket)
            if listeners:
                result = call(own, listeners, event, tuple(args), socket, own=0, result=result)
            if others:
                result = call(self._handlers, others, CATCH_ALL, (socket, event, *args), socket, own=2)
        except FAILURES as error:
            if not _has_left(socket, error):
                logger.exception("a handler of %s failed for %r", quote(event), socket)
            return self._ask_error_handler(socket, error, event, args)
        return result

    def dispatch_told(self, socket: Socket, own: HandlerTable, data: list[Any], size: int) -> Any:
        """See :meth:`dispatch`; and tell the log of the event, whose payload had ``size`` bytes."""
        event, began = data[0], time.monotonic()
        result = self.dispatch(socket, own, data)
        taken = (time.monotonic() - began) * 1000
        outcome = " without a result" if result is NO_ACK else ""
        logger.debug("event %s of %r, %d bytes, ended%s in %.2f ms", quote(event), socket, size, outcome, taken)
        return result

    def _ask_error_handler(self, socket: Socket, error: BaseException, event: str, args: list[Any]) -> Any:
        if self._error_handler is None:
            return NO_ACK
        try:
            result = self._error_handler(socket, error, event, args)
        except FAILURES:
            logger.exception("the handler of errors failed for %r", socket)
            return NO_ACK
        return NO_ACK if result is None else result

    def tell_error(self, socket: Socket, own: HandlerTable, error: BaseException) -> None:
        """A middleware of ``socket`` has refused an event: run the handlers of ``error``, or log it without any."""
        handlers = own.find("error")
        if not handlers:
            logger.error("a middleware refused an event, and %r has no handler of 'error'", socket, exc_info=error)
        try:
            call(own, handlers, "error", (error,), socket, own=0)
        except FAILURES:
            logger.exception("a handler of 'error' failed for %r", socket)

    def runs_concurrently(self, own: HandlerTable, data: list[Any]) -> bool:
        """Whether an event may run beside the client's other events."""
        concurrent = self._handlers.concurrent
        if self._all_concurrent or not concurrent or not data:
            return self._all_concurrent
        event = data[0]
        return event in concurrent or (
            CATCH_ALL in concurrent and not self._handlers.find(event) and not own.find(event)
        )


def _has_left(socket: Socket, error: BaseException) -> bool:
    """Whether a handler has failed only because it asked its own client something, and that has left."""
    left = socket.gone and isinstance(error, (AckTimeout, Disconnected))
    if left:
        logger.info("a handler ended with the connection of %r: %s", socket, error)
    return left
