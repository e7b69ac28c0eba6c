"""Socket: one client in one namespace.

Everything that runs the application's code for a client goes through its mailbox, one job after the other: being
admitted, its events, the callbacks of its acknowledgements, and at last its disconnection.  So these need no locks
among themselves, and a slow handler delays nobody but its own client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..logtext import quote
from ..refuse_async import refuse_async
from ..runtime import Rank, make_lock
from .acks import ACK_TIMEOUT, BlockingAck, CallbackAck, Waiter
from .broadcast_operator import BroadcastOperator, Sends, SocketOperator, Targets
from .broadcast_options import BroadcastOptions, Room, as_rooms
from .handlers import INTERNAL_ERROR, check_event
from .listens import Listens
from .on_any import ListensToAny
from .packet import CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from .socket_handshake import Handshake
from .socket_receiving import EventMiddleware, Receives
from .testing_hooks import make_mailbox

if TYPE_CHECKING:
    from .connection import Connection
    from .namespace import Namespace

logger = logging.getLogger("wsgi_sio.socketio")

CONNECTING, CONNECTED, DISCONNECTED = range(3)


class Socket(Targets, Sends, Listens, ListensToAny, Receives):
    """A client in a namespace; handlers get it as their first argument.

    :ivar id: 20 characters; not the engine session's id.
    :ivar nsp: its namespace.
    :ivar conn: the connection it shares with the client's sockets in other namespaces.
    :ivar handshake: headers, query, auth and more of how it connected.
    :ivar data: the application's own.
    :ivar recovered: whether this is the continuation of a connection that was lost: same id, rooms and data.
    """

    nsp: Namespace

    __slots__ = (
        "__weakref__",
        "_acks",
        "_handlers",
        "_lock",
        "_mailbox",
        "_middlewares",
        "_muted",
        "_state",
        "conn",
        "data",
        "handshake",
        "id",
        "nsp",
        "pid",
        "recovered",
        "trail",
    )

    def __init__(self, namespace: Namespace, conn: Connection, sid: str, handshake: Handshake) -> None:
        super().__init__()
        server = namespace.server
        self.id = sid
        self.nsp = namespace
        self.conn = conn
        self.handshake = handshake
        self.data: dict[str, Any] = {}
        self.pid = ""  # the private id of connection state recovery
        self.recovered = False
        self.trail: Any = None  # see SavedSession
        self._handlers = namespace.new_handler_table()
        self._middlewares: tuple[EventMiddleware, ...] = ()
        self._acks: dict[int, Waiter] = {}
        self._state = CONNECTING
        self._muted = True  # its events are dropped: before it is let in, and once this side has thrown it out
        self._lock = conn.session.lock
        self._mailbox = make_mailbox(handshake.environ, server.reactor.submit, server.max_mailbox, conn)

    def __repr__(self) -> str:
        return f"<Socket {self.conn.log_id(self)} of {quote(self.nsp.name)}>"

    @property
    def connected(self) -> bool:
        """Whether the client is in the namespace; False inside middlewares and ``connect`` handlers."""
        return self._state == CONNECTED

    @property
    def disconnected(self) -> bool:
        """The opposite of :attr:`connected`."""
        return self._state != CONNECTED

    @property
    def gone(self) -> bool:
        """Whether the client has left, if it ever was in; its handlers may still run."""
        return self._state == DISCONNECTED

    @property
    def rooms(self) -> set[Room]:
        """The rooms it is in, its own (named by its id) among them."""
        return self.nsp.adapter.socket_rooms(self.id)

    # -- sending ------------------------------------------------------------------------------------------------

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event to this client; callable from any thread.

        In a handler, a background task or a view it waits while half of ``max_outbox`` or more waits for the client, as
        long as that goes on taking data; a client that takes nothing for ``ping_timeout`` is closed as slow.

        :param args: JSON values and bytes, nested as you like.
        :param callback: called with the client's acknowledgement, in order with its events; see :meth:`timeout` for
            one that learns when none comes.
        :return: False when the client has gone.
        :raises LocalProtocolError: the event's name is reserved.
        :raises TypeError: an argument is not JSON and not bytes.
        :raises ValueError: there are more bytes values than ``max_attachments``.
        """
        return self._emit(event, args, BroadcastOptions(), callback)

    def emit_with_ack(self, event: str, *args: Any, timeout: float | None = None) -> Any:
        """Send an event and block until the client acknowledges it; safe inside any handler.

        :param timeout: seconds; None: 60.
        :return: None, the one argument, or a tuple of several.
        :raises AckTimeout: none came in time.
        :raises Disconnected: the client has left.
        """
        check_event(event)
        server, ack_id = self.nsp.server, self.nsp.next_ack_id()
        waiter = BlockingAck(server.reactor)
        batch = server.encode(Packet(EVENT, self.nsp.name, [event, *args], ack_id))
        self.expect_ack(ack_id, waiter)
        self.conn.session.expect_answer(1)
        try:
            self.nsp.adapter.bring_up_to_date(self)
            self.deliver([event, *args], batch, False, patient=True)
            return waiter.wait(ACK_TIMEOUT if timeout is None else timeout)
        finally:
            self.conn.session.expect_answer(-1)
            self._acks.pop(ack_id, None)

    def _emit(
        self, event: str, args: tuple[Any, ...], options: BroadcastOptions, callback: Callable[..., Any] | None
    ) -> bool:
        check_event(event)
        nsp = self.nsp
        ack_id = None if callback is None else nsp.next_ack_id()
        packet = Packet(EVENT, nsp.name, [event, *args], ack_id)
        if self.pid and ack_id is None and not options.volatile and self._state != CONNECTING:  # so that it is kept
            nsp.adapter.broadcast(packet, options._replace(rooms=frozenset([self.id])))
            return self._state == CONNECTED
        batch = nsp.server.encode(packet, options.compress)
        if callback is not None and ack_id is not None:
            ack = CallbackAck(callback, self._mailbox.put, with_error=options.timeout is not None)
            self.expect_ack(ack_id, ack, options.timeout)
        nsp.adapter.bring_up_to_date(self)
        return self.deliver(packet.data, batch, options.volatile, patient=True)

    def expect_ack(self, ack_id: int, waiter: Waiter, timeout: float | None = None) -> None:
        """Give the acknowledgement ``ack_id`` to ``waiter``; forget it after ``timeout`` seconds."""
        with self._lock:
            gone = self._state == DISCONNECTED
            if not gone:
                self._acks[ack_id] = waiter
        if gone:
            waiter.lost()
        elif timeout is not None:
            timer = self.nsp.server.reactor.expire_after(timeout, lambda: self._ack_timed_out(ack_id))
            if isinstance(waiter, CallbackAck):
                waiter.timer = timer

    def _ack_timed_out(self, ack_id: int) -> None:
        waiter = self._acks.pop(ack_id, None)
        if isinstance(waiter, CallbackAck):
            waiter.timed_out()

    def deliver(self, data: list[Any], batch: list[Any], volatile: bool, patient: bool = False) -> bool:
        """Send an encoded event; False when the client has gone, or could not take a volatile one.

        :param data: what was encoded: the event's name and arguments, for the listeners; empty without any.
        :param patient: it is for this client alone, so the sender may be held back.
        """
        if self._state == DISCONNECTED:
            self.nsp.server.tell_if_unheard()
            return False
        if self._outgoing and data:  # else it listens only since the event is under way
            self._tell(self._outgoing, data)
        session = self.conn.session
        if patient and not volatile:
            session.wait_for_room()
        return session.send(batch, volatile=volatile, patient=patient)

    def reserve(self, batch: list[Any], patient: bool = False) -> Callable[[], None]:
        """Give an encoded event its place in the order of what this client gets; calling the result sends it.

        :param patient: it is for this client alone, and :meth:`wait_for_room` has been called.
        """
        return self.conn.session.reserve(batch, patient=patient)

    def wait_for_room(self) -> None:
        """Hold back who is about to send to this client alone; see :meth:`emit`."""
        self.conn.session.wait_for_room()

    def tell_outgoing(self, data: list[Any]) -> None:
        """Tell the listeners to everything that goes out."""
        self._tell(self._outgoing, data)

    def _operator(self) -> BroadcastOperator:
        return BroadcastOperator(self.nsp, BroadcastOptions(except_=frozenset([self.id])))

    @property
    def broadcast(self) -> BroadcastOperator:
        """Everybody in the namespace but this client."""
        return self._operator()

    @property
    def volatile(self) -> SocketOperator:
        """Emit to this client only if it can take it now: nothing is queued for it; over polling: a GET waits."""
        return SocketOperator(self, BroadcastOptions(volatile=True))

    def compress(self, compress: bool) -> SocketOperator:
        """Whether a polling answer that carries the event may be compressed."""
        return SocketOperator(self, BroadcastOptions(compress=bool(compress)))

    def timeout(self, seconds: float) -> SocketOperator:
        """How long to wait for an acknowledgement; the callback then gets an error (or None) first."""
        return SocketOperator(self, BroadcastOptions(timeout=seconds))

    # -- middlewares --------------------------------------------------------------------------------------------

    def use(self, middleware: EventMiddleware) -> EventMiddleware:
        """Run ``middleware([event, *args])`` for each event of this client before its handlers; it may change the list.

        What it raises drops the event and goes to this socket's handlers of ``error``; the client is not told.

        :raises TypeError: it is ``async def``.
        """
        refuse_async(middleware, "a middleware")
        self._middlewares = (*self._middlewares, middleware)
        return middleware

    # -- rooms --------------------------------------------------------------------------------------------------

    def join(self, room: Room | Iterable[Room]) -> None:
        """Join a room, or several; nothing happens when the client has gone.

        :param room: any hashable value but None is one, 0 and "" too; an iterable but a string or bytes is several.
        """
        self.nsp.adapter.add_all(self.id, as_rooms(room))

    def leave(self, room: Room) -> None:
        """Leave a room."""
        self.nsp.adapter.del_(self.id, room)

    # -- coming in ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Queue the admission: middlewares, ``connect`` handlers, the answer, ``connection`` handlers."""
        self._mailbox.put(self.nsp.admit, self)

    def run_in_order(self, job: Callable[[], object]) -> None:
        """Run ``job`` behind what this client has caused so far."""
        self._mailbox.put(job)

    def accept(self) -> bool:
        """Become connected and tell the client; False when it has gone meanwhile."""
        with self._lock:
            if self._state != CONNECTING or not self.conn.session.open:
                return False
            self._state = CONNECTED
            self._muted = False
        return True

    def connect_packet(self) -> Packet:
        """The answer to the client's CONNECT."""
        return Packet(CONNECT, self.nsp.name, self.conn.greeting(self))

    def refuse(self, error: dict[str, Any]) -> None:
        """Send a CONNECT_ERROR and be as if it had never come."""
        if self._end() == DISCONNECTED:
            return  # it has left meanwhile; its dismissal waits in the mailbox
        logger.debug("%r is refused: %s", self, quote(error["message"]))
        self.nsp.adapter.del_all(self.id)
        self.conn.remove(self)
        try:
            self.conn.send_packet(Packet(CONNECT_ERROR, self.nsp.name, self.conn.refusal(error)))
        except (TypeError, ValueError):
            logger.exception("the data of what refuses %r cannot be sent", self)
            error = {"message": INTERNAL_ERROR}
            self.conn.send_packet(Packet(CONNECT_ERROR, self.nsp.name, self.conn.refusal(error)))
        self.nsp.forget(self, set(), "refused", False)

    # -- going --------------------------------------------------------------------------------------------------

    def disconnect(self, close: bool = False) -> None:
        """Tell the client to leave the namespace; it does not reconnect by itself then.

        :param close: leave all namespaces and close the connection.
        """
        if close:
            self.conn.disconnect()
        else:
            self.throw_out()

    def throw_out(self) -> None:
        """End it from this side: what it has sent and is still waiting is dropped."""
        self._muted = True
        self.nsp.adapter.say_farewell(self)
        if self.lost("server namespace disconnect"):
            self.conn.thrown_out(self)  # first, since the client may connect again as soon as it knows
            self.conn.send_packet(Packet(DISCONNECT, self.nsp.name))

    def let_go(self, reason: str) -> None:
        """This side is about to close its connection, behind what is under way to the client."""
        self.nsp.adapter.bring_up_to_date(self)
        self.lost(reason)

    def _on_disconnect(self) -> None:
        self.conn.remove(self)
        self.lost("client namespace disconnect")

    def lost(self, reason: str) -> bool:
        """The client has left: queue the ``disconnecting`` and ``disconnect`` handlers behind its last events.

        :return: whether this call ended it.
        """
        before = self._end()
        if before == DISCONNECTED:
            return False
        self._mailbox.put(self.nsp.dismiss, self, self._handlers, reason, before == CONNECTED)
        return True

    def drop_listeners(self) -> None:
        """Nothing more comes from the client: let go of what the application has given, which may well have us."""
        self.off()
        self.off_any()
        self.off_any_outgoing()
        self._middlewares = ()

    def after_fork(self) -> None:
        """In a forked child: be gone, without any handler's running, for the client is the parent's."""
        self._lock = make_lock(Rank.SESSION)
        self._state, self._muted, self._acks = DISCONNECTED, True, {}
        self._mailbox.after_fork()
        self.conn.after_fork()

    def _end(self) -> int:
        """Be disconnected from now on, and fail the acknowledgements.

        :return: the state before, which only one caller finds not to be DISCONNECTED.
        """
        with self._lock:
            before, self._state = self._state, DISCONNECTED
            acks, self._acks = self._acks, {}
        for waiter in list(acks.values()):  # an answer that has just come may still be taken out
            waiter.lost()
        return before
