"""The client: what the JavaScript client does, for scripts, services and tests, in threads or gevent.

Begin with ``socket.py`` (one namespace), ``manager.py`` (the connection that its sockets share, made again when it is
lost) and ``engineio/engine.py`` (one Engine.IO connection below that): each tells its whole life at its top.
"""

from .client import Client, SimpleClient
from .manager import Manager
from .socket import ClientSocket

__all__ = ["Client", "ClientSocket", "Manager", "SimpleClient"]
