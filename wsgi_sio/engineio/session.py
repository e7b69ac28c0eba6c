"""One client's engine session: its state, what it receives, its changes of transport, and the one place where it ends.

Life: OPEN -> CLOSING (the application has been told; what was queued is still going out) -> CLOSED.  What it sends is
in session_writer.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from ..compiled import mypyc_attr
from ..runtime import Rank, Timer, make_lock
from ..websocket.frames import CloseCode
from .config import Environ
from .log_messages import parse_error, too_large
from .packet import MESSAGE, PacketError, decode_packet
from .session_writer import CLOSED, CLOSING, OPEN, SessionServer, SessionWriter
from .transport import EndedTransport, Transport

logger = logging.getLogger("wsgi_sio.engineio")


class Upgrading(Protocol):
    """An :class:`Upgrade` that is under way."""

    def cancel(self) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Session(SessionWriter):
    """One client; made by :class:`EngineServer`, which calls the application's ``on_session`` with it.

    :cvar protocol: the version of Engine.IO that it speaks; 3 is in protocol_v3.py.
    :ivar id: 20 characters ``A-Za-z0-9_-``.
    :ivar environ: what was kept of the handshake's WSGI environ.
    :ivar transport: the present transport; ``transport.name`` is ``polling``, ``websocket`` or ``webtransport``.
    :ivar on_message: called with each message (str or bytes), in order, on an I/O thread: it must not block.
    :ivar on_close: called once with the reason, likewise.
    """

    __slots__ = (
        "__weakref__",
        "_linger",
        "_pauses",
        "_urgent",
        "environ",
        "id",
        "on_close",
        "on_message",
        "pong_awaited",
        "upgrade",
    )

    protocol: ClassVar[int] = 4

    def __init__(self, server: SessionServer, sid: str, environ: Environ) -> None:
        super().__init__(server)
        self.id = sid
        self.environ = environ
        self.upgrade: Upgrading | None = None
        self.pong_awaited = False
        self.on_message: Callable[[str | bytes], None] = _ignore
        self.on_close: Callable[[str], None] = _ignore
        self._pauses = 0
        self._urgent = 0
        self._linger: Timer | None = None

    # -- inbound ------------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> None:
        """Take one packet as a WebSocket message carries it; called by one thread at a time."""
        if self._state != OPEN:
            return
        if type(data) is bytes:
            if self.pong_awaited:
                self._server.heartbeat.extend(self)
            self.on_message(data)
            return
        kind = data[:1]
        if kind == "4":
            if self.pong_awaited:
                self._server.heartbeat.extend(self)
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

    @property
    def paused(self) -> bool:
        """Whether nothing is read from the client at present."""
        return self._pauses > 0 and not self._urgent

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
                self._write_buffer.take_all()
            transport = self.transport
            claimed = self.held > 0.0 or transport.idle
            transport.idle = False
            held = self._take_held_locked() if self.held else []
            held_back = self._write_buffer.let_out()
        self._server.heartbeat.stop(self)
        logger.debug("a session over %s has ended: %s", transport.name, reason)
        if code == CloseCode.MESSAGE_TOO_BIG and reason == "transport error":
            self.report(*too_large(self.config, "the connection is closed"))
        for turn in held_back:
            turn.set()
        if claimed and not held:
            transport.finish(code)
        elif abort:
            transport.abort(code)
        else:  # the client has a while to take what was sent before; an upgrade goes on, for it may be how
            self._linger = self._server.reactor.expire_after(transport.linger, self._give_up)
            if held:
                transport.write(held)
        if transport.name != "polling":  # no request will ask for it
            self._server.forget(self)
        transport.read_on()
        on_close, self.on_close, self.on_message = self.on_close, _ignore, _ignore  # who has them has us
        self._tell(on_close, reason)
        return True

    def _give_up(self) -> None:
        self.transport.abort()  # the present one: an upgrade may have changed it

    def after_fork(self) -> None:
        """In a forked child: be over, without a word to the client, which is the parent's, or to the application."""
        self.lock = make_lock(Rank.SESSION)
        self._state = CLOSED
        self.held = 0.0
        self._write_buffer.take_all()
        self.on_message = self.on_close = _ignore

    def closed(self, transport: Transport) -> None:
        """``transport`` has ended; if it is the session's present one, nothing can reach the client any more."""
        if transport is self.transport:
            self.close("transport close", abort=True)
            self._state = CLOSED
            self._server.forget(self)
            self.transport = EndedTransport(transport.name)
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

    def begin_upgrade(self, upgrade: Upgrading) -> bool:
        """Let ``upgrade`` be the only one under way; False when one is, or none is possible any more."""
        with self.lock:
            if self._state != OPEN or self.upgrade is not None or self.transport.name != "polling":
                return False
            self.upgrade = upgrade
            return True

    def end_upgrade(self, upgrade: Upgrading) -> bool:
        """``upgrade`` has failed: another may be tried; False when it was over already."""
        with self.lock:
            current = self.upgrade is upgrade
            if current:
                self.upgrade = None
        return current

    def switch(self, upgrade: Upgrading, transport: Transport) -> bool:
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
            batch = self._write_buffer.take_all()
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
