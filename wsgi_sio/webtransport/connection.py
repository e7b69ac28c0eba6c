"""One QUIC connection with one WebTransport session and its one stream, without I/O: datagrams in, events out.

Who drives it gives it datagrams and time, takes events, and then sends the datagrams that it wants sent. Bytes of the
stream are the user's; frames, packets and sessions of Engine.IO are unknown here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic import events as quic_events

from ..logtext import quote
from .capsules import CLOSE_SESSION, CapsuleDecoder, encode_close, read_close
from .certificates import fingerprint
from .quic import H3, Quic

Address = Any  # what the socket module takes for one
Header = tuple[bytes, bytes]

_STREAM_REJECTED = 0x3994BD84  # WT_BUFFERED_STREAM_REJECTED
_SESSION_GONE = 0x170D7B68  # WT_SESSION_GONE
# How many datagrams may wait to be acknowledged, beyond which the peer would be slowed down; else that rides on data.
_MANY_UNACKNOWLEDGED = 8
_PROTOCOLS = (b"webtransport", b"webtransport-h3")
_DRAFT_02 = b"sec-webtransport-http3-draft02"


@dataclass(frozen=True, slots=True)
class Connected:
    """The QUIC handshake is complete: the peer is where it says."""


@dataclass(frozen=True, slots=True)
class Requested:
    """The peer wants a session; :meth:`Connection.accept` or :meth:`Connection.refuse` it."""

    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer has accepted our session (200), or not."""

    status: int


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of the stream."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer has ended the stream or the session; told once."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """There is no connection any more: it may be forgotten. The last event."""

    reason: str


@dataclass(frozen=True, slots=True)
class IdIssued:
    """Datagrams for this connection may have this id."""

    connection_id: bytes


@dataclass(frozen=True, slots=True)
class IdRetired:
    """They do not have it any more."""

    connection_id: bytes


Event = Connected | Requested | Answered | Received | Ended | Closed | IdIssued | IdRetired


class Connection:
    """See the module's text; the server's end, unless :meth:`request` is called.

    :ivar is_over: whether there is no connection any more; then whatever is called does nothing.
    """

    __slots__ = (
        "_accepted",
        "_capsules",
        "_early",
        "_ended",
        "_events",
        "_h3",
        "_quic",
        "_session",
        "_stream",
        "_to_acknowledge",
        "_wrote",
        "is_over",
    )

    def __init__(self, quic: Quic) -> None:
        self._quic = quic
        self._h3: H3 | None = None
        self._session: int | None = None  # the stream of the CONNECT, whose number is the session's
        self._accepted = False
        self._stream: int | None = None
        self._early: list[bytes] = []  # of the stream, while the session has not been accepted
        self._ended = False
        self._capsules = CapsuleDecoder()
        self._events: list[Event] = []
        self._to_acknowledge = 0  # datagrams
        self._wrote = False
        self.is_over = False

    # -- what comes ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """Take a datagram."""
        if self.is_over:
            return
        self._to_acknowledge += 1
        self._quic.receive_datagram(data, address, now)

    def handle_timer(self, now: float) -> None:
        """Time has passed, to :attr:`deadline` or beyond."""
        if not self.is_over:
            self._quic.handle_timer(now)

    @property
    def has_news(self) -> bool:
        """Whether :meth:`events` has something to tell."""
        return bool(self._events) or (not self.is_over and self._quic.has_news)

    def events(self) -> Iterator[Event]:
        """What has happened since."""
        while True:
            happened, self._events = self._events, []
            yield from happened
            event = None if self.is_over else self._quic.next_event()
            if event is None:
                return
            self._on_quic(event)

    def _on_quic(self, event: quic_events.QuicEvent) -> None:
        if isinstance(event, quic_events.StreamDataReceived):
            if event.stream_id == self._stream:  # past HTTP/3, whose client would take it for frames of its own
                self._on_stream(event.data, event.end_stream)
            else:
                self._to_http(event, event.stream_id)
        elif isinstance(event, (quic_events.StreamReset, quic_events.StopSendingReceived)):
            if event.stream_id in (self._stream, self._session):
                self._end(f"it broke off, code {event.error_code:#x}")
            self._to_http(event, event.stream_id)
        elif isinstance(event, quic_events.ConnectionTerminated):
            self.give_up()
            self._events.append(Closed(event.reason_phrase or f"code {event.error_code:#x}"))
        elif isinstance(event, quic_events.ConnectionIdIssued):
            self._events.append(IdIssued(event.connection_id))
        elif isinstance(event, quic_events.ConnectionIdRetired):
            self._events.append(IdRetired(event.connection_id))
        elif isinstance(event, quic_events.HandshakeCompleted):
            self._h3 = self._h3 or H3(self._quic)
            self._events.append(Connected())

    def _to_http(self, event: quic_events.QuicEvent, stream_id: int) -> None:
        if self._h3 is None:  # data that came with the end of the handshake
            self._h3 = H3(self._quic)
        for happened in self._h3.handle_event(event):
            self._on_http(happened)
        if self._h3.collects_too_much(stream_id):
            self.close("too long a frame", ErrorCode.H3_EXCESSIVE_LOAD)

    def _on_http(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            self._on_headers(event.stream_id, event.headers, event.stream_ended)
        elif isinstance(event, WebTransportStreamDataReceived):
            self._on_new_stream(event)
        elif isinstance(event, DataReceived) and event.stream_id == self._session:
            for capsule in self._capsules.feed(event.data):
                if capsule.kind == CLOSE_SESSION:
                    code, reason = read_close(capsule.body)
                    self._end(f"it closed the session, code {code} {quote(reason)}")
            if event.stream_ended:
                self._end("it ended the session")

    def _on_headers(self, stream_id: int, headers: list[Header], ended: bool) -> None:
        if stream_id == self._session:
            if self._quic.configuration.is_client and not self._accepted:
                status = int(dict(headers).get(b":status", b"0"))  # aioquic has checked that it is a number
                if status >= 200:
                    self._accepted = status == 200
                    self._events.append(Answered(status))
            if ended:
                self._end("it ended the session")
            return
        fields = dict(headers)
        if fields.get(b":method") != b"CONNECT" or fields.get(b":protocol") not in _PROTOCOLS:
            self._respond(stream_id, 404)
        elif self._session is not None or ended:
            self._respond(stream_id, 429 if self._session is not None else 400)
        else:
            self._session = stream_id
            self._events.append(Requested(tuple(headers)))

    def _on_new_stream(self, event: WebTransportStreamDataReceived) -> None:
        two_way = event.stream_id % 4 == 0
        if event.session_id != self._session or self._session is None or self._stream is not None or not two_way:
            self._turn_away(event.stream_id, two_way)
            return
        self._stream = event.stream_id
        self._on_stream(event.data, event.stream_ended)

    def _turn_away(self, stream_id: int, two_way: bool) -> None:
        if self._quic.knows(stream_id):
            self._quic.stop_stream(stream_id, _STREAM_REJECTED)
            if two_way:
                self._quic.reset_stream(stream_id, _STREAM_REJECTED)

    def _on_stream(self, data: bytes, ended: bool) -> None:
        if data:
            if self._accepted:
                self._events.append(Received(data))
            else:
                self._early.append(data)
                self.hold_back(len(data))
        if ended:
            self._end("it ended the stream")

    def _end(self, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._events.append(Ended(reason))

    @property
    def peer_certificate_hash(self) -> bytes | None:
        """The SHA-256 of the server's certificate."""
        certificate = self._quic.peer_certificate
        return None if certificate is None else fingerprint(certificate)

    # -- what goes ----------------------------------------------------------------------------------------------

    def datagrams(self, now: float) -> list[tuple[bytes, Address]]:
        """What is to be sent now, and whereto."""
        quic = self._quic
        if self.is_over or not quic.ready_to_send:
            return []
        if self._wrote or self._to_acknowledge >= _MANY_UNACKNOWLEDGED:
            quic.acknowledge_by(now)
            self._wrote = False
            self._to_acknowledge = 0
        return quic.datagrams_to_send(now)

    @property
    def deadline(self) -> float | None:
        """When :meth:`handle_timer` is to be called, if nothing comes before."""
        return None if self.is_over else self._quic.get_timer()

    def connect(self, address: Address, now: float) -> None:
        """Begin, as a client."""
        if not self.is_over:
            self._quic.connect(address, now)

    def request(self, headers: list[Header]) -> None:
        """Ask for a session, as a client that is connected; the answer is an event."""
        self._h3 = self._h3 or H3(self._quic)
        self._session = self._quic.get_next_available_stream_id()
        self._h3.send_headers(self._session, headers)

    def open_stream(self) -> None:
        """Open the stream of a session that has been accepted."""
        assert self._h3 is not None and self._session is not None
        self._stream = self._h3.create_webtransport_stream(self._session)

    def accept(self, headers: tuple[Header, ...]) -> None:
        """Accept the session that was requested with ``headers``; what of its stream has come meanwhile is told."""
        if self._session is None or self._h3 is None or not self._quic.is_writable(self._session):
            return
        # Clients of the second draft want to know which one they have found.
        draft = [(b"sec-webtransport-http3-draft", b"draft02")] if _DRAFT_02 in dict(headers) else []
        self._h3.send_headers(self._session, [(b":status", b"200"), *draft])
        self._accepted = True
        early, self._early = b"".join(self._early), []
        if early:
            self.hold_back(-len(early))
            self._events.append(Received(early))

    def refuse(self, status: int) -> None:
        """Refuse the session that was requested, and all that belongs to it."""
        if self._session is not None:
            self._respond(self._session, status)
        self._early.clear()
        if self._stream is not None:
            self._quic.let_go(self._stream)
            self._turn_away(self._stream, two_way=True)

    def _respond(self, stream_id: int, status: int) -> None:
        assert self._h3 is not None
        if self._quic.is_writable(stream_id):
            self._h3.send_headers(stream_id, [(b":status", b"%d" % status)], end_stream=True)

    def send(self, data: bytes) -> bool:
        """Send bytes on the stream; whether it takes any."""
        if self._stream is None or not self._quic.is_writable(self._stream):
            return False
        self._quic.send_stream_data(self._stream, data)
        self._wrote = True
        return True

    @property
    def unsent(self) -> int:
        """Bytes of the stream that the peer has not acknowledged."""
        return 0 if self._stream is None else self._quic.unsent(self._stream)

    def hold_back(self, count: int) -> None:
        """``count`` more bytes that have been received (if negative: fewer) wait for their reader."""
        if self._stream is not None:
            self._quic.hold_back(self._stream, count)

    # -- the end ------------------------------------------------------------------------------------------------

    def end_stream(self) -> None:
        """Nothing more will be sent on the stream; what has been is delivered first."""
        if self._stream is not None and self._quic.is_writable(self._stream):
            self._quic.send_stream_data(self._stream, b"", end_stream=True)

    @property
    def is_delivered(self) -> bool:
        """Whether the peer has all of a stream that has been ended."""
        return self._stream is None or self._quic.is_delivered(self._stream)

    def end_session(self, code: int = 0, reason: str = "") -> None:
        """End the session; what the peer has not got of the stream is lost."""
        self._ended = True
        if self._stream is not None:
            self._quic.let_go(self._stream)
        if self._session is None or self._h3 is None:
            return
        if self._stream is not None and not self.is_delivered:
            self._quic.reset_stream(self._stream, _SESSION_GONE)
        if self._quic.is_writable(self._session):
            self._h3.send_data(self._session, encode_close(code, reason), end_stream=True)

    def close(self, reason: str = "", code: int = ErrorCode.H3_NO_ERROR) -> None:
        """End the connection at once."""
        if not self.is_over:
            self._quic.close(error_code=code, reason_phrase=reason)

    def give_up(self) -> None:
        """There is no connection any more, without a word to the peer."""
        self.is_over = True
        self._session = self._stream = self._h3 = None
        self._quic.forget()
