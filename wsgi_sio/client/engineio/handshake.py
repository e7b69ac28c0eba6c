"""The WebSocket's opening handshake, the client's side (RFC 6455, section 4.1).

It blocks, so it belongs into a task of its own; :class:`Wires` lets another thread end it.  The HTTP is wsproto's,
which simple-websocket is built on.
"""

from __future__ import annotations

import _socket
import ssl
from contextlib import ExitStack
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import ProtocolError

from ...engineio.takeover import ClientSocket, TLSSocket
from ...exceptions import ConnectionFailed
from .address import Address
from .dial import deadline_after, dial, limit, read_head
from .memory import Memory
from .wires import Wires

# What is kept of the text of a refusal (bytes).
_MAX_BODY = 65536


def open_websocket(address: Address, sid: str, memory: Memory, wires: Wires) -> tuple[ClientSocket, bytes]:
    """Connect and shake hands; the non-blocking socket, and what the server sent behind its 101.

    :param sid: of the session to upgrade; empty for a new one.
    :param memory: has the cookies and the TLS settings.
    :raises ConnectionFailed: with the status and text of the server's refusal, if there was one.
    """
    deadline = deadline_after(address.options.timeout)
    try:
        sock = dial(address, address.proxy(), memory, wires, deadline, tunnel=True)
        with ExitStack() as unwound:
            unwound.callback(sock.close)
            early = _shake_hands(sock, address, sid, memory, deadline)
            while address.secure and sock.pending():  # decrypted already: the descriptor would not tell
                early += sock.recv(sock.pending())
            wires.remove(sock)
            unwound.pop_all()
    except ConnectionFailed:
        raise
    except (OSError, ValueError, ProtocolError) as error:  # ValueError: idna, and TLS's embedded nulls
        raise ConnectionFailed(f"websocket error: {error or type(error).__name__}") from error
    return _for_the_reactor(sock), early


def _for_the_reactor(sock: Any) -> ClientSocket:
    if isinstance(sock, ssl.SSLSocket):
        return TLSSocket(sock)
    plain = _socket.socket(fileno=sock.detach())  # without gevent's wrapper, which we have no use for
    plain.setblocking(False)
    return plain


# -- HTTP -----------------------------------------------------------------------------------------------------------


def _shake_hands(sock: Any, address: Address, sid: str, memory: Memory, deadline: float | None) -> bytes:
    wire = WSConnection(ConnectionType.CLIENT)
    headers = address.headers()
    cookies = memory.cookie_header(address.url("websocket", ""))
    if cookies is not None:
        headers.setdefault("Cookie", cookies)
    request = Request(
        host=headers.pop("Host"),
        target=address.target("websocket", sid),
        subprotocols=list(address.options.protocols),
        extra_headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    )
    sock.sendall(wire.send(request))
    head, rest = read_head(sock, deadline)
    wire.receive_data(head)
    for event in wire.events():
        if isinstance(event, AcceptConnection):
            return rest
        if isinstance(event, RejectConnection):
            raise _refusal(event, _read_body(sock, wire, rest, deadline))
    raise ConnectionFailed("websocket error: the server's answer is no HTTP")


def _read_body(sock: Any, wire: WSConnection, data: bytes, deadline: float | None) -> str:
    """The beginning of a refusal's text, as much as comes."""
    body = b""
    try:
        data = data or _receive(sock, deadline)
        while len(body) < _MAX_BODY:
            wire.receive_data(data or None)  # None: the end of the stream
            for event in wire.events():
                if isinstance(event, RejectData):
                    body += event.data
                    if event.body_finished:
                        return body.decode("utf-8", "replace")
            if not data:
                break
            data = _receive(sock, deadline)
    except (OSError, ProtocolError):
        pass  # the refusal counts, with what there is of its text
    return body[:_MAX_BODY].decode("utf-8", "replace")


def _receive(sock: Any, deadline: float | None) -> bytes:
    limit(sock, deadline)
    data: bytes = sock.recv(4096)
    return data


def _refusal(event: RejectConnection, body: str) -> ConnectionFailed:
    status = event.status_code
    location = next((value for name, value in event.headers if name.lower() == b"location"), None)
    hint = f", which redirects to {location.decode('latin-1')!r}" if location is not None else ""
    return ConnectionFailed(f"websocket error: the server answered {status}{hint}", status, body)
