"""Adapters: who is in which room, and how a broadcast reaches them, in this process or beyond."""

from .base import Adapter, BroadcastOptions, Room
from .memory import MemoryAdapter

__all__ = ["Adapter", "BroadcastOptions", "MemoryAdapter", "Room"]
