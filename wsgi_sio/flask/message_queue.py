"""``message_queue=`` and ``client_manager=``: which servers and other processes belong together, and by what they talk.

The servers of this package talk as Node's Socket.IO does over Redis (its classic adapter): that format has everything
(acknowledgements of many, ``fetch_sockets``, events between servers), each event travels in MessagePack and to those
who have the room, and Node's servers and emitters can take part.  Old processes are heard beside that, on their own
channel (cluster/drivers/flask_socketio_bridge.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..cluster.bus.kombu_urls import KombuUrl
from ..cluster.bus.urls import SCHEMES, bus_at, family_of
from ..cluster.drivers.flask_socketio_bridge import bridged
from ..cluster.drivers.kombu import KombuAdapter
from ..cluster.drivers.msgpack_values import require_packages
from ..cluster.drivers.node_redis import RedisAdapter
from ..emitter import Emitter

if TYPE_CHECKING:
    from ..socketio.adapter import Adapter
    from ..socketio.namespace import Namespace

# The channels of Flask-SocketIO and python-socketio, where none is given; and the key of Node's adapter then.
_CHANNEL, _MANAGER_CHANNEL, _KEY = "flask-socketio", "socketio", "socket.io"


@dataclass(frozen=True)
class MessageQueue:
    """A Redis, Valkey or RabbitMQ that several processes share.

    :ivar channel: of old processes.
    :ivar old_servers: whether some of these have clients, which are to get what is emitted here.
    """

    url: str
    channel: str
    old_servers: bool

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> MessageQueue | None:
        """What the options say; None when they say nothing of one.

        :raises TypeError: a value has the wrong type.
        :raises ValueError: there is nothing for the URL's scheme, or what is given cannot be used.
        """
        url, manager = options.get("message_queue"), options.get("client_manager")
        channel, old_servers = options.get("channel"), bool(options.get("old_servers", False))
        if url and manager is not None:
            raise ValueError("message_queue= and client_manager= say the same: leave one of them out")
        if manager is not None:
            url, channel = _of_manager(manager)
        if not url:
            if old_servers:
                raise ValueError("old_servers=True needs message_queue=, the Redis (or RabbitMQ) they share")
            return None
        if not isinstance(url, str):
            raise TypeError(f"message_queue must be a URL, not {url!r}")
        if options.get("adapter") is not None:
            raise ValueError("message_queue= and adapter= say the same: leave one of them out")
        try:
            if family_of(url) == "amqp":
                KombuUrl.parse(url).require_client()
            else:
                require_packages(url)
        except ValueError as error:
            raise ValueError(f"message_queue: {error}; the workers of one host are one server without any") from None
        return cls(url, channel or _CHANNEL, old_servers)

    @property
    def key(self) -> str:
        """Node's word for a channel: its own when none is given, so that its servers and emitters belong to it."""
        return _KEY if self.channel in (_CHANNEL, _MANAGER_CHANNEL) else self.channel

    def adapter(self) -> Callable[[Namespace], Adapter]:
        """What makes the adapters of a server."""
        bus, key = bus_at(self.url, [self.channel]), self.key

        def make(namespace: Namespace) -> Adapter:
            if family_of(self.url) == "amqp":
                return KombuAdapter(namespace, bus, key)
            return RedisAdapter(namespace, bus, key=key)

        return bridged(
            make,
            bus,  # one connection for both
            channel=self.channel,
            old_servers=self.old_servers,
        )

    def emitter(self, json: Any = None) -> Emitter:
        """What a process emits with that serves nobody."""
        if self.old_servers:
            return Emitter.for_mixed(self.url, self.key, self.channel, json=json)
        return Emitter(self.url, key=self.key, json=json)


def _of_manager(manager: object) -> tuple[str, str | None]:
    """The URL and channel of a RedisManager or KombuManager of python-socketio, which need not be installed."""
    names = {cls.__name__ for cls in type(manager).__mro__}
    kombu = "KombuManager" in names
    url = getattr(manager, "url" if kombu else "redis_url", None)
    if not names & {"RedisManager", "KombuManager"} or not isinstance(url, str):
        raise ValueError(
            f"client_manager: what {type(manager).__name__} is about cannot be had here; leave it out (the workers of"
            " one host need none), or give message_queue= the URL of a Redis, Valkey or RabbitMQ:"
            f" {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        )
    if kombu and family_of(url) != "amqp":
        raise ValueError(
            "client_manager: a KombuManager with a URL of Redis talks as no others do there; have a RedisManager,"
            " or message_queue= with that URL, in all processes"
        )
    options = ["redis_options", "connection_options", "exchange_options", "queue_options", "producer_options"]
    given = [name for name in options if getattr(manager, name, None)]
    if given:
        raise ValueError(
            f"client_manager: {given[0]} cannot be passed on; give message_queue= the URL with these options behind"
            " a '?' (redis://host:6379/0?health_check_interval=10), and channel= if the manager has one"
        )
    return url, getattr(manager, "channel", None)
