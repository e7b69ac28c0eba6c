"""Engine.IO's checks of requests, in the reference's order (``Server.verify``)."""

from __future__ import annotations

from typing import Any

from ..logtext import quote
from .config import EngineConfig
from .errors import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    FORBIDDEN,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_PROTOCOL_VERSION,
    EngineError,
)
from .request import EngineRequest
from .session import Session


def verify_any(request: EngineRequest, config: EngineConfig) -> None:
    """Check what is asked of every request.

    :raises EngineError: the request is to be refused.
    """
    transport = request.query.get("transport", "")
    if transport not in config.http_transports:
        raise EngineError(
            UNKNOWN_TRANSPORT, f"transport {quote(transport)} is not one of transports={config.http_transports}"
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
    ask_application(request, config)
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


def ask_application(request: EngineRequest, config: EngineConfig) -> None:
    """Let ``allow_request`` decide on a handshake.

    :raises EngineError: it is to be refused.
    """
    if config.allow_request is None:
        return
    verdict: Any = config.allow_request(request.environ)
    if verdict is None or verdict is True:
        return
    message = verdict if isinstance(verdict, str) else None
    raise EngineError(FORBIDDEN, "allow_request refused it", message)
