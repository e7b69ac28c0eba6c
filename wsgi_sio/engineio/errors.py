"""Refusals: the reference's error codes, and their answers."""

from __future__ import annotations

import json

from .response import Headers, Response

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

_JSON = ("Content-Type", "application/json")


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
