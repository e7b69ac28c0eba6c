"""The messages between the servers of a cluster: those of Node's ClusterAdapter, number by number and name by name.

A message is a dict of ``uid`` (who sends it), ``nsp`` (the namespace), ``type`` (one of the numbers below) and mostly
``data``.  Times are milliseconds there, seconds everywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Union

from ..socketio.broadcast_options import BroadcastOptions, Room
from ..socketio.jsoncodec import BinaryFound
from ..socketio.packet import BINARY_EVENT, EVENT, Packet
from ..socketio.plain_values import is_plain

INITIAL_HEARTBEAT: Final = 1
HEARTBEAT: Final = 2
BROADCAST: Final = 3
SOCKETS_JOIN: Final = 4
SOCKETS_LEAVE: Final = 5
DISCONNECT_SOCKETS: Final = 6
FETCH_SOCKETS: Final = 7
FETCH_SOCKETS_RESPONSE: Final = 8
SERVER_SIDE_EMIT: Final = 9
SERVER_SIDE_EMIT_RESPONSE: Final = 10
BROADCAST_CLIENT_COUNT: Final = 11
BROADCAST_ACK: Final = 12
ADAPTER_CLOSE: Final = 13
# Of ours, between the processes of one server only.
FIND_SESSION: Final = 101
FIND_SESSION_RESPONSE: Final = 102

# The uid of those who only emit: processes that are no server.
EMITTER: Final = "emitter"

Message = dict[str, Any]
Received = Union[bytes, str, Message]


def encode(message: Message, dumps: Callable[[Any], str]) -> bytes:
    """Write a message as JSON, or as MessagePack if there are bytes in it (needs the package msgpack then).

    :raises TypeError: something in it is neither JSON nor bytes.
    """
    try:
        return dumps(message).encode()
    except BinaryFound:
        import msgpack

        packed: bytes = msgpack.packb(message)
        return packed


def decode(received: Received) -> Message:
    """Read a message; one that is a dict already is taken as it is.

    :raises ValueError: it is none.
    """
    message: Any = received
    if isinstance(received, str) or (isinstance(received, bytes) and received[:1] == b"{"):
        message = json.loads(received)
    elif isinstance(received, bytes):
        import msgpack

        message = msgpack.unpackb(received, strict_map_key=False)
    if not isinstance(message, dict) or not isinstance(message.get("uid"), str):
        raise ValueError("not a message of the cluster")
    return message


def encode_packet(packet: Packet) -> dict[str, Any]:
    """An event as other servers expect it."""
    return {"type": packet.type, "data": packet.data}


def decode_packet(value: Mapping[str, Any], nsp: str) -> Packet:
    """The event in a message.

    :raises ValueError: it is none.
    """
    data = value["data"]
    if value["type"] not in (EVENT, BINARY_EVENT) or not isinstance(data, list) or not data:
        raise ValueError("not an event")
    return Packet(EVENT, nsp, data)


def encode_rooms(rooms: Iterable[Room]) -> list[Room]:
    """Rooms as other servers expect them.

    :raises TypeError: one would not be the same room there.
    """
    for room in rooms:
        if not is_plain(room):
            raise TypeError(
                f"the room {room!r} cannot be named to other servers: name it by a string, a number or bytes"
                " (str(room)), or reach its members in this process by .local"
            )
    return list(rooms)


def encode_options(options: BroadcastOptions) -> dict[str, Any]:
    """Whom a broadcast is for, and how, as other servers expect it.

    :raises TypeError: see :func:`encode_rooms`.
    """
    flags: dict[str, Any] = {}
    if options.volatile:
        flags["volatile"] = True
    if not options.compress:
        flags["compress"] = False
    if options.timeout is not None:
        flags["timeout"] = round(options.timeout * 1000)
    return {"rooms": encode_rooms(options.rooms), "except": encode_rooms(options.except_), "flags": flags}


def decode_options(value: Mapping[str, Any]) -> BroadcastOptions:
    """The mirror image; what came from another server is for the clients of this one, and its reader does not wait."""
    flags = value.get("flags")
    if not flags:
        rooms, except_ = frozenset(value["rooms"]), frozenset(value.get("except") or ())
        return BroadcastOptions(rooms, except_, local=True, posted=True)
    timeout = flags.get("timeout")
    return BroadcastOptions(
        rooms=frozenset(value["rooms"]),
        except_=frozenset(value.get("except") or ()),
        local=True,
        volatile=bool(flags.get("volatile", False)),
        compress=bool(flags.get("compress", True)),
        timeout=None if timeout is None else float(timeout) / 1000,
        posted=True,
    )
