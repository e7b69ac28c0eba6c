"""EngineClient: one Engine.IO connection of the client, from the first attempt to its only end.

Its life::

    NEW -> OPENING    the transports are tried (:class:`Opening`) until one has the server's :class:`Handshake`
        -> OPEN       packets go both ways; a :class:`Heartbeat` waits for the server's pings; from polling, an
                      :class:`Upgrade` leads to WebSocket or WebTransport
        -> CLOSING    what was queued is still going out
        -> CLOSED     ``on_close``, or ``on_error`` if it never was open; when its tasks have ended, nothing is left

Writing works as in the server's session: whoever finds the transport idle takes it over (the "flush baton"), who finds
it busy appends to the write buffer, which the writer empties before it lets go.  During an upgrade the baton passes to
the :class:`Upgrade`, which writes the buffer behind its ``5``.  All fields are guarded by ``lock``.  The transports,
the opening and the upgrade know this class as :class:`.interfaces.Engine`.
"""

from __future__ import annotations

import logging
from typing import cast

from ...engineio.packet import MESSAGE, PONG, Packet, PacketError, decode_packet
from ...exceptions import ConnectionFailed, LocalProtocolError
from ...runtime import Rank, Reactor, SerialExecutor, TaskGroup, Timer, make_lock
from ..options import ClientOptions
from .candidate import Candidate, require_webtransport
from .heartbeat import Heartbeat
from .http_session import HTTPSession
from .interfaces import EngineEvents, Pollable, Transport
from .opening import Handshake, Opening
from .upgrade import Upgrade
from .url import Address
from .write_buffer import WriteBuffer, check_size

logger = logging.getLogger("wsgi_sio.client")

NEW, OPENING, OPEN, CLOSING, CLOSED = "new", "opening", "open", "closing", "closed"

# How long what was sent before the end may take to reach the server (seconds).
_LINGER = 2.0
# How many packets are sent with one system call.
_MANY = 1000
# What polling is left for, the best first.
_UPGRADES = ("webtransport", "websocket")


class EngineClient:
    """One connection; to connect again, make another.

    :param url: http(s) or ws(s), host, port and query of the server; its path does not count, the options' does.
    :param http_session: what the connection before has left; None for the first.
    :ivar id: the session's id; empty before the handshake.
    :ivar state: ``new``, ``opening``, ``open``, ``closing`` or ``closed``.
    :ivar max_payload: the largest request body or WebSocket message the server takes, in bytes; None if it named none.
    :ivar ping_interval: seconds between the server's pings.
    :ivar ping_timeout: how late one may be, in seconds.
    :ivar upgraded: whether it has gone from polling to another transport.
    :raises ValueError: for a URL of another kind.
    :raises OSError: ``verify`` or ``cert`` cannot be read.
    :raises ImportError: the library of one of the transports is missing: urllib3 of polling, aioquic of WebTransport.
    """

    def __init__(
        self,
        url: str,
        options: ClientOptions,
        reactor: Reactor,
        events: EngineEvents,
        http_session: HTTPSession | None = None,
    ) -> None:
        if "polling" in options.transports:
            from .polling_http import HTTPClient  # noqa: F401  (for its error)
        if "webtransport" in options.transports:
            require_webtransport()
        self.options = options
        self.reactor = reactor
        self.address = Address.of(url, options)
        self.http_session = http_session or HTTPSession.of(options)
        if self.address.secure:
            self.http_session.tls_context()  # for its error
        self.id = ""
        self.state = NEW
        self.max_payload: int | None = None
        self.ping_interval = 0.0
        self.ping_timeout = 0.0
        self.upgraded = False
        self.upgrade: Upgrade | None = None
        self._last_upgrade: Upgrade | None = None
        self.paused = False  # a client reads always
        self.lock = make_lock(Rank.SESSION)
        self.tasks = TaskGroup(reactor)
        self._events = events
        self._callbacks = SerialExecutor(logger)
        self._transport: Transport | None = None
        self._opening: Opening | None = None
        self._heartbeat = Heartbeat(reactor, self._silence, self._unread)
        self._linger: Timer | None = None
        self._ending: tuple[str, object] = ("forced close", None)
        self._surely_fits = 0
        self._write_buffer = WriteBuffer(options.max_outbox)

    @property
    def transport_name(self) -> str | None:
        """``polling``, ``websocket`` or ``webtransport``; None before the handshake."""
        return None if self._transport is None else self._transport.name

    # -- opening ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect in the background; ``on_open`` or ``on_error`` tells the outcome.

        One that has been closed before gets ``on_error``.

        :raises LocalProtocolError: it has been opened before.
        """
        names = list(self.options.transports)
        if self.options.remember_upgrade and self.http_session.worked in names:
            names.sort(key=self.http_session.worked.__ne__)
        opening = Opening(self, names)
        with self.lock:
            if self.state not in (NEW, CLOSED):
                raise LocalProtocolError("an EngineClient opens one connection, once")
            closed = self.state == CLOSED
            if not closed:
                self.state = OPENING
                self._opening = opening
        if closed:
            self._callbacks.call_last(self._events.on_error, ConnectionFailed("closed"))
        else:
            opening.start()

    def opened(self, transport: Pollable | Candidate, handshake: Handshake) -> None:
        """``transport`` has got a session."""
        with self.lock:
            if self.state != OPENING:
                return
            self.state = OPEN
            self._opening = None
            self._transport = transport
            self.id = handshake.sid
            self.max_payload = handshake.max_payload
            self.ping_interval = handshake.ping_interval
            self.ping_timeout = handshake.ping_timeout
            # No character takes more than four bytes, base64 less: what is shorter need not be measured.
            self._surely_fits = self.options.max_outbox if self.max_payload is None else self.max_payload // 4
            upgrade = None
            if transport.name != "polling":
                self.http_session.worked = transport.name
            elif self.options.upgrade:
                names = [name for name in _UPGRADES if name in self.options.transports and name in handshake.upgrades]
                if names:
                    polling = cast("Pollable", transport)
                    upgrade = self.upgrade = self._last_upgrade = Upgrade(self, polling, names)
            transport.idle = True
        self._heartbeat.start(self.ping_interval + self.ping_timeout)
        if self.state != OPEN:  # closed already
            self._heartbeat.stop()
        self._callbacks.call(self._events.on_open)
        if upgrade is not None:
            upgrade.start()

    def not_opened(self, error: ConnectionFailed) -> None:
        """No transport got a session, or nobody wants one any more."""
        if self.state == OPENING:
            self.http_session.worked = ""
        self._end_opening(error)

    def _end_opening(self, error: ConnectionFailed) -> bool:
        with self.lock:
            if self.state not in (NEW, OPENING):
                return False
            self.state = CLOSED
            opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            self._callbacks.call_last(self._events.on_error, error)
        self.tasks.close()
        return True

    # -- outbound -----------------------------------------------------------------------------------------------

    def send(self, packets: list[Packet], *, volatile: bool = False, bounded: bool = True) -> bool:
        """Send ``packets`` together, in order, without blocking; callable from anywhere.

        :param volatile: drop them unless they can go out now.
        :param bounded: refuse them when ``max_outbox`` bytes wait already.
        :return: False when they were dropped: the connection is not open, or they were volatile.
        :raises LocalProtocolError: one is larger than the server takes, or too much waits already; none is sent.
        """
        for packet in packets:
            if packet.size > self._surely_fits:
                check_size(packet, self.max_payload, as_text=self.transport_name not in _UPGRADES)
        with self.lock:
            transport = self._transport
            if self.state != OPEN or transport is None:
                return False
            claimed = transport.idle
            if claimed:
                transport.idle = False
            elif volatile:
                return False
            else:
                self._write_buffer.add(packets, bounded)
        if claimed:
            transport.write(packets)
        return True

    def send_own(self, packet: Packet) -> None:
        """Send what the protocol demands, before whatever waits: a late pong would end the connection."""
        with self.lock:
            transport = self._transport
            if self.state != OPEN or transport is None:
                return
            claimed = transport.idle
            transport.idle = False
            if not claimed:
                self._write_buffer.put_first(packet)
        if claimed:
            transport.write([packet])

    def next_batch(self, transport: object, limit: int, count: int = _MANY) -> list[Packet] | None:
        """For the writer of ``transport``: the next packets, about ``limit`` bytes and at most ``count`` of them.

        None: there are none and the caller has handed the baton back, or it has passed to the upgrade.
        An empty list: there are none and the connection is closing; the caller must finish the transport.
        """
        with self.lock:
            upgrade = self.upgrade
            if upgrade is None or not upgrade.take_baton_locked():
                batch = self._write_buffer.take(limit, count, 0)
                if batch or self.state != OPEN:
                    return batch
                assert self._transport is not None
                self._transport.idle = True
                return None
        upgrade.proceed()
        return None

    # -- inbound ------------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> None:
        """Take one packet as a WebSocket message carries it; called by one thread at a time."""
        if self.state != OPEN:
            return
        if type(data) is bytes:
            self._callbacks.call(self._events.on_message, data)
            return
        kind = data[:1]
        if kind == "4":
            self._callbacks.call(self._events.on_message, data[1:])
        elif kind == "2":
            self._heartbeat.feed()
            self.send_own(Packet(PONG))
            self._callbacks.call(self._events.on_ping)
        elif kind == "1":
            self.close("transport close", abort=True, detail="the server closed the session")
        elif kind not in ("0", "3", "5", "6") or not kind:
            self._receive_rarity(data)

    def _receive_rarity(self, data: str | bytes) -> None:
        try:
            packet = decode_packet(data)
        except PacketError:
            self.close("parse error", abort=True, detail=f"unknown packet {data[:20]!r}")
            return
        if packet.type == MESSAGE:  # bytes as base64
            self._callbacks.call(self._events.on_message, packet.data)

    def may_poll(self, transport: Pollable) -> bool:
        """Whether the polling task shall GET once more; one that is paused ends and leaves the rest to the upgrade."""
        with self.lock:
            if self._transport is not transport or self.state == CLOSED:
                return False
            upgrade = self.upgrade
            if upgrade is None or not transport.paused:
                return True
            transport.polls = False
        upgrade.proceed()
        return False

    def heard(self) -> None:
        """Something has come from the server; over polling, the ping that is overdue may be behind it."""
        self._heartbeat.postpone()

    def check_alive(self) -> bool:
        """Whether the server may still be there; asked before sending, since a machine that slept knows no timers.

        False when its ping is overdue: then the connection is closed with "ping timeout".
        """
        if self._heartbeat.expired:
            self._silence()
        return self.state == OPEN

    def _silence(self) -> None:
        self.abort("ping timeout")

    def _unread(self) -> bool:
        transport = self._transport
        return transport is not None and transport.unread

    # -- the upgrade --------------------------------------------------------------------------------------------

    def switch_locked(self, transport: Candidate) -> list[Packet]:
        """Make ``transport`` the connection's; the caller holds lock and baton, and writes what is returned."""
        self.upgrade = None
        self.upgraded = True
        self._transport = transport
        return self._write_buffer.take_all()

    def switched(self) -> None:
        """The switch has been made, and nothing has been written or read since."""
        self._callbacks.call(self._events.on_upgrade, self.transport_name)

    def upgrade_failed(self, error: ConnectionFailed) -> None:
        """It remains polling."""
        self._callbacks.call(self._events.on_upgrade_error, error)

    # -- the end ------------------------------------------------------------------------------------------------

    def close(
        self, reason: str = "forced close", *, abort: bool = False, code: int | None = None, detail: object = None
    ) -> bool:
        """End the connection; the first caller wins, the others change nothing.

        :param reason: for ``on_close``, which comes when everything is over: what was sent before is out, unless that
            takes more than two seconds, and the transport is closed.  A connection that is still opening ends at
            once, with ``on_error``.
        :param abort: drop what is queued.
        :param code: the WebSocket close code.
        :param detail: more about the reason.
        :return: whether this call ended it.
        """
        if self._end_opening(ConnectionFailed("closed")):
            return True
        with self.lock:
            transport = self._transport
            if self.state != OPEN or transport is None:
                return False
            self.state = CLOSING
            self._ending = (reason, code if detail is None else detail)
            if abort:
                self._write_buffer.take_all()
            claimed, transport.idle = transport.idle, False
            upgrade = self.upgrade
        self._heartbeat.stop()
        if upgrade is not None:
            upgrade.fail(None)  # the baton, if it has it, goes back to polling
        if abort:
            transport.abort(code, baton=claimed)
        else:
            self._limit_lingering()
            if claimed:
                transport.finish(code)
        return True

    def after_fork(self) -> None:
        """In a forked child: be over and tell nobody; the connection is the parent's."""
        self.lock = make_lock(Rank.SESSION)
        self.state = CLOSED
        self._callbacks.after_fork()

    def _limit_lingering(self) -> None:
        timer = self._linger = self.reactor.expire_after(_LINGER, self.abort)
        if self.state == CLOSED:  # that was quick
            timer.cancel()

    def abort(self, reason: str = "forced close") -> None:
        """End the connection without waiting for the server; what is still queued is dropped."""
        self.close(reason, abort=True)
        upgrade, transport = self._last_upgrade, self._transport
        if upgrade is not None:
            upgrade.hurry()
        if transport is not None:
            transport.hurry()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left of a closed connection: no descriptor, task or timer.

        :param timeout: in seconds.
        :return: whether that is so; not to be asked in a callback.
        """
        return self.tasks.join(timeout)

    def closed(self, transport: Transport) -> None:
        """``transport`` has ended; if it is the connection's, the connection has ended too."""
        if transport is self._transport:
            self.close("transport close", abort=True)
            self.state = CLOSED
            linger, self._linger = self._linger, None
            if linger is not None:
                linger.cancel()
            self._callbacks.call_last(self._events.on_close, *self._ending)
            self.tasks.close()
        self.tasks.remove(transport)
