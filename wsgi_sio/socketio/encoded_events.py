"""Events that are encoded already, perhaps by another process: the messages that each client gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..engineio.packet import MESSAGE
from ..engineio.packet import Packet as EnginePacket
from .packet import EVENT, DecodeError, Packet

if TYPE_CHECKING:
    from .interfaces import ServerInterface


def wrap(parts: Iterable[str | bytes], compress: bool) -> list[EnginePacket]:
    """What :meth:`Server.encode` gives, if these are an event's messages."""
    return [EnginePacket(MESSAGE, part, compress) for part in parts]


def messages_of(event: Iterable[EnginePacket]) -> list[str | bytes]:
    """The mirror image."""
    return [packet.data for packet in event if packet.data is not None]


def decode(server: ServerInterface, parts: Iterable[str | bytes]) -> Packet:
    """The event of which these are the messages, by the parser of ``server``.

    :raises DecodeError: a ValueError: they are not.
    """
    decoder = server.parser.Decoder(server.json, server.max_attachments)
    packets = [packet for part in parts if (packet := decoder.add(part)) is not None]
    if len(packets) != 1 or packets[0].type != EVENT:
        raise DecodeError("not one event")
    return packets[0]
