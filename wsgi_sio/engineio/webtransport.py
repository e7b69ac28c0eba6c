"""The WebTransport transport: frames <-> packets on the one stream of a session, driven by whoever has the connection.

Whatever touches the connection is a job of its driver (wsgi_sio/webtransport/driver.py): jobs run one at a time and
must not block.  As with a WebSocket, whoever holds the session's flush baton writes; the baton is kept while QUIC has
more unsent than HIGH_WATER, so that what waits beyond that is bounded by the session's outbox.

The end: a last ping follows all that was sent, and when it has been answered the session is closed, and with it the
connection; after five seconds it is anyhow.  QUIC's acknowledgement would not do: a browser acknowledges what it keeps
for its page, and throws it away when the session is closed.  What the peer ends is over at once.
"""

from __future__ import annotations

from functools import partial

from ..runtime import Reactor, Timer
from ..websocket.frames import BINARY, CloseCode
from ..webtransport.connection import Closed, Ended, Event, Received
from ..webtransport.driver import Driver
from ..webtransport.frames import FrameDecoder, FrameError
from .packet import PING, Packet
from .websocket import Carried, Owner, build_frame

_CHUNK = 65536
# From how many bytes that the peer has not acknowledged QUIC gets no more, and at how many it does again.
HIGH_WATER = 128 * 1024
LOW_WATER = HIGH_WATER // 2
# How long the peer may take to close after we have (seconds).
_LINGER = 2.0

_LAST_PING, _PONG = b"\x012", "3"

# Empty bytes as text: JavaScript's decoder takes an empty frame for an error.
_EMPTY = b"\x01b"
_OPCODE = 0x0F
_BINARY = 0x80


class _Nobody:
    """Owns a session that has been turned away."""

    def receive(self, data: str | bytes) -> None:
        """It is not read any more."""

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool:
        return False


_NOBODY = _Nobody()


class WebTransportTransport:
    """See the module's text.

    :param owner: who gets what comes, until the session does.
    :ivar session: whose packets it carries, once that is known.
    """

    __slots__ = (
        "_aborted",
        "_blocked",
        "_deaf",
        "_decoder",
        "_driver",
        "_finishing",
        "_held",
        "_left",
        "_paused",
        "_reactor",
        "_timer",
        "_unanswered",
        "idle",
        "owner",
        "session",
    )

    name = "webtransport"
    linger = 5.0
    gathers = True
    pings = True  # or its peer does

    def __init__(self, driver: Driver, reactor: Reactor, owner: Owner, max_message_size: int) -> None:
        self.session: Carried | None = None
        self.owner: Owner = owner
        self.idle = False
        self._driver = driver
        self._reactor = reactor
        self._decoder = FrameDecoder(max_message_size)
        self._held: list[bytes] = []  # what has come while nobody was to read it
        self._paused = False
        self._deaf = False  # what comes makes no sense
        self._blocked = False  # the baton waits for acknowledgements
        self._aborted = False
        self._finishing = False
        self._left = False  # nothing can be sent or received any more
        self._unanswered = 0  # pings
        self._timer: Timer | None = None

    # -- reading ------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        if isinstance(event, Received):
            self._on_data(event.data)
        elif isinstance(event, Ended):
            self._on_end()
        elif isinstance(event, Closed):
            self._on_end()
            self._stop_timer()

    def _on_data(self, data: bytes) -> None:
        if self._left or self._deaf:
            return
        if self._finishing:
            self._await_pong(data)
            return
        if not self._paused and not self._held:
            self._feed(data)
            return
        self._held.append(data)
        self._driver.connection.hold_back(len(data))
        if not self._paused:  # since a moment ago
            self.read_on()

    def _feed(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                if message == _PONG and self._unanswered:  # else it is for one that went by polling
                    self._unanswered -= 1
                self.owner.receive(message)
                if self._finishing:
                    return
        except FrameError as error:  # it is the owner who ends it
            if error.too_large:
                self.owner.close("transport error", abort=True, code=CloseCode.MESSAGE_TOO_BIG)
            else:
                self.owner.close("parse error", abort=True)
            self._deaf = True

    def _await_pong(self, data: bytes) -> None:
        """All else is too late; that of a heartbeat may come before."""
        try:
            for message in self._decoder.feed(data):
                if message == _PONG:
                    self._unanswered -= 1
        except FrameError:
            self._deaf = True
        if self._asks and self._unanswered <= 0:
            self._leave()

    def _release(self) -> None:
        connection = self._driver.connection
        while self._held and not (self._paused or self._finishing or self._deaf):
            data = self._held.pop(0)
            connection.hold_back(-len(data))
            self._feed(data)

    @property
    def unread(self) -> bool:
        return bool(self._held) or self._driver.unread

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        """The session's lock is held; see :meth:`read_on`."""
        self._paused = False

    def read_on(self) -> None:
        if self._held:
            self._driver.post(self._release)

    def start(self, early: bytes) -> None:
        """It has been read from the beginning: that is how it was known whose it is."""

    # -- writing ------------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        return self._driver.connection.unsent

    def encode(self, packets: list[Packet]) -> bytes:
        """The frames of ``packets``: a server's WebSocket frame without its opcode, which tells text from binary."""
        frames = []
        if packets[0].type == PING:  # which nothing goes out before
            self._unanswered += 1
        for packet in packets:
            frame = packet.frame or build_frame(packet)
            if frame[0] & _OPCODE != BINARY:
                frames.append(frame[1:])
            elif packet.data:
                frames += (bytes((frame[1] | _BINARY,)), frame[2:])
            else:
                frames.append(_EMPTY)
        return b"".join(frames)

    def write(self, packets: list[Packet]) -> None:
        self._driver.post(partial(self._send, self.encode(packets)), hasty=False)

    def write_alone(self, packet: Packet) -> None:
        """Send one small packet on a session of WebTransport that is not the session's (yet)."""
        self._driver.post(partial(self._driver.connection.send, self.encode([packet])))

    def _send(self, data: bytes) -> None:
        """By the holder of the baton."""
        connection = self._driver.connection
        session = self.session
        assert session is not None
        while not self._left:
            if data:
                connection.send(data)
            if connection.unsent > HIGH_WATER:
                self._blocked = True
                if self._aborted:
                    self._cut_off()
                return
            batch = session.next_batch(self, _CHUNK)
            if batch is None:
                return
            if not batch:
                break
            data = self.encode(batch)
        self._finish()

    def on_progress(self) -> None:
        if self._blocked and self._driver.connection.unsent <= LOW_WATER:
            self._blocked = False
            self._send(b"")
        if self._finishing and not self._left and self._has_arrived:
            self._leave()

    # -- the end ------------------------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """The process is about to end."""
        self.owner.close("forced close")

    def turn_away(self) -> None:
        """End a session of WebTransport that no session wants."""
        self.owner = _NOBODY
        self.finish()

    def finish(self, code: int | None = None) -> None:
        self._driver.post(self._finish)

    def abort(self, code: int | None = None) -> None:
        self._driver.post(self._abort)

    def _abort(self) -> None:
        # Whoever writes finishes when it looks for the next batch; if the baton waits, the client is stuck.
        self._aborted = True
        self._cut_off()

    def _cut_off(self) -> None:
        if self._blocked:
            self._blocked = False
            self._leave()

    def _finish(self) -> None:
        if self._finishing:
            return
        self._finishing = True
        connection = self._driver.connection
        if self._asks:
            connection.send(_LAST_PING)
            self._unanswered += 1
        connection.end_stream()
        if connection.is_over or self._has_arrived:
            self._leave()
            return
        self._timer = self._reactor.expire_after(self.linger, lambda: self._driver.post(self._leave))
        held, self._held = b"".join(self._held), []
        if held:
            connection.hold_back(-len(held))
            self._on_data(held)

    @property
    def _asks(self) -> bool:
        """Whether there is somebody who answers a ping."""
        return self.pings and self.session is not None

    @property
    def _has_arrived(self) -> bool:
        """Whether the peer has all, as far as QUIC can tell."""
        return not self._asks and self._driver.connection.is_delivered

    def _on_end(self) -> None:
        """The peer has ended it; nobody reads what we would send."""
        if not self._left:
            self.owner.close("transport close", abort=True)
            self._blocked = False
            self._leave()
        self._driver.connection.close()

    def _leave(self) -> None:
        """Close the session of WebTransport, and soon the connection."""
        if self._left:
            return
        self._stop_timer()
        self._finishing = self._left = True
        self._held.clear()
        self._driver.connection.end_session()
        self._end_connection()
        if self.session is not None:
            self.session.closed(self)

    def _end_connection(self) -> None:
        if not self._driver.connection.is_over:
            # A client that closes first shows that it has got what we have sent last.
            self._timer = self._reactor.expire_after(_LINGER, self._driver.hang_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
