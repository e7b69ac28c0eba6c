"""Requests that wait: in the WSGI server's thread, or, better, out of its hands.

A GET waits for packets, a POST for room in its client's mailbox.  In its thread each would hold that for up to
``ping_interval`` seconds, or as long as the client's handlers like: eight such clients and ``gunicorn --threads 8``
stands still.  So where there are threads, the request's connection is taken over like a WebSocket's (takeover.py), the
thread goes back to its pool, and the answer, once there is one, is written straight to the client, whose connection it
ends.  That also tells at once when a client hangs up.

Greenlets are cheap, and cannot be spared their connection's keep-alive: there, and where a connection cannot be moved
(TLS, no socket), the request waits where it is, for as long as the server bears it (capacity.py).  Without TLS a client
that hangs up is noticed there as well (hangups.py).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..runtime import Event, Reactor, Timer, disown
from .hangups import HangupWatch
from .reports import no_descriptors
from .request import EngineRequest, Headers, Response
from .takeover import Taken, can_move, find_socket, hung_up, plain_socket, take

if TYPE_CHECKING:
    from .polling import PollingTransport

# How long a request waits before its connection is watched (seconds): most are answered by then, and watching costs
# as much as a quarter of a poll.
_BRIEF = 0.1
# How long a client may take to close its end of an answered connection (seconds).
_LINGER = 2.0


class Hijacked(NamedTuple):
    """The connection is no longer the WSGI server's; its request is to end with an answer that nobody reads.

    :ivar held: to be waited for first, when the connection could not be moved away from its thread.
    :ivar status: for the server's access log.
    """

    held: Event | None
    status: str = "101 Switching Protocols"


class Waiting(Protocol):
    """A request that waits; whoever has claimed it answers it, once."""

    request: EngineRequest

    def answer(self, response: Response) -> None:
        """Give the client its response; never blocks."""

    def result(self) -> Response | Hijacked:
        """What the WSGI request returns, when that may return."""

    @property
    def unsent(self) -> int:
        """Bytes of the answer that the client has not taken yet, as far as is known."""


def make_waiting(
    transport: PollingTransport,
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
    if can_move(request.environ):
        try:
            taken = take(request.environ, reactor)
        except OSError as error:
            transport.session.report(*no_descriptors(error))
        else:
            return Parked(transport, request, cors, reactor, taken)
    return ThreadWait(transport, request, reactor, release, least)


class ThreadWait:
    """A request that waits in its thread or greenlet."""

    __slots__ = ("_answered", "_least", "_reactor", "_release", "_response", "_transport", "request")

    unsent = 0

    def __init__(
        self,
        transport: PollingTransport,
        request: EngineRequest,
        reactor: Reactor,
        release: Callable[[], None],
        least: float,
    ) -> None:
        self.request = request
        self._transport = transport
        self._reactor = reactor
        self._release = release
        self._least = least
        self._answered = reactor.event()
        self._response = Response(500)

    def answer(self, response: Response) -> None:
        self._response = response
        self._answered.set()

    def result(self) -> Response:
        environ, transport = self.request.environ, self._transport
        sock = plain_socket(environ)
        with transport.capacity.wait(environ, transport.hold, self._least) as seconds:
            if not self._answered.wait(min(seconds, _BRIEF)):
                with nullcontext() if sock is None else HangupWatch(sock, self._reactor, self._client_left):
                    if not self._answered.wait(max(0.0, seconds - _BRIEF)):
                        self._release()
                        self._answered.wait()
        if sock is not None and hung_up(sock):
            self._client_left()
        return self._response

    def _client_left(self) -> None:
        self._transport.session.close("transport error", abort=True)

    def after_fork(self) -> None:
        """In a forked child: the connection, which is the server's here, is the parent's."""
        sock = find_socket(self.request.environ)
        if sock is not None:
            disown([sock.fileno()])


class Parked:
    """A request whose connection has left the WSGI server; see the module's text."""

    __slots__ = (
        "_answering",
        "_cors",
        "_done",
        "_eof",
        "_reactor",
        "_sock",
        "_timer",
        "_transport",
        "_unsent",
        "_watch",
        "request",
    )

    def __init__(
        self, transport: PollingTransport, request: EngineRequest, cors: Headers, reactor: Reactor, taken: Taken
    ) -> None:
        self.request = request
        self._transport = transport
        self._cors = cors
        self._reactor = reactor
        self._sock = taken.sock
        self._unsent = memoryview(b"")
        self._answering = False
        self._done = False
        self._eof = False
        self._timer: Timer | None = None
        try:
            self._watch = reactor.watch(self, reading=False)
        except (OSError, RuntimeError):  # the connection cannot go back
            self._sock.close()
            transport.session.close("transport error", abort=True)
            raise

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def result(self) -> Hijacked:
        self._watch.resume()
        return Hijacked(None, "200 OK")

    def answer(self, response: Response) -> None:
        lines = [f"HTTP/1.1 {response.status_line}"]
        lines += [f"{name}: {value}" for name, value in (*response.headers, *self._cors)]
        lines += [f"Content-Length: {len(response.body)}", "Connection: close", "", ""]
        self._unsent = memoryview("\r\n".join(lines).encode("latin-1") + response.body)
        self._answering = True  # from here on the client may hang up
        self.on_writable()

    def on_writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._finish()
            self._transport.session.close("transport error", abort=True)  # what it should have got is lost
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._end_in(self._transport.hold)  # unless it goes on reading
            self._watch.want_write()
        else:
            self._finish()

    def on_readable(self) -> None:
        """The client has hung up, or sends what it should not before it has its answer."""
        try:
            data = self._sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self._done:
            return
        self._watch.pause()
        if data:
            return
        self._eof = True
        if not self._answering:
            self._transport.session.close("transport error", abort=True)
        if self._done:
            self._release()

    def _finish(self) -> None:
        """All is said: let the client close first, so that the answer is not lost to a reset."""
        self._done = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._eof = True
        if self._eof:
            self._release()
        else:
            self._watch.resume()
            self._end_in(_LINGER)

    def _end_in(self, seconds: float) -> None:
        timer, self._timer = self._timer, self._reactor.expire_after(seconds, self._hang_up)
        if timer is not None:
            timer.cancel()

    def _hang_up(self) -> None:
        # The I/O threads see the end of the stream and release it: none of them can be using the descriptor then.
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster, and they know

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._watch.close(self._sock.close)
