"""Adapters: who is in which room, and how a broadcast reaches them, in this process or beyond.

The place to import them from; they live in ``socketio`` (one process) and ``cluster`` (several).
"""

from ..cluster.adapter import ClusterAdapter
from ..cluster.adapter_with_heartbeat import ClusterAdapterWithHeartbeat
from ..cluster.drivers.flask_socketio_bridge import bridged
from ..cluster.drivers.kombu import KombuAdapter, kombu_adapter
from ..cluster.drivers.node_postgres import PostgresAdapter, postgres_adapter
from ..cluster.drivers.node_redis import RedisAdapter, redis_adapter
from ..cluster.drivers.node_redis_sharded import ShardedRedisAdapter, sharded_redis_adapter
from ..cluster.drivers.node_redis_streams import RecoveringStreamsAdapter, RedisStreamsAdapter, redis_streams_adapter
from ..cluster.workers.recovering_workers_adapter import RecoveringWorkersAdapter
from ..cluster.workers.workers_adapter import WorkersAdapter
from ..socketio.adapter import AckCollector, Adapter, SavedSession
from ..socketio.broadcast_options import BroadcastOptions, Room
from ..socketio.memory_adapter import MemoryAdapter
from ..socketio.session_aware_adapter import SessionAwareAdapter

__all__ = [
    "AckCollector",
    "Adapter",
    "BroadcastOptions",
    "ClusterAdapter",
    "ClusterAdapterWithHeartbeat",
    "KombuAdapter",
    "MemoryAdapter",
    "PostgresAdapter",
    "RecoveringStreamsAdapter",
    "RecoveringWorkersAdapter",
    "RedisAdapter",
    "RedisStreamsAdapter",
    "Room",
    "SavedSession",
    "SessionAwareAdapter",
    "ShardedRedisAdapter",
    "WorkersAdapter",
    "bridged",
    "kombu_adapter",
    "postgres_adapter",
    "redis_adapter",
    "redis_streams_adapter",
    "sharded_redis_adapter",
]
