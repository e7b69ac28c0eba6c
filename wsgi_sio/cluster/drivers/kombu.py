"""Servers of this package on RabbitMQ, by the package kombu.  Nobody of Node's is there, so what travels is what Node's
sharded adapter has, whose channels need neither patterns nor one for each room; see node_redis_sharded.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..bus import SharedBus
from ..bus.kombu_bus import kombu_bus
from .node_redis_sharded import ShardedRedisAdapter

if TYPE_CHECKING:
    from ...socketio.namespace import Namespace


def kombu_adapter(
    url: str, *, key: str = "socket.io", request_timeout: float = 5.0
) -> Callable[[Namespace], KombuAdapter]:
    """What ``Server(adapter=...)`` takes to share its namespaces by RabbitMQ.

    :param url: such as ``amqp://user:password@host:5672/``; see :mod:`wsgi_sio.cluster.bus.kombu_urls`.
    :param key: the beginning of all channels' names: as the other servers have it.
    :param request_timeout: seconds to wait for the answers of other servers.
    :raises ValueError: the URL is not understood.
    """
    bus = kombu_bus(url)
    return lambda namespace: KombuAdapter(namespace, bus, key, request_timeout=request_timeout)


class KombuAdapter(ShardedRedisAdapter):
    """See :func:`kombu_adapter`."""

    def __init__(
        self, namespace: Namespace, shared: SharedBus, key: str = "socket.io", *, request_timeout: float = 5.0
    ) -> None:
        super().__init__(namespace, shared, key, "static", request_timeout=request_timeout)
