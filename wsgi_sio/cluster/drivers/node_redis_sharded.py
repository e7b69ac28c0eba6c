"""Node's sharded Redis adapter (``createShardedAdapter`` of ``@socket.io/redis-adapter`` 8): its channels, its bytes.

Needs Redis 7 (or Valkey): SPUBLISH and SSUBSCRIBE, which a Redis Cluster spreads over its servers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal

from ...socketio.broadcast_options import Room
from .. import messages
from ..adapter import ClusterAdapter
from ..bus import Bus, SharedBus, Subscription
from ..bus.redis_bus import redis_bus
from ..messages import Message
from .msgpack_values import require_packages

if TYPE_CHECKING:
    from ...socketio.namespace import Namespace

SubscriptionMode = Literal["dynamic", "static", "dynamic-private"]

MODES: Final = ("dynamic", "static", "dynamic-private")
# A publisher in Node tells the room of one client by its length alone.
_ID_LENGTH: Final = 20
# How long the first client or broadcast, and the first of a room, wait until this server is heard of (seconds).
_SETTLE: Final = 1.0
# Whether this is the bus's reader at work, which must not wait for what it has to read itself.
_receiving: ContextVar[bool] = ContextVar("wsgi_sio.cluster.receiving", default=False)


def sharded_redis_adapter(
    url: str,
    *,
    channel_prefix: str = "socket.io",
    subscription_mode: SubscriptionMode = "dynamic",
    request_timeout: float = 5.0,
) -> Callable[[Namespace], ShardedRedisAdapter]:
    """An adapter for servers on one Redis 7, of this kind and Node's: ``Server(adapter=sharded_redis_adapter(url))``.

    :param url: such as ``redis://localhost:6379/0``.
    :param channel_prefix: what the channels' names begin with; the same on all servers.
    :param subscription_mode: which rooms have a channel of their own, so that servers that have nobody in them are
        left in peace: ``dynamic``: all but those of one client, ``dynamic-private``: all, ``static``: none.  The same
        on all servers.
    :param request_timeout: seconds to wait for the answers of other servers.
    :raises ImportError: a package is not installed.
    :raises ValueError: there is no such URL or mode.
    """
    if subscription_mode not in MODES:
        raise ValueError(f"subscription_mode is {', '.join(MODES)}, not {subscription_mode!r}")
    require_packages(url)
    shared = redis_bus(url, sharded=True)
    return lambda namespace: ShardedRedisAdapter(
        namespace, shared, channel_prefix, subscription_mode, request_timeout=request_timeout
    )


def in_order(message: Message) -> Message:
    """The message with its fields in Node's order."""
    return {key: message[key] for key in ("type", "data", "uid", "nsp") if key in message}


def room_of(message: Message, mode: str) -> Room | None:
    """The one room whose channel a message goes to; None: it goes to all."""
    data = message.get("data") or {}
    if message["type"] != messages.BROADCAST or data.get("requestId") is not None:
        return None  # who counts answers counts all servers
    rooms = data["opts"]["rooms"]
    return rooms[0] if len(rooms) == 1 and has_channel(rooms[0], mode) else None


def has_channel(room: Room, mode: str) -> bool:
    """Whether a room has a channel of its own, named as JavaScript names it."""
    if mode == "static" or type(room) not in (str, int):
        return False
    return mode != "dynamic" or not isinstance(room, str) or len(room) != _ID_LENGTH


class ShardedRedisAdapter(ClusterAdapter):
    """See :func:`sharded_redis_adapter`."""

    def __init__(
        self, namespace: Namespace, shared: SharedBus, prefix: str, mode: str, *, request_timeout: float = 5.0
    ) -> None:
        super().__init__(namespace, request_timeout=request_timeout)
        self._shared = shared
        self._mode = mode
        self._channel = f"{prefix}#{namespace.name}#"
        self._bus: Bus | None = None
        self._subscriptions: list[Subscription] = []
        self._rooms_heard: dict[Room, Subscription] = {}  # guarded by the adapter's lock
        self._known = 1  # how many servers there were when that could be said last
        if mode != "static":
            self.on("create-room", self._follow_room)
            self.on("delete-room", self._follow_room)

    def start(self) -> None:
        reactor = self._namespace.server.reactor
        bus = self._shared.join(reactor, self)
        subscription = bus.subscribe([self._channel, f"{self._channel}{self.uid}#"], (), self._on_bytes)
        self._subscriptions, self._rooms_heard, self._bus = [subscription], {}, bus
        with self._lock:
            rooms = list(self._members)
        for room in rooms:
            self._follow_room(room)
        if reactor.may_wait():
            subscription.wait_subscribed(_SETTLE)

    def _on_bytes(self, channel: str, payload: bytes) -> None:
        token = _receiving.set(True)
        try:
            self.on_message(payload)
        finally:
            _receiving.reset(token)

    def publish(self, message: Message) -> None:
        room = room_of(message, self._mode)
        self._send(self._channel if room is None else f"{self._channel}{room}#", message)

    def publish_response(self, requester: str, message: Message) -> None:
        self._send(f"{self._channel}{requester}#", message)

    def _send(self, channel: str, message: Message) -> None:
        if self._bus is not None:
            self._bus.publish(channel, self.encode(message))

    def encode(self, message: Message) -> bytes:
        return super().encode(in_order(message))

    def server_count(self) -> int:
        self.join_cluster()
        bus, reactor = self._bus, self._namespace.server.reactor
        if bus is None or not self._subscriptions or not reactor.may_wait():
            return self._known
        found = bus.count(self._channel)
        if found is not None and not self._subscriptions[0].wait_subscribed(0):
            self._subscriptions[0].wait_subscribed(_SETTLE)  # else it lacks ourselves, and answers would be missed
            found = bus.count(self._channel)
        if found is not None:
            self._known = max(1, found)
        return self._known

    def close(self) -> None:
        super().close()
        with self._lock:
            subscriptions = [*self._subscriptions, *self._rooms_heard.values()]
            self._subscriptions, self._rooms_heard = [], {}
        for subscription in subscriptions:
            subscription.close()
        self._shared.leave(self)

    # -- rooms that have a channel ------------------------------------------------------------------------------

    def _follow_room(self, room: Room, *_: Any) -> None:
        """Hear what is for a room as long as there is somebody in it; called when that may have changed."""
        bus, node = self._bus, self._node
        if bus is None or node is None or node.closed or not has_channel(room, self._mode):
            return
        with self._lock:
            wanted, heard = room in self._members, self._rooms_heard.get(room)
            if heard is not None and not wanted:
                del self._rooms_heard[room]
        if wanted and heard is None:
            self._hear_room(bus, room)
        elif heard is not None and not wanted:
            heard.close()

    def _hear_room(self, bus: Bus, room: Room) -> None:
        made = bus.subscribe([f"{self._channel}{room}#"], (), self._on_bytes)
        with self._lock:
            keeps = room in self._members and room not in self._rooms_heard
            if keeps:
                self._rooms_heard[room] = made
        if not keeps:
            made.close()
            self._follow_room(room)  # somebody has come or gone meanwhile
        elif not _receiving.get() and self._namespace.server.reactor.may_wait():
            made.wait_subscribed(_SETTLE)  # so that who has joined gets what others emit from now on
