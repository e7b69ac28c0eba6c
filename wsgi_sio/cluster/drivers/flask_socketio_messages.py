"""The messages of Flask-SocketIO's and python-socketio's servers among each other, without I/O.

JSON on one channel (``flask-socketio``, or ``socketio`` where python-socketio is used by itself), as python-socketio
writes it since 5.14; before that they were pickles, which nobody should read who does not trust all who can write them.

``data`` is the list of an event's arguments; with bytes in them it is a list of that list, placeholders in their place,
and the base64 of each.  A sole None there stands for no argument.  ``host_id`` says who has published: who hears its
own, or a ``callback`` (an acknowledgement) of another's, ignores it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from secrets import token_hex
from typing import Any, NamedTuple, Union

from ...socketio.broadcast_options import Room
from ...socketio.jsoncodec import BINARY_TYPES, BinaryFound, dumps_of

# What the host ids of ours begin with: all of ours hear each other in another way.
OURS = "wsgi_sio:"

_OURS_AT_END = b'"host_id":"' + OURS.encode()
_END = len(_OURS_AT_END) + 16 + len('"}')

OLD_PICKLE = (
    "a process with python-socketio before 5.14 publishes pickles there, which are never read here: upgrade it (to 5.14"
    " or later, whose messages are JSON)"
)


class Callback(NamedTuple):
    """Where an acknowledgement is to go.

    :ivar host: the process that wants it.
    :ivar room: what it has named, the client's id.
    :ivar id: its number there.
    """

    host: str
    room: Room
    namespace: str
    id: int


class Emit(NamedTuple):
    """An event for clients.

    :ivar rooms: None: everybody.
    :ivar skip: clients that do not get it.
    """

    namespace: str
    data: list[Any]
    rooms: frozenset[Room] | None
    skip: frozenset[Room]
    callback: Callback | None


class Membership(NamedTuple):
    """``enter_room``, ``leave_room``, ``close_room`` (without ``sid``: for all in the room) or ``disconnect`` (without
    ``room``)."""

    method: str
    namespace: str
    sid: Room | None
    room: Room | None


class Answer(NamedTuple):
    """The acknowledgement of a client."""

    callback: Callback
    args: list[Any]


OldMessage = Union[Emit, Membership, Answer]

_DUMPS = dumps_of(None)
_FIELDS = {
    "disconnect": ("sid",),
    "enter_room": ("sid", "room"),
    "leave_room": ("sid", "room"),
    "close_room": ("room",),
}


def our_host() -> str:
    """A new host id for a process of ours."""
    return OURS + token_hex(8)


def is_ours(payload: bytes) -> bool:
    """Whether a process of ours has published it, told without reading it; acknowledgements are not meant."""
    return payload.startswith(_OURS_AT_END, len(payload) - _END) if len(payload) > _END else False


# -- writing ----------------------------------------------------------------------------------------------------------


def emit(
    host: str,
    namespace: str,
    data: list[Any],
    rooms: Iterable[Room] | None = None,
    skip: Iterable[Room] = (),
    callback: int | None = None,
    dumps: Callable[[Any], str] = _DUMPS,
) -> bytes:
    """An event, its name and arguments, for all or for those in ``rooms``.

    :param callback: the number of the acknowledgement that is wanted of the one client, or sole member, that is named.
    :param dumps: writes JSON.
    :raises TypeError: something in it is neither JSON nor bytes.
    """
    event, *args = data
    named, skipped = None if rooms is None else list(rooms), list(skip)
    room = named[0] if named is not None and len(named) == 1 else named
    message = {
        "method": "emit",
        "event": event,
        "data": args,
        "binary": False,
        "namespace": namespace,
        "room": room,
        "skip_sid": skipped or None,
        "callback": None if callback is None else [room, namespace, callback],
        "host_id": host,
    }
    try:
        return dumps(message).encode()
    except BinaryFound:
        found: list[str] = []
        message["data"] = [_detach(args, found), *found]
        message["binary"] = True
    return _dump(message, dumps)


def membership(host: str, message: Membership) -> bytes:
    """A change of rooms, or a disconnection."""
    known = {"sid": message.sid, "room": message.room}
    named = {name: known[name] for name in _FIELDS[message.method]}
    value = {"method": message.method, **named, "namespace": message.namespace, "host_id": host}
    return _dump(value)


def _dump(value: dict[str, Any], dumps: Callable[[Any], str] = _DUMPS) -> bytes:
    try:
        return dumps(value).encode()
    except BinaryFound:
        raise TypeError("neither an acknowledgement nor the name of a room can have bytes there") from None


def answer(callback: Callback, args: list[Any]) -> bytes:
    """An acknowledgement.

    :raises TypeError: there are bytes in it, which these messages cannot carry.
    """
    value = {
        "method": "callback",
        "host_id": callback.host,
        "sid": callback.room,
        "namespace": callback.namespace,
        "id": callback.id,
        "args": args,
    }
    return _dump(value)


def _detach(value: Any, found: list[str]) -> Any:
    if isinstance(value, BINARY_TYPES):
        found.append(b64encode(value).decode())
        return {"_placeholder": True, "num": len(found) - 1}
    if isinstance(value, (list, tuple)):
        return [_detach(item, found) for item in value]
    if isinstance(value, dict):
        return {key: _detach(item, found) for key, item in value.items()}
    return value


# -- reading ----------------------------------------------------------------------------------------------------------


def decode(payload: bytes) -> tuple[str, OldMessage]:
    """The host id of who has published, and the message.

    :raises ValueError: it is none.
    """
    if payload[:1] == b"\x80":
        raise ValueError(OLD_PICKLE)
    try:
        value = json.loads(payload, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a message of Flask-SocketIO's")
    method, host, namespace = value.get("method"), value.get("host_id"), value.get("namespace") or "/"
    if not isinstance(namespace, str) or not isinstance(host, str):
        raise ValueError("a message without a namespace, or without a host id")
    if method == "emit":
        return host, _read_emit(host, namespace, value)
    if method == "callback":
        callback = _read_callback(host, [value.get("sid"), namespace, value.get("id")])
        args = value.get("args")
        if callback is None or not isinstance(args, list):
            raise ValueError("an acknowledgement of nothing")
        return host, Answer(callback, args)
    if not isinstance(method, str) or method not in _FIELDS:
        raise ValueError("a message of an unknown method")
    named = {name: _room(value.get(name)) for name in _FIELDS[method]}
    return host, Membership(method, namespace, named.get("sid"), named.get("room"))


def _read_emit(host: str, namespace: str, value: Mapping[str, Any]) -> Emit:
    event, args, room, skip = value.get("event"), value.get("data"), value.get("room"), value.get("skip_sid")
    if not isinstance(event, str) or not isinstance(args, list):
        raise ValueError("an event without a name, or without arguments")
    if value.get("binary"):
        args = _attach(args[0], [b64decode(text, validate=True) for text in args[1:]]) if args else None
        if not isinstance(args, list):
            raise ValueError("an event with bytes, but without arguments")
    if args == [None]:
        args = []
    rooms = None if room is None else frozenset(map(_room, room if isinstance(room, list) else [room]))
    skipped = [sid for sid in (skip if isinstance(skip, list) else [skip]) if sid is not None]
    callback = value.get("callback")
    wanted = _read_callback(host, callback) if isinstance(callback, list) else None
    return Emit(namespace, [event, *args], rooms, frozenset(map(_room, skipped)), wanted)


def _read_callback(host: str, value: list[Any]) -> Callback | None:
    if len(value) != 3:
        return None
    room, namespace, number = value
    if not isinstance(namespace, str) or type(number) is not int:
        return None
    return Callback(host, _room(room), namespace, number)


def _room(value: Any) -> Room:
    if not isinstance(value, (str, int, float)):
        raise ValueError("neither a room nor a client")
    return value


def _attach(value: Any, found: list[bytes]) -> Any:
    try:
        if isinstance(value, list):
            return [_attach(item, found) for item in value]
        if isinstance(value, dict):
            if value.get("_placeholder") and type(value.get("num")) is int:
                number = value["num"]
                if not 0 <= number < len(found):
                    raise ValueError("a placeholder of nothing")
                return found[number]
            return {key: _attach(item, found) for key, item in value.items()}
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value
