"""What Node's Redis streams adapter (0.3) writes: entries of a stream, and messages beside it.  Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from ....socketio.jsoncodec import BinaryFound
from ... import messages
from ...messages import Message

# The fields of an entry.
Fields = Mapping[bytes, bytes]

# The field that names the namespace.
TOPIC: Final = b"nsp"


def stream_of(nsp: str, name: str, count: int) -> str:
    """The stream of a namespace.

    Node's remainder may be negative, so some namespaces of its servers are in streams that nobody reads; they are here,
    where they are read as well.
    """
    return name if count == 1 else f"{name}-{_remainder(_hash_code(nsp), count)}"


def _hash_code(text: str) -> int:
    """Java's hash of a string, over its UTF-16 units."""
    units = text.encode("utf-16-le", "surrogatepass")
    value = 0
    for start in range(0, len(units), 2):
        value = (value * 31 + int.from_bytes(units[start : start + 2], "little")) & 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def _remainder(value: int, count: int) -> int:
    """JavaScript's: it has the sign of ``value``."""
    return value % count if value >= 0 else -(-value % count)


def is_ephemeral(message: Message) -> bool:
    """Whether a message goes by publish and subscribe, since nobody who comes later could answer it."""
    kind = message["type"]
    if kind == messages.BROADCAST:
        return message["data"].get("requestId") is not None
    return kind in (messages.SERVER_SIDE_EMIT, messages.FETCH_SOCKETS)


def in_order(message: Message) -> Message:
    """The message with its fields in Node's order."""
    return {key: message[key] for key in ("type", "data", "uid", "nsp") if key in message}


def pack_message(message: Message, dumps: Callable[[Any], str]) -> bytes:
    """Write what goes by publish and subscribe: MessagePack.

    :raises TypeError: something in it is neither JSON nor bytes.
    """
    import msgpack

    try:
        packed: bytes = msgpack.packb(in_order(message))
    except (TypeError, OverflowError):  # what only the server's own JSON can write, or numbers beyond 64 bits
        try:
            packed = msgpack.packb(json.loads(dumps(in_order(message)), parse_int=_bounded))
        except BinaryFound:
            raise TypeError("what holds bytes has to be made of JSON values beside them") from None
    return packed


def _bounded(digits: str) -> int | float:
    value = int(digits)
    return value if -(1 << 63) <= value < 1 << 64 else float(value)


def pack_data(data: dict[str, Any], dumps: Callable[[Any], str]) -> bytes:
    """Write the field ``data`` of an entry: JSON, or base64 of MessagePack if there are bytes in it.

    :raises TypeError: something in it is neither JSON nor bytes.
    """
    try:
        return dumps(data).encode()
    except BinaryFound:
        import msgpack

        return base64.b64encode(msgpack.packb(data))


def entry_of(message: Message, data: bytes | None) -> list[bytes]:
    """The fields of an entry and their values, in Node's order."""
    fields = [b"uid", message["uid"].encode(), TOPIC, message["nsp"].encode(), b"type", b"%d" % message["type"]]
    return fields if data is None else [*fields, b"data", data]


def message_of(fields: Fields) -> Message:
    """The mirror image.

    :raises ValueError: it is no message.
    """
    try:
        message: Message = {
            "uid": fields[b"uid"].decode(),
            "nsp": fields[TOPIC].decode(),
            "type": int(fields[b"type"]),
        }
        data = fields.get(b"data")
        if data:
            message["data"] = unpack_data(data)
    except (KeyError, binascii.Error) as error:
        raise ValueError("not a message of the cluster") from error
    return message


def unpack_data(data: bytes) -> Any:
    """What is in the field ``data``.

    :raises ValueError: it makes no sense.
    """
    if data.startswith(b"{"):
        return json.loads(data)
    import msgpack

    return msgpack.unpackb(base64.b64decode(data, validate=True), strict_map_key=False)
