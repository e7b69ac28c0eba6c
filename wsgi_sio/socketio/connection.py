"""Connection: one engine session and the sockets that share it, one for each namespace (the reference's Client)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..compiled import mypyc_attr
from ..engineio.session import Session
from ..logtext import quote
from ..runtime import Rank, make_lock
from .packet import CONNECT, CONNECT_ERROR, DecodeError, Packet

if TYPE_CHECKING:
    from .interfaces import ConnectableNamespace, ConnectableServer, SocketInterface

logger = logging.getLogger("wsgi_sio.socketio")

# What an event costs a mailbox beside its payload (bytes): the objects around it.
_OVERHEAD = 256

# How many namespaces a client may be in, or have asked for.
_MAX_NAMESPACES = 1000

_NO_NAMES: Final[frozenset[str]] = frozenset()


@mypyc_attr(allow_interpreted_subclasses=True)
class Connection:
    """One client; its sockets are reached through their namespaces. Those of Socket.IO v2 are in v2_clients.py.

    :cvar recoverable: whether what its sockets have may be recovered over another connection.
    :ivar session: the engine session; ``session.transport.name`` tells how the client is connected.
    """

    __slots__ = (
        "__weakref__",
        "_decoder",
        "_has_joined",
        "_lock",
        "_pending",
        "_server",
        "_size",
        "_sockets",
        "session",
    )

    recoverable: ClassVar[bool] = True

    def __init__(self, server: ConnectableServer, session: Session) -> None:
        self.session = session
        self._server = server
        self._sockets: dict[str, SocketInterface] = {}
        self._pending = _NO_NAMES  # names of namespaces that the application is asked about
        self._lock = session.lock  # one for all that belongs to a client, which each would seldom need
        self._decoder = server.parser.Decoder(server.json, server.max_attachments)
        self._size = 0
        self._has_joined = False
        server.outside.start(self)
        session.on_message = self._on_message
        session.on_close = self._on_close

    @property
    def id(self) -> str:
        """The engine session's id."""
        return self.session.id

    # -- sending ------------------------------------------------------------------------------------------------

    def send_packet(self, packet: Packet) -> bool:
        """Send a packet with its attachments in one piece; False when the client has gone."""
        return self.session.send(self._server.encode(packet))

    def acknowledge(self, packet: Packet) -> bool:
        """Likewise, held back as who emits to one client is; see :meth:`Socket.emit`."""
        batch = self._server.encode(packet)
        self.session.wait_for_room()
        return self.session.send(batch, patient=True)

    def acknowledge_soon(self, packet: Packet, now: float) -> None:
        """Likewise, but it may wait for the next one; see :meth:`SessionWriter.hold`."""
        batch = self._server.encode(packet)
        self.session.wait_for_room()
        self.session.hold(batch, now)

    # -- receiving (on an I/O thread, one call at a time) -------------------------------------------------------

    def _on_message(self, data: str | bytes) -> None:
        self._size += len(data)
        try:
            packet = self._decoder.add(data)
        except DecodeError as error:
            self._server.engine.report("undecodable packet", f"{error}; the connection is closed")
            for member in list(self._sockets.values()):
                member.undecodable(error)
            self.session.close("forced close")
            return
        if packet is None:
            return
        size, self._size = self._size, 0
        socket = self._sockets.get(packet.nsp)
        kind = packet.type
        if socket is None:
            if kind == CONNECT:
                self._connect(packet)
            else:
                self._violation(f"a packet for namespace {quote(packet.nsp)}, which the client has not joined")
        elif kind == CONNECT or kind == CONNECT_ERROR:
            self._violation(f"a packet of type {kind} for namespace {quote(packet.nsp)}, which the client has joined")
        else:
            socket.receive(packet, size, size + _OVERHEAD)

    def _connect(self, packet: Packet) -> None:
        if packet.nsp in self._pending or len(self._pending) + len(self._sockets) >= _MAX_NAMESPACES:
            self._violation(f"another CONNECT for {quote(packet.nsp)}, or for more than {_MAX_NAMESPACES} namespaces")
            return
        namespace = self._server.enter_namespace(packet.nsp)
        if namespace is not None:
            self._join(namespace, packet)
        elif not self._server.has_parents:
            self._refuse_namespace(packet)
        else:  # whether a parent takes the name may be for the application to say, and that may take its time
            with self._lock:
                self._pending |= {packet.nsp}
            self._server.submit(lambda: self._connect_dynamically(packet))

    def _connect_dynamically(self, packet: Packet) -> None:
        namespace = self._server.enter_dynamic_namespace(packet.nsp, packet.data or {})
        with self._lock:
            self._pending -= {packet.nsp}
        if namespace is not None:
            self._join(namespace, packet)
        else:
            self._refuse_namespace(packet)

    def _refuse_namespace(self, packet: Packet) -> None:
        logger.debug("a client is refused: there is no namespace %s", quote(packet.nsp))
        self.send_packet(Packet(CONNECT_ERROR, packet.nsp, {"message": "Invalid namespace"}))

    def _join(self, namespace: ConnectableNamespace, packet: Packet) -> None:
        socket = namespace.new_socket(self, packet.data or {})
        with self._lock:
            welcome = self.session.open and packet.nsp not in self._sockets
            if welcome:
                self._sockets[packet.nsp] = socket
        if welcome:
            self._welcome(namespace, socket)
        else:  # gone, or asked twice before the first was answered
            self._server.leave_namespace(namespace)
            self.session.close("forced close")

    def _welcome(self, namespace: ConnectableNamespace, socket: SocketInterface) -> None:
        namespace.receive(socket)

    def _violation(self, what: str) -> None:
        self._server.engine.report("protocol violation", f"{what}; the connection is closed")
        self.session.close("forced close")

    # -- back-pressure (from the sockets' mailboxes) ------------------------------------------------------------

    def mailbox_full(self) -> None:
        self.session.pause()

    def mailbox_has_room(self) -> None:
        self.session.resume()

    def mailbox_overflows(self) -> None:
        if self.session.paused:
            return  # the rest of what had been read by then
        self._server.engine.report("flood", "the client sends on although its handlers wait for an acknowledgement")
        self.session.close("transport error", abort=True)

    # -- joining and leaving ------------------------------------------------------------------------------------

    def new_socket_id(self, nsp: str) -> str:
        """The id of a socket in the namespace ``nsp``; not the engine session's, which is a secret."""
        return self._server.engine.new_id()

    def log_id(self, socket: SocketInterface) -> str:
        """How the log tells ``socket`` from others."""
        return socket.id

    def greeting(self, socket: SocketInterface) -> dict[str, str] | None:
        """What answers the CONNECT of ``socket``."""
        return {"sid": socket.id, "pid": socket.pid} if socket.pid else {"sid": socket.id}

    def refusal(self, error: dict[str, Any]) -> Any:
        """What a CONNECT_ERROR says: ``error`` has a ``message``, and perhaps ``data``."""
        return error

    def joined(self) -> None:
        """A namespace has let the client in: it may stay."""
        self._has_joined = True
        self._server.outside.cancel(self)

    def stays_outside(self) -> None:
        """It has been in no namespace for ``connect_timeout`` seconds."""
        if (self._has_joined and self._sockets) or not self.session.open:  # it has come back meanwhile
            return
        self._server.engine.report(
            "connect time-out", f"the client joined no namespace in connect_timeout={self._server.connect_timeout} s"
        )
        self.session.close("forced close")

    def remove(self, socket: SocketInterface) -> None:
        """``socket`` has left its namespace; the client may connect to it again."""
        with self._lock:
            if self._sockets.get(socket.nsp.name) is socket:
                del self._sockets[socket.nsp.name]

    def thrown_out(self, socket: SocketInterface) -> None:
        """Likewise, by this side: a client that has nothing left, and stays, has ``connect_timeout`` again."""
        self.remove(socket)
        if not self._sockets and not self._pending and self.session.open:
            self._server.outside.start(self)

    def disconnect(self) -> None:
        """Make the client leave all namespaces, then close the connection."""
        for socket in self._take_sockets():
            socket.throw_out()
        self.session.close("forced close")

    def close(self, reason: str = "forced close") -> None:
        """End the connection: the sockets get ``reason``; the client, which is not told to leave, will reconnect."""
        for socket in self._take_sockets():
            socket.let_go(reason)
        self.session.close("forced close")

    def _on_close(self, reason: str) -> None:
        self._server.outside.cancel(self)
        for socket in self._take_sockets():
            socket.lost(reason)

    def after_fork(self) -> None:
        """In a forked child: have no sockets, the client is the parent's."""
        self._lock = make_lock(Rank.SESSION)
        self._sockets = {}

    def _take_sockets(self) -> list[SocketInterface]:
        with self._lock:
            sockets, self._sockets = list(self._sockets.values()), {}
        return sockets
