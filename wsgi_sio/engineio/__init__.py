"""Engine.IO: sessions over long-polling and WebSocket, with heartbeats and upgrades; Socket.IO is built on it."""

from .config import EngineConfig
from .packet import MESSAGE, Packet
from .request import EngineRequest
from .response import Response
from .server import EngineServer
from .session import Session

__all__ = ["MESSAGE", "EngineConfig", "EngineRequest", "EngineServer", "Packet", "Response", "Session"]
