"""Offsets: put behind the arguments of encoded events, and taken off again, as a rule without encoding them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engineio.packet import MESSAGE
from ..engineio.packet import Packet as EnginePacket
from .encoded_events import decode, messages_of
from .packet import EVENT, Packet
from .parser import JSON_PARSER

if TYPE_CHECKING:
    from .interfaces import ServerInterface

Batch = list[EnginePacket]


class Offsets:
    """Offsets in the encoded events of one server; JSON writes them as they are."""

    __slots__ = ("_cut", "_server")

    def __init__(self, server: ServerInterface) -> None:
        self._server = server
        self._cut = server.parser is JSON_PARSER  # the text of an event ends with the list of its arguments

    def add(self, event: Batch, offset: str) -> Batch:
        """``event``, an encoded one, with ``offset`` as its last argument."""
        first = event[0]
        text = first.data
        if self._cut and isinstance(text, str) and text[-1:] == "]":
            return [EnginePacket(MESSAGE, f'{text[:-1]},"{offset}"]', first.compress), *event[1:]]
        packet = self._decode(event)
        return self._server.encode(Packet(EVENT, packet.nsp, [*packet.data, offset]), first.compress)

    def remove(self, event: Batch, offset: str) -> Batch:
        """``event`` without its last argument, which is ``offset``."""
        first, end = event[0], f',"{offset}"]'
        text = first.data
        if self._cut and isinstance(text, str) and text.endswith(end):
            return [EnginePacket(MESSAGE, f"{text[: -len(end)]}]", first.compress), *event[1:]]
        packet = self._decode(event)
        return self._server.encode(Packet(EVENT, packet.nsp, packet.data[:-1]), first.compress)

    def _decode(self, event: Batch) -> Packet:
        return decode(self._server, messages_of(event))
