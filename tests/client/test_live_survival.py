"""Servers that die, come back, or fall silent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.freezing import freeze, thaw
from tests.support.inprocess import Background, eventually
from tests.support.node import start_node
from tests.support.servers import SERVERS, RunningServer, start_server
from wsgi_sio.client import Client

RECORDER = "tests.client.servers.recorder:app"
MODES = (["websocket"], ["polling"], ["polling", "websocket"])


@pytest.mark.parametrize(
    ("clients", "events", "kills"),
    [
        pytest.param(5, 20, 1, id="everyday"),
        pytest.param(50, 60, 3, id="fifty", marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_no_event_is_lost_when_the_server_is_killed(tmp_path: Path, clients: int, events: int, kills: int) -> None:
    """kill -9 and a restart on the same port, under clients that emit numbered events with retries: afterwards each
    event has arrived at least once, and each client's in order."""
    record = tmp_path / "record"
    server = serve(record)
    made = [
        Client(server.url, transports=MODES[number % 3], retries=10_000, ack_timeout=5.0, reconnection_delay=0.1,
               reconnection_delay_max=0.5)
        for number in range(clients)
    ]  # fmt: skip
    done: list[tuple[int, int]] = []

    def arrived_once(event: tuple[int, int], error: Exception | None, *answer: Any) -> None:
        assert error is None and answer == (True,)
        done.append(event)

    def run(name: int) -> None:
        client = made[name]
        client.connect(wait=False)
        for number in range(events):
            client.emit("number", str(name), number, callback=partial(arrived_once, (name, number)))
            time.sleep(0.01)

    try:
        running = [Background(run, name) for name in range(clients)]
        for kill in range(kills):
            share = clients * events * (kill + 1) // (kills + 2)
            eventually(lambda share=share: len(done) >= share, "some events", 60)
            os.killpg(server.pid, signal.SIGKILL)
            server.process.wait()
            port = server.port
            server.stop()
            server = serve(record, port)
        for background in running:
            background.result(60)
        eventually(lambda: len(done) == clients * events, "all acknowledgements", 90)
    finally:
        for closing in [Background(client.io.close) for client in made]:
            closing.result()
        server.stop()
    arrived: dict[str, list[int]] = {}
    for line in record.read_text().splitlines():
        name, number = line.split()
        numbers = arrived.setdefault(name, [])
        if int(number) not in numbers:
            numbers.append(int(number))
    assert arrived == {str(name): list(range(events)) for name in range(clients)}


def serve(record: Path, port: int = 0) -> RunningServer:
    return start_server(SERVERS[1], RECORDER, {"RECORD": str(record)}, port=port)


@pytest.fixture(params=["wsgi_sio", "node"])
def silent(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A server that pings every 0.3 s and waits as long; its URL and process id."""
    if request.param == "node":
        request.getfixturevalue("node_modules")
        with start_node("reference_server.js", env={"SIO_OPTIONS": '{"pingInterval":300,"pingTimeout":300}'}) as script:
            yield script.next_line()["url"], script.process.pid
        return
    options = '{"ping_interval": 0.3, "ping_timeout": 0.3}'
    with start_server(SERVERS[1], "tests.apps.main:app", {"SIO_OPTIONS": options}) as server:
        yield server.url, server.pid


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_silent_server_is_noticed_and_come_back_to(silent: tuple[str, int], transport: str) -> None:
    """Within ping_interval + ping_timeout; what is emitted then is kept until the server goes on."""
    url, pid = silent
    client = Client(url, transports=[transport], reconnection_delay=0.05, timeout=0.5)
    lost: list[tuple[Any, ...]] = []
    client.on("disconnect", lambda *args: lost.append((time.monotonic(), *args)))
    client.connect(timeout=5)
    try:
        freeze(pid)
        stopped = time.monotonic()
        try:
            eventually(lambda: lost, "the loss", 3)
            assert lost[0][0] - stopped < 1.0
            assert lost[0][1] == "ping timeout"
            told: list[Any] = []
            client.emit("echo", "kept", callback=told.append)
        finally:
            thaw(pid)
        eventually(lambda: told == ["kept"], "the acknowledgement", 10)
    finally:
        client.disconnect()
