"""The side that forwards: what this process does with the requests of sessions that live in a sibling.

It keeps nothing of a session.  What it has passed on it never sends again: should the owner die, the client finds its
connection broken, and what it does then is what it does when any server dies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

from ...runtime import Event, threads_are_greenlets
from ...siblings import Link, Siblings, close_all
from ...sockets import own_descriptor
from ..config import Environ
from ..errors import BAD_REQUEST, BodyError, EngineError, unknown_session
from ..hijack import give, holds_thread, plain_socket
from ..hijacked_connection import HijackedConnection
from ..interfaces import Engine
from ..log_messages import junk_from_sibling, no_descriptors
from ..pending_requests import ThreadWait
from ..polling_post import LEAST
from ..request import EngineRequest
from ..request_body import read_body, refusal
from ..response import Headers, Hijacked, Response
from ..verify import verify_upgrade
from .tls_proxy import pump
from .wire_format import (
    ABORT,
    ANSWER,
    RELEASE,
    REQUEST,
    UPGRADE,
    Handover,
    Junk,
    pack_abort,
    pack_handover,
    pack_request,
    unpack_response,
)

# How long the answer to a POST is waited for, and after a GET has been told to return (seconds).
_POST_PATIENCE = 20.0
_GRACE = 2.0
# The numbers of requests go round.
_NUMBERS = 0xFFFFFFFF


class Forwarder:
    """See the module's text."""

    def __init__(self, engine: Engine, siblings: Siblings) -> None:
        self._engine = engine
        self._siblings = siblings
        self._bodies = engine.bodies
        self._capacity = engine.capacity
        self._acceptance = engine.acceptance
        self._reactor = engine.reactor
        self._numbers = count(1)
        self._asked: dict[int, ThreadWait] = {}  # who takes one out answers it
        siblings.handle(ANSWER, self._on_answer)

    def find_owner(self, sid: str) -> Link | None:
        """The sibling in which the session ``sid`` lives, if there is such a sibling."""
        tag = sid[-4:]
        return None if len(sid) != 20 or tag == self._siblings.tag else self._siblings.reach(tag)

    def forward(self, owner: Link, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        """Pass a request on to the owner of its session.

        :param cors: headers for an answer that does not go through the WSGI server.
        :raises EngineError: it is to be refused; the connection is the WSGI server's.
        """
        verify_upgrade(request)
        if request.query["transport"] == "websocket":
            return self._hand_over_websocket(owner, request, cors)
        if request.method not in ("GET", "POST"):
            return Response(500)
        try:
            body = self._read(request) if request.method == "POST" else b""
        except BodyError as error:
            if error.reason is not None:
                self._abort(owner, request, error.reason)
            return refusal(error, request, self._engine)
        persistent = persists(request)
        stays = threads_are_greenlets() and request.method == "POST" and not persistent
        if not stays and plain_socket(request.environ) is not None:
            payload = pack_request(request, cors, body, persistent)
            try:
                descriptor, _ = give(request.environ, self._reactor)
            except OSError as error:
                self._engine.report(*no_descriptors(error))
            else:
                return self.hand_over(owner, REQUEST, payload, descriptor, partial(self.refuse, owner, cors, False))
        return self._ask(owner, request, pack_request(request, cors, body))

    # -- by its connection --------------------------------------------------------------------------------------

    def hand_over(
        self, owner: Link, kind: int, payload: bytes, descriptor: int, returned: Callable[[int], None]
    ) -> Hijacked:
        """Pass a connection on; ``returned`` gets it if that cannot be done, for it has left the WSGI server."""
        try:
            sent = owner.send(kind, 0, payload, descriptor, returned)
        except ValueError:  # a body of more than a link takes
            close_all((descriptor,))
            raise
        if not sent:
            returned(descriptor)
        return Hijacked(None, "200 OK" if kind == REQUEST else "101 Switching Protocols")

    def refuse(self, owner: Link, cors: Headers, upgrade: bool, descriptor: int) -> None:
        """The owner has gone before it got a connection, or cannot take so many at once."""
        hijacked = HijackedConnection(own_descriptor(descriptor), self._reactor, cors, _GRACE, _nothing)
        if owner.open:
            hijacked.answer(Response(503, [("Retry-After", "1")]))
        else:
            hijacked.answer(unknown_session(alone=False).response(upgrade))

    def _hand_over_websocket(self, owner: Link, request: EngineRequest, cors: Headers) -> Hijacked:
        accept = self._acceptance.compose(request, cors)
        head = {"QUERY_STRING": request.environ.get("QUERY_STRING", "")}
        descriptor, early, held = self._detach(request.environ)
        payload = pack_handover(Handover(head, accept, early))
        with self._acceptance.holding(held):
            self.hand_over(owner, UPGRADE, payload, descriptor, partial(self.refuse, owner, cors, True))
        return Hijacked(held)

    def _detach(self, environ: Environ) -> tuple[int, bytes, Event | None]:
        if not holds_thread(environ):
            return *self._acceptance.give(environ), None
        taken = self._acceptance.take(environ)
        config = self._engine.config
        with self._acceptance.holding(taken.held):
            try:
                descriptor = pump(taken.sock, self._reactor, config.ping_interval + config.ping_timeout)
            except OSError as error:
                raise EngineError(BAD_REQUEST, no_descriptors(error)[1]) from None
        return descriptor, taken.early, taken.held

    # -- by value -----------------------------------------------------------------------------------------------

    def _ask(self, owner: Link, request: EngineRequest, payload: bytes) -> Response:
        config = self._engine.config
        number = 1 + next(self._numbers) % _NUMBERS
        get = request.method == "GET"
        waiting = self._asked[number] = ThreadWait(
            request,
            self._reactor,
            self._capacity,
            config.ping_interval + config.ping_timeout if get else _POST_PATIENCE,
            release=partial(owner.send, RELEASE, number, b""),
            lost=partial(self._abort, owner, request, "transport error"),
            least=0.0 if get else LEAST,
            grace=_GRACE,
            give_up=partial(self._give_up, owner, request, number),
        )
        gone = partial(self._answer, number, unknown_session(alone=False).response(False))
        owner.on_end(gone)
        try:
            if not owner.send(REQUEST, number, payload):
                gone()
            return waiting.result()
        finally:
            owner.forget(gone)
            self._give_up(owner, request, number)

    def _answer(self, number: int, response: Response) -> None:
        waiting = self._asked.pop(number, None)
        if waiting is not None:  # else it has been given up
            waiting.answer(response)

    def _give_up(self, owner: Link, request: EngineRequest, number: int) -> bool:
        """Nobody takes the answer any more, and with it what it brings: so the session is to end."""
        waiting = self._asked.pop(number, None)
        if waiting is not None:
            self._abort(owner, request, "transport error")
        return waiting is not None

    def _on_answer(self, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            close_all((descriptor,))
        try:
            self._answer(number, unpack_response(payload))
        except Junk as junk:
            self._engine.report(*junk_from_sibling(link.tag, junk))

    # -- bodies -------------------------------------------------------------------------------------------------

    def _read(self, request: EngineRequest) -> bytes:
        with self._bodies.watch(request.environ):
            return read_body(request.environ, self._engine.config.max_http_buffer_size)

    def _abort(self, owner: Link, request: EngineRequest, reason: str) -> None:
        owner.send(ABORT, 0, pack_abort(request.sid or "", reason))

    def after_fork(self) -> None:
        """In a forked child: the requests that wait are the parent's."""
        for waiting in self._asked.values():
            waiting.after_fork()


def persists(request: EngineRequest) -> bool:
    """Whether the connection of a request that is handed over may go on when it has been answered."""
    return request.keeper is not None and request.keeper.persists(request.environ)


def _nothing() -> None:
    """The session has gone, whatever becomes of the answer."""
