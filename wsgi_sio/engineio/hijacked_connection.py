"""A connection that is ours alone: it waits for its answer, gets it, and ends with it.

For requests whose connection has left the WSGI server (pending_requests.py), here or in a sibling that handed it over
(relay/).  That also tells at once when a client hangs up before its answer.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..runtime import Reactor, Timer
from ..sockets import NonBlockingSocket
from .response import Headers, Response

# How long a client may take to close its end of an answered connection (seconds).
_LINGER = 2.0


class HijackedConnection:
    """See the module's text; :meth:`answer` is called once, from any thread.

    :param cors: headers for the answer, which does not go through the WSGI server.
    :param patience: seconds in which the client has to take the answer.
    :param lost: called when the client has not got it: it has hung up before, or takes none.
    :raises OSError: there is no descriptor left to watch it with; the connection is closed, and ``lost`` called.
    """

    __slots__ = (
        "_answering",
        "_cors",
        "_done",
        "_eof",
        "_lost",
        "_patience",
        "_reactor",
        "_sock",
        "_timer",
        "_unsent",
        "_watch",
    )

    def __init__(
        self, sock: NonBlockingSocket, reactor: Reactor, cors: Headers, patience: float, lost: Callable[[], object]
    ) -> None:
        self._sock = sock
        self._reactor = reactor
        self._cors = cors
        self._patience = patience
        self._lost = lost
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
        return self._sock.fileno()

    @property
    def unsent(self) -> int:
        """Bytes of the answer that the client has not taken yet."""
        return len(self._unsent)

    def await_answer(self) -> None:
        """Watch the client from now on."""
        self._watch.resume()

    def answer(self, response: Response) -> None:
        """Give the client its response; never blocks."""
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
            self._lost()
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
