"""A connection that is ours alone: it waits for its answer, gets it, and ends with it.

For requests whose connection has left the WSGI server (pending_requests.py), here or in a sibling that handed it over
(relay/).  That also tells at once when a client hangs up before its answer.

It need not end: where the WSGI server of this process has a place for it, it goes there with its next request.  So
nothing is read before the answer is out: what comes is looked at where it is.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable
from typing import Any, Protocol

from ..runtime import Reactor, Timer
from ..sockets import NonBlockingSocket, has_unread
from .hijack import hung_up
from .response import Headers, Response

# How long a client may take to close its end of an answered connection (seconds).
_LINGER = 2.0


class Place(Protocol):
    """Room for a connection in the WSGI server of this process; one of these is called, once."""

    def take(self, sock: _socket.socket) -> None:
        """Its request has been answered: it is the server's."""

    def release(self) -> None:
        """It does not come."""


class Connections(Protocol):
    """Those of the WSGI server of this process; see gunicorn_connections.py."""

    def reserve(self, sock: _socket.socket) -> Place | None:
        """Room for a connection that is about to be answered; None where it is to end with that."""


class HijackedConnection:
    """See the module's text; :meth:`answer` is called once, from any thread.

    :param cors: headers for the answer, which does not go through the WSGI server.
    :param patience: seconds in which the client has to take the answer.
    :param lost: called when the client has not got it: it has hung up before, or takes none.
    :param connections: where it goes on when it has been answered, if there is room; None: nowhere.
    :raises OSError: there is no descriptor left to watch it with; the connection is closed, and ``lost`` called.
    """

    __slots__ = (
        "_answering",
        "_connections",
        "_cors",
        "_done",
        "_eof",
        "_lost",
        "_patience",
        "_place",
        "_reactor",
        "_sock",
        "_timer",
        "_unsent",
        "_watch",
    )

    def __init__(
        self,
        sock: NonBlockingSocket,
        reactor: Reactor,
        cors: Headers,
        patience: float,
        lost: Callable[[], object],
        connections: Connections | None = None,
    ) -> None:
        self._sock: Any = sock
        self._reactor = reactor
        self._cors = cors
        self._patience = patience
        self._lost = lost
        self._connections = connections
        self._place: Place | None = None
        self._unsent = memoryview(b"")
        self._answering = False
        self._done = False
        self._eof = False
        self._timer: Timer | None = None
        try:
            self._watch = reactor.watch(self, reading=False)
        except (OSError, RuntimeError):  # the connection cannot go back
            self._sock.close()
            lost()
            raise

    def fileno(self) -> int:
        return int(self._sock.fileno())

    @property
    def unsent(self) -> int:
        """Bytes of the answer that the client has not taken yet."""
        return len(self._unsent)

    def await_answer(self) -> None:
        """Watch the client from now on."""
        self._watch.resume()

    def answer(self, response: Response) -> None:
        """Give the client its response; never blocks."""
        if self._connections is not None and response.status == 200 and not self._eof:
            self._place = self._connections.reserve(self._sock)
        connection = "close" if self._place is None else "keep-alive"
        lines = [f"HTTP/1.1 {response.status_line}"]
        lines += [f"{name}: {value}" for name, value in (*response.headers, *self._cors)]
        lines += [f"Content-Length: {len(response.body)}", f"Connection: {connection}", "", ""]
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
            self._lost()
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._end_in(self._patience)  # unless it goes on reading
            self._watch.want_write()
        else:
            self._finish()

    def on_readable(self) -> None:
        """The client has hung up, or sends what it should not before it has its answer."""
        if self._done:
            try:
                left = not self._sock.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                left = True
        elif has_unread(self._sock):  # it stays where it is, and would be told for ever
            self._watch.pause()
            return
        else:
            left = hung_up(self._sock)
        if not left:
            return
        self._watch.pause()
        self._eof = True
        if not self._answering:
            self._lost()
        if self._done:
            self._release()

    def _finish(self) -> None:
        """All is said: it goes on elsewhere, or the client closes first, so that the answer is not lost to a reset."""
        if self._place is not None and not self._unsent:
            self._release()
            return
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
        self._watch.close(self._let_go)

    def _let_go(self) -> None:
        place, self._place = self._place, None
        if place is not None and not self._unsent and not self._eof:
            place.take(self._sock)
            return
        self._sock.close()
        if place is not None:
            place.release()
