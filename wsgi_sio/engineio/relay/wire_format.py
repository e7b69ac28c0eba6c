"""What those that forward requests and the owners of sessions tell each other: kinds of frames, and their payloads.

A payload is a head in JSON and a body of bytes.  What does not fit is :class:`Junk`: a sibling is this user's own, and
of the same version, so that is nothing but a fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from struct import Struct
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from ..config import Environ
from ..errors import EngineError
from ..request import EngineRequest, parse_query
from ..response import Headers, Response

_Args = ParamSpec("_Args")
_Read = TypeVar("_Read")

# A GET or POST, with its connection or numbered, for an ANSWER.
REQUEST: Final = 16
# A WebSocket for a session that polls.
UPGRADE: Final = 17
# A handshake, with its connection.
NEW: Final = 18
# The response to a numbered request.
ANSWER: Final = 19
# A numbered request has waited for long enough.
RELEASE: Final = 20
# A session is to end: its client has hung up, or sent what is no body, or cannot be given its answer.
ABORT: Final = 21
# A handshake has come.
TAKEN: Final = 22

# The sender has a port where clients of WebTransport connect, for all siblings.
LISTENS: Final = 23

_SIZE = Struct("<I")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Junk(ValueError):
    """What has come is no such payload."""


def _reads(unpack: Callable[_Args, _Read]) -> Callable[_Args, _Read]:
    """Let whatever goes wrong in ``unpack`` be :class:`Junk`."""

    @wraps(unpack)
    def reading(*args: _Args.args, **kwargs: _Args.kwargs) -> _Read:
        try:
            return unpack(*args, **kwargs)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError, EngineError) as error:
            raise Junk(f"{type(error).__name__}: {error}") from None

    return reading


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is wanted")
    return value


def _headers(value: Any) -> Headers:
    return [(_text(name), _text(content)) for name, content in value]


def _flag(rest: list[Any]) -> bool:
    """The last thing of a head, which it has only where that is true."""
    if not rest:
        return False
    (flag,) = rest
    if flag is not True:
        raise ValueError("no flag")
    return True


def _halves(rest: bytes, size: object) -> tuple[bytes, bytes]:
    if type(size) is not int or not 0 <= size <= len(rest):
        raise ValueError("no size of a part")
    return rest[:size], rest[size:]


def pack(head: object, *body: bytes) -> bytes:
    """The payload of a frame."""
    text = _encode(head).encode()
    return b"".join((_SIZE.pack(len(text)), text, *body))


def unpack(payload: bytes) -> tuple[Any, bytes]:
    """Its head and its body; the caller reads on, hence sees to what is none."""
    if len(payload) < _SIZE.size:
        raise ValueError("a payload without a head")
    (size,) = _SIZE.unpack_from(payload)
    end = _SIZE.size + size
    return json.loads(payload[_SIZE.size : end]), payload[end:]


def pack_request(request: EngineRequest, cors: Headers, body: bytes, persistent: bool = False) -> bytes:
    """A GET or POST.

    :param persistent: whether its connection comes along, and may go on when it has been answered.
    """
    environ = request.environ
    facts = [environ.get(name, "") for name in _TRAVELLING]
    return pack([request.method, request.upgrade, facts, cors, *([True] if persistent else [])], body)


@_reads
def unpack_request(payload: bytes) -> tuple[EngineRequest, Headers, bytes, bool]:
    """The mirror image; the headers are those of CORS.

    :raises Junk: it is none.
    """
    (method, upgrade, facts, cors, *rest), body = unpack(payload)
    environ: Environ = dict(zip(_TRAVELLING, map(_text, facts), strict=True))
    environ["REQUEST_METHOD"] = _text(method)
    query = parse_query(environ["QUERY_STRING"])
    if query["transport"] != "polling" or method not in ("GET", "POST"):
        raise ValueError("neither a GET nor a POST of a session that polls")
    return EngineRequest(environ, method, query, bool(upgrade)), _headers(cors), body, _flag(rest)


class Handover(NamedTuple):
    """A WebSocket for a session that polls; its handshake has been accepted.

    :ivar environ: the facts of its request.
    :ivar accept: the 101, which has not been sent yet.
    :ivar early: what the client sent behind its handshake.
    """

    environ: Environ
    accept: bytes
    early: bytes


def pack_handover(handover: Handover) -> bytes:
    """For UPGRADE."""
    environ, accept, early = handover
    return pack([environ, len(accept)], accept, early)


@_reads
def unpack_handover(payload: bytes) -> tuple[EngineRequest, Handover]:
    """The mirror image, and the request.

    :raises Junk: it is none.
    """
    (environ, size), rest = unpack(payload)
    request = EngineRequest(environ, "GET", parse_query(_text(environ["QUERY_STRING"])), True)
    if request.query["transport"] != "websocket":
        raise ValueError("no request for a WebSocket")
    return request, Handover(environ, *_halves(rest, size))


class Handshake(NamedTuple):
    """A request for a new session.

    :ivar environ: what the session keeps of it.
    :ivar cors: headers for its answer.
    :ivar accept: the 101, if it is for a WebSocket, else nothing.
    :ivar early: what the client sent behind it.
    :ivar persistent: whether its connection may go on when it has been answered.
    """

    environ: Environ
    cors: Headers
    accept: bytes
    early: bytes
    persistent: bool = False


def pack_handshake(handshake: Handshake) -> bytes:
    """For NEW."""
    environ, cors, accept, early, persistent = handshake
    return pack([environ, cors, len(accept), *([True] if persistent else [])], accept, early)


@_reads
def unpack_handshake(payload: bytes) -> Handshake:
    """The mirror image.

    :raises Junk: it is none.
    """
    (environ, cors, size, *more), rest = unpack(payload)
    parse_query(_text(environ.get("QUERY_STRING", "")))
    return Handshake(environ, _headers(cors), *_halves(rest, size), _flag(more))


def pack_response(response: Response) -> bytes:
    """For ANSWER."""
    return pack([response.status, response.headers], response.body)


@_reads
def unpack_response(payload: bytes) -> Response:
    """The mirror image.

    :raises Junk: it is none.
    """
    (status, headers), body = unpack(payload)
    return Response(HTTPStatus(status).value, _headers(headers), body)


def pack_abort(sid: str, reason: str) -> bytes:
    """For ABORT."""
    return pack([sid, reason])


@_reads
def unpack_abort(payload: bytes) -> tuple[str, str]:
    """The mirror image.

    :raises Junk: it is none.
    """
    (sid, reason), _ = unpack(payload)
    return _text(sid), _text(reason)


# What the owner needs to know of a request's environ.
_TRAVELLING = ("QUERY_STRING", "HTTP_ACCEPT_ENCODING", "CONTENT_TYPE")
