"""The long-polling transport: a GET waits for packets, a POST (polling_post.py) brings some; one of each at a time.

``idle`` means that a GET waits and nothing has been given to it yet: then ``write`` hands it its answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..http_compression import encode, negotiate
from ..runtime import Reactor
from .errors import BodyError
from .packet import CLOSE, NOOP, Packet, PacketError, encode_payload, packets_of, to_utf8
from .pending_requests import ThreadWait, make_waiting
from .polling_post import Posts
from .request import EngineRequest, Waiting
from .request_body import BodyWatch
from .response import NO_STORE, Headers, Hijacked, Response
from .session import Session
from .wsgi_capacity import Capacity

CLOSE_PACKET = Packet(CLOSE)
NOOP_PACKET = Packet(NOOP)

# How long a session waits for the GET that fetches its end, when this side has closed it, and when the client has
# and may still have one on its way (seconds).
_LINGER = 30.0
_LINGER_LEFT = 2.0

PLAIN_TEXT = "text/plain; charset=UTF-8"
BINARY = "application/octet-stream"


class PollingTransport:
    """See the module's text.

    :param hold: how long a request may wait in its thread, in seconds; heartbeats end a GET's earlier as a rule.
    :param threshold: bytes from which an answer is compressed; None for never.
    :param capacity: what bounds the waiting in the threads of the WSGI server.
    """

    __slots__ = (
        "_answered",
        "_client_left",
        "_ended",
        "_getting",
        "_posts",
        "_reactor",
        "_threshold",
        "_waiting",
        "capacity",
        "hold",
        "idle",
        "session",
    )

    name = "polling"
    gathers = False  # a GET is better answered at once
    unread = False  # what has not come to us yet is the WSGI server's

    def __init__(
        self,
        session: Session,
        reactor: Reactor,
        bodies: BodyWatch,
        capacity: Capacity,
        hold: float,
        threshold: int | None,
    ) -> None:
        self.session = session
        self.idle = False
        self.hold = hold
        self.capacity = capacity
        self._reactor = reactor
        self._threshold = threshold
        self._posts = Posts(reactor, bodies)
        self._waiting: Waiting | None = None
        self._answered: Waiting | None = None  # the GET whose answer is on its way
        self._getting = False
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
            left = self._has_left()
            if not overlap and not left:
                batch = session.take_locked()
                self._getting = batch is None
        if overlap:
            session.close("transport error", abort=True)
        if overlap or left:
            return Response(400, [NO_STORE])
        if batch is not None:
            session.let_in()
            return self._respond(request, self._last_words(batch))
        return self._wait(make_waiting(self, request, cors, self._reactor, self._release_get))

    def _wait(self, waiting: Waiting) -> Response | Hijacked:
        session = self.session
        with session.lock:  # once more, since making it took its time
            left = self._has_left()
            batch = None if left else session.take_locked()
            self._waiting = waiting
            self.idle = batch is None and not left
        if left:
            self.leave()
        elif batch is not None:
            self.write(self._last_words(batch))
        session.let_in()
        return waiting.result()

    def _has_left(self) -> bool:
        """Whether the session goes on without this transport."""
        return self.session.transport is not self and not self._ended

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
            self._answered = waiting if waiting.unsent else None

    @property
    def unsent(self) -> int:
        return 0 if self._answered is None else self._answered.unsent

    def _release_get(self) -> None:
        """The GET has waited long enough; if nobody else is answering it right now, it gets a noop."""
        with self.session.lock:
            claimed, self.idle = self.idle, False
        if claimed:
            self.write([NOOP_PACKET])

    def after_fork(self) -> None:
        """In a forked child: requests that wait are the parent's to answer, be there greenlets that would do it."""
        for waiting in (self._waiting, *self._posts.waiting()):
            if isinstance(waiting, ThreadWait):
                waiting.after_fork()

    # -- POST (polling_post.py) ---------------------------------------------------------------------------------

    def post(self, request: EngineRequest, limit: int, cors: Headers) -> Response | Hijacked:
        """Take the packets of a body of at most ``limit`` bytes; see :class:`Posts`."""
        return self._posts.take(self, request, limit, cors)

    def client_leaves(self) -> None:
        """The client has said goodbye."""
        self._client_left = True
        self.session.close("transport close")

    # -- payloads (protocol 3 has others: protocol_v3.py) -------------------------------------------------------

    def payload_response(self, request: EngineRequest, packets: list[Packet]) -> Response:
        """The answer that carries ``packets``, compressed when it is worth it and the client can read that."""
        body, content_type = self._encode(request, packets)
        headers: Headers = [("Content-Type", content_type), NO_STORE]
        threshold = self._threshold
        if threshold is not None and len(body) >= threshold and any(packet.compress for packet in packets):
            coding = negotiate(request.environ.get("HTTP_ACCEPT_ENCODING", ""))
            if coding != "identity":
                body = encode(body, coding, level=1)
                headers.append(("Content-Encoding", coding))
        return Response(200, headers, body)

    def _encode(self, request: EngineRequest, packets: list[Packet]) -> tuple[bytes, str]:
        """The body of an answer, and its content type."""
        return to_utf8(encode_payload(packets)), PLAIN_TEXT

    def decode(self, request: EngineRequest, body: bytes) -> Iterator[Packet]:
        """The packets of a POST, one by one; the iterator raises PacketError for what is none.

        :raises BodyError: the body is of a kind that the protocol does not have.
        """
        if is_binary(request):
            raise BodyError(400, "transport error")
        return _packets_in(body)

    def deliver(self, packet: Packet) -> None:
        """Give the session a packet from a POST."""
        self.session.receive(packet.data if type(packet.data) is bytes else packet.text())

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, code: int | None = None) -> None:
        self._ended = True
        self.write([NOOP_PACKET if self._client_left else CLOSE_PACKET])

    def leave(self) -> None:
        """The session goes on without this transport; requests that wait all the same are refused."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._getting = False
            waiting.answer(Response(400, [NO_STORE]))
        self._posts.look(self)

    def abort(self, code: int | None = None) -> None:
        self._ended = True
        self.session.closed(self)

    def pause(self) -> None:
        """A paused session's POSTs wait by themselves."""

    def resume(self) -> None:
        """See :meth:`read_on`."""

    def read_on(self) -> None:
        self._posts.look(self)


def _packets_in(body: bytes) -> Iterator[Packet]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise PacketError("the payload is not UTF-8") from None
    yield from packets_of(text)


def is_binary(request: EngineRequest) -> bool:
    """Whether a POST's body is a binary payload, which only protocol 3 has."""
    return request.environ.get("CONTENT_TYPE") == BINARY
