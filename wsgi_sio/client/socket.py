"""ClientSocket: this program in one namespace of a server.

Its life::

    connect()        the manager connects, unless it has; then it says ``ask``, and we send our CONNECT
    _welcomed        the server has answered: what waited goes out, "connect" is told, connect() returns
    receive          events go to their handlers (handlers.py), acknowledgements to who waits for them (acks.py);
                     emit() is in emit.py
    lost             the connection is: "disconnect" is told; the manager makes another, and says ``ask`` again
    disconnect(), _thrown_out, _refused, give_up
                     by this side, the server, its middleware, the manager: it is over, until somebody connects again

Packets are taken in on an I/O thread; all of the application's code (handlers, callbacks of acknowledgements) runs in
the socket's mailbox, one job after the other.  So acknowledgements, pings and closes get through while a handler
blocks, and ``emit_with_ack`` works inside one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..exceptions import ConnectRefused, Disconnected, RemoteProtocolError
from ..logtext import quote
from ..runtime import Future, Rank, SerialQueue, make_event, make_lock
from ..socketio.packet import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from .connection import Connection
from .emit import PLAIN, EmitOptions, Emits, Sender
from .handlers import BACKLOG, BacklogLog, HandlesEvents, tell
from .options import Auth, credentials
from .recovery import Recovery

if TYPE_CHECKING:
    from .manager import Manager

logger = logging.getLogger("wsgi_sio.client")

Self = TypeVar("Self", bound="ClientSocket")

_TOO_OLD = "the server seems to be Socket.IO v2.x, which this client does not speak: it answered CONNECT without a sid"


class ClientSocket(Emits, HandlesEvents):
    """A namespace of a server; made by :meth:`Manager.socket`, or as a :class:`Client`.

    Beside the server's events, handlers may be attached to ``connect``, ``connect_error(error)`` and
    ``disconnect(reason, detail)``.  They get no socket; what they return acknowledges the event.

    :ivar io: its :class:`Manager`.
    :ivar nsp: the namespace's name.
    :ivar auth: a mapping to send with CONNECT, or a callable that makes it each time (on a worker); may be replaced.
    :ivar id: the server's name for this socket; None while it is not connected.
    :ivar recovered: whether the last connection took up where the one before was lost: nothing was missed.
    """

    def __init__(
        self,
        manager: Manager,
        nsp: str = "/",
        *,
        auth: Auth = None,
        retries: int | None = None,
        ack_timeout: float | None = None,
    ) -> None:
        super().__init__()
        options = manager.options
        self.io = manager
        self.nsp = nsp if nsp.startswith("/") else f"/{nsp}"
        self.auth = options.auth if auth is None else auth
        self.id: str | None = None
        self.recovered = False
        self._retries = options.retries if retries is None else retries
        self._ack_timeout = options.ack_timeout if ack_timeout is None else ack_timeout
        self._begin_anew()
        self.wishes = 0  # how often the application has wished to connect; for the manager
        self._when_over: tuple[Callable[[], object], ...] = ()

    def _begin_anew(self) -> None:
        """Be disconnected, with nothing to send."""
        self._mailbox = SerialQueue(self.io.reactor.submit, limit=BACKLOG, owner=BacklogLog(self))
        self._outcome = Future()  # of the wish to connect, for those who wait in connect()
        self._tries_again = False  # when an attempt fails
        self._over = make_event()  # not connected, and nothing will change that by itself
        self._over.set()
        self._sender = Sender(
            self.nsp, self.io.options, self.io.encode, self.io.reactor, self._mailbox, self._notify, self._over.is_set,
            retries=self._retries, ack_timeout=self._ack_timeout,
        )  # fmt: skip
        self._recovery = Recovery()
        self._lock = make_lock(Rank.SESSION)
        self._connection: Connection | None = None  # where we have asked to be let in, or are
        self._connected = False
        self._early: list[tuple[Packet, int]] = []  # events that came before the answer to CONNECT

    def after_fork(self) -> None:
        """In a forked child: be disconnected; what the parent has still to send is not for the child to send."""
        self._handlers.after_fork()
        self._begin_anew()
        self.id = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {quote(self.nsp)} of {self.io.host}>"

    @property
    def connected(self) -> bool:
        """Whether the server has let us into the namespace, and the connection stands."""
        return self._connected

    @property
    def disconnected(self) -> bool:
        """The opposite of :attr:`connected`."""
        return not self._connected

    @property
    def active(self) -> bool:
        """Whether it is connected, or is going to be when the manager is."""
        return self.io.is_active(self)

    # -- connecting ---------------------------------------------------------------------------------------------

    def connect(self: Self, wait: bool = True, timeout: float | None = None, retry: bool | None = None) -> Self:
        """Connect; attach the handlers first. Nothing happens when it is connected already.

        :param wait: return when the server has let us in; False returns at once and connects in the background.
        :param timeout: how many seconds to wait, for as many attempts as that allows; then they are abandoned.
        :param retry: whether to try again when the server is not reached; None: if there is an end to it (``timeout``
            or the option ``reconnection_attempts``), and in the background. Where attempts are under way, they go on.
        :return: itself.
        :raises ConnectRefused: the server's middleware or handler says no.
        :raises ConnectionFailed: the server was not reached, at the first attempt or, with ``retry``, at the last.
        :raises TimedOut: the time is over; its cause is why the last attempt has failed.
        :raises Disconnected: another thread has called :meth:`disconnect` meanwhile.
        """
        if not self._connected:
            if retry is None:
                retry = not wait or timeout is not None or self.io.reconnection_attempts is not None
            try:
                self.io.connect(self, retry)
            except Exception as error:
                self.io.leave(self)
                self._finish(error)
                raise
        if wait:
            self._wait_connected(timeout)
        return self

    def _wait_connected(self, timeout: float | None) -> None:
        outcome = self._outcome
        try:
            if not outcome.wait(timeout):
                raise self.io.outage.timed_out(timeout or 0)
        except BaseException:  # the user has lost patience
            self.disconnect()
            raise
        outcome.result()

    def open(self: Self, wait: bool = True, timeout: float | None = None, retry: bool | None = None) -> Self:
        """The same as :meth:`connect`."""
        return self.connect(wait, timeout, retry)

    def disconnect(self: Self) -> Self:
        """Leave the namespace; the last socket of a manager closes the connection, too, and waits for its threads (a
        second at most; on one of its own threads, not at all).

        The reason is "io client disconnect", and nothing reconnects. What still waits for its handler is dropped.
        """
        if self.active or self._connected:
            self.io.reactor.end(self._disconnect)
        return self

    def _disconnect(self) -> bool:
        """See :meth:`disconnect`; whether it closes the connection."""
        self.io.resign(self)  # before all: an answer to CONNECT that is on its way is declined from now on
        with self._lock:
            connection = self._connection if self._connected else None
            self._left = self._stay
            self._recovery = Recovery()  # what is dropped now must not count as received, should the server not hear us
            if connection is not None:
                self._detach_locked()
        if connection is not None:
            connection.send_packet(Packet(DISCONNECT, self.nsp))
        last = self.io.leave(self)
        self._finish(Disconnected("this side has disconnected"))
        if connection is not None:
            self._tell_lost(connection, "io client disconnect", None)
        return last

    def close(self: Self) -> Self:
        """The same as :meth:`disconnect`."""
        return self.disconnect()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is over for good: not connected, and not going to reconnect by itself.

        :param timeout: seconds; None for ever.
        :return: whether it is.
        """
        return self._over.wait(timeout)

    def when_over(self, callback: Callable[[], object]) -> None:
        """Call ``callback``, which must not block, whenever it is over for good."""
        self._when_over = (*self._when_over, callback)

    def __enter__(self: Self) -> Self:
        return self.connect()

    def __exit__(self, *exception: object) -> None:
        self.disconnect()

    # -- sending ------------------------------------------------------------------------------------------------

    def _target(self) -> tuple[Sender, EmitOptions]:
        return self._sender, PLAIN

    def _notify(self, data: list[Any]) -> None:
        if self._outgoing:
            self._tell(self._outgoing, data)

    # -- what the manager tells ---------------------------------------------------------------------------------

    def ask(self, connection: Connection) -> None:
        """The connection is open: ask to be let into the namespace, once."""
        with self._lock:
            asked = self._connection is connection
            self._connection = connection
        if asked:
            return
        if callable(self.auth):
            self.io.reactor.submit(lambda: self._send_connect(connection))  # it may take its time
        else:
            self._send_connect(connection)

    def _send_connect(self, connection: Connection) -> None:
        try:
            auth = credentials(self.auth)
            connection.send_packet(Packet(CONNECT, self.nsp, self._recovery.credentials(auth)))
        except Exception as error:
            logger.exception("%r has nothing to connect with", self)
            self._refused(connection, error)

    def could_not_connect(self, error: Exception) -> None:
        """The manager's attempt has failed; there may be others."""
        self._mailbox.put(tell, self._handlers, "connect_error", (error,), self)

    def begin(self, retry: bool) -> None:
        """The application wants a connection, with ``retry`` however often it fails. Under the manager's lock."""
        with self._lock:
            self.wishes += 1
            if not self._connected:
                if self._outcome.done():  # a connection that is being made again already goes on being made
                    self._outcome, self._tries_again = Future(), not self._over.is_set()
                self._tries_again |= retry
                self._over.clear()

    @property
    def tries_once(self) -> bool:
        """Whether it gives up when the attempt under way fails."""
        return not (self._tries_again or self._outcome.done())

    def give_up(self, error: Exception | None, wishes: int) -> None:
        """The manager will not try again; ``wishes`` were made when it decided that."""
        self._finish(error or Disconnected("the connection was lost"), wishes)

    def lost(self, connection: Connection, reason: str, detail: object) -> None:
        """The connection is over."""
        if self._leave_connection(connection):
            self._tell_lost(connection, reason, detail)

    def receive(self, connection: Connection, packet: Packet, size: int) -> None:
        """A packet for this namespace has come. On an I/O thread, one at a time."""
        if self._connection is not connection:
            return
        kind = packet.type
        if kind == EVENT:
            if self._connected:
                self._take(connection, packet, size)
            else:
                self._early.append((packet, size))
        elif kind == ACK:
            if packet.id is not None:
                self._sender.acknowledged(packet.id, packet.data)
        elif kind == CONNECT:
            self._welcomed(connection, packet.data or {})
        elif kind == DISCONNECT:
            self._thrown_out(connection)
        elif kind == CONNECT_ERROR:
            data = packet.data if isinstance(packet.data, dict) else {"message": packet.data}
            self._refused(connection, ConnectRefused(str(data.get("message")), data.get("data")))

    # -- coming and going ---------------------------------------------------------------------------------------

    def _welcomed(self, connection: Connection, data: dict[str, Any]) -> None:
        if not isinstance(data.get("sid"), str):
            self._refused(connection, RemoteProtocolError(_TOO_OLD))
            return
        with self._lock:
            if self._connection is not connection or self._connected:
                return
            wanted = self.active
            early, self._early = self._early, []
            if wanted:
                pid = data.get("pid")
                self.id = data["sid"]
                self.recovered = self._recovery.connected(pid if isinstance(pid, str) else None)
                self._connected = True
                self._stay += 1
                self._over.clear()
            else:
                self._connection = None
        if not wanted:  # it has changed its mind while the server thought it over
            connection.send_packet(Packet(DISCONNECT, self.nsp))
            return
        for packet, size in early:
            self._take(connection, packet, size)
        self._sender.open(connection)
        self._mailbox.put(self._run_connect, self._stay)
        with self._lock:
            here = self._connected
            if here:
                self._outcome.set()
        if not here:  # it has left meanwhile, and could not close what was not open yet
            self._sender.close(connection)

    # Leaving the manager comes before the handlers, which may connect again.

    def _thrown_out(self, connection: Connection) -> None:
        with self.io.reactor:
            if self._leave_connection(connection):
                self.io.leave(self)
                self._finish(Disconnected("io server disconnect"))
                self._tell_lost(connection, "io server disconnect", None)

    def _refused(self, connection: Connection, error: Exception) -> None:
        with self._lock:
            if self._connection is not connection or self._connected:
                return
            self._detach_locked()
        with self.io.reactor:
            if self.active:
                self.io.leave(self)
                self._finish(error)
                self._mailbox.put(tell, self._handlers, "connect_error", (error,), self)

    def _leave_connection(self, connection: Connection) -> bool:
        """``connection`` is nothing to us any more; whether we were in the namespace over it."""
        with self._lock:
            if self._connection is not connection:
                return False
            connected = self._connected
            self._detach_locked()
            return connected

    def _detach_locked(self) -> None:
        self._connection = None
        self._connected = False
        self.id = None
        self._early = []

    def _tell_lost(self, connection: Connection, reason: str, detail: object) -> None:
        self._mailbox.put(tell, self._handlers, "disconnect", (reason, detail), self)
        self._sender.close(connection)

    def _finish(self, failure: Exception, wishes: int | None = None) -> None:
        """It is over for good: whoever is blocked learns it; events that wait go out if somebody connects again.

        :param wishes: do nothing if the application has wished for a connection again since.
        """
        with self._lock:
            if wishes not in (None, self.wishes) or self._connected:
                return
            self._over.set()
            self._outcome.set(failure)
        self._sender.release_blocked(failure)
        for callback in self._when_over:
            callback()
