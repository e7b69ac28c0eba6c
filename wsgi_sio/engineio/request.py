"""From a WSGI environ to a checked request: Engine.IO's refusals, in the reference's order, with its codes and bodies.

Only wsgi.py knows ``start_response``; here requests and responses are plain values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import responses
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from ..logtext import quote
from .config import EngineConfig, Environ

if TYPE_CHECKING:
    from .parked import Waiting
    from .session import Session

Headers = list[tuple[str, str]]

UNKNOWN_TRANSPORT = 0
UNKNOWN_SID = 1
BAD_HANDSHAKE_METHOD = 2
BAD_REQUEST = 3
FORBIDDEN = 4
UNSUPPORTED_PROTOCOL_VERSION = 5

_MESSAGES = (
    "Transport unknown",
    "Session ID unknown",
    "Bad handshake method",
    "Bad request",
    "Forbidden",
    "Unsupported protocol version",
)

_MAX_FIELDS = 100
_LENGTH = re.compile(r"[0-9]{1,15}")
_JSON = ("Content-Type", "application/json")
NO_STORE = ("Cache-Control", "no-store")


class EngineError(Exception):
    """A request that is refused.

    :param code: 0 to 5, the reference's error codes.
    :param context: for the log: what was wrong and which setting changes it.
    :param headers: what the answer has besides.
    :param cause: what tells it from others of its code: the log warns of each cause once.
    """

    def __init__(
        self,
        code: int,
        context: str,
        message: str | None = None,
        headers: Headers | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(message or _MESSAGES[code])
        self.code = code
        self.kind = f"code {code}" if cause is None else f"code {code}, {cause}"
        self.message = message or _MESSAGES[code]
        self.context = context
        self.headers = headers or []

    def response(self, upgrade: bool) -> Response:
        """The HTTP answer; a request to upgrade gets the bare message and always 400."""
        if upgrade:
            return Response(400, [("Content-Type", "text/html"), *self.headers], self.message.encode())
        body = json.dumps({"code": self.code, "message": self.message}, separators=(",", ":"), ensure_ascii=False)
        return Response(403 if self.code == FORBIDDEN else 400, [_JSON, *self.headers], body.encode())


class BodyError(Exception):
    """A request body that cannot be used.

    :param status: the HTTP status to answer with: 400 or 413.
    :param reason: why the session ends; None lets it live.
    """

    def __init__(self, status: int, reason: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Response:
    """An HTTP answer."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    @property
    def status_line(self) -> str:
        """Such as ``200 OK``."""
        return f"{self.status} {responses[self.status]}"


class Relayed(Protocol):
    """How a request has come that another process has received."""

    def wait(
        self,
        request: EngineRequest,
        cors: Headers,
        patience: float,
        release: Callable[[], None],
        lost: Callable[[], object],
    ) -> Waiting:
        """Let it wait for its answer; see :class:`Answering`, and :class:`ThreadWait` for ``release``."""


@dataclass(slots=True, eq=False)
class EngineRequest:
    """What the engine needs to know of one HTTP request.

    :ivar relayed: how it came here, if another process has received it.
    """

    environ: Environ
    method: str
    query: dict[str, str]
    upgrade: bool
    relayed: Relayed | None = None

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

    def read_body(self, limit: int) -> bytes:
        """Read the whole body, chunked or not.

        :raises BodyError: 413 when it is larger than ``limit`` bytes; 400 when it is empty, has no length, ends early.
        """
        length = self.environ.get("CONTENT_LENGTH")
        chunked = "chunked" in self.environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        if chunked and self.environ.get("wsgi.input_terminated"):
            announced = limit + 1
        elif length and _LENGTH.fullmatch(length):
            announced = int(length)
            if announced > limit:
                raise BodyError(413)
        else:
            raise BodyError(400)
        body = self._read(announced)
        if len(body) > limit:
            raise BodyError(413)
        if not chunked and len(body) < announced:
            raise BodyError(400, "transport error")
        if not body:
            raise BodyError(400, "parse error")
        return body

    def _read(self, size: int) -> bytes:
        stream = self.environ["wsgi.input"]
        body = bytearray()
        try:
            while len(body) < size and (chunk := stream.read(size - len(body))):
                body += chunk
        except (OSError, ValueError):  # the client broke off, or sent chunks that are none
            raise BodyError(400, "transport error") from None
        return bytes(body)


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


def verify_any(request: EngineRequest, config: EngineConfig) -> None:
    """Check what is asked of every request; this and what follows come in the reference's order (``Server.verify``).

    :raises EngineError: the request is to be refused.
    """
    transport = request.query.get("transport", "")
    if transport not in config.transports:
        raise EngineError(
            UNKNOWN_TRANSPORT, f"transport {quote(transport)} is not one of transports={config.transports}"
        )
    if request.origin and any(ord(char) < 32 or ord(char) == 127 for char in request.origin):
        raise EngineError(BAD_REQUEST, "the Origin header holds control characters")


def verify_handshake(request: EngineRequest, config: EngineConfig) -> None:
    """Check a request that belongs to no session yet.

    :raises EngineError: it is to be refused.
    """
    if request.method != "GET":
        raise EngineError(BAD_HANDSHAKE_METHOD, f"a handshake is a GET, not a {quote(request.method)}")
    verify_upgrade(request)
    _ask_application(request, config)
    if request.protocol == 3 and not config.allow_eio3:
        spoken = quote(request.query.get("EIO", "3"))
        raise EngineError(
            UNSUPPORTED_PROTOCOL_VERSION,
            f"the client speaks Engine.IO protocol {spoken}; clients of Socket.IO v2 speak 3 and need allow_eio3=True,"
            " newer ones speak 4",
        )


def verify_upgrade(request: EngineRequest) -> None:
    """Check that who asks for the transport WebSocket asks for a WebSocket.

    :raises EngineError: it does not.
    """
    if request.query["transport"] == "websocket" and not request.upgrade:
        raise EngineError(
            BAD_REQUEST,
            "transport=websocket came without an Upgrade header, so clients stay on polling, or cannot connect; a proxy"
            " in front removes it: nginx needs 'proxy_http_version 1.1', 'proxy_set_header Upgrade $http_upgrade' and"
            " 'proxy_set_header Connection \"upgrade\"'",
            cause="no Upgrade header",
        )


def verify_member(request: EngineRequest, session: Session) -> None:
    """Check a request that belongs to ``session``.

    :raises EngineError: it is to be refused.
    """
    transport = request.query["transport"]
    verify_upgrade(request)
    if not request.upgrade and transport != session.transport.name:
        raise EngineError(BAD_REQUEST, f"the session has left {transport} for {session.transport.name}")
    if request.protocol != session.protocol:
        raise EngineError(
            BAD_REQUEST, f"a session of protocol {session.protocol} got a request of protocol {request.protocol}"
        )


def unknown_session(alone: bool) -> EngineError:
    """There is no session of the id.

    :param alone: whether it may live in a process that cannot be reached.
    """
    if not alone:
        return EngineError(UNKNOWN_SID, "the session is over, or the process in which it lived has gone")
    return EngineError(
        UNKNOWN_SID,
        "the session is over, or lives in a process that this one cannot reach: workers of one server can, unless"
        " siblings=False or 'several processes' in the log says why not; several servers need sticky sessions, or"
        " clients with transports=['websocket'] only",
    )


def _ask_application(request: EngineRequest, config: EngineConfig) -> None:
    if config.allow_request is None:
        return
    verdict: Any = config.allow_request(request.environ)
    if verdict is None or verdict is True:
        return
    message = verdict if isinstance(verdict, str) else None
    raise EngineError(FORBIDDEN, "allow_request refused it", message)
