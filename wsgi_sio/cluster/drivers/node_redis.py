"""RedisAdapter: Node's ``@socket.io/redis-adapter`` (8, the classic one), byte for byte, so that servers of both kinds
can share a Redis, and ``@socket.io/redis-emitter`` reaches the clients of both.

A broadcast is MessagePack, ``[uid, packet, opts]``, on ``<key>#<nsp>#``, or on ``<key>#<nsp>#<room>#`` when it is for
one room: who has nobody there need not read it.  Requests and their answers are JSON, or MessagePack when they hold
bytes, on ``<key>-request#<nsp>#`` and ``<key>-response#<nsp>#``; an answer does not say who sends it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from ...socketio.broadcast_options import BroadcastOptions, Room
from ...socketio.jsoncodec import BinaryFound, dumps_of
from ...socketio.memory_adapter import MemoryAdapter
from ...socketio.packet import Packet
from .. import messages
from ..adapter import ClusterAdapter
from ..bus import Bus, SharedBus, Subscription
from ..bus.redis_bus import redis_bus
from ..cluster_node import Audience, ClusterNode
from ..messages import Message
from .msgpack_values import pack, require_packages, unpack

if TYPE_CHECKING:
    from ...socketio.adapter import AckCollector
    from ...socketio.namespace import Namespace

# Node's types of requests and answers -> those of the cluster's messages (3c), where there is one.
_SOCKETS: Final = 0
_ALL_ROOMS: Final = 1
_TYPES: Final = {
    2: messages.SOCKETS_JOIN,
    3: messages.SOCKETS_LEAVE,
    4: messages.DISCONNECT_SOCKETS,
    5: messages.FETCH_SOCKETS,
    6: messages.SERVER_SIDE_EMIT,
    7: messages.BROADCAST,
}
_NUMBERS: Final = {ours: theirs for theirs, ours in _TYPES.items()}
_COUNT: Final = 8
_ACK: Final = 9

# How long who counts waits for the subscriptions of this very server (seconds).
_SUBSCRIBED_WITHIN = 2.0
_GLOB = str.maketrans({char: f"\\{char}" for char in "*?[]^\\"})

Dumps = Callable[[Any], str]


def redis_adapter(
    url: str,
    *,
    key: str = "socket.io",
    request_timeout: float = 5.0,
    publish_on_specific_response_channel: bool = False,
) -> Callable[[Namespace], RedisAdapter]:
    """What ``Server(adapter=...)`` takes to share its namespaces by Redis or Valkey, with servers of Node too.

    :param url: such as ``redis://host:6379/0``; see :mod:`wsgi_sio.cluster.bus.redis_urls`.
    :param key: the beginning of all channels' names: as the other servers have it.
    :param request_timeout: seconds to wait for the answers of other servers.
    :param publish_on_specific_response_channel: answer only to the server that asks; others need not read that.
    :raises ImportError: a package is not installed.
    :raises ValueError: the URL is not understood.
    """
    require_packages(url)
    bus = redis_bus(url)
    return lambda namespace: RedisAdapter(
        namespace,
        bus,
        key=key,
        request_timeout=request_timeout,
        publish_on_specific_response_channel=publish_on_specific_response_channel,
    )


# -- translation ----------------------------------------------------------------------------------------------------


def encode_broadcast(message: Message, dumps: Dumps) -> bytes:
    """A broadcast of the cluster as Node's servers write it."""
    data = message["data"]
    packet = {**data["packet"], "nsp": message["nsp"]}
    return pack([message["uid"], packet, data["opts"]], dumps)


def decode_broadcast(payload: bytes) -> Message:
    """The mirror image.

    :raises ValueError: it is none.
    """
    uid, packet, opts = unpack(payload)
    return {
        "uid": uid,
        "nsp": packet.get("nsp", "/"),
        "type": messages.BROADCAST,
        "data": {"packet": packet, "opts": opts},
    }


def encode_request(message: Message, dumps: Dumps) -> bytes:
    """A message of the cluster that asks for something, as Node's servers write it."""
    kind, data = message["type"], message.get("data") or {}
    request: dict[str, Any] = {"uid": message["uid"]}
    if "requestId" in data:
        request["requestId"] = data["requestId"]
    request["type"] = _NUMBERS[kind]
    match kind:
        case messages.BROADCAST:
            request["packet"] = {**data["packet"], "nsp": message["nsp"]}
            request["opts"] = data["opts"]
            return pack(request, dumps)
        case messages.SERVER_SIDE_EMIT:
            request["data"] = data["packet"]
        case _:
            opts = data["opts"]
            request["opts"] = {"rooms": opts["rooms"], "except": opts["except"]}
            for name in ("rooms", "close", "count"):
                if name in data:
                    request[name] = data[name]
    return _encode(request, dumps)


def decode_request(request: Mapping[str, Any], nsp: str) -> Message:
    """The mirror image, of what :func:`decode_map` has given.

    :raises ValueError: there is no such request.
    """
    kind = _TYPES.get(request.get("type"))  # type: ignore[arg-type]
    if kind is None:
        raise ValueError(f"unknown type of request {request.get('type')!r}")
    names = {"data": "packet"} if kind == messages.SERVER_SIDE_EMIT else {}
    data = {names.get(name, name): value for name, value in request.items() if name not in ("uid", "type")}
    if kind == messages.BROADCAST:
        nsp = data["packet"].get("nsp", nsp)
    return {"uid": request.get("uid") or messages.EMITTER, "nsp": nsp, "type": kind, "data": data}


def encode_response(message: Message, dumps: Dumps) -> bytes:
    """A message of the cluster that answers, as Node's servers write it."""
    data = message["data"]
    request_id = data["requestId"]
    match message["type"]:
        case messages.FETCH_SOCKETS_RESPONSE:
            return _encode(data, dumps)
        case messages.SERVER_SIDE_EMIT_RESPONSE:
            return _encode({"type": 6, "requestId": request_id, "data": data["packet"]}, dumps)
        case messages.BROADCAST_CLIENT_COUNT:
            return _encode({"type": _COUNT, "requestId": request_id, "clientCount": data["clientCount"]}, dumps)
        case _:
            return pack({"type": _ACK, "requestId": request_id, "packet": data.get("packet")}, dumps)


def decode_response(response: Mapping[str, Any], nsp: str, sender: str) -> Message | None:
    """The mirror image; None when it answers nothing that servers of ours ask.

    :param sender: a name for who sends it.
    """
    data: dict[str, Any] = {"requestId": response["requestId"]}
    match response.get("type"):
        case 6:
            kind, data["packet"] = messages.SERVER_SIDE_EMIT_RESPONSE, response.get("data")
        case 8:
            kind, data["clientCount"] = messages.BROADCAST_CLIENT_COUNT, response["clientCount"]
        case 9:
            kind, data["packet"] = messages.BROADCAST_ACK, response.get("packet")
        case _:
            if not isinstance(response.get("sockets"), list):
                return None
            kind, data["sockets"] = messages.FETCH_SOCKETS_RESPONSE, response["sockets"]
            if "count" in response:
                data["count"] = response["count"]
    return {"uid": sender, "nsp": nsp, "type": kind, "data": data}


def decode_map(payload: bytes) -> dict[str, Any]:
    """A request or an answer, which are JSON or MessagePack.

    :raises ValueError: it is neither.
    """
    found = json.loads(payload) if payload[:1] == b"{" else unpack(payload)
    if not isinstance(found, dict):
        raise ValueError("neither a request nor an answer")
    return found


def _encode(value: dict[str, Any], dumps: Dumps) -> bytes:
    try:
        return dumps(value).encode()
    except BinaryFound:
        return pack(value, dumps)  # which Node's servers write as JSON and spoil, but read as it is


def room_channel(channel: str, rooms: list[Room]) -> str:
    """Where a broadcast for ``rooms`` goes."""
    if len(rooms) != 1 or isinstance(rooms[0], bool) or not isinstance(rooms[0], (str, int)):
        return channel  # what JavaScript would write otherwise, or knows no rooms by
    return f"{channel}{rooms[0]}#"


# -- the adapter ----------------------------------------------------------------------------------------------------


class RedisAdapter(ClusterAdapter):
    """See the module's text; made by :func:`redis_adapter`.

    Unlike Node's, it acts on its own ``sockets_join`` and the like at once, whether Redis works or not.
    """

    def __init__(
        self,
        namespace: Namespace,
        bus: SharedBus,
        *,
        key: str = "socket.io",
        request_timeout: float = 5.0,
        publish_on_specific_response_channel: bool = False,
    ) -> None:
        super().__init__(namespace, request_timeout=request_timeout)
        self.channel = f"{key}#{namespace.name}#"
        self.request_channel = f"{key}-request#{namespace.name}#"
        self.response_channel = f"{key}-response#{namespace.name}#"
        self._specific = publish_on_specific_response_channel
        self._shared = bus
        self._bus: Bus | None = None
        self._subscription: Subscription | None = None
        self._own = b""  # how its own broadcasts begin
        self._known = 1  # how many servers there were when that could be said last
        self._strangers = count()
        self._dumps = dumps_of(namespace.server.json)

    def start(self) -> None:
        super().start()
        self._own = b"\x93" + pack(self.uid, self._dumps)
        self._bus = self._shared.join(self._namespace.server.reactor, self)
        channels = [self.request_channel, self.response_channel, f"{self.response_channel}{self.uid}#"]
        patterns = [self.channel.translate(_GLOB) + "*"]
        self._subscription = self._bus.subscribe(channels, patterns, self._take, self._take_together)

    def close(self) -> None:
        super().close()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
            self._shared.leave(self)

    def server_count(self) -> int:
        self.join_cluster()
        bus, subscription = self._bus, self._subscription
        if bus is None or subscription is None or not self._namespace.server.reactor.may_wait():
            return self._known
        found = bus.count(self.request_channel)
        if found is not None and not subscription.wait_subscribed(0):
            subscription.wait_subscribed(_SUBSCRIBED_WITHIN)  # else it lacks ourselves, and answers would be missed
            found = bus.count(self.request_channel)
        if found is not None:
            self._known = max(1, found)
        return self._known

    # -- publishing (the bus waits for nothing) -----------------------------------------------------------------

    def publish(self, message: Message) -> None:
        data = message.get("data") or {}
        if message["type"] == messages.BROADCAST and "requestId" not in data:
            channel = room_channel(self.channel, data["opts"]["rooms"])
            self._send(channel, encode_broadcast(message, self._dumps))
        else:
            self._send(self.request_channel, encode_request(message, self._dumps))

    def publish_response(self, requester: str, message: Message) -> None:
        channel = self.response_channel
        if self._specific and message["type"] != messages.SERVER_SIDE_EMIT_RESPONSE:  # as Node's
            channel = f"{channel}{requester}#"
        self._send(channel, encode_response(message, self._dumps))

    def _send(self, channel: str, payload: bytes) -> None:
        if self._bus is not None:
            self._bus.publish(channel, payload)

    def _respond(self, node: ClusterNode, requester: str, kind: int, data: dict[str, Any]) -> None:
        self._publish_response(node, requester, kind, data)

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        audience = self._audience(options)
        if audience is None:
            MemoryAdapter.broadcast(self, packet, options)
            return
        batch = self._namespace.server.encode(packet, options.compress)  # first: what cannot be written goes to nobody
        opts = messages.encode_options(options)
        self._announce(audience, messages.BROADCAST, {"packet": messages.encode_packet(packet), "opts": opts})
        recipients = self.local_sockets(options)
        if recipients:
            self._deliver(recipients, packet.data, batch, options)

    def _ask_for_acks(self, audience: Audience, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        self._namespace.server.encode(packet, options.compress)
        super()._ask_for_acks(audience, packet, options, acks)

    # -- what other servers send (on the bus's reader: nothing may block) ---------------------------------------

    def _take_together(self, heard: Sequence[tuple[str, bytes]]) -> None:
        with self._taking_together():
            for channel, payload in heard:
                self._take(channel, payload)

    def _take(self, channel: str, payload: bytes) -> None:
        node = self._node
        if node is None or node.closed:
            return
        try:
            if channel.startswith(self.channel):
                room = channel[len(self.channel) : -1]
                if not payload.startswith(self._own) and (not room or room in self._members or self._has_room(room)):
                    self._take_broadcast(payload)
            elif channel == self.request_channel:
                self._take_request(node, decode_map(payload))
            elif channel.startswith(self.response_channel):
                self._take_response(node, decode_map(payload))
        except Exception as error:
            self.report_junk(error)

    def _take_broadcast(self, payload: bytes) -> None:
        """Likewise :meth:`on_message`, in fewer steps."""
        message = decode_broadcast(payload)
        if type(message["uid"]) is not str:
            raise ValueError("a broadcast of nobody")
        if message["nsp"] == self._namespace.name:
            self._receive_broadcast(message["data"])

    def _has_room(self, room: str) -> bool:
        """Whether anybody is in a room; a number is written like a string there."""
        if self.room_size(room):
            return True
        try:
            return self.room_size(float(room)) > 0
        except ValueError:
            return False

    def _take_request(self, node: ClusterNode, request: dict[str, Any]) -> None:
        kind, request_id = request.get("type"), request.get("requestId")
        if request.get("uid") == node.uid:
            return
        self._send_what_waits()
        if kind == _SOCKETS:  # of servers older than 2021
            sids = self.sockets(frozenset(request.get("rooms") or ()))
            self._answer(request, {"requestId": request_id, "sockets": list(sids)})
        elif kind == _ALL_ROOMS:
            with self._lock:
                rooms = [room for room in self._members if isinstance(room, (str, int, float))]
            self._answer(request, {"requestId": request_id, "rooms": rooms})
        elif kind in (2, 3, 4) and "opts" not in request:
            self._take_old_request(request)
        else:
            self.on_message(decode_request(request, self._namespace.name))

    def _take_old_request(self, request: dict[str, Any]) -> None:
        """What servers and emitters of before 2021 ask for: something of one client."""
        socket = self._namespace.sockets.get(request["sid"])
        if socket is None:
            return
        match request["type"]:
            case 2:
                socket.join(request["room"])
            case 3:
                socket.leave(request["room"])
            case _:
                socket.disconnect(bool(request.get("close")))
        self._answer(request, {"requestId": request.get("requestId")})

    def _answer(self, request: dict[str, Any], response: dict[str, Any]) -> None:
        channel = self.response_channel
        if self._specific and request.get("uid"):
            channel = f"{channel}{request['uid']}#"
        self._send(channel, _encode(response, self._dumps))

    def _take_response(self, node: ClusterNode, response: dict[str, Any]) -> None:
        # Each is taken for another server's: it names none.
        message = decode_response(response, self._namespace.name, f"?{next(self._strangers)}")
        request_id = response["requestId"]
        if message is not None and (request_id in node.questions or request_id in node.ack_requests):
            self.on_message(message)
