"""The WebSocket's opening handshake, the client's side: DNS, TCP, proxy, TLS, HTTP (RFC 6455, section 4.1).

It blocks, so it belongs into a task of its own; :class:`Wires` lets another thread end it.  The HTTP is wsproto's,
which simple-websocket is built on.
"""

from __future__ import annotations

import _socket
import ssl
from contextlib import ExitStack
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import ProtocolError

from ..engineio.takeover import ClientSocket, TLSSocket
from ..exceptions import ConnectionFailed
from .address import Address, basic_authorization
from .memory import Memory
from .wires import Wires, connect_tcp, limit

# What is kept of an answer: its head must fit, its body is cut (bytes).
_MAX_HEAD = 65536
_MAX_BODY = 65536


def open_websocket(address: Address, sid: str, memory: Memory, wires: Wires) -> tuple[ClientSocket, bytes]:
    """Connect and shake hands; the non-blocking socket, and what the server sent behind its 101.

    :param sid: of the session to upgrade; empty for a new one.
    :param memory: has the cookies and the TLS settings.
    :raises ConnectionFailed: with the status and text of the server's refusal, if there was one.
    """
    timeout = address.options.timeout
    deadline = None if timeout is None else monotonic() + timeout
    try:
        with ExitStack() as unwound:
            sock = _connect(address, memory, wires, deadline, unwound)
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


# -- the way to the server ------------------------------------------------------------------------------------------


def _connect(address: Address, memory: Memory, wires: Wires, deadline: float | None, unwound: ExitStack) -> Any:
    proxy = address.proxy()
    if proxy is None:
        sock = connect_tcp(address.host, address.port, wires, deadline)
    else:
        parts = urlsplit(proxy)
        if parts.scheme != "http" or not parts.hostname:
            raise ConnectionFailed(f"a WebSocket can go through an http:// proxy only, not {parts.scheme}://")
        sock = connect_tcp(parts.hostname, parts.port or 80, wires, deadline)
    unwound.callback(sock.close)
    if proxy is not None:
        _tunnel(sock, address, basic_authorization(parts.username, parts.password), deadline)
    if address.secure:
        limit(sock, deadline)
        wires.remove(sock)
        sock = memory.tls_context().wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False)
        unwound.callback(sock.close)
        wires.add(sock)
        sock.do_handshake()
    return sock


def _tunnel(sock: Any, address: Address, authorization: str | None, deadline: float | None) -> None:
    """Ask an HTTP proxy for a way through (RFC 9110, section 9.3.6)."""
    where = f"[{address.host}]" if ":" in address.host else address.host
    where = f"{where}:{address.port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if authorization is not None:
        lines.append(f"Proxy-Authorization: {authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head, _ = _read_head(sock, deadline, chunk=1)  # what follows the head belongs to the server
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/") or not status[1].startswith(b"2"):
        line = b" ".join(status).decode("latin-1")
        raise ConnectionFailed(f"websocket error: the proxy refuses the tunnel: {line[:100]!r}")


def _read_head(sock: Any, deadline: float | None, chunk: int = 4096) -> tuple[bytes, bytes]:
    """Read an answer up to the empty line; its head with that line, and what came behind."""
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > _MAX_HEAD:
            raise ConnectionFailed(f"websocket error: the answer's head is longer than {_MAX_HEAD} bytes")
        more = _receive(sock, deadline, chunk)
        if not more:
            raise ConnectionFailed("websocket error: the server closed the connection without an answer")
        data += more
    head, line, rest = data.partition(b"\r\n\r\n")
    return head + line, rest


def _receive(sock: Any, deadline: float | None, size: int = 4096) -> bytes:
    limit(sock, deadline)
    data: bytes = sock.recv(size)
    return data


# -- HTTP -----------------------------------------------------------------------------------------------------------


def _shake_hands(sock: Any, address: Address, sid: str, memory: Memory, deadline: float | None) -> bytes:
    wire = WSConnection(ConnectionType.CLIENT)
    headers = address.headers()
    cookies = memory.cookie_header(address.url("websocket", ""))
    if cookies is not None:
        headers.setdefault("Cookie", cookies)
    request = Request(
        host=headers.pop("Host", address.netloc),
        target=address.target("websocket", sid),
        subprotocols=list(address.options.protocols),
        extra_headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    )
    sock.sendall(wire.send(request))
    head, rest = _read_head(sock, deadline)
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


def _refusal(event: RejectConnection, body: str) -> ConnectionFailed:
    status = event.status_code
    location = next((value for name, value in event.headers if name.lower() == b"location"), None)
    hint = f", which redirects to {location.decode('latin-1')!r}" if location is not None else ""
    return ConnectionFailed(f"websocket error: the server answered {status}{hint}", status, body)
