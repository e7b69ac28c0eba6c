"""What holders and owners of sessions tell each other: kinds of frames, and their payloads.

A payload is a head in JSON and a body of bytes.  What does not fit is a ValueError: a sibling is this user's own, and
of the same version, so that is nothing but a fault.
"""

from __future__ import annotations

import json
from struct import Struct
from typing import Any, Final, NamedTuple

from ..config import Environ
from ..request import EngineRequest, Headers, Relayed, Response, parse_query

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
# A session is to end: its client has hung up, or sent what is no body.
ABORT: Final = 21

_SIZE = Struct("<I")


def pack(head: object, *body: bytes) -> bytes:
    """The payload of a frame."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((_SIZE.pack(len(text)), text, *body))


def unpack(payload: bytes) -> tuple[Any, bytes]:
    """Its head and its body.

    :raises ValueError: it is none.
    """
    if len(payload) < _SIZE.size:
        raise ValueError("a payload without a head")
    (size,) = _SIZE.unpack_from(payload)
    end = _SIZE.size + size
    return json.loads(payload[_SIZE.size : end]), payload[end:]


def pack_request(request: EngineRequest, cors: Headers, body: bytes) -> bytes:
    """A GET or POST."""
    environ = request.environ
    facts = [environ.get(name, "") for name in _TRAVELLING]
    return pack([request.method, request.upgrade, facts, cors], body)


def unpack_request(payload: bytes, relayed: Relayed) -> tuple[EngineRequest, Headers, bytes]:
    """The mirror image; the headers are those of CORS.

    :raises ValueError: it is none.
    """
    (method, upgrade, facts, cors), body = unpack(payload)
    environ: Environ = dict(zip(_TRAVELLING, facts, strict=True))
    environ["REQUEST_METHOD"] = method
    request = EngineRequest(environ, method, parse_query(environ["QUERY_STRING"]), upgrade, relayed)
    return request, [(name, value) for name, value in cors], body


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


def unpack_handover(payload: bytes) -> Handover:
    """The mirror image.

    :raises ValueError: it is none.
    """
    (environ, size), rest = unpack(payload)
    return Handover(environ, rest[:size], rest[size:])


class Handshake(NamedTuple):
    """A request for a new session.

    :ivar environ: what the session keeps of it.
    :ivar cors: headers for its answer.
    :ivar accept: the 101, if it is for a WebSocket, else nothing.
    :ivar early: what the client sent behind it.
    """

    environ: Environ
    cors: Headers
    accept: bytes
    early: bytes


def pack_handshake(handshake: Handshake) -> bytes:
    """For NEW."""
    environ, cors, accept, early = handshake
    return pack([environ, cors, len(accept)], accept, early)


def unpack_handshake(payload: bytes) -> Handshake:
    """The mirror image.

    :raises ValueError: it is none.
    """
    (environ, cors, size), rest = unpack(payload)
    return Handshake(environ, [(name, value) for name, value in cors], rest[:size], rest[size:])


def pack_response(response: Response) -> bytes:
    """For ANSWER."""
    return pack([response.status, response.headers], response.body)


def unpack_response(payload: bytes) -> Response:
    """The mirror image.

    :raises ValueError: it is none.
    """
    (status, headers), body = unpack(payload)
    return Response(status, [(name, value) for name, value in headers], body)


# What the owner needs to know of a request's environ.
_TRAVELLING = ("QUERY_STRING", "HTTP_ACCEPT_ENCODING", "CONTENT_TYPE")
