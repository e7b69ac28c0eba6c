"""Socket.IO packets as MessagePack, for ``parser=``: what socket.io-msgpack-parser 3 speaks at the other end.

A packet is one binary message, the map ``{type, nsp[, data][, id]}`` in any order; bytes are inside the payload, so
there are no placeholders and no attachments. JavaScript's extras are those of notepack.io 2.2: ``d4 00`` is undefined,
``d7 00`` a Date, any other extension of type 0 an ArrayBuffer.

Needs the package msgpack (``pip install wsgi-sio[msgpack]``).
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from struct import Struct
from struct import error as StructError
from typing import Any, Final

import msgpack

from .jsoncodec import JSONCodec
from .packet import (
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAX_ATTACHMENTS,
    DecodeError,
    Packet,
    is_valid,
)

__all__ = ["Decoder", "Encoder"]

_TO_BINARY: Final = BINARY_EVENT - EVENT
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND: Final = timedelta(milliseconds=1)
_int64: Final = Struct(">q")


class Encoder:
    """Turns packets into messages. Has no state: one encoder may serve all threads."""

    __slots__ = ()

    def __init__(self, json: JSONCodec | None = None, max_attachments: int = MAX_ATTACHMENTS) -> None:
        """Both are what every parser is given: here is no JSON, and bytes are no attachments."""

    def encode(self, packet: Packet) -> list[str | bytes]:
        """Return the one message of the packet.

        Datetimes travel as Dates, integers beyond 64 bits as floats, lone surrogates as U+FFFD. Raises TypeError for a
        type that MessagePack lacks and for a datetime without a time zone, ValueError for circular or too deep nesting.
        """
        kind = packet.type
        fields: dict[str, Any] = {"type": kind - _TO_BINARY if kind > CONNECT_ERROR else kind}
        if packet.data is not None:
            fields["data"] = packet.data
        if packet.id is not None:
            fields["id"] = packet.id
        fields["nsp"] = packet.nsp
        try:
            return [msgpack.packb(fields, default=_extension, unicode_errors="surrogatepass")]
        except RecursionError:  # of its version in Python; the one in C raises a ValueError itself
            raise ValueError("recursion limit exceeded") from None


def _extension(value: object) -> Any:
    """What stands for a value that the packer does not know."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise TypeError("a datetime without a time zone is no point in time")
        return msgpack.ExtType(0, _int64.pack((value - _EPOCH) // _MILLISECOND))
    if isinstance(value, int):
        try:
            return float(value)  # all that a number is in JavaScript
        except OverflowError:
            raise ValueError("an integer is too large") from None
    raise TypeError(f"object of type {type(value).__name__} is not MessagePack serializable")


class Decoder:
    """Turns the messages of one connection into packets. Has no state."""

    __slots__ = ()

    def __init__(self, json: JSONCodec | None = None, max_attachments: int = MAX_ATTACHMENTS) -> None:
        """Both are what every parser is given: here is no JSON, and bytes are no attachments."""

    def add(self, data: str | bytes | bytearray | memoryview) -> Packet:
        """Take one message; return its packet. Raises DecodeError.

        A Date becomes a datetime in UTC; undefined None in a list and nothing in a map, as JSON would have it.
        """
        if isinstance(data, str):
            raise DecodeError("got text; does the client use the msgpack parser?")
        fields = _decode(bytes(data))
        if type(fields) is not dict:
            raise DecodeError("a packet is a map")
        kind: Any = fields.get("type")
        nsp = fields.get("nsp")
        ack_id: Any = fields.get("id")
        if not _is_integer(kind) or not CONNECT <= kind <= CONNECT_ERROR:
            raise DecodeError("unknown packet type")
        kind = int(kind)
        if type(nsp) is not str:
            raise DecodeError("invalid namespace")
        if "id" in fields:
            if not _is_integer(ack_id):
                raise DecodeError("illegal acknowledgement id")
            ack_id = int(ack_id)
        payload = fields.get("data")
        if not (is_valid(kind, payload) if "data" in fields else kind == CONNECT or kind == DISCONNECT):
            raise DecodeError("invalid payload")
        return Packet(kind, nsp, payload, ack_id)


def _is_integer(value: Any) -> bool:
    """Whether it is one in JavaScript, where 2.0 is."""
    return type(value) is int or (type(value) is float and value.is_integer())


# --- decoding MessagePack ---------------------------------------------------------------------------------------------

# The fast decoder makes room for as many items as a list claims to have, a thousand lists deep: so that this costs no
# more than reading each byte, lists of more than 256 items are only believed when the message has 16 bytes an item.
_FEW: Final = 256
_BYTES_PER_ITEM: Final = 16


class _NotSure(ValueError):
    """Raised out of the fast decoder by what it cannot tell apart."""


def _decode(data: bytes) -> Any:
    """Decode by the fast decoder; whatever makes it stumble, good or bad, is for the exact one to judge."""
    try:
        return msgpack.unpackb(
            data,
            timestamp=3,
            max_array_len=max(_FEW, len(data) // _BYTES_PER_ITEM),
            unicode_errors="replace",
            object_hook=_refuse_odd_keys,
            ext_hook=_array_buffer,
        )
    except (ValueError, OverflowError, RecursionError):
        pass
    try:
        reader = _Reader(data)
        value = reader.read()
        if reader.offset != len(data):
            raise DecodeError("bytes follow the packet")
        return value
    except (IndexError, StructError):
        raise DecodeError("the packet is incomplete") from None
    except RecursionError:
        raise DecodeError("nested too deeply") from None


def _refuse_odd_keys(fields: dict[Any, Any]) -> dict[Any, Any]:
    for key in fields:
        if type(key) is not str:
            raise _NotSure
    return fields


def _array_buffer(kind: int, data: bytes) -> Any:
    if kind == 0 and len(data) in (1, 8):  # or is it undefined or a Date, which only their headers tell?
        raise _NotSure
    return data if kind == 0 else [kind, data]


_UNDEFINED: Final = object()

_NUMBERS: Final = {
    0xCA: Struct(">f"),
    0xCB: Struct(">d"),
    0xCC: Struct(">B"),
    0xCD: Struct(">H"),
    0xCE: Struct(">I"),
    0xCF: Struct(">Q"),
    0xD0: Struct(">b"),
    0xD1: Struct(">h"),
    0xD2: Struct(">i"),
    0xD3: _int64,
}
_LENGTHS: Final = (Struct(">B"), Struct(">H"), Struct(">I"))
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}


class _Reader:
    """The exact decoder: what notepack.io makes of each form, as far as Python has it."""

    __slots__ = ("_data", "offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def read(self) -> Any:
        """The next value. Raises DecodeError; IndexError and struct.error where the data end."""
        head = self._data[self.offset]
        self.offset += 1
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head < 0x90:
            return self._map(head & 0x0F)
        if head < 0xA0:
            return self._list(head & 0x0F)
        if head < 0xC0:
            return self._text(head & 0x1F)
        if head in _CONSTANTS:
            return _CONSTANTS[head]
        if head in _NUMBERS:
            return self._number(_NUMBERS[head])
        if head < 0xC4:
            raise DecodeError("no MessagePack")
        if head < 0xC7:
            return self._bytes(self._number(_LENGTHS[head - 0xC4]))
        if head < 0xCA:
            return self._extension(self._number(_LENGTHS[head - 0xC7]))
        if head < 0xD9:
            return self._fixed_extension(1 << (head - 0xD4))
        if head < 0xDC:
            return self._text(self._number(_LENGTHS[head - 0xD9]))
        if head < 0xDE:
            return self._list(self._number(_LENGTHS[head - 0xDB]))
        return self._map(self._number(_LENGTHS[head - 0xDD]))

    def _number(self, form: Struct) -> Any:
        (number,) = form.unpack_from(self._data, self.offset)
        self.offset += form.size
        return number

    def _bytes(self, length: int) -> bytes:
        data = self._data[self.offset : self.offset + length]
        if len(data) < length:
            raise IndexError
        self.offset += length
        return data

    def _text(self, length: int) -> str:
        return self._bytes(length).decode(errors="replace")

    def _list(self, length: int) -> list[Any]:
        values = (self.read() for _ in range(length))
        return [None if value is _UNDEFINED else value for value in values]

    def _map(self, length: int) -> dict[str, Any]:
        fields = {}
        for _ in range(length):
            key, value = _as_key(self.read()), self.read()
            if value is not _UNDEFINED:
                fields[key] = value
        return fields

    def _extension(self, length: int) -> Any:
        kind = self._number(_NUMBERS[0xD0])
        data = self._bytes(length)
        if kind == 0:
            return data
        return _timestamp(data) if kind == -1 else [kind, data]

    def _fixed_extension(self, length: int) -> Any:
        value = self._extension(length)
        if length == 1 and type(value) is bytes:
            return _UNDEFINED
        if length == 8 and type(value) is bytes:
            return _date(1000 * _int64.unpack(value)[0])
        return value


def _as_key(value: Any) -> str:
    """What JavaScript makes of a key; only texts may become keys, since integers can be chosen so that they collide."""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if type(value) is bytes:
        return value.decode(errors="replace")
    raise DecodeError("a map's key is no text")


def _date(microseconds: int) -> datetime:
    """The time so long after 1970; the nearest there is, where it is outside of the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return (datetime.max if microseconds > 0 else datetime.min).replace(tzinfo=timezone.utc)


def _timestamp(data: bytes) -> datetime:
    """MessagePack's own extension, which notepack.io 3 and others write for a Date."""
    try:
        return _date(msgpack.Timestamp.from_bytes(data).to_unix_nano() // 1000)
    except ValueError:
        raise DecodeError("no timestamp") from None
