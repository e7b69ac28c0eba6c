"""What a session takes along to another process, as plain values: pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

from ...socketio.adapter import SavedSession
from ...socketio.encoded_events import messages_of, wrap
from ..messages import encode_rooms
from .event_history import Event, Trail, Vector

_DEEPEST = 100


def pack_session(session: SavedSession, missed: Iterable[Event], vector: Vector) -> dict[str, Any]:
    """A session that leaves, with the events that its client has missed, without offsets.

    :raises TypeError: something in it would not be the same in another process.
    """
    return {
        "sid": session.sid,
        "rooms": encode_rooms(session.rooms),
        "data": _plain(session.data, "socket.data"),
        "vector": vector,
        "missed": [[event[0].compress, messages_of(event)] for event in missed],
    }


def unpack_session(values: Any, pid: str, offset: str) -> SavedSession:
    """The mirror image.

    :param pid: of the client that has come, which has events up to ``offset``.
    :raises ValueError: it is none.
    """
    try:
        rooms, data, vector = frozenset(values["rooms"]), values["data"], values["vector"]
        missed = [wrap(parts, compress) for compress, parts in values["missed"]]
        good = type(data) is dict and all(type(seq) is int for seq in vector.values()) and all(missed)
        sid = values["sid"]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("not a session") from error
    if not good or type(sid) is not str:
        raise ValueError("not a session")
    return SavedSession(sid, pid, rooms, data, Trail(offset, vector, missed))


def _plain(value: Any, name: str, depth: int = 0) -> Any:
    """A copy of what other processes read just as it is here.

    :raises TypeError: it is not such a value.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes) or (kind is float and isfinite(value)):
        return value
    if depth > _DEEPEST:
        raise TypeError(f"{name} is nested too deeply")
    if kind is list:
        return [_plain(item, f"{name}[{number}]", depth + 1) for number, item in enumerate(list(value))]
    if kind is dict:
        for key in list(value):
            if type(key) is not str:
                raise TypeError(f"{name} has the key {key!r}")
        return {key: _plain(item, f"{name}[{key!r}]", depth + 1) for key, item in list(value.items())}
    raise TypeError(f"{name} is {value!r}" if kind is float else f"{name} is a {kind.__name__}")
