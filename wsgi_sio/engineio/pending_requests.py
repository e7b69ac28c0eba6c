"""Requests that wait: in the WSGI server's thread, or, better, out of its hands.

A GET waits for packets, a POST for room in its client's mailbox.  In its thread each would hold that for up to
``ping_interval`` seconds, or as long as the client's handlers like: eight such clients and ``gunicorn --threads 8``
stands still.  So where there are threads, the request's connection is taken over like a WebSocket's (hijack.py), the
thread goes back to its pool, and the answer, once there is one, is written straight to the client.  Its connection ends
with that (hijacked_connection.py), unless gunicorn's worker can have it again (gunicorn_connections.py).

Greenlets are cheap, and cannot be spared their connection's keep-alive: there, and where a connection cannot be moved
(TLS, no socket), the request waits where it is, for as long as the server bears it (wsgi_capacity.py).  Without TLS a
client that hangs up is noticed there as well (hangup_detection.py).

A request that a sibling has brought (relay/), or a connection that is kept (kept_connection.py), waits as it has come.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Protocol

from ..runtime import Reactor, disown
from ..sockets import NonBlockingSocket
from .hangup_detection import HangupWatch
from .hijack import can_move, find_socket, hung_up, plain_socket, take
from .hijacked_connection import Connections, HijackedConnection
from .log_messages import no_descriptors
from .request import EngineRequest, Waiting
from .response import Headers, Hijacked, Response
from .session import Session
from .wsgi_capacity import Capacity

# How long a request waits before its connection is watched (seconds): most are answered by then, and watching costs
# as much as a quarter of a poll.
_BRIEF = 0.1


class PollingSession(Protocol):
    """Whose requests wait: a :class:`PollingTransport`.

    :ivar hold: how long a request may wait in its thread, in seconds.
    :ivar capacity: what bounds that for all.
    """

    hold: float
    capacity: Capacity

    @property
    def session(self) -> Session: ...


def make_waiting(
    transport: PollingSession,
    request: EngineRequest,
    cors: Headers,
    reactor: Reactor,
    release: Callable[[], None],
    least: float = 0.0,
) -> Waiting:
    """Let a request wait in the best way there is on its server.

    :param cors: headers for an answer that does not go through the WSGI server.
    :param release: called when a request that holds a thread has held it for long enough: see to it that it is
        answered soon.
    :param least: how many seconds it may hold that, however many others wait.
    """
    lost = partial(transport.session.close, "transport error", abort=True)
    if request.carrier is not None:
        return request.carrier.wait(request, cors, transport.hold, release, lost)
    kept = None if request.keeper is None else request.keeper.wait(request, cors, lost)
    if kept is not None:
        return kept
    if can_move(request.environ):
        connections = _find_connections(request)
        try:
            taken = take(request.environ, reactor)
        except OSError as error:
            transport.session.report(*no_descriptors(error))
        else:
            return HijackedRequest(request, taken.sock, reactor, cors, transport.hold, lost, connections)
    return ThreadWait(request, reactor, transport.capacity, transport.hold, release, lost, least)


def _find_connections(request: EngineRequest) -> Connections | None:
    """Among which the connection of a request goes on that leaves the WSGI server; None where it ends."""
    keeper = request.keeper
    return keeper.find_connections() if keeper is not None and keeper.persists(request.environ) else None


class ThreadWait:
    """A request that waits in its thread or greenlet.

    :param hold: how many seconds it may do so.
    :param release: called when they are over: see to it that it is answered.
    :param lost: called when the client has hung up.
    :param least: how many seconds it may wait, however many others do.
    :param grace: how many seconds after ``release`` it gives up and is answered 503; None for never.
    :param give_up: called then: whether it may, for nobody is about to answer it, or will.
    """

    __slots__ = ("_answered", "_capacity", "_give_up", "_grace", "_hold", "_least", "_lost", "_reactor", "_release",
                 "_response", "request")  # fmt: skip

    unsent = 0

    def __init__(
        self,
        request: EngineRequest,
        reactor: Reactor,
        capacity: Capacity,
        hold: float,
        release: Callable[[], object],
        lost: Callable[[], object],
        least: float = 0.0,
        grace: float | None = None,
        give_up: Callable[[], bool] = bool,
    ) -> None:
        self.request = request
        self._reactor = reactor
        self._capacity = capacity
        self._hold = hold
        self._release = release
        self._lost = lost
        self._least = least
        self._grace = grace
        self._give_up = give_up
        self._answered = reactor.event()
        self._response = Response(503, [("Retry-After", "1")])

    def answer(self, response: Response) -> None:
        self._response = response
        self._answered.set()

    def result(self) -> Response:
        environ = self.request.environ
        sock = plain_socket(environ)
        with self._capacity.wait(environ, self._hold, self._least) as seconds:
            if not self._answered.wait(min(seconds, _BRIEF)):
                with nullcontext() if sock is None else HangupWatch(sock, self._reactor, self._lost):
                    if not self._answered.wait(max(0.0, seconds - _BRIEF)):
                        self._release()
                        if not self._answered.wait(self._grace) and not self._give_up():
                            self._answered.wait()
        if sock is not None and hung_up(sock):
            self._lost()
        return self._response

    def after_fork(self) -> None:
        """In a forked child: the connection, which is the server's here, is the parent's."""
        sock = find_socket(self.request.environ)
        if sock is not None:
            disown([sock.fileno()])


class HijackedRequest(HijackedConnection):
    """A request whose connection has left the WSGI server; see the module's text."""

    __slots__ = ("request",)

    def __init__(
        self,
        request: EngineRequest,
        sock: NonBlockingSocket,
        reactor: Reactor,
        cors: Headers,
        patience: float,
        lost: Callable[[], object],
        connections: Connections | None = None,
    ) -> None:
        super().__init__(sock, reactor, cors, patience, lost, connections)
        self.request = request

    def result(self) -> Hijacked:
        self.await_answer()
        return Hijacked(None, "200 OK")
