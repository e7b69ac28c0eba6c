"""``tests/apps/main.py`` with WebTransport whose sessions are TCP connections: for clients that have no QUIC.

The port is in the environment variable ``WEBTRANSPORT_TCP_PORT``.
"""

from __future__ import annotations

import os
import socket

from tests.apps.main import app, io
from tests.support.stream_connection import Stream
from wsgi_sio.engineio.webtransport_handshake import Handshake

__all__ = ["app"]

PORT = int(os.environ["WEBTRANSPORT_TCP_PORT"])


class Doors:
    """Listens; stands in for the engine's listener."""

    port = PORT

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", PORT), backlog=100)
        self._sock.setblocking(False)
        io.reactor.watch(self)

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        sock, _ = self._sock.accept()
        Stream(io.reactor, sock, lambda driver: Handshake(io.engine, driver, PORT, ""), is_client=False)

    def on_writable(self) -> None: ...

    def close(self) -> bool:
        """The process ends."""
        return False

    def dismiss(self) -> None: ...

    def hang_up(self) -> None: ...

    def wait_until_deserted(self, seconds: float) -> bool:
        return True


io.engine.webtransport = Doors()  # type: ignore[assignment]
