"""A client whose process stands still (SIGSTOP) for longer than its patience, while the server is patient."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from tests.support.freezing import freeze, thaw
from tests.support.inprocess import Background, eventually
from tests.support.world import WORLD
from wsgi_sio import Server, Socket, WSGIApp

ROOT = Path(__file__).resolve().parents[2]
INTERVAL, TIMEOUT = 0.3, 0.7  # seconds; so the server tells its clients
_LONG = 60.0  # seconds; how patient it is itself

# It sends all the time, so that it does so the moment it wakes.
PROGRAM = """
import sys, time
from wsgi_sio.client import Client
client = Client(sys.argv[1], transports=[sys.argv[2]], reconnection=False)
client.on("number", lambda number: client.emit("returned", number))
client.on("disconnect", lambda reason, detail: print("lost:", reason, flush=True))
client.connect(timeout=10)
number = 0
while client.connected:
    client.emit("tick", number)
    number += 1
    time.sleep(0.002)
"""


class PatientServer:
    """A server whose clients have been told that it pings often, and is in a hurry."""

    def __init__(self) -> None:
        self.io = Server(ping_interval=INTERVAL, ping_timeout=_LONG)
        assert self.io.engine.heartbeat  # made with the long one
        self.io.engine.config = replace(self.io.engine.config, ping_timeout=TIMEOUT)
        self.joined = threading.Event()
        self.ticks: list[int] = []
        self.returned: list[int] = []
        self.ends: list[str] = []
        self.io.on("connection", lambda socket: self.joined.set())
        self.io.on("tick", lambda socket, number: self.ticks.append(number))
        self.io.on("returned", lambda socket, number: self.returned.append(number))
        self.io.on("disconnect", self._ended)
        self._http = make_server("127.0.0.1", 0, WSGIApp(self.io), threaded=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._serving = Background(self._http.serve_forever)

    def _ended(self, socket: Socket, reason: str) -> None:
        self.ends.append(reason)

    def close(self) -> None:
        self.io.close()
        self._http.shutdown()
        self._http.server_close()
        self._serving.result()
        self.io.reactor.close()


@pytest.fixture
def server() -> Iterator[PatientServer]:
    made = PatientServer()
    yield made
    made.close()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("stalls", [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(120)])])
def test_a_stopped_client_loses_nothing(server: PatientServer, transport: str, stalls: int) -> None:
    patch = "from gevent import monkey; monkey.patch_all()\n" if WORLD == "gevent" else ""
    command = [sys.executable, "-c", patch + PROGRAM, server.url, transport]
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.joined.wait(20)
        for stall in range(stalls):
            sent = len(server.ticks)
            eventually(lambda sent=sent: len(server.ticks) > sent + 50, "what it sends")
            freeze(program.pid)
            server.io.emit("number", stall)
            time.sleep(INTERVAL + TIMEOUT + 0.5)  # longer than its patience; several pings come meanwhile
            thaw(program.pid)
            eventually(
                lambda stall=stall: server.ends or server.returned[-1:] == [stall],
                "what was sent meanwhile",
                timeout=30,
            )
            assert server.ends == []
        time.sleep(INTERVAL + TIMEOUT)  # what is not lost by then is not lost for this
        assert server.ends == [] and program.poll() is None
    finally:
        program.kill()
        told = program.communicate()[0]
    assert told == ""
    assert server.returned == list(range(stalls))
    assert server.ticks == list(range(len(server.ticks)))
