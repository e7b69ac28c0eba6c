"""Adapters: who is in which room, and how a broadcast reaches them, in this process or beyond."""

from ..socketio.adapter import AckCollector, Adapter, BroadcastOptions, Room, SavedSession
from ..socketio.memory_adapter import MemoryAdapter
from ..socketio.session_aware_adapter import SessionAwareAdapter
from .cluster import ClusterAdapter
from .heartbeat import ClusterAdapterWithHeartbeat

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
