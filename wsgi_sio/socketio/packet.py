"""Socket.IO packets and their wire form, protocol 5 (Socket.IO protocol, "Packet encoding").

A packet is ``<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]``. Bytes inside the payload are left out of the
JSON: ``{"_placeholder":true,"num":i}`` stands for the i-th of the binary messages that follow the text.

This is the hot path of every message, so it is written for speed: one pass, few calls, no look ahead for rare things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..compiled import mypyc_attr
from .jsoncodec import BinaryFound, JSONCodec, detach_bytes, dumps_of, loads_of

__all__ = [
    "ACK",
    "BINARY_ACK",
    "BINARY_EVENT",
    "CONNECT",
    "CONNECT_ERROR",
    "DISCONNECT",
    "EVENT",
    "MAX_ATTACHMENTS",
    "RESERVED_EVENTS",
    "DecodeError",
    "Decoder",
    "Encoder",
    "Packet",
]

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

RESERVED_EVENTS = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)

_TYPES = {str(kind): kind for kind in range(7)}
_TO_BINARY = BINARY_EVENT - EVENT

# How many attachments a packet may have unless both ends agree on more: JavaScript's end the connection above that.
MAX_ATTACHMENTS = 10

# 2**53 has 16 digits: JavaScript counts no further, so no peer that Node understands sends a longer number.
_MAX_DIGITS = 16
_match_digits = re.compile("[0-9]*").match


class DecodeError(ValueError):
    """What the peer sent is no Socket.IO packet; the connection is to be closed."""


@dataclass(slots=True)
class Packet:
    """One Socket.IO packet. ``type`` is CONNECT to CONNECT_ERROR: whether bytes are inside is the codec's business.

    ``data`` is a list for EVENT and ACK, a dict or None for CONNECT, a dict or a str for CONNECT_ERROR. ``id`` asks
    for an acknowledgement (EVENT) or names the event that is acknowledged (ACK).
    """

    type: int
    nsp: str = "/"
    data: Any = None
    id: int | None = None


# --- encoding ---------------------------------------------------------------------------------------------------------


@mypyc_attr(allow_interpreted_subclasses=True)
class Encoder:
    """Turns packets into messages. Has no state: one encoder may serve all threads."""

    __slots__ = ("_dumps", "_max_attachments")

    def __init__(self, json: JSONCodec | None = None, max_attachments: int = MAX_ATTACHMENTS) -> None:
        """Encode JSON with ``json.dumps`` (None or the json module: the fast codec), refusing more attachments a
        packet.
        """
        self._dumps = dumps_of(json)
        self._max_attachments = max_attachments

    def encode(self, packet: Packet) -> list[str | bytes]:
        """Return the packet's text, then its attachments: bytes, bytearrays and memoryviews in depth-first order.

        Raises TypeError for a type that JSON lacks (and for bytes as a dict's key or outside EVENT and ACK),
        ValueError for circular or too deep nesting, an integer of thousands of digits, too many attachments.
        """
        kind, nsp, data, ack_id = packet.type, packet.nsp, packet.data, packet.id
        if kind > CONNECT_ERROR:
            kind -= _TO_BINARY
        head = "" if nsp == "/" else f"{nsp},"
        if ack_id is not None:
            head = f"{head}{ack_id}"
        if data is None:
            return [f"{kind}{head}"]
        try:
            return [f"{kind}{head}{self._dumps(data)}"]
        except BinaryFound:
            return self._encode_binary(kind, head, data)

    def _encode_binary(self, kind: int, head: str, data: Any) -> list[str | bytes]:
        if kind != EVENT and kind != ACK:
            raise TypeError("only the arguments of an event or an acknowledgement may hold bytes")
        attachments: list[str | bytes] = []
        try:
            text = self._dumps(detach_bytes(data, attachments))
        except RecursionError:
            raise ValueError("circular reference, or nested too deeply for JSON") from None
        count = len(attachments)
        limit = self._max_attachments
        if count > limit:
            raise ValueError(
                f"{count} attachments (bytes values) in a packet are more than max_attachments={limit}, above which"
                " the other end would close the connection; join them, send several events, or raise max_attachments"
                " at both ends"
            )
        return [f"{kind + _TO_BINARY}{count}-{head}{text}", *attachments]


# --- decoding ---------------------------------------------------------------------------------------------------------


@mypyc_attr(allow_interpreted_subclasses=True)
class Decoder:
    """Turns the messages of one connection into packets. After a DecodeError it is not to be used again."""

    __slots__ = ("_loads", "_max_attachments", "_partial")

    def __init__(self, json: JSONCodec | None = None, max_attachments: int = MAX_ATTACHMENTS) -> None:
        """Decode JSON with ``json.loads`` (None or the json module: the fast codec), refusing more attachments a
        packet.
        """
        self._loads = loads_of(json)
        self._max_attachments = max_attachments
        self._partial: _Partial | None = None

    def add(self, data: str | bytes | bytearray | memoryview) -> Packet | None:
        """Take one message; return the packet that it completes, None while attachments are missing.

        A binary event or acknowledgement comes out as EVENT or ACK, its bytes in place; the data of these two is
        always a list (empty where the peer sent none). Raises DecodeError.
        """
        if not isinstance(data, str):
            return self._add_attachment(bytes(data))
        if self._partial is not None:
            self._partial = None
            raise DecodeError("got plaintext data when reconstructing a packet")
        kind = _TYPES.get(data[:1])
        if kind is None:
            raise DecodeError(f"unknown packet type {data[:1]}" if data else "empty packet")
        if kind > CONNECT_ERROR:
            self._start_binary(kind - _TO_BINARY, data)
            return None
        return self._decode(kind, data, 1)

    def _decode(self, kind: int, text: str, start: int) -> Packet:
        """Decode what follows the type and attachments: namespace, id and payload."""
        nsp, ack_id = "/", None
        if text.startswith("/", start):
            comma = text.find(",", start)
            end = comma if comma >= 0 else len(text)
            nsp, start = text[start:end], end + 1
        digits = _match_digits(text, start)[0]  # type: ignore[index]
        if digits:
            if len(digits) > _MAX_DIGITS:
                raise DecodeError("illegal acknowledgement id")
            ack_id = int(digits)
            start += len(digits)
        if start < len(text):
            try:
                payload = self._loads(text, start)
            except ValueError as error:
                raise DecodeError("invalid payload") from error
            if not is_valid(kind, payload):
                raise DecodeError("invalid payload")
        else:
            payload = [] if kind == EVENT or kind == ACK else None
        return Packet(kind, nsp, payload, ack_id)

    def _start_binary(self, kind: int, text: str) -> None:
        """Decode the text of a binary packet and remember where its attachments go."""
        dash = text.find("-", 1)
        count = text[1:dash] if dash > 0 else ""
        if not (count.isascii() and count.isdecimal()) or not count.strip("0"):
            raise DecodeError("Illegal attachments")
        if len(count) > _MAX_DIGITS or int(count) > self._max_attachments:
            raise DecodeError(f"too many attachments: more than max_attachments={self._max_attachments}")
        packet = self._decode(kind, text, dash + 1)
        self._partial = _Partial(packet, int(count), _find_slots(packet.data, int(count)))

    def _add_attachment(self, data: bytes) -> Packet | None:
        partial = self._partial
        if partial is None:
            raise DecodeError("got binary data when not reconstructing a packet")
        partial.attachments.append(data)
        if len(partial.attachments) < partial.count:
            return None
        self._partial = None
        for container, key, num in partial.slots:
            container[key] = partial.attachments[num]
        return partial.packet


@dataclass(slots=True)
class _Partial:
    """A packet whose attachments are arriving; ``slots`` are its placeholders: (list or dict, index or key, number)."""

    packet: Packet
    count: int
    slots: list[tuple[Any, Any, int]]
    attachments: list[bytes] = field(default_factory=list)


def _find_slots(payload: Any, count: int) -> list[tuple[Any, Any, int]]:
    """Find the placeholders, without recursion; one whose number names no attachment is refused (CVE-2022-2421)."""
    slots = []
    containers = [payload]
    while containers:
        container = containers.pop()
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, dict) and value.get("_placeholder") is True:
                num = value.get("num")
                if type(num) is not int or not 0 <= num < count:
                    raise DecodeError("illegal attachments")
                slots.append((container, key, num))
            elif isinstance(value, (dict, list)):
                containers.append(value)
    return slots


def is_valid(kind: int, payload: Any) -> bool:
    """Tell whether a packet of this type may carry this payload."""
    if kind == EVENT:
        if type(payload) is not list or not payload:
            return False
        name = payload[0]
        return name not in RESERVED_EVENTS if type(name) is str else type(name) in (int, float)
    if kind == ACK:
        return isinstance(payload, list)
    if kind == CONNECT:
        return isinstance(payload, dict)
    return kind == CONNECT_ERROR and isinstance(payload, (dict, str))
