"""For the tests of applications: a client in memory, and a server on the loopback for real clients.

pytest finds the fixtures ``sio_client`` and ``sio_live_server`` by itself once the package is installed
(:mod:`wsgi_sio.testing.plugin`).
"""

from .client import Received, TestClient
from .live import LiveServer

__all__ = ["LiveServer", "Received", "TestClient"]
