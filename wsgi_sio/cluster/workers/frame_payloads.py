"""What the workers of one server send each other, without I/O: the payloads of their frames.

Each begins with a head in JSON: the topic, and what is of that kind.  A MESSAGE is one of messages.py.  A BATCH is a
broadcast as its clients get it, so that only the process that emits has to write it.  NONE is the answer of who has
nothing to do with a topic, or has not any more.  With connection state recovery a broadcast that is kept is NUMBERED, a
BATCH behind its place in the log of the process that emits, and STANDING tells up to where others have not got these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from ...socketio.broadcast_options import BroadcastOptions, Room
from ...socketio.jsoncodec import BINARY_TYPES, BinaryFound
from ..messages import encode_rooms

MESSAGE: Final = 32
BATCH: Final = 33
NONE: Final = 34
NUMBERED: Final = 35
STANDING: Final = 36
# Goes back as it has come, behind everything that has come before.
ECHO: Final = 37

_SIZE = Struct("<I")
_PLACE = Struct("<Q8s")
# Made once, which json.dumps() does not do.
_dumps = json.JSONEncoder(separators=(",", ":")).encode
_loads = json.JSONDecoder().decode
_VOLATILE, _UNCOMPRESSED = 1, 2
# What stands for bytes in a message; an object that looks like it has one mark more.
_MARK = "$"


class Batch(NamedTuple):
    """A broadcast that another worker has encoded, for the clients of this one.

    :ivar request_id: under which the other one collects acknowledgements; None: it wants none.
    """

    topic: str
    options: BroadcastOptions
    request_id: str | None
    lengths: list[int]
    payload: bytes
    begin: int

    def parts(self) -> list[str | bytes]:
        """The messages for each client.

        :raises ValueError: they are not as their head says.
        """
        parts: list[str | bytes] = []
        at = self.begin
        for length in self.lengths:
            end = at + (length if length >= 0 else ~length)
            data = self.payload[at:end]
            parts.append(data.decode("utf-8", "surrogatepass") if length >= 0 else data)
            at = end
        if at != len(self.payload) or not parts:
            raise ValueError("a batch of another length than it says")
        return parts


def pack_batch(
    topic: str, options: BroadcastOptions, parts: Iterable[str | bytes], request_id: str | None = None
) -> list[bytes]:
    """The payload of a BATCH, in pieces.

    :param parts: the messages for each client.
    :raises TypeError: a room cannot be named to other processes.
    """
    flags = _VOLATILE * options.volatile | _UNCOMPRESSED * (not options.compress)
    body, lengths = [], []
    for part in parts:
        text = isinstance(part, str)
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        body.append(data)
        lengths.append(len(data) if text else ~len(data))
    rooms, except_ = pack_rooms(options.rooms), pack_rooms(options.except_)
    head: list[Any] = [topic, rooms, except_, flags, lengths]
    if request_id is not None:
        head += [request_id, options.timeout]
    return _pack(head, body)


def unpack_batch(payload: bytes, begin: int = 0) -> Batch:
    """The mirror image.

    :param begin: where it begins.
    :raises ValueError: it is none.
    """
    head, begin = _unpack(payload, begin)
    try:
        topic, rooms, except_, flags, lengths, *request = head
        request_id, timeout = request or (None, None)
        options = BroadcastOptions(
            unpack_rooms(rooms),
            unpack_rooms(except_),
            local=True,
            volatile=bool(flags & _VOLATILE),
            compress=not flags & _UNCOMPRESSED,
            timeout=timeout,
            posted=True,
        )
    except TypeError as error:
        raise ValueError("not a batch") from error
    return Batch(topic, options, request_id, lengths, payload, begin)


def pack_number(log: str, seq: int, batch: Sequence[bytes]) -> list[bytes]:
    """The payload of a NUMBERED, in pieces.

    :param log: the name of the emitting process's log.
    :param batch: what :func:`pack_batch` has given.
    """
    return [_PLACE.pack(seq, log.encode()), *batch]


def unpack_number(payload: bytes) -> tuple[str, int, Batch]:
    """The mirror image.

    :raises ValueError: it is none.
    """
    if len(payload) < _PLACE.size:
        raise ValueError("a batch without a number")
    seq, log = _PLACE.unpack_from(payload)
    return log.decode("ascii"), seq, unpack_batch(payload, _PLACE.size)


def pack_standing(topic: str, log: str, seq: int, asks: bool) -> list[bytes]:
    """The payload of a STANDING.

    :param seq: the number of the latest event.
    :param asks: whether the other process is to answer likewise.
    """
    return _pack([topic, log, seq, asks], [])


def unpack_standing(payload: bytes) -> tuple[str, str, int, bool]:
    """The mirror image.

    :raises ValueError: it is none.
    """
    (topic, log, seq, asks), _ = _unpack(payload)
    if type(log) is not str or type(seq) is not int:
        raise ValueError("not a standing")
    return topic, log, seq, bool(asks)


def pack_rooms(rooms: Iterable[Room]) -> list[Any]:
    """Rooms as JSON has them.

    :raises TypeError: one would not be the same room there.
    """
    return [[room.decode("latin-1")] if isinstance(room, bytes) else room for room in encode_rooms(rooms)]


def unpack_rooms(rooms: list[Any]) -> frozenset[Room]:
    """The mirror image."""
    return frozenset([room[0].encode("latin-1") if isinstance(room, list) else room for room in rooms])


def pack_message(topic: str, message: Any, dumps: Callable[[Any], str]) -> list[bytes]:
    """The payload of a MESSAGE, in pieces.

    :param dumps: writes JSON.
    :raises TypeError: something in it is neither JSON nor bytes.
    """
    found: list[bytes] = []
    try:
        text = dumps(message)
    except BinaryFound:
        text = dumps(_detach(message, found))
    return _pack([topic, list(map(len, found))], [*found, text.encode("utf-8", "surrogatepass")])


def unpack_message(payload: bytes) -> tuple[str, Any]:
    """The topic and the message.

    :raises ValueError: it is none.
    """
    (topic, lengths), at = _unpack(payload)
    found = []
    for length in lengths:
        found.append(payload[at : at + length])
        at += length
    message = _loads(payload[at:].decode("utf-8", "surrogatepass"))
    return topic, _attach(message, found) if found else message


def pack_none(topic: str, request_id: str | None) -> list[bytes]:
    """The payload of a NONE; without a request's id it is for all that are open."""
    return _pack([topic, request_id], [])


def unpack_none(payload: bytes) -> tuple[str, str | None]:
    """The mirror image.

    :raises ValueError: it is none.
    """
    (topic, request_id), _ = _unpack(payload)
    return topic, request_id


def _pack(head: list[Any], body: Sequence[bytes]) -> list[bytes]:
    text = _dumps(head).encode()
    return [_SIZE.pack(len(text)), text, *body]


def _unpack(payload: bytes, begin: int = 0) -> tuple[list[Any], int]:
    if len(payload) < begin + _SIZE.size:
        raise ValueError("a payload without a head")
    end = begin + _SIZE.size + _SIZE.unpack_from(payload, begin)[0]
    head = _loads(payload[begin + _SIZE.size : end].decode())
    if type(head) is not list or not head or type(head[0]) is not str:
        raise ValueError("a payload without a topic")
    return head, end


def _detach(value: Any, found: list[bytes]) -> Any:
    """A copy with marks for the bytes in ``value``, which are appended to ``found``."""
    if isinstance(value, BINARY_TYPES):
        found.append(bytes(value))
        return {_MARK: len(found) - 1}
    if isinstance(value, (list, tuple)):
        return [_detach(item, found) for item in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((key, item),) = value.items()
            if isinstance(key, str) and key.startswith(_MARK):
                return {_MARK + key: _detach(item, found)}
        return {key: _detach(item, found) for key, item in value.items()}
    return value


def _attach(value: Any, found: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_attach(item, found) for item in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((key, item),) = value.items()
            if key == _MARK:
                return found[item]
            if key.startswith(_MARK):
                return {key.removeprefix(_MARK): _attach(item, found)}
        return {key: _attach(item, found) for key, item in value.items()}
    return value
