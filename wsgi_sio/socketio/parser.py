"""What a parser is: how Socket.IO packets are written as messages, and read again. packet.py is the usual one."""

from __future__ import annotations

from typing import Protocol

from . import packet
from .jsoncodec import JSONCodec
from .packet import Packet


class PacketEncoder(Protocol):
    """Turns a packet into messages; one serves all threads."""

    def encode(self, packet: Packet) -> list[str | bytes]: ...


class PacketDecoder(Protocol):
    """Turns the messages of one connection into packets; raises :class:`~wsgi_sio.socketio.packet.DecodeError`."""

    def add(self, data: str | bytes) -> Packet | None: ...


class Parser(Protocol):
    """An object, such as a module, with both; each is made with the options ``json`` and ``max_attachments``."""

    def Encoder(self, json: JSONCodec | None, max_attachments: int, /) -> PacketEncoder: ...

    def Decoder(self, json: JSONCodec | None, max_attachments: int, /) -> PacketDecoder: ...


JSON_PARSER: Parser = packet
