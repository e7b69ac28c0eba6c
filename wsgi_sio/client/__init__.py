"""The client: what the JavaScript client does, for scripts, services and tests, in threads or gevent."""

from .client import Client
from .manager import Manager
from .simple import SimpleClient
from .socket import ClientSocket

__all__ = ["Client", "ClientSocket", "Manager", "SimpleClient"]
