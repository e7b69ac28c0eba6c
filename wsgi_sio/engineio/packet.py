"""Engine.IO packets and their wire forms, protocol 4 (Engine.IO protocol, "Packet encoding"; protocol 3 is in
packet_v3).

A packet is a type and a payload. On a WebSocket one frame carries one packet: text ``<type><data>``, or a binary
frame that holds the bytes of a message and no type. Over polling, packets travel as text joined by U+001E, bytes as
``b<base64>``.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = [
    "CLOSE",
    "MESSAGE",
    "NOOP",
    "OPEN",
    "PING",
    "PONG",
    "UPGRADE",
    "Packet",
    "PacketError",
    "decode_packet",
    "decode_payload",
    "encode_payload",
    "packets_of",
    "to_utf8",
]

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = range(7)

SEPARATOR = "\x1e"

_DIGITS = "0123456"
TYPES = {digit: kind for kind, digit in enumerate(_DIGITS)}


class PacketError(ValueError):
    """What the peer sent is no Engine.IO packet or payload; the session ends with "parse error"."""


@dataclass(slots=True)
class Packet:
    """One Engine.IO packet: to be treated as immutable, since a broadcast shares one between many sessions.

    ``data`` is the payload (bytes only in a MESSAGE), ``compress`` whether a transport may compress it. ``frame``
    belongs to the WebSocket transport, which keeps the ready-made server frame there.
    """

    type: int
    data: str | bytes | None = None
    compress: bool = True
    frame: bytes | None = field(default=None, repr=False, compare=False)
    _text: str | None = field(default=None, init=False, repr=False, compare=False)

    def text(self) -> str:
        """Return the packet as text, as polling needs it: ``4hello``, or ``b`` and base64 for bytes. Made once."""
        text = self._text
        if text is None:
            text = self._text = self._encode()
        return text

    def _encode(self) -> str:
        data = self.data
        if data is None:
            return _DIGITS[self.type]
        if isinstance(data, str):
            return _DIGITS[self.type] + data
        return "b" + b2a_base64(data, newline=False).decode("ascii")

    @property
    def size(self) -> int:
        """The payload's length plus one for the type: characters for text, bytes for binary. Costs O(1)."""
        data = self.data
        return 1 if data is None else len(data) + 1


def to_utf8(text: str) -> bytes:
    """Encode what goes on the wire; a lone surrogate, which UTF-8 cannot carry, becomes U+FFFD as it does in Node."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def decode_packet(data: str | bytes | bytearray | memoryview) -> Packet:
    """Decode one packet from a WebSocket message, or one member of a polling payload.

    A MESSAGE always has data, perhaps ``""``; any other packet has None where nothing follows its type.
    Raises PacketError when the type is unknown or the base64 is broken.
    """
    if not isinstance(data, str):
        return Packet(MESSAGE, bytes(data))
    kind = TYPES.get(data[:1])
    if kind is None:
        if data.startswith("b"):
            return Packet(MESSAGE, decode_base64(data, 1))
        raise PacketError(f"unknown packet type {data[:1]!r}" if data else "empty packet")
    text = data[1:]
    return Packet(kind, text if text or kind == MESSAGE else None)


def encode_payload(packets: Iterable[Packet]) -> str:
    """Return the polling payload that carries ``packets``, in their order."""
    return SEPARATOR.join([packet.text() for packet in packets])


def packets_of(text: str) -> Iterator[Packet]:
    """Decode a polling payload packet by packet, each when it is asked for: a payload may hold very many.

    Raises PacketError at the first bad one; those before it are to be delivered all the same.
    """
    start = 0
    while (end := text.find(SEPARATOR, start)) >= 0:
        yield decode_packet(text[start:end])
        start = end + 1
    yield decode_packet(text[start:] if start else text)


def decode_payload(text: str) -> tuple[list[Packet], PacketError | None]:
    """Decode a whole polling payload; decoding stops at the first bad packet.

    Returns the packets before it, to be delivered all the same, and the error that ends the session (None: all was
    well).
    """
    return until_error(packets_of(text))


def until_error(packets: Iterator[Packet]) -> tuple[list[Packet], PacketError | None]:
    """The packets that come before the first bad one, and what is wrong with that."""
    good: list[Packet] = []
    try:
        for packet in packets:  # not extend(), which compiled would forget those before the bad one
            good.append(packet)
    except PacketError as error:
        return good, error
    return good, None


def decode_base64(text: str, start: int) -> bytes:
    """Decode base64 from ``start``, as leniently as Node: line breaks and missing padding are fine.

    Raises PacketError for non-ASCII text or an impossible length.
    """
    try:
        return a2b_base64(text[start:] + "==")
    except (Base64Error, ValueError) as error:
        raise PacketError(f"bad base64: {error}") from None
