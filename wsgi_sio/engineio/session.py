"""One client's engine session: its state, its outbox, and the one place where it ends.

Life: OPEN -> CLOSING (the application has been told; what was queued is still going out) -> CLOSED.

Writing: whoever finds the transport idle takes it over (the "flush baton") and writes at once in its own thread,
without blocking; whoever finds it busy appends to the outbox, which the writer empties before it lets go.  So packets
leave in the order of ``send``, a batch stays together, and no I/O thread ever waits for a slow client.
``transport.idle`` and the outbox (outbox.py) are guarded by the session's lock, and an idle transport means an empty
outbox.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..runtime import Rank, Timer, make_lock, wait_patiently
from ..websocket.frames import CloseCode
from .config import EngineConfig, Environ
from .outbox import Outbox
from .packet import MESSAGE, PING, Packet, PacketError, decode_packet
from .reports import parse_error, slow_client, stuck_client, too_large

if TYPE_CHECKING:
    from .server import EngineServer
    from .upgrade import Upgrade

logger = logging.getLogger("wsgi_sio.engineio")

OPEN, CLOSING, CLOSED = range(3)

_PING = Packet(PING)


class Transport(Protocol):
    """How a session reaches its client: polling.py and websocket.py."""

    name: str
    idle: bool

    @property
    def linger(self) -> float:
        """How long a client may take to fetch what was sent before the end, in seconds."""

    @property
    def unsent(self) -> int:
        """Bytes of what has been written that the client has not taken yet, as far as is known."""

    @property
    def unread(self) -> bool:
        """Whether something has come from the client that has not been read, or is just being read."""

    def write(self, packets: list[Packet]) -> None:
        """Send ``packets`` without blocking; the caller found the transport idle and marked it busy."""

    def finish(self, code: int | None = None) -> None:
        """The outbox is empty and nothing will follow: end in good order."""

    def abort(self, code: int | None = None) -> None:
        """End as soon as whoever writes lets go; at once when the client does not take what is written."""

    def pause(self) -> None:
        """Read nothing more from the client for now."""

    def resume(self) -> None:
        """Read again."""

    def read_on(self) -> None:
        """The session takes packets again, or, having ended, never will: look after those that wait to be taken."""


class Session:
    """One client; made by :class:`EngineServer`, which calls the application's ``on_session`` with it.

    :cvar protocol: the version of Engine.IO that it speaks; 3 is in v3.py.
    :ivar id: 20 characters ``A-Za-z0-9_-``.
    :ivar environ: what was kept of the handshake's WSGI environ.
    :ivar transport: the present transport; ``transport.name`` is ``polling`` or ``websocket``.
    :ivar on_message: called with each message (str or bytes), in order, on an I/O thread: it must not block.
    :ivar on_close: called once with the reason, likewise.
    """

    __slots__ = (
        "__weakref__",
        "_linger",
        "_outbox",
        "_pauses",
        "_server",
        "_state",
        "_urgent",
        "environ",
        "id",
        "lock",
        "on_close",
        "on_message",
        "pong_awaited",
        "transport",
        "upgrade",
    )

    protocol: ClassVar[int] = 4

    def __init__(self, server: EngineServer, sid: str, environ: Environ) -> None:
        self.id = sid
        self.environ = environ
        self.transport: Transport
        self.upgrade: Upgrade | None = None
        self.pong_awaited = False
        self.on_message: Callable[[str | bytes], None] = _ignore
        self.on_close: Callable[[str], None] = _ignore
        self._server = server
        self.lock = make_lock(Rank.SESSION)
        self._state = OPEN
        self._outbox = Outbox(server.config.max_outbox)
        self._pauses = 0
        self._urgent = 0
        self._linger: Timer | None = None

    @property
    def open(self) -> bool:
        """Whether packets may still be sent and received."""
        return self._state == OPEN

    @property
    def config(self) -> EngineConfig:
        """The options of its server."""
        return self._server.config

    @property
    def outbox_size(self) -> int:
        """Bytes of memory that wait for the client, apart from what the transport has already taken."""
        return self._outbox.size

    # -- outbound -----------------------------------------------------------------------------------------------

    def send(self, packets: list[Packet], *, volatile: bool = False, patient: bool = False) -> bool:
        """Send ``packets`` together, in order, without blocking; callable from anywhere.

        :param volatile: drop them unless the client can take them now (nothing is queued or being written; over
            polling: a GET waits).
        :param patient: they are for this client alone, and the sender has called :meth:`wait_for_room`.
        :return: False when they were dropped: the session is over, or they were volatile.
        """
        with self.lock:
            if self._state != OPEN:
                return False
            transport = self.transport
            claimed = transport.idle
            if claimed:
                transport.idle = False
                behind = False
            elif volatile:
                return False
            else:
                behind = self._outbox.add(packets, patient)
        if claimed:
            transport.write(packets)
        elif behind:
            self._fall_behind(patient)
        return True

    def reserve(self, packets: list[Packet], *, patient: bool = False) -> Callable[[], None]:
        """The first half of :meth:`send`, for whoever holds a lock: it settles only the place of ``packets``.

        :return: the second half, which has to be called soon, without a lock held.
        """
        with self.lock:
            if self._state != OPEN:
                return _ignore
            transport = self.transport
            if transport.idle:
                transport.idle = False
                return partial(transport.write, packets)
            behind = self._outbox.add(packets, patient)
        return partial(self._fall_behind, patient) if behind else _ignore

    def _fall_behind(self, patient: bool) -> None:
        """Too much waits for the client: it is given up, unless who has sent that is held back, and can be."""
        if not (patient and self._server.reactor.may_be_held_back()):
            self._give_up_on(*slow_client(self.config))

    def _give_up_on(self, kind: str, text: str) -> None:
        self.report(kind, text)
        self.close("transport error", abort=True)

    def wait_for_room(self) -> None:
        """Hold back who is about to send to this client alone, while that is far behind but goes on taking data.

        A client that takes nothing for ``ping_timeout`` seconds is given up. Nobody is held back while less than half
        of ``max_outbox`` bytes wait, nor on an I/O thread or in a signal handler.
        """
        if self._outbox.crowded:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        reactor, patience = self._server.reactor, self.config.ping_timeout
        if not reactor.may_be_held_back():
            return
        turn = reactor.event()
        with self.lock:
            if self._state != OPEN or not self._outbox.crowded:
                return
            self._outbox.waiting += (turn,)
        before = self._progress()
        while not wait_patiently(partial(reactor.wait, turn), patience):
            now = self._progress()
            if now == before:
                self._give_up_on(*stuck_client(self.config))
                return
            before = now

    def _progress(self) -> tuple[object, ...]:
        """Something that changes as the client takes data."""
        transport = self.transport
        return self._outbox.taken, transport, transport.unsent

    def let_in(self) -> None:
        """The client has taken something: the next one that waits for that may send, if there is room now."""
        with self.lock:
            turns = () if self._outbox.crowded else self._outbox.let_out(1)
        for turn in turns:
            turn.set()

    def send_message(self, data: str | bytes) -> bool:
        """Send one message; see :meth:`send`."""
        return self.send([Packet(MESSAGE, data)])

    def ping(self) -> None:
        """Ask for a sign of life (see heartbeat.py), before whatever waits: the client's time has begun."""
        with self.lock:
            if self._state != OPEN:
                return
            transport = self.transport
            claimed, transport.idle = transport.idle, False
            if not claimed:
                self._outbox.put_first(_PING)
        if claimed:
            transport.write([_PING])

    def next_batch(self, transport: Transport, limit: int) -> list[Packet] | None:
        """For the writer of ``transport``: the next packets, about ``limit`` bytes of them.

        None: there are none and the transport is idle again; the caller has handed the baton back.
        An empty list: there are none and the session is closing; the caller must finish the transport.
        """
        with self.lock:
            outbox = self._outbox
            # In one step: a signal handler that emits must find the transport busy or the outbox looked after.
            idle = transport.idle = not outbox.packets and self._state == OPEN
            batch = None if idle else outbox.take(limit)
        if outbox.waiting:
            self.let_in()
        return batch

    def take_locked(self) -> list[Packet] | None:
        """For a GET: all that is queued, or None when it has to wait; the caller holds the lock.

        :meth:`let_in` is to be called after unlocking.
        """
        queued = self._outbox.take_all()
        return queued if queued or self._state != OPEN else None

    # -- inbound ------------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> None:
        """Take one packet as a WebSocket message carries it; called by one thread at a time."""
        if self._state != OPEN:
            return
        if type(data) is bytes:
            self._extend_patience()
            self.on_message(data)
            return
        kind = data[:1]
        if kind == "4":
            self._extend_patience()
            self.on_message(data[1:])
        elif kind == "3":
            self._server.heartbeat.start(self)
        elif kind == "1":
            self.close("transport close", abort=True)
        elif kind == "2":  # only the server pings in protocol 4
            self.close("transport error", abort=True)
        else:
            self._receive_rarity(data)

    def _receive_rarity(self, data: str | bytes) -> None:
        try:
            packet = decode_packet(data)
        except PacketError as error:
            self.parse_error(str(error))
            return
        if packet.type == MESSAGE:  # bytes as base64
            self.receive(packet.data)  # type: ignore[arg-type]  # it always has some

    def parse_error(self, what: str) -> None:
        """The client has sent what is no packet, which ends the session."""
        self.report(*parse_error(what))
        self.close("parse error", abort=True)

    def _extend_patience(self) -> None:
        if self.pong_awaited:
            self._server.heartbeat.extend(self)

    @property
    def paused(self) -> bool:
        """Whether nothing is read from the client at present."""
        return self._pauses > 0 and not self._urgent

    @property
    def unheard(self) -> bool:
        """Whether the client may well have spoken, only that nobody has read it yet."""
        return self.paused or self.transport.unread

    def pause(self) -> None:
        """Read nothing from the client until :meth:`resume`; calls nest. No heartbeat ends it meanwhile."""
        self._change_reading(pauses=1)

    def resume(self) -> None:
        """Undo one :meth:`pause`."""
        self._change_reading(pauses=-1)

    def expect_answer(self, waiting: int) -> None:
        """Somebody began (1) or ended (-1) to wait for what the client says: it is read even while paused."""
        self._change_reading(urgent=waiting)

    def _change_reading(self, pauses: int = 0, urgent: int = 0) -> None:
        with self.lock:
            before = self.paused
            self._pauses += pauses
            self._urgent += urgent
            after = self.paused
            if before == after or self._state != OPEN:
                return
            # Under the lock, against the rule, lest two changes overtake each other; it only flips a flag of epoll.
            if after:
                self.transport.pause()
            else:
                self.transport.resume()
        if not after:
            self._server.heartbeat.start(self)
            self.transport.read_on()

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self, reason: str = "forced close", *, abort: bool = False, code: int | None = None) -> bool:
        """End the session; the first caller wins, the others change nothing.

        :param reason: one of the reference's strings; ``on_close`` gets it.
        :param abort: drop what is queued instead of sending it first.
        :param code: the WebSocket close code.
        :return: whether this call ended it.
        """
        with self.lock:
            if self._state != OPEN:
                return False
            self._state = CLOSING
            if abort:
                self._outbox.take_all()
            transport = self.transport
            claimed = transport.idle
            transport.idle = False
            held_back = self._outbox.let_out()
        self._server.heartbeat.stop(self)
        if code == CloseCode.MESSAGE_TOO_BIG and reason == "transport error":
            self.report(*too_large(self.config, "the connection is closed"))
        for turn in held_back:
            turn.set()
        if claimed:
            transport.finish(code)
        elif abort:
            transport.abort(code)
        else:  # the client has a while to take what was sent before; an upgrade goes on, for it may be how
            self._linger = self._server.reactor.expire_after(transport.linger, self._give_up)
        if transport.name == "websocket":  # no request will ask for it
            self._server.forget(self)
        transport.read_on()
        self._tell(self.on_close, reason)
        return True

    def _give_up(self) -> None:
        self.transport.abort()  # the present one: an upgrade may have changed it

    def report(self, kind: str, text: str) -> None:
        """See :meth:`EngineServer.report`."""
        self._server.report(kind, text)

    def after_fork(self) -> None:
        """In a forked child: be over, without a word to the client, which is the parent's, or to the application."""
        self.lock = make_lock(Rank.SESSION)
        self._state = CLOSED
        self._outbox.take_all()
        self.on_message = self.on_close = _ignore

    def closed(self, transport: Transport) -> None:
        """``transport`` has ended; if it is the session's present one, nothing can reach the client any more."""
        if transport is self.transport:
            self.close("transport close", abort=True)
            self._state = CLOSED
            self._server.forget(self)
            linger, self._linger = self._linger, None
            if linger is not None:
                linger.cancel()
            upgrade = self.upgrade
            if upgrade is not None:
                upgrade.cancel()

    def _tell(self, callback: Callable[..., Any], *args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            logger.exception("a callback of a session failed")

    # -- changing the transport ---------------------------------------------------------------------------------

    def begin_upgrade(self, upgrade: Upgrade) -> bool:
        """Let ``upgrade`` be the only one under way; False when one is, or none is possible any more."""
        with self.lock:
            if self._state != OPEN or self.upgrade is not None or self.transport.name != "polling":
                return False
            self.upgrade = upgrade
            return True

    def end_upgrade(self, upgrade: Upgrade) -> bool:
        """``upgrade`` has failed: another may be tried; False when it was over already."""
        with self.lock:
            current = self.upgrade is upgrade
            if current:
                self.upgrade = None
        return current

    def switch(self, upgrade: Upgrade, transport: Transport) -> bool:
        """Make ``transport`` the session's, with nothing lost, doubled or reordered, even when it is closing.

        :return: False when the session, or the upgrade, is over.
        """
        with self.lock:
            if self._state == CLOSED or self.upgrade is not upgrade:
                return False
            self.transport.idle = False
            self.transport = transport
            self.upgrade = None
            closing = self._state == CLOSING
            batch = self._outbox.take_all()
            transport.idle = not batch and not closing
            paused = self.paused
        if paused:
            transport.pause()
        if batch:
            transport.write(batch)
        elif closing:
            transport.finish()
        self.let_in()
        return True


def _ignore(*args: object) -> None:
    """What a session does with its messages until the application has set its callbacks."""
