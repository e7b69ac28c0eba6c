"""The client's end of a WebSocket: the server's transport with the roles changed, so every frame is masked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...engineio.packet import NOOP, Packet, to_utf8
from ...engineio.takeover import ClientSocket
from ...engineio.websocket import Owner, WebSocketTransport
from ...websocket.frames import BINARY, PONG, TEXT, encode_frame
from .handshake import open_websocket
from .wires import Wires

if TYPE_CHECKING:
    from .engine import EngineClient


class ClientWebSocket(WebSocketTransport):
    """See the module's text.

    :param owner: who gets what comes; the engine itself, once the WebSocket is its transport.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: EngineClient, owner: Owner, sock: ClientSocket) -> None:
        super().__init__(engine, sock, engine.reactor, engine.options.max_message_size)
        self._engine = engine
        self.owner = owner
        engine.living.add(self)

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


def connect_websocket(engine: EngineClient, owner: Owner, wires: Wires) -> tuple[ClientWebSocket, bytes]:
    """Open a WebSocket for ``owner``, blocking; :meth:`ClientWebSocket.start` then wants the bytes that came along.

    :raises ConnectionFailed: it was not possible.
    """
    sock, early = open_websocket(engine.address, engine.id, engine.memory, wires)
    return ClientWebSocket(engine, owner, sock), early
