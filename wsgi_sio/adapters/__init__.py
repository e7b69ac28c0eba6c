"""Adapters: who is in which room, and how a broadcast reaches them, in this process or beyond."""

from .base import Adapter, BroadcastOptions, Room, SavedSession
from .memory import MemoryAdapter
from .session_aware import SessionAwareAdapter

__all__ = ["Adapter", "BroadcastOptions", "MemoryAdapter", "Room", "SavedSession", "SessionAwareAdapter"]
