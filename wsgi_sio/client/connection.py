"""Connection: one of a manager's, from the attempt to its end; Socket.IO's packets above, the engine below."""

from __future__ import annotations

from typing import Any, Protocol

from ..engineio.packet import Packet as EnginePacket
from ..exceptions import ConnectionFailed, SocketIOError
from ..runtime import Rank, make_lock
from ..runtime.shared_reactor import SharedReactor
from ..socketio.packet import Packet
from ..socketio.parser import PacketDecoder
from .engineio.engine import EngineClient
from .engineio.http_session import HTTPSession
from .options import ClientOptions

# How long the tasks of a connection that is over may take to end, at the very most (seconds).
_LINGER = 10.0


class Owner(Protocol):
    """Whose connection it is: a :class:`Manager`."""

    @property
    def url(self) -> str: ...

    @property
    def options(self) -> ClientOptions: ...

    @property
    def reactor(self) -> SharedReactor: ...

    @property
    def http_session(self) -> HTTPSession: ...

    def new_decoder(self) -> PacketDecoder: ...

    def encode(self, packet: Packet, compress: bool) -> list[EnginePacket]: ...

    def tell(self, event: str, *args: Any) -> None: ...

    def connection_opened(self, connection: Connection) -> None: ...

    def connection_received(self, connection: Connection, packet: Packet, size: int) -> None: ...

    def connection_failed(self, connection: Connection, error: ConnectionFailed) -> None: ...

    def connection_closed(self, connection: Connection, reason: str, detail: object) -> None: ...


class Connection:
    """The events of one :class:`EngineClient`, with the decoder of what it receives.

    The manager makes one for each attempt, and drops it when it is over; what an old one still tells is ignored there.

    :ivar retry: whether it is an attempt to reconnect.
    :ivar opened: whether the engine's handshake is done.
    """

    __slots__ = ("_decoder", "_engine", "_lock", "_manager", "_over", "_size", "opened", "retry")

    def __init__(self, manager: Owner, *, retry: bool) -> None:
        self.retry = retry
        self.opened = False
        self._manager = manager
        self._decoder: PacketDecoder | None = None
        self._engine: EngineClient | None = None
        self._size = 0
        self._lock = make_lock(Rank.SESSION)
        self._over = False  # this side has ended it: nothing it tells is of interest any more

    # -- what the manager asks ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to connect."""
        manager = self._manager
        self._decoder = manager.new_decoder()
        reactor = manager.reactor.hold()
        try:
            engine = EngineClient(manager.url, manager.options, reactor, self, manager.http_session)
        except BaseException:
            manager.reactor.let_go()
            raise
        with self._lock:
            self._engine = engine
            over = self._over
        if over:
            engine.close()
        engine.open()

    def send(self, batch: list[EnginePacket], *, volatile: bool = False, bounded: bool = False) -> bool:
        """Send an encoded packet in one piece; False when the connection is over, or cannot take a volatile one.

        :param bounded: refuse it when too much waits already (``max_outbox``).
        :raises LocalProtocolError: it is larger than the server takes, or refused.
        """
        engine = self._engine
        # A machine that has slept finds out here, not when its timers have caught up.
        return engine is not None and engine.check_alive() and engine.send(batch, volatile=volatile, bounded=bounded)

    def send_packet(self, packet: Packet, *, bounded: bool = False) -> bool:
        """Encode and send a packet, see :meth:`send`; False when the connection is over."""
        return not self._over and self.send(self._manager.encode(packet, True), bounded=bounded)

    def close(self) -> None:
        """End it, once what is queued has been sent."""
        with self._lock:
            self._over = True
            engine = self._engine
        if engine is not None:
            engine.close()

    def after_fork(self) -> None:
        """In a forked child: be over, without a word to the server or to the manager."""
        self._lock = make_lock(Rank.SESSION)
        self._over = True
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.after_fork()

    @property
    def transport_name(self) -> str | None:
        """How it is connected, or begins to be: "polling", "websocket"; None before that."""
        return None if self._engine is None else self._engine.transport_name

    # -- what the engine tells (one call at a time) -------------------------------------------------------------

    def on_open(self) -> None:
        self.opened = True
        if not self._over:
            self._manager.connection_opened(self)

    def on_message(self, data: str | bytes) -> None:
        if self._over or self._decoder is None:
            return
        self._size += len(data)
        try:
            packet = self._decoder.add(data)
        except Exception as error:  # whatever a parser raises: the stream cannot be understood any more
            self._manager.connection_closed(self, "parse error", error)
            self.close()
            return
        if packet is not None:
            size, self._size = self._size, 0
            self._manager.connection_received(self, packet, size)

    def on_ping(self) -> None:
        self._manager.tell("ping")

    def on_upgrade(self, name: str) -> None:
        self._manager.tell("upgrade", name)

    def on_upgrade_error(self, error: SocketIOError) -> None:
        self._manager.tell("upgrade_error", error)

    def on_error(self, error: ConnectionFailed) -> None:
        self._manager.connection_failed(self, error)
        self._let_go()

    def on_close(self, reason: str, detail: object) -> None:
        self._manager.connection_closed(self, reason, detail)
        self._let_go()

    def _let_go(self) -> None:
        """The engine has told its last; its tasks end before the reactor may."""
        self._manager.reactor.submit(self._wind_up)

    def _wind_up(self) -> None:
        if self._engine is not None:
            self._engine.join(_LINGER)
        self._manager.reactor.let_go()
