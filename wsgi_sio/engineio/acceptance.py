"""Accepting WebSockets: whether one is possible, the 101, and the connection, which leaves the WSGI server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..runtime import Event, Reactor
from .capacity import Capacity
from .config import Environ
from .handshake import compose_accept
from .parked import Hijacked
from .reports import no_descriptors, no_websocket
from .request import BAD_REQUEST, EngineError, EngineRequest, Headers
from .takeover import Taken, can_take, give, holds_thread, take

_NO_WEBSOCKET = "WebSocket is not available on this server"


class Acceptance:
    """See the module's text.

    :param capacity: what bounds the WebSockets that hold a thread of the WSGI server, for they are by TLS.
    """

    def __init__(self, reactor: Reactor, capacity: Capacity) -> None:
        self._reactor = reactor
        self._capacity = capacity

    def is_possible(self, environ: Environ) -> bool:
        """Whether a WebSocket is possible at present for the client of a request."""
        return can_take(environ) and (not holds_thread(environ) or self._capacity.has_room(environ))

    def compose(self, request: EngineRequest, headers: Headers) -> bytes:
        """The 101 for a WebSocket, with ``headers`` added.

        :raises EngineError: it is to be refused.
        """
        obstacle = no_websocket(request.environ)
        if obstacle is not None:
            raise EngineError(BAD_REQUEST, obstacle, _NO_WEBSOCKET, cause="WebSocket")
        return compose_accept(request.environ, headers)

    def take(self, environ: Environ) -> Taken:
        """Take a connection from the WSGI server.

        :raises EngineError: no descriptor is left, or no thread for it; it is the server's, as before.
        """
        held = holds_thread(environ)
        if held and not self._capacity.occupy(environ):
            raise EngineError(BAD_REQUEST, "no thread can be spared for a WebSocket over TLS", _NO_WEBSOCKET)
        try:
            return take(environ, self._reactor)
        except OSError as error:
            if held:
                self._capacity.leave()
            raise EngineError(BAD_REQUEST, no_descriptors(error)[1]) from None

    def give(self, environ: Environ) -> tuple[int, bytes]:
        """See :func:`give`.

        :raises EngineError: no descriptor is left.
        """
        try:
            return give(environ, self._reactor)
        except OSError as error:
            raise EngineError(BAD_REQUEST, no_descriptors(error)[1]) from None

    @contextmanager
    def holding(self, held: Event | None) -> Iterator[None]:
        """Begin to use a connection that has been taken: a thread that is held for it is given back if that fails."""
        try:
            yield
        except BaseException:
            if held is not None:
                self._capacity.leave()
            raise

    def wait_over(self, hijacked: Hijacked) -> None:
        """Block in the WSGI thread for as long as the connection that it gave away needs it."""
        if hijacked.held is not None:
            try:
                hijacked.held.wait()
            finally:
                self._capacity.leave()
