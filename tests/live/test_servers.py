"""The server processes that all live tests rely on."""

from __future__ import annotations

import socket
from http.client import HTTPConnection

import pytest

from tests.support.servers import SERVERS, start_server


def get(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_server_answers_logs_and_stops(kind: str) -> None:
    """A server answers at once, shows an application error as a problem, and frees its port when stopped."""
    with start_server(kind, "tests.apps.hello:app") as server:
        assert get(server.port, "/") == 200
        assert server.problems() == []
        assert get(server.port, "/boom") == 500
        server.wait_for_log("RuntimeError: asked for")
        assert any("Traceback" in line for line in server.problems())
        assert server.fd_count() > server.socket_count() >= 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()


def test_failure_to_start_shows_the_log() -> None:
    with pytest.raises(RuntimeError, match="No module named"):
        start_server(SERVERS[-1], "tests.apps.missing:app")
