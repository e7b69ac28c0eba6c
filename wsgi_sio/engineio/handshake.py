"""The opening handshake of a WebSocket, by simple-websocket (RFC 6455, section 4.2).

simple-websocket judges the request and composes the 101; it gets a stand-in for the socket, so nothing is sent and no
thread is started.  Then the extensions are taken out (none is offered in the data phase) and our own headers put in.
"""

from __future__ import annotations

import re
from typing import Any

import simple_websocket
from wsproto.utilities import ProtocolError

from ..logtext import quote
from .config import Environ
from .request import BAD_REQUEST, EngineError, Headers

_VERSION = "13"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


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
    if not _KEY.fullmatch(environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()):
        raise EngineError(BAD_REQUEST, "Sec-WebSocket-Key is not the base64 of 16 bytes")
    offered = [name.strip() for name in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",") if name.strip()]
    recorder = _Recorder()
    request = {key: value for key, value in environ.items() if key.startswith("HTTP_")}
    try:
        _Handshake(
            {**request, "werkzeug.socket": recorder},
            subprotocols=offered[:1],
            thread_class=_NoThread,
            event_class=_NoEvent,
        )
    except (ProtocolError, simple_websocket.ConnectionError, ValueError) as error:
        raise EngineError(BAD_REQUEST, f"no valid WebSocket handshake: {error}") from None
    lines = recorder.sent.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
    lines = [line for line in lines if not line.lower().startswith(b"sec-websocket-extensions:")]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class _Handshake(simple_websocket.Server):
    """The server half of the handshake and nothing else."""


class _Recorder:
    """Stands in for the client's socket and keeps what is sent."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data


class _NoEvent:
    def set(self) -> None:
        """Nobody waits."""

    def clear(self) -> None:
        """Nor here."""

    def wait(self, timeout: float | None = None) -> bool:
        return False


class _NoThread:
    """Stands in for the thread that would read the data phase."""

    name = ""

    def __init__(self, target: Any) -> None:
        """Keep nothing."""

    def start(self) -> None:
        """Start nothing."""
