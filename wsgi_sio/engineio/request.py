"""From a WSGI environ to a request: a plain value, as its answer is (response.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

from .config import Environ
from .errors import BAD_REQUEST, EngineError
from .hijacked_connection import Connections
from .response import Headers, Hijacked, Response

# How many fields a query string may have.
_MAX_FIELDS = 100


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


class Carrier(Protocol):
    """What brings its answer to the client of a request that is no call of the WSGI server's: it has come from another
    process (relay/), or on a connection that is kept (kept_connection.py).  Its body is there as a whole.
    """

    def wait(
        self,
        request: EngineRequest,
        cors: Headers,
        patience: float,
        release: Callable[[], None],
        lost: Callable[[], object],
    ) -> Waiting:
        """Let it wait for its answer; see :class:`HijackedConnection`, and :class:`ThreadWait` for ``release``."""


class ConnectionKeeper(Protocol):
    """What may keep the connection of a request of the WSGI server's; see kept_polls.py."""

    def persists(self, environ: Environ) -> bool:
        """Whether the connection of a request may go on when that is answered elsewhere: in a sibling, or here."""

    def find_connections(self) -> Connections | None:
        """Among which such a connection goes on in this process; None where it ends."""

    def wait(self, request: EngineRequest, cors: Headers, lost: Callable[[], object]) -> Waiting | None:
        """Let it wait without its thread, and its connection go on afterwards; None where that cannot be."""


@dataclass(slots=True, eq=False)
class EngineRequest:
    """What the engine needs to know of one HTTP request.

    :ivar carrier: what brings its answer to the client, if that is not the WSGI server.
    :ivar keeper: what may keep its connection, if that is the WSGI server's.
    """

    environ: Environ
    method: str
    query: dict[str, str]
    upgrade: bool
    carrier: Carrier | None = None
    keeper: ConnectionKeeper | None = None

    @property
    def origin(self) -> str | None:
        """The Origin header."""
        return self.environ.get("HTTP_ORIGIN")

    @property
    def sid(self) -> str | None:
        """The session the request belongs to; None for a handshake."""
        return self.query.get("sid")

    @property
    def protocol(self) -> int:
        """The version of Engine.IO it is of: whatever is not 4, even nothing, is 3, as in the reference."""
        return 4 if self.query.get("EIO") == "4" else 3


def parse_request(environ: Environ) -> EngineRequest:
    """Read method, query and the wish to upgrade from ``environ``.

    :raises EngineError: BAD_REQUEST for a query string of unreasonable size.
    """
    query = parse_query(environ.get("QUERY_STRING", ""))
    upgrade = environ.get("HTTP_UPGRADE", "").lower() == "websocket"
    return EngineRequest(environ, environ["REQUEST_METHOD"], query, upgrade)


def parse_query(text: str) -> dict[str, str]:
    """The fields of a query string.

    :raises EngineError: BAD_REQUEST when there are unreasonably many.
    """
    if text.count("&") >= _MAX_FIELDS:
        raise EngineError(BAD_REQUEST, "the query string has too many fields")
    if "%" in text or "+" in text:
        return dict(parse_qsl(text, keep_blank_values=True))
    # Nothing to unquote: several times faster, and done for every poll.
    return {name: value for name, _, value in [field.partition("=") for field in text.split("&")] if name}
