"""Manager: one connection to a server, shared by the sockets of several namespaces, and made again when it is lost.

Its life::

    connect()             for the first socket, or by open(): a :class:`Connection` begins, with an engine below it
    connection_opened     the engine's handshake is done: each active socket asks to be let into its namespace
    connection_received   a packet goes to the socket of its namespace
    connection_failed     or
    connection_closed     the sockets are told; :class:`Reconnection` knows whether there is another attempt, and when
    leave()               by the last socket, or close(): the connection ends, and nothing reconnects

Every method is callable from any thread.  Under the lock it is decided what to do, behind it that is done; each attempt
has a :class:`Connection` of its own, and what comes from another than the present one is ignored.
"""

from __future__ import annotations

from typing import Any

from ..engineio.packet import MESSAGE
from ..engineio.packet import Packet as EnginePacket
from ..exceptions import ConnectionFailed, Disconnected
from ..runtime import Forkable, Rank, SerialQueue, Timer, make_lock, tell_in_child
from ..runtime.shared_reactor import SharedReactor
from ..socketio.handlers import HandlerTable
from ..socketio.listens import Listens
from ..socketio.packet import Packet
from ..socketio.parser import JSON_PARSER, PacketDecoder
from .connection import Connection
from .engineio.http_session import HTTPSession
from .engineio.url import Address
from .handlers import BACKLOG, BacklogLog, tell
from .options import Auth, ClientOptions
from .reconnection import Outage, Reconnection, ReconnectionOptions
from .socket import ClientSocket


class Manager(ReconnectionOptions, Listens):
    """A connection and how it is kept (the reference's client, "Manager").

    Handlers may be attached to ``open``, ``error(error)``, ``ping``, ``packet(packet)``, ``upgrade(transport)``,
    ``upgrade_error(error)``, ``close(reason, detail)``, ``reconnect_attempt(number)``, ``reconnect(number)``,
    ``reconnect_error(error)`` and ``reconnect_failed``.  They run on a worker, one at a time; ``reconnect_attempt``
    alone waits for no other handler, but the attempt for it.

    :ivar options: what it was made with.
    :param url: ``http``, ``https``, ``ws`` or ``wss``; a path is ignored, a query goes into every request.
    :param options: see :class:`ClientOptions`.
    :raises TypeError: an option is unknown.
    :raises ValueError: an option or the URL makes no sense.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = ClientOptions.of(options)
        self.host = Address.of(url, self.options).netloc  # no secrets, for the log
        self.reactor = SharedReactor(self.options.reactor, self.options.max_workers)
        self.http_session = HTTPSession.of(self.options)
        self._reconnection = Reconnection(self.options, self)
        parser = self.options.parser or JSON_PARSER
        self._parser = parser
        self._encoder = parser.Encoder(self.options.json, self.options.max_attachments)
        self._handlers = HandlerTable()
        self._mailbox = SerialQueue(self.reactor.submit, limit=BACKLOG, owner=BacklogLog(self))
        self._lock = make_lock(Rank.REGISTRY)
        self._sockets: dict[str, ClientSocket] = {}
        self._active: set[ClientSocket] = set()
        self._connection: Connection | None = None
        self._closed_here = False
        tell_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: be not connected, with nothing to send, until somebody connects here."""
        connections = [] if self._connection is None else [self._connection]
        inherited: list[Forkable] = [self.reactor, self._handlers, self._mailbox, *connections, *self._sockets.values()]
        for each in inherited:
            each.after_fork()
        self._lock, self._connection, self._active = make_lock(Rank.REGISTRY), None, set()
        self._reconnection.after_fork(self)

    def __repr__(self) -> str:
        return f"<Manager of {self.host}>"

    # -- beside the options of reconnecting, which may change ----------------------------------------------------

    @property
    def outage(self) -> Outage:
        """Why there is no connection."""
        return self._reconnection.outage

    @property
    def timeout(self) -> float | None:
        """Seconds that opening the connection may take; None for ever."""
        return self.options.timeout

    # -- sockets ------------------------------------------------------------------------------------------------

    def socket(
        self, nsp: str = "/", *, auth: Auth = None, retries: int | None = None, ack_timeout: float | None = None
    ) -> ClientSocket:
        """The socket of a namespace, always the same one; it does not connect by itself.

        :param nsp: the namespace's name; the slash in front may be left out.
        :param auth: what to send when it connects; None takes the manager's option, as for the others.
        :param retries: how often an unacknowledged event is sent again.
        :param ack_timeout: seconds to wait for each acknowledgement.
        """
        return self.adopt(ClientSocket(self, nsp, auth=auth, retries=retries, ack_timeout=ack_timeout))

    def adopt(self, socket: ClientSocket) -> ClientSocket:
        """Take a socket, unless there is one for its namespace already: that is returned then."""
        with self._lock:
            return self._sockets.setdefault(socket.nsp, socket)

    def is_active(self, socket: ClientSocket) -> bool:
        """Whether ``socket`` wants to be connected."""
        return socket in self._active

    def resign(self, socket: ClientSocket) -> None:
        """``socket`` does not want to be connected any more, and is going to :meth:`leave`."""
        with self._lock:
            self._active.discard(socket)

    def leave(self, socket: ClientSocket) -> bool:
        """``socket`` does not want to be connected any more; if it was the last one, the connection is closed.

        :return: whether it is.
        """
        with self._lock:
            self._active.discard(socket)
            if self._active:
                return False
            ended = self._end_locked()
        self._finish(*ended)
        return True

    # -- opening and closing ------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        connection = self._connection
        return connection is not None and connection.opened

    @property
    def transport_name(self) -> str | None:
        """How it is connected: "polling", "websocket", or None."""
        connection = self._connection
        return None if connection is None else connection.transport_name

    def open(self) -> Manager:
        """Connect now, unless that is under way, without waiting, and try again until that has worked.

        Sockets that are active connect as soon as it has.
        """
        self.connect(None)
        return self

    def close(self) -> None:
        """Close the connection of all namespaces, and wait for its threads, a second at most.

        The sockets get "forced close", and nothing reconnects.  On one of its own threads, it does not wait.
        """
        self.reactor.end(self._close)

    def _close(self) -> bool:
        with self._lock:
            ended = self._end_locked()
        self._finish(*ended)
        self._give_up(Disconnected("the manager was closed"))
        return True

    def connect(self, socket: ClientSocket | None, retry: bool = True) -> None:
        """Connect; for ``socket``, which goes into its namespace now if there is a connection, else as soon as there
        is one; without ``retry``, the first attempt that fails is the last for it."""
        with self._lock:
            if socket is not None:
                self._active.add(socket)
                socket.begin(retry)
            connection, timer = self._connection, None
            # A socket that comes while the next attempt is awaited waits with the others.
            begin = connection is None and (socket is None or not self._reconnection.under_way)
            if begin:
                connection, timer = self._begin_locked()
        if timer is not None:
            timer.cancel()
        if begin and connection is not None:
            self._start(connection)
        elif connection is not None and connection.opened and socket is not None:
            socket.ask(connection)

    def _begin_locked(self) -> tuple[Connection, Timer | None]:
        """The connection of a new attempt, and the timer of the one that is not awaited any more."""
        self._closed_here = False
        self._connection = Connection(self, retry=self._reconnection.under_way)
        return self._connection, self._reconnection.begin_locked()

    def _start(self, connection: Connection) -> None:
        try:
            connection.open()
        except BaseException:
            with self._lock:
                if self._connection is connection:
                    self._connection = None
                    self._reconnection.under_way = False
            raise

    def _end_locked(self) -> tuple[Connection | None, Timer | None]:
        """Neither be connected nor reconnect any more; what there is to put away."""
        self._closed_here = True
        self._reconnection.end_locked()
        connection, self._connection = self._connection, None
        return connection, self._reconnection.begin_locked()

    def _finish(self, connection: Connection | None, timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()
        if connection is None:
            return
        for socket in self._all():
            socket.lost(connection, "forced close", None)
        connection.close()
        if connection.opened:
            self.tell("close", "forced close", None)

    def _all(self) -> list[ClientSocket]:
        with self._lock:
            return list(self._sockets.values())

    # -- reconnecting -------------------------------------------------------------------------------------------

    def _reconnect(self, error: Exception | None) -> None:
        """Await the next attempt, or give up because of ``error``."""
        with self._lock:
            if self._reconnection.under_way or self._connection is not None:
                return
            closed = self._closed_here
            wanted = self.reconnection and not closed
            following = self._reconnection.next_locked(wanted)
        if following is not None:
            number, delay = following
            if error is not None:
                self.outage.goes_on(delay)
            self._await_attempt(number, delay)
            return
        if error is not None and not closed:
            self.outage.stays()
        with self.reactor:
            self._give_up(error)
            if wanted:
                self.tell("reconnect_failed")  # behind it: the handlers may connect again

    def _await_attempt(self, number: int, delay: float) -> None:
        timer = self.reactor.call_later(delay, lambda: self.reactor.submit(lambda: self._attempt(number)))
        with self._lock:
            current = self._reconnection.number == number
            if current:
                self._reconnection.awaited = timer
        if not current:
            timer.cancel()

    def _attempt(self, number: int) -> None:
        """Run the handlers, which may change ``auth`` or close everything, then try.

        On a worker, but not in the mailbox: there a handler may be waiting for this very connection.
        """
        if self._reconnection.number != number:
            return
        tell(self._handlers, "reconnect_attempt", (self._reconnection.backoff.attempts,), self)
        with self._lock:
            if self._reconnection.number != number:
                return
            connection, _ = self._begin_locked()
        try:
            connection.open()
        except Exception as error:  # out of threads, say: there is another attempt to come
            failure = ConnectionFailed(f"cannot connect: {error}")
            failure.__cause__ = error
            self.connection_failed(connection, failure)

    def _stop_reconnecting(self) -> None:
        with self._lock:
            waiting = self._reconnection.under_way and self._connection is None
            timer = None
            if waiting:
                self._reconnection.under_way = False
                timer = self._reconnection.begin_locked()
        if timer is not None:
            timer.cancel()
        if waiting:
            self._give_up(Disconnected("reconnection was switched off"))

    def _give_up(self, error: Exception | None) -> None:
        """Nothing will happen any more by itself."""
        with self._lock:
            if self._connection is not None or self._reconnection.under_way:
                return  # somebody has connected again
            active = [(socket, socket.wishes) for socket in self._active]
        for socket, wishes in active:
            socket.give_up(error, wishes)

    # -- what the connection tells ------------------------------------------------------------------------------

    def new_decoder(self) -> PacketDecoder:
        """A decoder for one connection."""
        return self._parser.Decoder(self.options.json, self.options.max_attachments)

    def encode(self, packet: Packet, compress: bool) -> list[EnginePacket]:
        """What the engine is to send for a packet: it goes in one piece."""
        return [EnginePacket(MESSAGE, part, compress) for part in self._encoder.encode(packet)]

    def tell(self, event: str, *args: Any) -> None:
        """Run the handlers of one of the manager's own events, in the mailbox."""
        if self._handlers.find(event):
            self._mailbox.put(tell, self._handlers, event, args, self)

    def connection_opened(self, connection: Connection) -> None:
        """The engine's handshake is done: the sockets may connect."""
        with self._lock:
            if self._connection is not connection:
                return
            attempts = self._reconnection.succeeded_locked()
            active = list(self._active)
        self.tell("open")
        for socket in active:
            socket.ask(connection)
        if connection.retry:
            self.tell("reconnect", attempts)

    def connection_received(self, connection: Connection, packet: Packet, size: int) -> None:
        """A packet has come, of ``size`` bytes."""
        if self._connection is not connection:
            return
        if self._handlers:
            self.tell("packet", packet)
        socket = self._sockets.get(packet.nsp)
        if socket is not None:
            socket.receive(connection, packet, size)

    def connection_failed(self, connection: Connection, error: ConnectionFailed) -> None:
        """The connection could not be opened."""
        with self._lock:
            if self._connection is not connection:
                return
            self._connection = None
            self._reconnection.under_way = False
            self.outage.cause = error
            active = list(self._active)
            discouraged = [(socket, socket.wishes) for socket in active if socket.tries_once]
            self._active.difference_update(socket for socket, _ in discouraged)
            if discouraged and not self._active:
                self._end_locked()
        self.tell("error", error)
        for socket in active:
            socket.could_not_connect(error)
        for socket, wishes in discouraged:
            socket.give_up(error, wishes)
        self._reconnect(error)
        if connection.retry:
            self.tell("reconnect_error", error)

    def connection_closed(self, connection: Connection, reason: str, detail: object) -> None:
        """An open connection is over."""
        with self._lock:
            if self._connection is not connection:
                return
            self._connection = None
        for socket in self._all():
            socket.lost(connection, reason, detail)
        self.tell("close", reason, detail)
        self._reconnect(None)
