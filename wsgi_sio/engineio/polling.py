"""The long-polling transport: a GET waits for packets, a POST brings some; one of each at a time.

``idle`` means that a GET waits and nothing has been given to it yet: then ``write`` hands it its answer.
"""

from __future__ import annotations

import gzip
import zlib

from ..runtime import Reactor
from .packet import CLOSE, NOOP, Packet, PacketError, decode_payload, encode_payload, to_utf8
from .parked import Hijacked, WaitingGet, make_waiting
from .request import BodyError, EngineRequest, Headers, Response
from .session import Session
from .takeover import end_connection

CLOSE_PACKET = Packet(CLOSE)
NOOP_PACKET = Packet(NOOP)

# How long a session waits for the GET that fetches its end, when this side has closed it, and when the client has
# and may still have one on its way (seconds).
_LINGER = 30.0
_LINGER_LEFT = 2.0

_NO_STORE = ("Cache-Control", "no-store")
PLAIN_TEXT = "text/plain; charset=UTF-8"
BINARY = "application/octet-stream"


class PollingTransport:
    """See the module's text.

    :param hold: how long a GET may wait, in seconds; heartbeats end it earlier as a rule.
    :param threshold: bytes from which an answer is compressed; None for never.
    """

    __slots__ = (
        "_client_left",
        "_ended",
        "_getting",
        "_posting",
        "_reactor",
        "_threshold",
        "_waiting",
        "hold",
        "idle",
        "session",
    )

    name = "polling"
    unread = False  # what has not come to us yet is the WSGI server's

    def __init__(self, session: Session, reactor: Reactor, hold: float, threshold: int | None) -> None:
        self.session = session
        self.idle = False
        self.hold = hold
        self._reactor = reactor
        self._threshold = threshold
        self._waiting: WaitingGet | None = None
        self._getting = False
        self._posting = False
        self._client_left = False
        self._ended = False

    @property
    def linger(self) -> float:
        return _LINGER_LEFT if self._client_left else _LINGER

    # -- GET ----------------------------------------------------------------------------------------------------

    def get(self, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        """Answer with what is queued, or with the first packets to come.

        :param cors: headers for an answer that does not go through the WSGI server.
        """
        session = self.session
        batch = None
        with session.lock:
            overlap = self._getting
            left = session.transport is not self
            if not overlap and not left:
                batch = session.take_locked()
                self._getting = batch is None
        if overlap:
            session.close("transport error", abort=True)
        if overlap or left:
            return Response(400, [_NO_STORE])
        if batch is not None:
            return self._respond(request, self._last_words(batch))
        return self._wait(make_waiting(self, request, cors, self._reactor))

    def _wait(self, waiting: WaitingGet) -> Response | Hijacked:
        session = self.session
        with session.lock:  # once more, since making it took its time
            left = session.transport is not self
            batch = None if left else session.take_locked()
            self._waiting = waiting
            self.idle = batch is None and not left
        if left:
            self.leave()
        elif batch is not None:
            self.write(self._last_words(batch))
        return waiting.result()

    def _last_words(self, queued: list[Packet]) -> list[Packet]:
        """The answer to a GET that need not wait: what is queued or, the session being over, the end.

        Never both: the JavaScript client would notice the end before it has handled the packets.
        """
        if queued:
            return queued
        self._ended = True
        return [NOOP_PACKET] if self._client_left else [NOOP_PACKET, CLOSE_PACKET]

    def _respond(self, request: EngineRequest, packets: list[Packet]) -> Response:
        if self._ended:
            self.session.closed(self)
        return self.payload_response(request, packets)

    def write(self, packets: list[Packet]) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._getting = False  # before the answer is out, since the client's next GET may be as quick
            waiting.answer(self._respond(waiting.request, packets))

    def release_get(self) -> None:
        """The GET has waited long enough; if nobody else is answering it right now, it gets a noop."""
        with self.session.lock:
            claimed, self.idle = self.idle, False
        if claimed:
            self.write([NOOP_PACKET])

    # -- POST ---------------------------------------------------------------------------------------------------

    def post(self, request: EngineRequest, limit: int) -> Response:
        """Take the packets of a body: all are decoded before the first is delivered."""
        session = self.session
        with session.lock:
            overlap, self._posting = self._posting, True
        if overlap:
            session.close("transport error", abort=True)
            return Response(400, [_NO_STORE])
        try:
            return self._post(request, limit)
        finally:
            self._posting = False

    def _post(self, request: EngineRequest, limit: int) -> Response:
        session = self.session
        try:
            packets, failure = self._decode(request, request.read_body(limit))
        except BodyError as error:
            if error.reason is not None:
                session.close(error.reason, abort=True)
            if error.status == 413:
                session.report_too_large("it is refused")
            return Response(error.status, [_NO_STORE, *end_connection(request.environ)])
        session.wait_readable()
        for packet in packets:
            if session.transport is not self:
                break
            if packet.type == CLOSE:
                self._client_left = True
                session.close("transport close")
            else:
                self._deliver(packet)
        if failure is not None:
            session.close("parse error", abort=True)
        return Response(200, [("Content-Type", "text/html"), _NO_STORE], b"ok")

    # -- payloads (protocol 3 has others: v3.py) ----------------------------------------------------------------

    def payload_response(self, request: EngineRequest, packets: list[Packet]) -> Response:
        """The answer that carries ``packets``, compressed when it is worth it and the client can read that."""
        body, content_type = self._encode(request, packets)
        headers: Headers = [("Content-Type", content_type), _NO_STORE]
        threshold = self._threshold
        if threshold is not None and len(body) >= threshold and any(packet.compress for packet in packets):
            accepted = request.environ.get("HTTP_ACCEPT_ENCODING", "")
            if "gzip" in accepted:
                body = gzip.compress(body, compresslevel=1, mtime=0)
                headers.append(("Content-Encoding", "gzip"))
            elif "deflate" in accepted:
                body = zlib.compress(body, 1)
                headers.append(("Content-Encoding", "deflate"))
        return Response(200, headers, body)

    def _encode(self, request: EngineRequest, packets: list[Packet]) -> tuple[bytes, str]:
        """The body of an answer, and its content type."""
        return to_utf8(encode_payload(packets)), PLAIN_TEXT

    def _decode(self, request: EngineRequest, body: bytes) -> tuple[list[Packet], PacketError | None]:
        """The packets of a POST before the first bad one, and what is wrong with that.

        :raises BodyError: the body is of a kind that the protocol does not have.
        """
        if is_binary(request):
            raise BodyError(400, "transport error")
        try:
            return decode_payload(body.decode())
        except UnicodeDecodeError:
            return [], PacketError("the payload is not UTF-8")

    def _deliver(self, packet: Packet) -> None:
        self.session.receive(packet.data if type(packet.data) is bytes else packet.text())

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, code: int | None = None) -> None:
        self._ended = True
        self.write([NOOP_PACKET if self._client_left else CLOSE_PACKET])

    def leave(self) -> None:
        """The session goes on without this transport; a GET that waits all the same is refused."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._getting = False
            waiting.answer(Response(400, [_NO_STORE]))

    def abort(self, code: int | None = None) -> None:
        self.session.closed(self)

    def pause(self) -> None:
        """A paused session holds its POSTs back; see :meth:`Session.wait_readable`."""

    def resume(self) -> None:
        """See :meth:`pause`."""


def is_binary(request: EngineRequest) -> bool:
    """Whether a POST's body is a binary payload, which only protocol 3 has."""
    return request.environ.get("CONTENT_TYPE") == BINARY
