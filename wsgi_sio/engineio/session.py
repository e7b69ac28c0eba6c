"""One client's engine session: its state, its outbox, and the one place where it ends.

Life: OPEN -> CLOSING (the application has been told; what was queued is still going out) -> CLOSED.

Writing: whoever finds the transport idle takes it over (the "flush baton") and writes at once in its own thread,
without blocking; whoever finds it busy appends to the outbox, which the writer empties before it lets go.  So packets
leave in the order of ``send``, a batch stays together, and nobody ever waits for a slow client.  ``transport.idle``
and the outbox are guarded by the session's lock, and an idle transport means an empty outbox.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..runtime import Event, Rank, Timer, make_lock
from ..websocket.frames import CloseCode
from .config import Environ
from .packet import MESSAGE, PING, Packet

if TYPE_CHECKING:
    from .server import EngineServer
    from .upgrade import Upgrade

logger = logging.getLogger("wsgi_sio.engineio")

OPEN, CLOSING, CLOSED = range(3)

# What a queued packet weighs beside its payload (bytes), so that a million tiny ones are not for free.
_OVERHEAD = 256

_PING = Packet(PING)


class Transport(Protocol):
    """How a session reaches its client: polling.py and websocket.py."""

    name: str
    idle: bool

    @property
    def linger(self) -> float:
        """How long a client may take to fetch what was sent before the end, in seconds."""

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
        "_outbox_size",
        "_pauses",
        "_readable",
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
        self._outbox: list[Packet] = []
        self._outbox_size = self._pauses = self._urgent = 0
        self._linger: Timer | None = None
        self._readable: Event | None = None

    @property
    def open(self) -> bool:
        """Whether packets may still be sent and received."""
        return self._state == OPEN

    @property
    def outbox_size(self) -> int:
        """Bytes of memory that wait for the client, apart from what the transport has already taken."""
        return self._outbox_size

    # -- outbound -----------------------------------------------------------------------------------------------

    def send(self, packets: list[Packet], *, volatile: bool = False) -> bool:
        """Send ``packets`` together, in order, without blocking; callable from anywhere.

        :param volatile: drop them unless the client can take them now (nothing is queued or being written; over
            polling: a GET waits).
        :return: False when they were dropped: the session is over, or they were volatile.
        """
        with self.lock:
            if self._state != OPEN:
                return False
            transport = self.transport
            claimed = transport.idle
            if claimed:
                transport.idle = False
                slow = False
            elif volatile:
                return False
            else:
                slow = self._queue_locked(packets)
        if claimed:
            transport.write(packets)
        elif slow:
            self._cut_off_slow()
        return True

    def reserve(self, packets: list[Packet]) -> Callable[[], None]:
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
            return self._cut_off_slow if self._queue_locked(packets) else _ignore

    def _cut_off_slow(self) -> None:
        self._server.report("slow client", f"over max_outbox={self._server.config.max_outbox} bytes wait for it")
        self.close("transport error", abort=True)

    def send_message(self, data: str | bytes) -> bool:
        """Send one message; see :meth:`send`."""
        return self.send([Packet(MESSAGE, data)])

    def ping(self) -> None:
        """Ask for a sign of life; see heartbeat.py."""
        self.send([_PING])

    def _queue_locked(self, packets: Sequence[Packet]) -> bool:
        """Append to the outbox; True when the client is too far behind."""
        size = sum([packet.size + _OVERHEAD for packet in packets])
        self._outbox += packets
        self._outbox_size += size
        return self._outbox_size > self._server.config.max_outbox

    def next_batch(self, transport: Transport, limit: int) -> list[Packet] | None:
        """For the writer of ``transport``: the next packets, about ``limit`` bytes of them.

        None: there are none and the transport is idle again; the caller has handed the baton back.
        An empty list: there are none and the session is closing; the caller must finish the transport.
        """
        with self.lock:
            outbox = self._outbox
            # In one step: a signal handler that emits must find the transport busy or the outbox looked after.
            idle = transport.idle = not outbox and self._state == OPEN
            if idle:
                return None
            if not outbox:
                return outbox
            if self._outbox_size <= limit:
                self._outbox = []
                self._outbox_size = 0
                return outbox
            count = size = 0
            while size < limit and count < len(outbox):
                size += outbox[count].size + _OVERHEAD
                count += 1
            self._outbox = outbox[count:]
            self._outbox_size -= size
            return outbox[:count]

    def take_locked(self) -> list[Packet] | None:
        """For a GET: all that is queued, or None when it has to wait; the caller holds the lock."""
        queued, self._outbox, self._outbox_size = self._outbox, [], 0
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
        elif kind not in ("0", "5", "6") or not kind:
            self.close("parse error", abort=True)

    def _extend_patience(self) -> None:
        if self.pong_awaited:
            self._server.heartbeat.extend(self)

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
                self._readable = self._server.reactor.event()
                self.transport.pause()
            else:
                readable, self._readable = self._readable, None
                self.transport.resume()
        if not after:
            if readable is not None:
                readable.set()
            self._server.heartbeat.start(self)

    def wait_readable(self) -> None:
        """Block while the session is paused: for a transport that pushes packets in, such as a POST."""
        readable = self._readable
        if readable is not None:
            readable.wait()

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
                self._outbox = []
                self._outbox_size = 0
            transport = self.transport
            claimed = transport.idle
            transport.idle = False
            readable, self._readable = self._readable, None
        self._server.heartbeat.stop(self)
        if code == CloseCode.MESSAGE_TOO_BIG and reason == "transport error":
            self.report_too_large("the connection is closed")
        if readable is not None:
            readable.set()
        if claimed:
            transport.finish(code)
        elif abort:
            transport.abort(code)
        else:  # the client has a while to take what was sent before; an upgrade goes on, for it may be how
            self._linger = self._server.reactor.call_later(transport.linger, self._give_up)
        if transport.name == "websocket":  # no request will ask for it
            self._server.forget(self)
        self._tell(self.on_close, reason)
        return True

    def _give_up(self) -> None:
        self.transport.abort()  # the present one: an upgrade may have changed it

    def after_fork(self) -> None:
        """In a forked child: be over, without a word to the client, which is the parent's, or to the application."""
        self.lock, self._state = make_lock(Rank.SESSION), CLOSED

    def report_too_large(self, consequence: str) -> None:
        """Tell the log that the client has sent more than is taken."""
        limit = self._server.config.max_http_buffer_size
        self._server.report(
            "too large a message",
            f"a client sent more than max_http_buffer_size={limit} bytes at once, so {consequence}; raise it, or have"
            " clients send large data in pieces",
        )

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
            logger.exception("a callback of session %s failed", self.id)

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
            transport.idle = not self._outbox and not closing
            batch, self._outbox = self._outbox, []
            self._outbox_size = 0
            paused = self.paused
        if paused:
            transport.pause()
        if batch:
            transport.write(batch)
        elif closing:
            transport.finish()
        return True


def _ignore(*args: object) -> None:
    """What a session does with its messages until the application has set its callbacks."""
