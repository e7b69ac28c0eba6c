"""Sessions whose binary messages look otherwise than everybody's on a WebSocket, as base64 or with a type in front:
each gets a frame of its own.

Text looks the same to all, so the frames of what is broadcast are shared; the transports need not know.
"""

from __future__ import annotations

from collections.abc import Callable

from ..websocket.frames import TEXT, encode_frame
from .packet import Packet
from .session import Session


class FramedSession(Session):
    """See the module's text."""

    __slots__ = ()

    def send(self, packets: list[Packet], *, volatile: bool = False, patient: bool = False) -> bool:
        return super().send(self._framed(packets), volatile=volatile, patient=patient)

    def reserve(self, packets: list[Packet], *, patient: bool = False) -> Callable[[], None]:
        return super().reserve(self._framed(packets), patient=patient)

    def _framed(self, packets: list[Packet]) -> list[Packet]:
        return [
            Packet(packet.type, packet.data, packet.compress, self._frame(packet))
            if type(packet.data) is bytes
            else packet
            for packet in packets
        ]

    def _frame(self, packet: Packet) -> bytes:
        """The frame of a binary message."""
        raise NotImplementedError


class Base64Session(FramedSession):
    """One that has asked for text instead of bytes (``b64`` in its URL; Engine.IO protocol 4, "Packet encoding")."""

    __slots__ = ()

    def _frame(self, packet: Packet) -> bytes:
        return encode_frame(TEXT, packet.text().encode())
