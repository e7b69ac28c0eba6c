"""The client's end of a WebSocket: its opening handshake, and the server's transport with the roles changed.

The handshake (RFC 6455, section 4.1) blocks, so it belongs into a task of its own; :class:`BlockingSockets` lets
another thread end it.  Its HTTP is wsproto's, which simple-websocket is built on.  Then the reactor drives the
transport as it drives the server's, but every frame is masked.
"""

from __future__ import annotations

import os
import ssl
from contextlib import ExitStack
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import ProtocolError

from ...engineio.packet import NOOP, Packet, to_utf8
from ...engineio.websocket import Owner, WebSocketTransport
from ...exceptions import ConnectionFailed
from ...sockets import NonBlockingSocket, TLSSocket, own_descriptor
from ...websocket.frames import BINARY, PONG, TEXT, encode_frame
from .http_session import HTTPSession
from .interfaces import Engine
from .proxy import choose_proxy
from .tcp import BlockingSockets, deadline_after, limit, read_head
from .url import Address

# What is kept of the text of a refusal (bytes).
_MAX_BODY = 65536


class ClientWebSocket(WebSocketTransport):
    """The transport.

    :param owner: who gets what comes; the engine itself, once the WebSocket is its transport.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine, owner: Owner, sock: NonBlockingSocket) -> None:
        super().__init__(engine, sock, engine.reactor, engine.options.max_message_size)
        self._engine = engine
        self.owner = owner
        engine.tasks.add(self)

    def mask(self) -> bytes:
        return os.urandom(4)

    def encode(self, packets: list[Packet]) -> bytes:
        if len(packets) == 1:
            return packets[0].frame or _build_frame(packets[0])
        return b"".join([packet.frame or _build_frame(packet) for packet in packets])

    def _pong(self, data: bytes) -> None:
        pong = Packet(NOOP, frame=encode_frame(PONG, data, mask=os.urandom(4)))
        if self.owner is self._engine:
            self._engine.send_own(pong)
        else:
            self.write_alone(pong)

    def abort(self, code: int | None = None, *, baton: bool = False) -> None:
        if baton:
            self.finish(code)
        else:
            super().abort(code)

    def hurry(self) -> None:
        """Wait no longer for the server: what is being written breaks off, and the reader releases the rest."""
        super().abort()
        self._hang_up()


def _build_frame(packet: Packet) -> bytes:
    """The frame of ``packet``, with a mask of its own each time."""
    data = packet.data
    if isinstance(data, bytes):
        return encode_frame(BINARY, data, mask=os.urandom(4))
    return encode_frame(TEXT, to_utf8(f"{packet.type}{data or ''}"), mask=os.urandom(4))


# -- the opening handshake ------------------------------------------------------------------------------------------


def connect_websocket(engine: Engine, owner: Owner, sockets: BlockingSockets) -> tuple[ClientWebSocket, bytes]:
    """Open a WebSocket for ``owner``, blocking; :meth:`ClientWebSocket.start` then wants the bytes that came along.

    :raises ConnectionFailed: it was not possible.
    """
    sock, early = _open(engine.address, engine.id, engine.http_session, sockets)
    return ClientWebSocket(engine, owner, sock), early


def _open(
    address: Address, sid: str, session: HTTPSession, sockets: BlockingSockets
) -> tuple[NonBlockingSocket, bytes]:
    """Connect and shake hands; the non-blocking socket, and what the server sent behind its 101.

    :param sid: of the session to upgrade; empty for a new one.
    :param session: has the cookies and the TLS settings.
    :raises ConnectionFailed: with the status and text of the server's refusal, if there was one.
    """
    deadline = deadline_after(address.options.timeout)
    try:
        sock = session.connect(address, choose_proxy(address), sockets, deadline, tunnel=True)
        with ExitStack() as unwound:
            unwound.callback(sock.close)
            early = _shake_hands(sock, address, sid, session, deadline)
            while address.secure and sock.pending():  # decrypted already: the descriptor would not tell
                early += sock.recv(sock.pending())
            sockets.remove(sock)
            unwound.pop_all()
    except ConnectionFailed:
        raise
    except (OSError, ValueError, ProtocolError) as error:  # ValueError: idna, and TLS's embedded nulls
        raise ConnectionFailed(f"websocket error: {error or type(error).__name__}") from error
    return _for_the_reactor(sock), early


def _for_the_reactor(sock: Any) -> NonBlockingSocket:
    if isinstance(sock, ssl.SSLSocket):
        return TLSSocket(sock)
    return own_descriptor(sock.detach())  # without gevent's wrapper, which we have no use for


# -- its HTTP -------------------------------------------------------------------------------------------------------


def _shake_hands(sock: Any, address: Address, sid: str, session: HTTPSession, deadline: float | None) -> bytes:
    wire = WSConnection(ConnectionType.CLIENT)
    headers = address.headers()
    cookies = session.cookie_header(address.url("websocket", ""))
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
