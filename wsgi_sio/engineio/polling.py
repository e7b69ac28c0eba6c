"""The long-polling transport: a GET waits for packets, a POST brings some; one of each at a time.

``idle`` means that a GET waits and nothing has been given to it yet: then ``write`` hands it its answer.
"""

from __future__ import annotations

import gzip
import zlib

from ..runtime import Event, Reactor
from .packet import CLOSE, NOOP, Packet, PacketError, decode_payload, encode_payload, to_utf8
from .request import BodyError, EngineRequest, Headers, Response
from .session import Session
from .takeover import end_connection, peer_left, serves_many

# How long a server that handles one request at a time can be kept waiting (seconds).
_SHORT_HOLD = 0.2

CLOSE_PACKET = Packet(CLOSE)
NOOP_PACKET = Packet(NOOP)

# How long a session waits for the GET that fetches its end, when this side has closed it, and when the client has
# and may still have one on its way (seconds).
_LINGER = 30.0
_LINGER_LEFT = 2.0

_NO_STORE = ("Cache-Control", "no-store")


class PollingTransport:
    """See the module's text.

    :param hold: how long a GET may wait, in seconds; heartbeats end it earlier as a rule.
    :param threshold: bytes from which an answer is compressed; None for never.
    """

    __slots__ = (
        "_answer",
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

    def __init__(self, session: Session, reactor: Reactor, hold: float, threshold: int | None) -> None:
        self.session = session
        self.idle = False
        self.hold = hold
        self._reactor = reactor
        self._threshold = threshold
        self._waiting: Event | None = None
        self._answer: list[Packet] = []
        self._getting = False
        self._posting = False
        self._client_left = False
        self._ended = False

    @property
    def linger(self) -> float:
        return _LINGER_LEFT if self._client_left else _LINGER

    # -- GET ----------------------------------------------------------------------------------------------------

    def get(self, request: EngineRequest) -> Response:
        """Answer with what is queued, or with the first packets to come."""
        session = self.session
        batch = None
        with session.lock:
            overlap = self._getting
            left = session.transport is not self
            if not overlap and not left:
                self._getting = True
                batch = session.take_locked()
                if batch is None:
                    self._waiting = self._reactor.event()
                    self.idle = True
        if overlap:
            session.close("transport error", abort=True)
        if overlap or left:
            return Response(400, [_NO_STORE])
        batch = self._wait(request) if batch is None else self._last_words(batch)
        self._getting = False
        if session.transport is not self:
            return Response(400, [_NO_STORE])
        if self._ended:
            session.closed(self)
        return payload_response(request, batch, self._threshold)

    def _last_words(self, queued: list[Packet]) -> list[Packet]:
        """The answer to a GET that need not wait: what is queued or, the session being over, the end.

        Never both: the JavaScript client would notice the end before it has handled the packets.
        """
        if queued:
            return queued
        self._ended = True
        return [NOOP_PACKET] if self._client_left else [NOOP_PACKET, CLOSE_PACKET]

    def _wait(self, request: EngineRequest) -> list[Packet]:
        waiting = self._waiting
        assert waiting is not None
        if not waiting.wait(self.hold if serves_many(request.environ) else min(self.hold, _SHORT_HOLD)):
            with self.session.lock:
                timed_out, self.idle = self.idle, False
            if timed_out:
                return [NOOP_PACKET]
            waiting.wait()  # somebody took the baton in this very moment: the answer is on its way
        answer, self._answer = self._answer, []
        if peer_left(request.environ):
            self.session.close("transport error", abort=True)
        return answer

    def write(self, packets: list[Packet]) -> None:
        self._answer = packets
        assert self._waiting is not None
        self._waiting.set()

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
        if request.environ.get("CONTENT_TYPE") == "application/octet-stream":  # protocol 3's binary payloads
            session.close("transport error", abort=True)
            return Response(400, [_NO_STORE])
        try:
            body = request.read_body(limit)
        except BodyError as error:
            if error.reason is not None:
                session.close(error.reason, abort=True)
            return Response(error.status, [_NO_STORE, *end_connection(request.environ)])
        session.wait_readable()
        try:
            packets, failure = decode_payload(body.decode())
        except UnicodeDecodeError:
            packets, failure = [], PacketError("the payload is not UTF-8")
        for packet in packets:
            if session.transport is not self:
                break
            if packet.type == CLOSE:
                self._client_left = True
                session.close("transport close")
            else:
                session.receive(packet.data if type(packet.data) is bytes else packet.text())
        if failure is not None:
            session.close("parse error", abort=True)
        return Response(200, [("Content-Type", "text/html"), _NO_STORE], b"ok")

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, code: int | None = None) -> None:
        self._ended = True
        self.write([NOOP_PACKET if self._client_left else CLOSE_PACKET])

    def leave(self) -> None:
        """The session goes on without this transport; a GET that waits all the same is refused."""
        if self._waiting is not None:
            self._waiting.set()

    def abort(self, code: int | None = None) -> None:
        self.session.closed(self)

    def pause(self) -> None:
        """A paused session holds its POSTs back; see :meth:`Session.wait_readable`."""

    def resume(self) -> None:
        """See :meth:`pause`."""


def payload_response(request: EngineRequest, packets: list[Packet], threshold: int | None) -> Response:
    """The answer that carries ``packets``, compressed when it is worth it and the client can read that.

    :param threshold: bytes from which it is; None for never.
    """
    body = to_utf8(encode_payload(packets))
    headers: Headers = [("Content-Type", "text/plain; charset=UTF-8"), _NO_STORE]
    if threshold is not None and len(body) >= threshold and any(packet.compress for packet in packets):
        accepted = request.environ.get("HTTP_ACCEPT_ENCODING", "")
        if "gzip" in accepted:
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        elif "deflate" in accepted:
            body = zlib.compress(body, 1)
            headers.append(("Content-Encoding", "deflate"))
    return Response(200, headers, body)
