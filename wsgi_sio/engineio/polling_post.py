"""What POSTs bring to a polling session: read, decoded and delivered in bounded steps, held back while it is paused.

A POST is answered when all its packets have been delivered, as in the reference.  Those that a paused session does not
take stay where they are, not even decoded; whoever lets the session read again delivers them.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Protocol

from ..runtime import Reactor, threads_are_greenlets
from .errors import BodyError
from .log_messages import thread_held
from .packet import CLOSE, Packet, PacketError
from .pending_requests import PollingSession, make_waiting
from .request import EngineRequest, Waiting
from .request_body import BodyWatch, Reading, read_body, refusal
from .response import NO_STORE, Headers, Hijacked, Response
from .session import Session
from .transport import Transport

logger = logging.getLogger("wsgi_sio.engineio")

# How many packets are delivered before others get a turn, where all share one thread.
_STEP = 256
# How long a POST may hold its thread, however many others wait: its client is thrown out after the second (seconds).
LEAST = 2.0


class PostReceiver(PollingSession, Transport, Protocol):
    """Whose POSTs they are: a :class:`PollingTransport`."""

    def decode(self, request: EngineRequest, body: bytes) -> Iterator[Packet]: ...

    def deliver(self, packet: Packet) -> None: ...

    def client_leaves(self) -> None: ...


class _Post:
    """One, from its body to its answer.

    :ivar packets: those that have not been looked at yet.
    :ivar head: the next one, if it has been.
    :ivar response: what answers it, once that is known.
    :ivar waiting: how its client waits for it, if it does.
    """

    __slots__ = ("head", "packets", "response", "waiting")

    def __init__(self, packets: Iterator[Packet]) -> None:
        self.packets = packets
        self.head: Packet | None = None
        self.response: Response | None = None
        self.waiting: Waiting | None = None


class Posts:
    """The POSTs of one transport: one of them at a time; guarded by the session's lock.

    It is told of its transport anew each time, lest the two were garbage that only the collector of cycles would find.
    """

    __slots__ = ("_bodies", "_busy", "_delivering", "_queue", "_reactor", "_reading")

    def __init__(self, reactor: Reactor, bodies: BodyWatch) -> None:
        self._reactor = reactor
        self._bodies = bodies
        self._busy = False  # from a POST's arrival to its answer
        self._reading: Reading | None = None
        self._queue: deque[_Post] = deque()  # two, when the first had to be answered before it was delivered
        self._delivering = False

    def take(self, transport: PostReceiver, request: EngineRequest, limit: int, cors: Headers) -> Response | Hijacked:
        """Take the packets of a body of at most ``limit`` bytes.

        :param cors: headers for an answer that does not go through the WSGI server.
        """
        session = transport.session
        with session.lock:
            overlap, over = self._busy, not session.open
            self._busy = True
        if overlap:
            session.close("transport error", abort=True)
        if overlap or over:
            return _refusal()
        try:
            post = _Post(transport.decode(request, self._read(session, request, limit)))
        except BodyError as error:
            self._busy = False
            if error.reason is not None:
                session.close(error.reason, abort=True)
            return refusal(error, request, session)
        with session.lock:
            self._queue.append(post)
        self.look(transport)
        return post.response or self._wait(transport, post, request, cors)

    def _read(self, session: Session, request: EngineRequest, limit: int) -> bytes:
        if request.carrier is not None:  # it has been read
            return read_body(request.environ, limit)
        with self._bodies.watch(request.environ) as reading:
            self._reading = reading
            try:
                if not session.open:  # since before it could be told
                    raise BodyError(400)
                return read_body(request.environ, limit)
            finally:
                self._reading = None

    # -- delivering ---------------------------------------------------------------------------------------------

    def look(self, transport: PostReceiver) -> None:
        """Deliver what has come, unless somebody is at it, until the session pauses; refuse it if that is not ours any
        more, or has ended.
        """
        session, reading = transport.session, self._reading
        if reading is not None and not session.open:
            reading.stop()
        with session.lock:
            if self._delivering or not self._queue or _is_held_back(transport):
                return
            self._delivering = True
        while True:
            with session.lock:
                post = self._queue[0] if self._queue else None
                if post is None or _is_held_back(transport):
                    self._delivering = False
                    return
            response = _deliver_step(transport, post)
            if response is not None:
                self._finish(transport, post, response)
            elif self._reactor.may_wait():
                time.sleep(0)

    def _finish(self, transport: PostReceiver, post: _Post, response: Response) -> None:
        waiting = None
        with transport.session.lock:
            self._queue.remove(post)
            if post.response is None:
                self._busy = False  # before the answer is out, since the client's next POST may be as quick
                post.response, waiting, post.waiting = response, post.waiting, None
        if waiting is not None:
            waiting.answer(response)

    # -- waiting ------------------------------------------------------------------------------------------------

    def _wait(self, transport: PostReceiver, post: _Post, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        release = partial(self._release, transport, post)
        waiting = make_waiting(transport, request, cors, self._reactor, release, LEAST)
        with transport.session.lock:  # it may have been delivered meanwhile
            post.waiting, response = waiting, post.response
        if response is not None:
            waiting.answer(response)
        return waiting.result()

    def waiting(self) -> list[Waiting]:
        """The POSTs that wait at present."""
        return [post.waiting for post in self._queue if post.waiting is not None]

    def _release(self, transport: PostReceiver, post: _Post) -> None:
        """One that holds a thread has done so for long enough: its answer comes before its end, but only once."""
        session = transport.session
        with session.lock:
            if post.response is not None:
                return
            waiting = post.waiting if post is self._queue[0] else None
            if waiting is not None:
                self._busy = False
                post.response = _ok()
        if waiting is not None:
            waiting.answer(_ok())
        elif not threads_are_greenlets():
            session.report(*thread_held())
            session.close("transport error", abort=True)


def _is_held_back(transport: PostReceiver) -> bool:
    session = transport.session
    return session.paused and session.open and session.transport is transport


def _deliver_step(transport: PostReceiver, post: _Post) -> Response | None:
    """Deliver some packets; the answer when there are no more, or None."""
    session = transport.session
    try:
        for _ in range(_STEP):
            packet = post.head = post.head or next(post.packets, None)
            if packet is None:
                break
            if not session.open or session.transport is not transport:
                return _refusal()  # somebody has ended it, and the rest is lost
            if session.paused:
                return None
            post.head = None
            if packet.type == CLOSE:
                transport.client_leaves()
            else:
                transport.deliver(packet)
            if not session.open:
                break  # as in the reference, which does not look at what follows
        else:
            return None
    except PacketError as error:
        session.parse_error(str(error))
    except Exception:
        logger.exception("a callback of a session failed")
        return None  # it has had its packet, and there are others
    return _ok()


def _ok() -> Response:
    return Response(200, [("Content-Type", "text/html"), NO_STORE], b"ok")


def _refusal() -> Response:
    return Response(400, [NO_STORE])
