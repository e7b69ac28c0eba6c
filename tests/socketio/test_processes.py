"""What a process says that cannot reach the clients of others: one line, with the cure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.socketio.conftest import Serve
from wsgi_sio import Server, WSGIApp
from wsgi_sio.adapters import MemoryAdapter

NOBODY = "refused (emit in a process that serves nobody)"
SEVERAL = "refused (several processes)"


class Connecting(MemoryAdapter):
    """An adapter that reaches other processes."""

    def is_alone(self) -> bool:
        return False


def told(caplog: pytest.LogCaptureFixture, kind: str) -> list[str]:
    return [record.levelname for record in caplog.records if record.getMessage().startswith(kind)]


def test_a_process_that_serves_nobody_says_so_once_when_it_emits(caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    io.emit("x")
    io.of("/other").to("room").emit("x")
    assert told(caplog, NOBODY) == ["WARNING"]


def test_so_does_a_background_task_that_was_started_before_the_server_forks(caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    io.start_background_task(io.emit, "tick").join(5)
    assert told(caplog, NOBODY) == ["WARNING"] and "gunicorn --preload" in caplog.text
    io.reactor.close()


@pytest.mark.parametrize("path", ["/page", "/socket.io/"])
def test_a_server_without_clients_emits_without_a_word(caplog: pytest.LogCaptureFixture, path: str) -> None:
    io = Server()
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": ""}
    list(WSGIApp(io)(environ, lambda status, headers, error=None: print))
    io.emit("x")
    assert told(caplog, NOBODY) == []


def test_a_server_whose_only_client_has_gone_emits_without_a_word(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    io = Server()
    client = serve(io).client()
    client.connect()
    client.close()
    io.emit("x")
    assert told(caplog, NOBODY) == []


def test_an_adapter_that_connects_processes_reaches_somebody(caplog: pytest.LogCaptureFixture) -> None:
    Server(adapter=Connecting).emit("x")
    assert told(caplog, NOBODY) == []


@pytest.mark.parametrize("recovery", [False, True])
def test_one_of_several_processes_that_know_nothing_of_each_other(
    serve: Serve, caplog: pytest.LogCaptureFixture, recovery: bool
) -> None:
    process = serve(Server(connection_state_recovery=recovery))
    for _ in range(2):
        process.engine.handle(process.environ("GET", transport="polling") | {"wsgi.multiprocess": True})
    assert told(caplog, SEVERAL) == ["WARNING"]
    assert "--workers 1" in caplog.text


@pytest.mark.parametrize(("adapter", "several"), [(None, False), (Connecting, True)])
def test_processes_that_are_alone_or_connected_say_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture, adapter: Any, several: bool
) -> None:
    process = serve(Server(adapter=adapter))
    process.engine.handle(process.environ("GET", transport="polling") | {"wsgi.multiprocess": several})
    assert told(caplog, SEVERAL) == []
