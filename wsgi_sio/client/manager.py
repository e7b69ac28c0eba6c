"""Manager: one connection to a server, shared by the sockets of several namespaces, and made again when it is lost.

Every method is callable from any thread.  Under the lock it is decided what to do, behind it that is done; each attempt
has a :class:`Link` of its own, and what comes from another than the present one is ignored.
"""

from __future__ import annotations

from typing import Any

from ..engineio.packet import MESSAGE
from ..engineio.packet import Packet as EnginePacket
from ..exceptions import ConnectionFailed, Disconnected
from ..runtime import Forkable, Rank, SerialQueue, Timer, make_lock, tell_in_child
from ..socketio.handlers import HandlerTable, Listens
from ..socketio.packet import Packet
from ..socketio.parser import JSON_PARSER, PacketDecoder
from .backoff import Backoff, BackoffOptions
from .engineio.address import Address
from .engineio.memory import Memory
from .handlers import BACKLOG, BacklogLog, tell
from .lease import ReactorLease
from .link import Link
from .options import Auth, ClientOptions
from .outage import Outage
from .socket import ClientSocket


class Manager(BackoffOptions, Listens):
    """A connection and how it is kept (the reference's client, "Manager").

    Handlers may be attached to ``open``, ``error(error)``, ``ping``, ``packet(packet)``, ``upgrade(transport)``,
    ``upgrade_error(error)``, ``close(reason, detail)``, ``reconnect_attempt(number)``, ``reconnect(number)``,
    ``reconnect_error(error)`` and ``reconnect_failed``.  They run on a worker, one at a time; ``reconnect_attempt``
    alone waits for no other handler, but the attempt for it.

    :ivar reconnection_attempts: how often to try before giving up; None for ever.
    :ivar options: what it was made with.
    :ivar outage: why there is no connection.
    :param url: ``http``, ``https``, ``ws`` or ``wss``; a path is ignored, a query goes into every request.
    :param options: see :class:`ClientOptions`.
    :raises TypeError: an option is unknown.
    :raises ValueError: an option or the URL makes no sense.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = ClientOptions.of(options)
        self.host = Address.of(url, self.options).netloc  # no secrets, for the log
        self.reconnection_attempts = self.options.reconnection_attempts
        self.lease = ReactorLease(self.options.reactor, self.options.max_workers)
        self.memory = Memory.of(self.options)
        self.outage = Outage(self)
        self._reconnection = self.options.reconnection
        self._backoff = Backoff(
            self.options.reconnection_delay, self.options.reconnection_delay_max, self.options.randomization_factor
        )
        parser = self.options.parser or JSON_PARSER
        self._parser = parser
        self._encoder = parser.Encoder(self.options.json, self.options.max_attachments)
        self._handlers = HandlerTable()
        self._mailbox = SerialQueue(self.lease.submit, limit=BACKLOG, owner=BacklogLog(self))
        self._lock = make_lock(Rank.REGISTRY)
        self._sockets: dict[str, ClientSocket] = {}
        self._active: set[ClientSocket] = set()
        self._link: Link | None = None
        self._reconnecting = False  # from the loss of a connection until there is another, or no hope of one
        self._timer: Timer | None = None  # of the next attempt
        self._round = 0  # counts whatever makes an awaited attempt obsolete
        self._closed_here = False
        tell_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: be not connected, with nothing to send, until somebody connects here."""
        links = [] if self._link is None else [self._link]
        inherited: list[Forkable] = [self.lease, self._handlers, self._mailbox, *links, *self._sockets.values()]
        for each in inherited:
            each.after_fork()
        self._lock, self._link, self._timer = make_lock(Rank.REGISTRY), None, None
        self._active, self._reconnecting, self.outage = set(), False, Outage(self)
        self._round += 1

    def __repr__(self) -> str:
        return f"<Manager of {self.host}>"

    # -- options that may change, beside those of the back-off ---------------------------------------------------

    @property
    def reconnection(self) -> bool:
        """Whether a lost connection is made again; set to False, it also stops an attempt that is still waiting."""
        return self._reconnection

    @reconnection.setter
    def reconnection(self, wanted: bool) -> None:
        self._reconnection = wanted
        if wanted:
            return
        with self._lock:
            waiting = self._reconnecting and self._link is None
            timer = None
            if waiting:
                self._reconnecting = False
                self._round += 1
                timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if waiting:
            self._give_up(Disconnected("reconnection was switched off"))

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
        link = self._link
        return link is not None and link.opened

    @property
    def transport_name(self) -> str | None:
        """How it is connected: "polling", "websocket", or None."""
        link = self._link
        return None if link is None else link.transport_name

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
        self.lease.end(self._close)

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
            link, timer = self._link, None
            # A socket that comes while the next attempt is awaited waits with the others.
            begin = link is None and (socket is None or not self._reconnecting)
            if begin:
                link, timer = self._begin_locked()
        if timer is not None:
            timer.cancel()
        if begin and link is not None:
            self._start(link)
        elif link is not None and link.opened and socket is not None:
            socket.ask(link)

    def _begin_locked(self) -> tuple[Link, Timer | None]:
        """The link of a new attempt, and the timer of the one that is not awaited any more."""
        timer, self._timer = self._timer, None
        self._round += 1
        self._closed_here = False
        self._link = Link(self, retry=self._reconnecting)
        return self._link, timer

    def _start(self, link: Link) -> None:
        try:
            link.open()
        except BaseException:
            with self._lock:
                if self._link is link:
                    self._link = None
                    self._reconnecting = False
            raise

    def _end_locked(self) -> tuple[Link | None, Timer | None]:
        """Neither be connected nor reconnect any more; what there is to put away."""
        self._closed_here = True
        self._reconnecting = False
        self._round += 1
        self._backoff.reset()
        self.outage.end()
        link, self._link = self._link, None
        timer, self._timer = self._timer, None
        return link, timer

    def _finish(self, link: Link | None, timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()
        if link is None:
            return
        for socket in self._all():
            socket.lost(link, "forced close", None)
        link.close()
        if link.opened:
            self.tell("close", "forced close", None)

    def _all(self) -> list[ClientSocket]:
        with self._lock:
            return list(self._sockets.values())

    # -- reconnecting -------------------------------------------------------------------------------------------

    def _reconnect(self, error: Exception | None) -> None:
        """Await the next attempt, or give up because of ``error``."""
        with self._lock:
            if self._reconnecting or self._link is not None:
                return
            closed = self._closed_here
            wanted = self._reconnection and not closed
            most = self.reconnection_attempts
            used_up = most is not None and self._backoff.attempts >= most
            if wanted and not used_up:
                self._reconnecting = True
                self._round += 1
                number, delay = self._round, self._backoff.next_delay()
            else:
                self._backoff.reset()
        if wanted and not used_up:
            if error is not None:
                self.outage.goes_on(delay)
            self._await_attempt(number, delay)
            return
        if error is not None and not closed:
            self.outage.stays()
        with self.lease:
            self._give_up(error)
            if wanted:
                self.tell("reconnect_failed")  # behind it: the handlers may connect again

    def _await_attempt(self, number: int, delay: float) -> None:
        timer = self.lease.call_later(delay, lambda: self.lease.submit(lambda: self._attempt(number)))
        with self._lock:
            current = self._round == number
            if current:
                self._timer = timer
        if not current:
            timer.cancel()

    def _attempt(self, number: int) -> None:
        """Run the handlers, which may change ``auth`` or close everything, then try.

        On a worker, but not in the mailbox: there a handler may be waiting for this very connection.
        """
        if self._round != number:
            return
        tell(self._handlers, "reconnect_attempt", (self._backoff.attempts,), self)
        with self._lock:
            if self._round != number:
                return
            link, _ = self._begin_locked()
        try:
            link.open()
        except Exception as error:  # out of threads, say: there is another attempt to come
            failure = ConnectionFailed(f"cannot connect: {error}")
            failure.__cause__ = error
            self.link_failed(link, failure)

    def _give_up(self, error: Exception | None) -> None:
        """Nothing will happen any more by itself."""
        with self._lock:
            if self._link is not None or self._reconnecting:
                return  # somebody has connected again
            active = [(socket, socket.wishes) for socket in self._active]
        for socket, wishes in active:
            socket.give_up(error, wishes)

    # -- what the link tells ------------------------------------------------------------------------------------

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

    def link_opened(self, link: Link) -> None:
        """The engine's handshake is done: the sockets may connect."""
        with self._lock:
            if self._link is not link:
                return
            attempts = self._backoff.attempts
            self._backoff.reset()
            self.outage.end()
            self._reconnecting = False
            active = list(self._active)
        self.tell("open")
        for socket in active:
            socket.ask(link)
        if link.retry:
            self.tell("reconnect", attempts)

    def link_received(self, link: Link, packet: Packet, size: int) -> None:
        """A packet has come, of ``size`` bytes."""
        if self._link is not link:
            return
        if self._handlers:
            self.tell("packet", packet)
        socket = self._sockets.get(packet.nsp)
        if socket is not None:
            socket.receive(link, packet, size)

    def link_failed(self, link: Link, error: ConnectionFailed) -> None:
        """The connection could not be opened."""
        with self._lock:
            if self._link is not link:
                return
            self._link = None
            self._reconnecting = False
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
        if link.retry:
            self.tell("reconnect_error", error)

    def link_closed(self, link: Link, reason: str, detail: object) -> None:
        """An open connection is over."""
        with self._lock:
            if self._link is not link:
                return
            self._link = None
        for socket in self._all():
            socket.lost(link, reason, detail)
        self.tell("close", reason, detail)
        self._reconnect(None)
