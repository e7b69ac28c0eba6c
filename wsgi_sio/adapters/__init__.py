"""Adapters: who is in which room, and how a broadcast reaches them, in this process or beyond."""

from .base import AckCollector, Adapter, BroadcastOptions, Room, SavedSession
from .cluster import ClusterAdapter
from .heartbeat import ClusterAdapterWithHeartbeat
from .memory import MemoryAdapter
from .session_aware import SessionAwareAdapter

__all__ = [
    "AckCollector",
    "Adapter",
    "BroadcastOptions",
    "ClusterAdapter",
    "ClusterAdapterWithHeartbeat",
    "MemoryAdapter",
    "Room",
    "SavedSession",
    "SessionAwareAdapter",
]
