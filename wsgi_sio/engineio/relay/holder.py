"""The holder's side: what this process does with the requests of sessions that live in a sibling.

It keeps nothing of a session.  What it has passed on it never sends again: should the owner die, the client finds its
connection broken, and what it does then is what it does when any server dies.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from ...runtime import Event, threads_are_greenlets
from ...siblings import Link, Siblings
from ..answering import Answering
from ..bodies import refusal
from ..config import Environ
from ..parked import Hijacked, ThreadWait
from ..reports import no_descriptors
from ..request import (
    BAD_REQUEST,
    BodyError,
    EngineError,
    EngineRequest,
    Headers,
    Response,
    unknown_session,
    verify_upgrade,
)
from ..takeover import give, holds_thread, own, plain_socket
from .messages import (
    ABORT,
    ANSWER,
    RELEASE,
    REQUEST,
    UPGRADE,
    Handover,
    pack,
    pack_handover,
    pack_request,
    unpack_response,
)
from .pump import pump

if TYPE_CHECKING:
    from ..server import EngineServer

# How long the answer to a POST is waited for, and after a GET has been told to return (seconds).
_POST_PATIENCE = 20.0
_GRACE = 2.0


class Holder:
    """See the module's text."""

    def __init__(self, engine: EngineServer, siblings: Siblings) -> None:
        self._engine = engine
        self._siblings = siblings
        self._bodies = engine.bodies
        self._capacity = engine.capacity
        self._acceptance = engine.acceptance
        self._reactor = engine.reactor
        self._numbers = count(1)
        self._asked: dict[int, ThreadWait] = {}
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
        payload = pack_request(request, cors, body)
        stays = threads_are_greenlets() and request.method == "POST"
        if not stays and plain_socket(request.environ) is not None:
            try:
                descriptor, _ = give(request.environ)
            except OSError as error:
                self._engine.report(*no_descriptors(error))
            else:
                return self.hand_over(owner, REQUEST, payload, descriptor, partial(self.refuse, cors, False))
        return self._ask(owner, request, payload)

    # -- by its connection --------------------------------------------------------------------------------------

    def hand_over(
        self, owner: Link, kind: int, payload: bytes, descriptor: int, returned: Callable[[int], None]
    ) -> Hijacked:
        if not owner.send(kind, 0, payload, descriptor, returned):
            returned(descriptor)
        return Hijacked(None, "200 OK" if kind == REQUEST else "101 Switching Protocols")

    def refuse(self, cors: Headers, upgrade: bool, descriptor: int) -> None:
        """The owner has gone before it got a connection, which has left the WSGI server already."""
        answering = Answering(own(descriptor), self._reactor, cors, _GRACE, _nothing)
        answering.answer(unknown_session(alone=False).response(upgrade))

    def _hand_over_websocket(self, owner: Link, request: EngineRequest, cors: Headers) -> Hijacked:
        accept = self._acceptance.compose(request, cors)
        head = {"QUERY_STRING": request.environ.get("QUERY_STRING", "")}
        descriptor, early, held = self._detach(request.environ)
        self.hand_over(
            owner, UPGRADE, pack_handover(Handover(head, accept, early)), descriptor, partial(self.refuse, cors, True)
        )
        return Hijacked(held)

    def _detach(self, environ: Environ) -> tuple[int, bytes, Event | None]:
        if not holds_thread(environ):
            return *self._acceptance.give(environ), None
        taken = self._acceptance.take(environ)
        try:
            return pump(taken.sock, self._reactor), taken.early, taken.held
        except OSError as error:
            self._capacity.leave()
            raise EngineError(BAD_REQUEST, no_descriptors(error)[1]) from None

    # -- by value -----------------------------------------------------------------------------------------------

    def _ask(self, owner: Link, request: EngineRequest, payload: bytes) -> Response:
        config = self._engine.config
        number = next(self._numbers)
        get = request.method == "GET"
        waiting = self._asked[number] = ThreadWait(
            request,
            self._reactor,
            self._capacity,
            config.ping_interval + config.ping_timeout if get else _POST_PATIENCE,
            release=partial(owner.send, RELEASE, number, b""),
            lost=partial(self._abort, owner, request, "transport error"),
            grace=_GRACE,
        )
        gone = partial(waiting.answer, unknown_session(alone=False).response(False))
        owner.on_end(gone)
        try:
            if not owner.send(REQUEST, number, payload):
                gone()
            return waiting.result()
        finally:
            owner.forget(gone)
            del self._asked[number]

    def _on_answer(self, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        waiting = self._asked.get(number)
        if waiting is not None:  # else it has been given up
            waiting.answer(unpack_response(payload))

    # -- bodies -------------------------------------------------------------------------------------------------

    def _read(self, request: EngineRequest) -> bytes:
        with self._bodies.watch(request.environ):
            return request.read_body(self._engine.config.max_http_buffer_size)

    def _abort(self, owner: Link, request: EngineRequest, reason: str) -> None:
        owner.send(ABORT, 0, pack([request.sid, reason]))

    def after_fork(self) -> None:
        """In a forked child: the requests that wait are the parent's."""
        for waiting in self._asked.values():
            waiting.after_fork()


def _nothing() -> None:
    """The session has gone, whatever becomes of the answer."""
