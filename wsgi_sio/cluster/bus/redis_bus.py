"""RedisBus: PUBLISH, SUBSCRIBE and PUBSUB NUMSUB of Redis and Valkey, or their sharded kind.

Three connections at most: one listens (redis_reader.py), one publishes (redis_publisher.py), and one counts when
somebody asks.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from ...runtime import Reactor
from .bus import ConnectedBus, OnMessage, OnMessages, SharedBus
from .outage import Outage
from .outbox import MAX_OUTBOX, Outbox
from .redis_publisher import Publisher, PubSubPublisher
from .redis_reader import CHANNEL, PATTERN, SHARD, RedisReader, RedisSubscription
from .redis_urls import RedisUrl


def redis_bus(url: str, *, sharded: bool = False, max_outbox: int = MAX_OUTBOX) -> SharedBus:
    """The bus at ``url``, one a process, for all namespaces of a server.

    :raises ValueError: the URL is not understood; see :mod:`redis_urls`.
    """
    parsed = RedisUrl.parse(url)
    return SharedBus(lambda reactor: RedisBus(reactor, parsed, sharded=sharded, max_outbox=max_outbox))


class RedisBus(ConnectedBus):
    """See the module's text.

    :param sharded: SPUBLISH, SSUBSCRIBE and PUBSUB SHARDNUMSUB (Redis 7): there are no patterns then.
    :param max_outbox: bytes that may wait to be published.
    """

    def __init__(
        self, reactor: Reactor, url: RedisUrl | str, *, sharded: bool = False, max_outbox: int = MAX_OUTBOX
    ) -> None:
        self.url = RedisUrl.parse(url) if isinstance(url, str) else url
        self._sharded = sharded
        if sharded and self.url.variant == "cluster":
            raise ValueError("sharded channels on a Redis Cluster are not supported: each is at a node of its own")
        self._client: Any = (
            None if self.url.variant == "cluster" else self.url.client()
        )  # whose client connects at once
        outage = Outage(reactor, self.url.shown)
        self._reader = RedisReader(reactor, self._connect, outage, writes_aside=not self.url.tls)
        self._publisher = self._make_publisher(outage)
        super().__init__(outage, Outbox(reactor, self._publisher, outage, max_outbox), self._reader, self._publisher)

    def _make_publisher(self, outage: Outage) -> Publisher:
        """What sends the outbox."""
        verb = b"SPUBLISH" if self._sharded else b"PUBLISH"
        return PubSubPublisher(self._connect, verb, outage.lost, deferring=not self.url.tls)

    def _connect(self) -> Any:
        """A connection of its own for whoever asks, which has answered."""
        pool = self._pool()
        connection = pool.connection_class(**pool.connection_kwargs)  # the pool's own would count, and be kept
        try:
            connection.connect()
            connection.send_packed_command([b"*1\r\n$4\r\nPING\r\n"], check_health=False)
            connection.read_response()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _pool(self) -> Any:
        """How connections are made; in a cluster to any of its masters, since each sends on what is published."""
        client = self._client
        if self.url.variant != "cluster":
            return client.connection_pool
        if client is None:
            client = self._client = self.url.client()
        elif self.outage.lasts:
            client.nodes_manager.initialize()  # there may be other masters by now
        return client.get_redis_connection(random.choice(client.get_primaries())).connection_pool

    def subscribe(
        self,
        channels: Iterable[str],
        patterns: Iterable[str],
        on_message: OnMessage,
        on_messages: OnMessages | None = None,
    ) -> RedisSubscription:
        patterns = list(patterns)
        if self._sharded and patterns:
            raise ValueError("sharded channels have no patterns")
        kind = SHARD if self._sharded else CHANNEL
        names = [(kind, channel.encode("utf-8", "surrogatepass")) for channel in channels]
        names += [(PATTERN, pattern.encode("utf-8", "surrogatepass")) for pattern in patterns]
        return self._reader.add(frozenset(names), on_message, on_messages)

    def count(self, channel: str) -> int | None:
        client = self._client
        if self.outage.lasts or self._closed or client is None:
            return None
        try:
            if self.url.variant == "cluster":  # each node knows its own listeners
                nodes = client.get_primaries()
                return sum(_number_in(client.get_redis_connection(node).execute_command("PUBSUB", "NUMSUB", channel))
                           for node in nodes)  # fmt: skip
            return _number_in(client.execute_command("PUBSUB", "SHARDNUMSUB" if self._sharded else "NUMSUB", channel))
        except Exception:  # the client's own errors, which only its package names; the reader tells of an outage
            return None

    def _let_go(self) -> None:
        self._outbox.close()
        self._reader.close()
        self._publisher.disconnect()
        if self._client is not None:
            self._client.close()


def _number_in(answer: Any) -> int:
    """The number in ``[channel, number]``, ``[(channel, number)]`` or ``{channel: number}``."""
    values = list(answer.values()) if isinstance(answer, dict) else answer
    while isinstance(values, (list, tuple)) and values:
        values = values[-1]
    return int(values)
