"""Wire forms of Engine.IO protocol 3, which Socket.IO v2 clients speak; the packets are those of the packet module.

It differs from protocol 4 in three points: binary messages carry their type (a byte in binary, a digit after ``b`` in
base64); a text payload is ``<length>:<packet>`` repeated, the length in UTF-16 code units; and there is a binary
payload, per packet ``0`` (string) or ``1`` (binary), the length in bytes as one byte per decimal digit, ``0xFF``, the
packet.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterator, Sequence

from .packet import NOOP, TYPES, Packet, PacketError, decode_base64, decode_packet, until_error

__all__ = ["decode_packet_v3", "decode_payload_v3", "encode_packet_v3", "encode_payload_v3", "packets_of_v3"]

# More digits than any body's length has; a bound, so that a hostile header costs no time.
_MAX_LENGTH_DIGITS = 15


def encode_packet_v3(packet: Packet, binary: bool) -> str | bytes:
    """Return the packet as a WebSocket message; bytes become base64 text unless ``binary`` is true."""
    if binary and isinstance(packet.data, bytes):
        return bytes((packet.type,)) + packet.data
    return _text(packet)


def _text(packet: Packet) -> str:
    if isinstance(packet.data, bytes):
        return f"b{packet.type}{b2a_base64(packet.data, newline=False).decode('ascii')}"
    return packet.text()


def decode_packet_v3(data: str | bytes | bytearray | memoryview) -> Packet:
    """Decode one packet from a WebSocket message or a payload's member. Raises PacketError."""
    if isinstance(data, str):
        if not data.startswith("b"):
            return decode_packet(data)
        if data[1:2] not in TYPES:
            raise PacketError(f"unknown packet type {data[1:2]!r}")
        return Packet(TYPES[data[1:2]], decode_base64(data, 2))
    data = bytes(data)
    if not data or data[0] > NOOP:
        raise PacketError(f"unknown packet type {data[:1]!r}" if data else "empty packet")
    return Packet(data[0], data[1:])


def encode_payload_v3(packets: Sequence[Packet], binary: bool) -> str | bytes:
    """Return a polling payload: bytes when the client takes binary and a packet holds some, else text."""
    if binary and any(isinstance(packet.data, bytes) for packet in packets):
        return b"".join([_binary_member(packet) for packet in packets])
    return "".join([_text_member(packet) for packet in packets]) or "0:"


def _text_member(packet: Packet) -> str:
    text = _text(packet)
    units = len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
    return f"{units}:{text}"


def _binary_member(packet: Packet) -> bytes:
    encoded = encode_packet_v3(packet, binary=True)
    kind, body = (b"\x00", encoded.encode()) if isinstance(encoded, str) else (b"\x01", encoded)
    return kind + bytes(map(int, str(len(body)))) + b"\xff" + body


def packets_of_v3(body: str | bytes) -> Iterator[Packet]:
    """Decode a polling payload, text or binary, packet by packet, each when it is asked for.

    Raises PacketError at the first bad one; those before it are to be delivered all the same.
    """
    if not body:
        raise PacketError("empty payload")
    try:
        for member in _text_members(body) if isinstance(body, str) else _binary_members(body):
            if member:
                yield decode_packet_v3(member)
    except UnicodeError as error:
        raise PacketError(f"bad text in payload: {error}") from None


def decode_payload_v3(body: str | bytes) -> tuple[list[Packet], PacketError | None]:
    """Decode a whole polling payload; see :func:`wsgi_sio.engineio.packet.decode_payload`."""
    return until_error(packets_of_v3(body))


def _text_members(body: str) -> Iterator[str]:
    # In UTF-16 a length in code units is a length in bytes, so that cutting needs no counting.
    units = body.encode("utf-16-le")
    start = 0
    while start < len(units):
        colon = units.find(b":\0", start, start + 2 * _MAX_LENGTH_DIGITS + 2)
        digits = units[start:colon].decode("utf-16-le") if colon > start else ""
        if not (digits.isascii() and digits.isdecimal()):
            raise PacketError("bad length in payload")
        start = colon + 2
        end = start + 2 * int(digits)
        yield _cut(units, start, end).decode("utf-16-le")
        start = end


def _binary_members(body: bytes) -> Iterator[str | bytes]:
    start = 0
    while start < len(body):
        mark = body.find(b"\xff", start, start + _MAX_LENGTH_DIGITS + 2)
        digits = body[start + 1 : mark] if mark > start else b""
        if not digits or max(digits) > 9 or body[start] > 1:
            raise PacketError("bad length in payload")
        is_text = body[start] == 0
        start = mark + 1
        end = start + int("".join(map(str, digits)))
        member = _cut(body, start, end)
        yield member.decode() if is_text else member
        start = end


def _cut(body: bytes, start: int, end: int) -> bytes:
    if end > len(body):
        raise PacketError("payload is shorter than its lengths say")
    return body[start:end]
