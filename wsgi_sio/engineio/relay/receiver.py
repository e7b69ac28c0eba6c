"""The side that owns sessions: what this process does with their requests that siblings have received and forwarded.

They come on a link's reader, which must not block: what takes long is a job of its own.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from functools import partial

from ...runtime import Reactor
from ...siblings import Link, Siblings, close_all
from ...sockets import own_descriptor
from ..errors import EngineError
from ..hijacked_connection import Connections, HijackedConnection
from ..interfaces import Engine
from ..log_messages import junk_from_sibling
from ..pending_requests import HijackedRequest
from ..request import EngineRequest, Waiting, parse_query
from ..response import Headers, Hijacked, Response
from ..websocket import WebSocketTransport
from .wire_format import (
    ABORT,
    ANSWER,
    NEW,
    RELEASE,
    REQUEST,
    TAKEN,
    UPGRADE,
    Handshake,
    Junk,
    pack_response,
    unpack_abort,
    unpack_handover,
    unpack_handshake,
    unpack_request,
)

logger = logging.getLogger("wsgi_sio.engineio")

# How long a client may take to read an answer that did not wait (seconds).
_PATIENCE = 20.0
# From so many bytes on a body is decoded beside the link's reader.
_LARGE = 16_384


class RelayedWebTransport(WebSocketTransport):
    """A WebSocket to us; the client has come by WebTransport, to a sibling."""

    __slots__ = ()

    name = "webtransport"


class Receiver:
    """See the module's text."""

    def __init__(self, engine: Engine, siblings: Siblings) -> None:
        self._engine = engine
        self._reactor = engine.reactor
        self._asked: dict[tuple[Link, int], Asked] = {}
        siblings.handle(REQUEST, self._guard(self._on_request))
        siblings.handle(UPGRADE, self._guard(self._on_upgrade))
        siblings.handle(NEW, self._guard(self._on_new))
        siblings.handle(RELEASE, self._guard(self._on_release))
        siblings.handle(ABORT, self._guard(self._on_abort))

    def _guard(
        self, handler: Callable[[Link, int, bytes, Came], None]
    ) -> Callable[[Link, int, bytes, int | None], None]:
        """Close what connection a frame brings and nobody takes; tell of what is junk."""

        def guarded(link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
            came = Came(descriptor)
            try:
                handler(link, number, payload, came)
            except Junk as junk:
                self._engine.report(*junk_from_sibling(link.tag, junk))
            finally:
                came.close()

        return guarded

    # -- GET and POST -------------------------------------------------------------------------------------------

    def _on_request(self, link: Link, number: int, payload: bytes, came: Came) -> None:
        request, cors, body, persistent = unpack_request(payload)
        carrier: Asked | Connection
        if number:
            carrier = Asked(link, number, self._asked)
        else:
            carrier = Connection(came.pass_on(), self._reactor, self._connections(persistent))
        request.carrier = carrier
        request.environ["wsgi.input"] = io.BytesIO(body)
        request.environ["CONTENT_LENGTH"] = str(len(body))
        if len(body) < _LARGE:
            self._answer(request, cors, carrier)
        else:
            self._reactor.submit(partial(self._answer, request, cors, carrier))

    def _answer(self, request: EngineRequest, cors: Headers, carrier: Connection | Asked) -> None:
        try:
            answer = self._engine.answer_member(request, cors)
        except EngineError as error:
            answer = self._engine.refuse(error, request.sid, upgrade=False)
        except Exception:  # as a WSGI server would have it
            logger.exception("a request that a sibling has received failed")
            answer = Response(500)
        if isinstance(answer, Response):
            carrier.respond(answer, cors, partial(self._engine.abort, request.sid or "", "transport error"))

    def _on_release(self, link: Link, number: int, payload: bytes, came: Came) -> None:
        asked = self._asked.get((link, number))
        if asked is not None:
            asked.release()

    def _on_abort(self, link: Link, number: int, payload: bytes, came: Came) -> None:
        self._engine.abort(*unpack_abort(payload))

    # -- WebSocket, and new sessions ----------------------------------------------------------------------------

    def _on_upgrade(self, link: Link, number: int, payload: bytes, came: Came) -> None:
        request, (head, accept, early) = unpack_handover(payload)
        came.check()
        try:
            session = self._engine.find_member(request)
        except EngineError as error:
            answer = self._engine.refuse(error, request.sid, upgrade=True)
            Connection(came, self._reactor, None).respond(answer, [], _nothing)
        else:
            kind = RelayedWebTransport if head.get("wsgi_sio.by") == "webtransport" else WebSocketTransport
            candidate = self._engine.make_websocket(session, own_descriptor(came.take()), kind)
            if accept:
                candidate.send_accept(accept)
            self._engine.begin_upgrade(session, candidate, early)

    def _on_new(self, link: Link, number: int, payload: bytes, came: Came) -> None:
        handshake = unpack_handshake(payload)
        came.check()
        link.send(TAKEN, number, b"")
        self.open(handshake, came)

    def open(self, handshake: Handshake, came: Came) -> None:
        """Open a session on a connection that has left its WSGI server."""
        environ = handshake.environ
        websocket = bool(handshake.accept)
        query = parse_query(environ.get("QUERY_STRING", ""))
        connection = Connection(came, self._reactor, self._connections(handshake.persistent))
        request = EngineRequest(environ, "GET", query, websocket, None if websocket else connection)
        try:
            answer = self._engine.handshakes.open_placed(request, came.take, handshake.accept, handshake.early)
        except Exception:  # likewise
            logger.exception("a handshake that a sibling has received failed")
            answer = Response(500)
        if isinstance(answer, Response):
            connection.respond(answer, handshake.cors, _nothing)

    def _connections(self, persistent: bool) -> Connections | None:
        """Where a connection goes on when its request has been answered."""
        return self._engine.find_connections() if persistent else None


class Came:
    """The connection that has come with a frame, if one has: it is closed unless somebody takes it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def here(self) -> bool:
        """Whether it has come, and nobody has taken it."""
        return self._descriptor is not None

    def check(self) -> None:
        """See that it has come.

        :raises Junk: it has not.
        """
        if self._descriptor is None:
            raise Junk("a connection is missing")

    def take(self) -> int:
        """Have it.

        :raises Junk: there is none.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            raise Junk("a connection is missing")
        return descriptor

    def pass_on(self) -> Came:
        """The same for somebody who takes it later, or not at all.

        :raises Junk: there is none.
        """
        return Came(self.take())

    def close(self) -> None:
        """Close what nobody has taken."""
        if self._descriptor is not None:
            close_all((self.take(),))


class Connection:
    """How a request has come with its connection, on which it is answered.

    :param connections: among which that goes on then; None where it ends.
    """

    __slots__ = ("_came", "_connections", "_reactor")

    def __init__(self, came: Came, reactor: Reactor, connections: Connections | None) -> None:
        self._came = came
        self._reactor = reactor
        self._connections = connections

    def wait(
        self,
        request: EngineRequest,
        cors: Headers,
        patience: float,
        release: Callable[[], None],
        lost: Callable[[], object],
    ) -> Waiting:
        sock = own_descriptor(self._came.take())
        return HijackedRequest(request, sock, self._reactor, cors, patience, lost, self._connections)

    def respond(self, response: Response, cors: Headers, lost: Callable[[], object]) -> None:
        """Answer at once, if the connection is still to be had: who has taken it and failed has closed it."""
        if self._came.here:
            sock = own_descriptor(self._came.take())
            HijackedConnection(sock, self._reactor, cors, _PATIENCE, lost, self._connections).answer(response)


class Asked:
    """How a request has come whose connection is the sibling's, which waits for the answer."""

    __slots__ = ("_asked", "_link", "_lost", "_number", "_release", "request")

    unsent = 0

    def __init__(self, link: Link, number: int, asked: dict[tuple[Link, int], Asked]) -> None:
        self.request: EngineRequest
        self._link = link
        self._number = number
        self._asked = asked  # those that wait
        self._release: Callable[[], None] = _nothing
        self._lost: Callable[[], object] = _nothing

    def wait(
        self,
        request: EngineRequest,
        cors: Headers,
        patience: float,
        release: Callable[[], None],
        lost: Callable[[], object],
    ) -> Waiting:
        self.request, self._release, self._lost = request, release, lost
        self._asked[self._link, self._number] = self
        self._link.on_end(self._gone)
        return self

    def release(self) -> None:
        """It has waited for long enough."""
        self._release()

    def answer(self, response: Response) -> None:
        self._link.forget(self._gone)
        self._asked.pop((self._link, self._number), None)
        self.respond(response, [], self._lost)

    def result(self) -> Hijacked:
        return Hijacked(None)

    def respond(self, response: Response, cors: Headers, lost: Callable[[], object]) -> None:
        """Answer at once; the sibling adds the headers of CORS."""
        if not self._link.send(ANSWER, self._number, pack_response(response)):
            lost()

    def _gone(self) -> None:
        """The sibling that has the connection has died, hence the connection too."""
        self._asked.pop((self._link, self._number), None)
        self._lost()


def _nothing() -> None:
    """There is no session that could be told."""
