"""Whole programs with a client in them: how they end, and a server whose handlers are clients of another."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from tests.support.inprocess import Background
from tests.support.servers import SERVERS, RunningServer, start_server
from tests.support.world import WORLD
from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.client import Client, SimpleClient

ROOT = Path(__file__).resolve().parents[2]
TRANSPORTS = ("polling", "websocket")
_TIMEOUT = 20.0  # seconds


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with start_server(SERVERS[0], "tests.apps.main:app") as running:
        yield running


def start(url: str, transport: str, *lines: str) -> subprocess.Popen[str]:
    """Run a program whose ``client`` has not connected yet."""
    patch = ["from gevent import monkey; monkey.patch_all()"] if WORLD == "gevent" else []
    imports = ["import signal", "from wsgi_sio.client import Client"]
    program = [*patch, *imports, f"client = Client({url!r}, transports=[{transport!r}])", *lines]
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(program)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_program_may_end_while_its_client_is_connected(server: RunningServer, transport: str) -> None:
    """At once and without a word; and what it does with signals is its own business."""
    handlers = "[signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]"
    program = start(
        server.url,
        transport,
        f"before = {handlers}",
        "client.connect(timeout=5)",
        "assert client.emit_with_ack('echo', 1, timeout=5) == 1",
        f"assert {handlers} == before",
    )
    assert (*program.communicate(timeout=_TIMEOUT), program.returncode) == ("", "", 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("connected", "blocked"),
    [
        (False, "client.connect(retry=True)"),
        (True, "client.emit_with_ack('nobody acknowledges this')"),
        (True, "client.wait()"),
    ],
    ids=["connect", "emit_with_ack", "wait"],
)
def test_ctrl_c_ends_whatever_blocks(server: RunningServer, transport: str, connected: bool, blocked: str) -> None:
    url = server.url if connected else "http://127.0.0.1:9"
    first = "with client:" if connected else "if True:"
    program = start(url, transport, first, "    print('go', flush=True)", f"    {blocked}")
    assert program.stdout is not None and program.stdout.readline() == "go\n"
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(0.3)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=_TIMEOUT)
    assert program.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")


def test_a_servers_handler_may_be_a_client_of_another_server(server: RunningServer) -> None:
    """With a client of its own, and with one that all handlers share."""
    shared = Client(server.url)
    relay_server = Server()

    @relay_server.on("relay")
    def relay(socket: Socket, value: int) -> list[int]:
        with SimpleClient(server.url, transports=["websocket"]) as own:
            return [own.call("echo", value, timeout=5), shared.emit_with_ack("echo", value, timeout=5)]

    http = make_server("127.0.0.1", 0, WSGIApp(relay_server), threaded=True)
    serving = Background(http.serve_forever)

    def ask(number: int) -> None:
        with Client(f"http://127.0.0.1:{http.server_port}") as client:
            for value in range(5):
                assert client.emit_with_ack("relay", value, timeout=10) == [value, value]

    try:
        with shared:
            for asking in [Background(ask, number) for number in range(5)]:
                asking.result(30)
    finally:
        relay_server.close()
        http.shutdown()
        serving.result()
        http.server_close()
