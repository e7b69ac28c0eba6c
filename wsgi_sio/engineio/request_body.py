"""Request bodies: how large they may be, and how long each may take, for it sits on a thread of the WSGI server's."""

from __future__ import annotations

import re
import socket
from itertools import takewhile
from time import monotonic
from typing import Any, Protocol

from ..runtime import Rank, Reactor, make_lock
from ..sockets import has_unread, shut_down_tcp
from .config import EngineConfig, Environ
from .errors import BodyError
from .hijack import end_connection, own_socket
from .log_messages import late_body, too_large
from .request import EngineRequest
from .response import NO_STORE, Response

_LENGTH = re.compile(r"[0-9]{1,15}")


def read_body(environ: Environ, limit: int) -> bytes:
    """Read the whole body of a request, chunked or not.

    :param limit: ``max_http_buffer_size``.
    :raises BodyError: 413 when it is larger than ``limit`` bytes; 400 when it is empty, has no length, ends early.
    """
    length = environ.get("CONTENT_LENGTH")
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    if chunked and environ.get("wsgi.input_terminated"):
        announced = limit + 1
    elif length and _LENGTH.fullmatch(length):
        announced = int(length)
        if announced > limit:
            raise BodyError(413)
    else:
        raise BodyError(400)
    body = _read(environ, announced)
    if len(body) > limit:
        raise BodyError(413)
    if not chunked and len(body) < announced:
        raise BodyError(400, "transport error")
    if not body:
        raise BodyError(400, "parse error")
    return body


def _read(environ: Environ, size: int) -> bytes:
    stream = environ["wsgi.input"]
    body = bytearray()
    try:
        while len(body) < size and (chunk := stream.read(size - len(body))):
            body += chunk
    except (OSError, ValueError):  # the client broke off, or sent chunks that are none
        raise BodyError(400, "transport error") from None
    return bytes(body)


# -- the time that they may take --------------------------------------------------------------------------------------


class Reading:
    """A body that is being read.

    :ivar late: whether it has taken too long.
    """

    __slots__ = ("_deadline", "_lock", "_over", "_sock", "late")

    def __init__(self, sock: Any | None, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._lock = make_lock(Rank.LEAF)
        self._over = False
        self.late = False

    def stop(self) -> None:
        """Let whoever reads find the end of the stream; it may still answer."""
        # Under the lock, against the rule, lest it hit the connection's next request; it does not block.
        with self._lock:
            if not self._over and self._sock is not None:
                try:
                    shut_down_tcp(self._sock, socket.SHUT_RD)
                except OSError:
                    pass  # the client has left already

    def finished(self) -> None:
        """It has been read, or given up: the connection is the server's again."""
        with self._lock:
            self._over = True

    def remaining(self, now: float) -> float:
        """Seconds that it may still take."""
        return self._deadline - now

    def spare(self, until: float) -> bool:
        """If its bytes lie unread in the kernel, as after a stall of the process, let it take until ``until``."""
        unread = self._sock is not None and has_unread(self._sock)
        if unread:
            self._deadline = until
        return unread

    def give_up(self) -> None:
        """It has taken too long."""
        self.late = True
        self.stop()


class BodyWatch:
    """One timer for all bodies: since each may take the same time, they are due in the order in which they began.

    :param patience: seconds that a body may take.
    """

    def __init__(self, reactor: Reactor, patience: float) -> None:
        self._reactor = reactor
        self._patience = patience
        self._lock = make_lock(Rank.LEAF)
        self._readings: dict[Reading, None] = {}
        self._armed = False

    def watch(self, environ: Environ) -> Watched:
        """Watch over the block in which the body of the request in ``environ`` is read.

        :raises BodyError: 408 instead of what the block raises, when it has taken too long.
        """
        return Watched(self, environ)

    def begin(self, environ: Environ) -> Reading:
        """A body is about to be read; :meth:`end` undoes it."""
        reading = Reading(own_socket(environ), monotonic() + self._patience)
        with self._lock:
            self._readings[reading] = None
            arm, self._armed = not self._armed, True
        if arm:
            self._reactor.call_later(self._patience, self._look)
        return reading

    def end(self, reading: Reading) -> None:
        """It is not read any more."""
        reading.finished()
        with self._lock:
            self._readings.pop(reading, None)

    def _look(self) -> None:
        now = monotonic()
        with self._lock:
            due = list(takewhile(lambda reading: reading.remaining(now) <= 0, self._readings))
            late = []
            for reading in due:
                del self._readings[reading]
                if reading.spare(now + self._patience):
                    self._readings[reading] = None
                else:
                    late.append(reading)
            first = next(iter(self._readings), None)
            self._armed = first is not None
        if first is not None:
            self._reactor.call_later(first.remaining(now), self._look)
        for reading in late:
            reading.give_up()


class Watched:
    """What :meth:`BodyWatch.watch` returns; no generator, for the reason that :class:`capacity.Wait` has."""

    __slots__ = ("_bodies", "_environ", "_reading")

    def __init__(self, bodies: BodyWatch, environ: Environ) -> None:
        self._bodies = bodies
        self._environ = environ

    def __enter__(self) -> Reading:
        self._reading = self._bodies.begin(self._environ)
        return self._reading

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._bodies.end(self._reading)
        if isinstance(error, BodyError) and self._reading.late:
            raise BodyError(408, "transport error") from None


# -- what is refused --------------------------------------------------------------------------------------------------


class Reporter(Protocol):
    """What a refusal is told to: an :class:`EngineServer`, or a session of one."""

    @property
    def config(self) -> EngineConfig: ...

    def report(self, kind: str, text: str) -> None: ...


def refusal(error: BodyError, request: EngineRequest, reporter: Reporter) -> Response:
    """The answer to a request whose body cannot be used."""
    if error.status == 408:
        reporter.report(*late_body(reporter.config))
    elif error.status == 413:
        reporter.report(*too_large(reporter.config, "it is refused"))
    return Response(error.status, [NO_STORE, *end_connection(request.environ)])
