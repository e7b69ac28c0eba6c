"""The client's half of Engine.IO: one connection to a server, by long-polling, WebSocket, or one after the other."""

from .engine import EngineClient

__all__ = ["EngineClient"]
