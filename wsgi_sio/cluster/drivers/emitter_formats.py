"""What those publish who only emit: pure functions, whom and what -> commands of a bus, in each server's format.

``classic``  what @socket.io/redis-emitter 5.1 publishes, for servers with the classic adapter.
``streams``  what @socket.io/redis-streams-emitter 0.1 adds to the stream, for those with the streams adapter.
``postgres``  what servers with the Postgres adapter publish; @socket.io/postgres-emitter 0.1 leaves the namespace out,
    which Node's do not understand.
``kombu``  what an adapter for RabbitMQ publishes, for servers with that one.
``flask-socketio``  what a write-only manager of python-socketio publishes, for Flask-SocketIO's servers.

The second command, if there is one, asks how many listen; else the answer to the first tells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Iterable
from secrets import token_hex
from typing import Any, Union

from ...exceptions import LocalProtocolError
from ...socketio.broadcast_options import BroadcastOptions, Room
from ...socketio.jsoncodec import BINARY_TYPES, BinaryFound, JSONCodec, dumps_of
from ...socketio.packet import EVENT
from .. import messages
from ..bus.postgres_urls import MAX_NOTIFICATION
from ..messages import EMITTER, encode_rooms
from . import flask_socketio_messages
from .flask_socketio_messages import Membership, our_host
from .msgpack_values import pack
from .node_postgres import write

Command = tuple[Union[str, bytes], ...]
Commands = list[Command]

FORMATS = ("classic", "streams", "kombu", "flask-socketio")

# How long a stream becomes, about, before what is oldest is dropped; a Node server's own default.
MAX_STREAM = 10_000

# The types of classic requests.
_JOIN, _LEAVE, _DISCONNECT, _SERVER_SIDE_EMIT = 2, 3, 4, 6


class EmitterFormat(ABC):
    """How commands are made of what is to be done.

    :param json: writes JSON, see :class:`JSONCodec`.
    """

    def __init__(self, json: JSONCodec | None = None) -> None:
        self._dumps = dumps_of(json)

    @abstractmethod
    def emit(self, nsp: str, options: BroadcastOptions, data: list[Any]) -> Commands:
        """An event, its name and arguments.

        :raises TypeError: something cannot be written.
        """

    @abstractmethod
    def join(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        """Have sockets join rooms."""

    @abstractmethod
    def leave(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        """Have sockets leave rooms."""

    @abstractmethod
    def disconnect(self, nsp: str, options: BroadcastOptions, close: bool) -> Commands:
        """Disconnect sockets."""

    @abstractmethod
    def server_side_emit(self, nsp: str, data: list[Any]) -> Commands:
        """An event for servers."""


class Classic(EmitterFormat):
    """See the module's text.

    :param key: what the names of channels begin with; that of the servers.
    """

    def __init__(self, key: str, json: JSONCodec | None = None) -> None:
        super().__init__(json)
        self._key = key

    def emit(self, nsp: str, options: BroadcastOptions, data: list[Any]) -> Commands:
        rooms = encode_rooms(options.rooms)
        opts = {"rooms": rooms, "flags": _flags(options), "except": encode_rooms(options.except_)}
        channel = f"{self._key}#{nsp}#"
        if len(rooms) == 1 and type(rooms[0]) in (str, int):  # others have other names in JavaScript
            channel += f"{rooms[0]}#"
        return [
            (
                "PUBLISH",
                channel,
                pack([EMITTER, {"type": EVENT, "data": data, "nsp": nsp}, opts], self._dumps, times=True),
            )
        ]

    def join(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        return self._request(nsp, {"type": _JOIN, "opts": _opts(options), "rooms": encode_rooms(rooms)})

    def leave(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        return self._request(nsp, {"type": _LEAVE, "opts": _opts(options), "rooms": encode_rooms(rooms)})

    def disconnect(self, nsp: str, options: BroadcastOptions, close: bool) -> Commands:
        return self._request(nsp, {"type": _DISCONNECT, "opts": _opts(options), "close": close})

    def server_side_emit(self, nsp: str, data: list[Any]) -> Commands:
        return self._request(nsp, {"uid": EMITTER, "type": _SERVER_SIDE_EMIT, "data": data})

    def _request(self, nsp: str, request: dict[str, Any]) -> Commands:
        try:
            text = self._dumps(request)
        except BinaryFound:
            text = self._dumps(_as_node_json(request))
        return [("PUBLISH", f"{self._key}-request#{nsp}#", text.encode())]


class Streams(EmitterFormat):
    """See the module's text.

    :param key: the stream's name, and what the names of channels begin with; those of the servers.
    """

    def __init__(self, key: str, json: JSONCodec | None = None) -> None:
        super().__init__(json)
        self._key = key

    def emit(self, nsp: str, options: BroadcastOptions, data: list[Any]) -> Commands:
        opts = {**_opts(options), "flags": _flags(options)}
        packet = {"type": EVENT, "data": data, "nsp": nsp}
        return self._add(nsp, messages.BROADCAST, {"packet": packet, "opts": opts})

    def join(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        opts = {**_opts(options), "flags": {}}
        return self._add(nsp, messages.SOCKETS_JOIN, {"opts": opts, "rooms": encode_rooms(rooms)})

    def leave(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        opts = {**_opts(options), "flags": {}}
        return self._add(nsp, messages.SOCKETS_LEAVE, {"opts": opts, "rooms": encode_rooms(rooms)})

    def disconnect(self, nsp: str, options: BroadcastOptions, close: bool) -> Commands:
        opts = {**_opts(options), "flags": {}}
        return self._add(nsp, messages.DISCONNECT_SOCKETS, {"opts": opts, "close": close})

    def server_side_emit(self, nsp: str, data: list[Any]) -> Commands:
        return self._add(nsp, messages.SERVER_SIDE_EMIT, {"packet": data})

    def _add(self, nsp: str, kind: int, data: dict[str, Any]) -> Commands:
        """The message as commands."""
        try:
            text = self._dumps(data)
        except BinaryFound:
            text = b64encode(pack(data, self._dumps, times=True)).decode()
        fields = ("uid", EMITTER, "nsp", nsp, "type", str(kind), "data", text)
        add = ("XADD", self._key, "MAXLEN", "~", str(MAX_STREAM), "*", *fields)
        return [add, ("PUBSUB", "NUMSUB", f"{self._key}#{nsp}#")]


class Postgres(Streams):
    """See the module's text; its commands are those of :class:`PostgresCommands`."""

    def _add(self, nsp: str, kind: int, data: dict[str, Any]) -> Commands:
        message = {"uid": EMITTER, "nsp": nsp, "type": kind, "data": data}
        payload, around = write(message, self._dumps, MAX_NOTIFICATION)
        channel = f"{self._key}#{nsp}"
        return [(channel, payload.decode()) if around is None else (channel, payload, *around)]


class Kombu(Streams):
    """See the module's text.

    :param key: what the names of channels begin with; that of the servers.
    """

    def _add(self, nsp: str, kind: int, data: dict[str, Any]) -> Commands:
        message = {"type": kind, "data": data, "uid": EMITTER, "nsp": nsp}
        channel = f"{self._key}#{nsp}#"
        return [("PUBLISH", channel, messages.encode(message, self._dumps)), ("PUBSUB", "NUMSUB", channel)]


class FlaskSocketIO(EmitterFormat):
    """See the module's text.

    :param channel: that of the servers.
    :param strict: refuse what these servers have no words for; else ours are told the same in another way, so nothing
        is said then, and ours leave alone what is published here.
    """

    def __init__(self, channel: str, json: JSONCodec | None = None, strict: bool = True) -> None:
        super().__init__(json)
        self.channel = channel
        self._strict = strict
        self._host = token_hex(16) if strict else our_host()

    def emit(self, nsp: str, options: BroadcastOptions, data: list[Any]) -> Commands:
        rooms = encode_rooms(options.rooms) or None
        skip = encode_rooms(options.except_)
        return self._publish(flask_socketio_messages.emit(self._host, nsp, data, rooms, skip, dumps=self._dumps))

    def join(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        changes = memberships("enter_room", nsp, options, encode_rooms(rooms))
        return self._tell(changes, "sockets_join() needs to(id of one client)")

    def leave(self, nsp: str, options: BroadcastOptions, rooms: Iterable[Room]) -> Commands:
        changes = memberships("leave_room", nsp, options, encode_rooms(rooms))
        return self._tell(changes, "sockets_leave() needs to(id of one client), or to(the room that all are to leave)")

    def disconnect(self, nsp: str, options: BroadcastOptions, close: bool) -> Commands:
        changes = memberships("disconnect", nsp, options)
        return self._tell(changes, "disconnect_sockets() needs to(id of one client)")

    def server_side_emit(self, nsp: str, data: list[Any]) -> Commands:
        return self._tell([], "they have no events among themselves")

    def _tell(self, changes: list[Membership], otherwise: str) -> Commands:
        if not changes and self._strict:
            raise LocalProtocolError(f"Flask-SocketIO's servers cannot be told that: {otherwise}")
        payloads = [flask_socketio_messages.membership(self._host, change) for change in changes]
        return [command for payload in payloads for command in self._publish(payload)]

    def _publish(self, payload: bytes) -> Commands:
        return [("PUBLISH", self.channel, payload)]


def memberships(method: str, nsp: str, options: BroadcastOptions, rooms: Iterable[Room] = ()) -> list[Membership]:
    """What old servers can be told of a change of sockets' rooms, or of a disconnection.

    They only know single clients by their ids (what is no client's is ignored there), and closing a room.

    :param method: ``enter_room``, ``leave_room`` or ``disconnect``.
    :return: nothing when they have no words for it.
    """
    if options.except_ or not options.rooms:
        return []
    if method == "disconnect":
        return [Membership(method, nsp, sid, None) for sid in options.rooms]
    rooms = list(rooms)
    if method == "leave_room" and options.rooms == frozenset(rooms) and len(rooms) == 1:
        return [Membership("close_room", nsp, None, rooms[0])]
    return [Membership(method, nsp, sid, room) for sid in options.rooms for room in rooms]


def _flags(options: BroadcastOptions) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    if options.volatile:
        flags["volatile"] = True
    if not options.compress:
        flags["compress"] = False
    return flags


def _opts(options: BroadcastOptions) -> dict[str, Any]:
    return {"rooms": encode_rooms(options.rooms), "except": encode_rooms(options.except_)}


def _as_node_json(value: Any) -> Any:
    """Bytes as JSON.stringify has a Buffer."""
    if isinstance(value, BINARY_TYPES):
        return {"type": "Buffer", "data": list(bytes(value))}
    if isinstance(value, (list, tuple)):
        return [_as_node_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_node_json(item) for key, item in value.items()}
    return value
