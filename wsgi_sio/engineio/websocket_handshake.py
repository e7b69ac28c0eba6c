"""The opening handshake of a WebSocket: whether one is possible, the 101 (RFC 6455, section 4.2), and the connection,
which leaves the WSGI server.

wsproto, simple-websocket's library, gives the token; the checks are made here, since a whole connection of either, with
the request written out and parsed again, takes ten times as long.  No extension is accepted.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import NamedTuple

from wsproto.utilities import generate_accept_token

from ..logtext import quote
from ..runtime import Event, Reactor
from .config import Environ
from .errors import BAD_REQUEST, EngineError
from .hijack import Taken, can_take, give, holds_thread, take
from .log_messages import no_descriptors, no_websocket
from .request import EngineRequest
from .response import Headers, Hijacked
from .websocket import WebSocketTransport
from .wsgi_capacity import Capacity

_NO_WEBSOCKET = "WebSocket is not available on this server"
_VERSION = "13"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
# RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Accepted(NamedTuple):
    """A WebSocket whose client is still to be told so.

    :ivar response: the 101.
    :ivar early: what the client sent behind its handshake.
    :ivar held: what the WSGI thread waits for; None where it need not.
    """

    transport: WebSocketTransport
    response: bytes
    early: bytes
    held: Event | None


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

    def holding(self, held: Event | None) -> Holding:
        """Begin to use a connection that has been taken: a thread that is held for it is given back if that fails."""
        return Holding(self._capacity, held)

    def wait_over(self, hijacked: Hijacked) -> None:
        """Block in the WSGI thread for as long as the connection that it gave away needs it."""
        if hijacked.held is not None:
            try:
                hijacked.held.wait()
            finally:
                self._capacity.leave()


class Holding:
    """What :meth:`Acceptance.holding` returns; a generator would cost each connection more."""

    __slots__ = ("_capacity", "_held")

    def __init__(self, capacity: Capacity, held: Event | None) -> None:
        self._capacity = capacity
        self._held = held

    def __enter__(self) -> None:
        """Nothing has failed yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and self._held is not None:
            self._capacity.leave()


def compose_accept(environ: Environ, headers: Headers) -> bytes:
    """The 101 for the request in ``environ``, with ``headers`` added; the first subprotocol offered is chosen.

    :raises EngineError: BAD_REQUEST when it is no valid WebSocket handshake.
    """
    if environ.get("SERVER_PROTOCOL") != "HTTP/1.1" or environ["REQUEST_METHOD"] != "GET":
        raise EngineError(BAD_REQUEST, "a WebSocket handshake is a GET of HTTP/1.1")
    version = environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip()
    if version != _VERSION:
        context = f"Sec-WebSocket-Version is {quote(version)}, and only {_VERSION} is spoken"
        raise EngineError(BAD_REQUEST, context, headers=[("Sec-WebSocket-Version", _VERSION)])
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()
    if not _KEY.fullmatch(key):
        raise EngineError(BAD_REQUEST, "Sec-WebSocket-Key is not the base64 of 16 bytes")
    if environ.get("HTTP_UPGRADE", "").strip().lower() != "websocket":
        raise EngineError(BAD_REQUEST, "no valid WebSocket handshake: it lacks 'Upgrade: websocket'")
    if "upgrade" not in _split(environ.get("HTTP_CONNECTION", "").lower()):
        raise EngineError(BAD_REQUEST, "no valid WebSocket handshake: it lacks 'Connection: Upgrade'")
    if not environ.get("HTTP_HOST"):
        raise EngineError(BAD_REQUEST, "no valid WebSocket handshake: it lacks 'Host'")
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + generate_accept_token(key.encode()),
    ]
    for offered in _split(environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))[:1]:
        if not _TOKEN.fullmatch(offered):
            raise EngineError(BAD_REQUEST, "no valid WebSocket handshake: a subprotocol's name is a token")
        lines.append(f"Sec-WebSocket-Protocol: {offered}".encode())
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _split(value: str) -> list[str]:
    """The members of a comma-separated list."""
    return [member for part in value.split(",") if (member := part.strip())]
