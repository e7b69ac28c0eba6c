"""WebTransport by an option, under real servers: the process that serves listens, and clients of others do without."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.scenario import assert_clean, run_scenario
from tests.support.servers import free_port, start_server
from tests.support.waiting import DEADLINE, eventually
from tests.support.world import WORLD
from wsgi_sio import Client

KINDS = ("pywsgi", "gunicorn-gevent") if WORLD == "gevent" else ("werkzeug", "gunicorn-gthread", "waitress")
ALL = ["polling", "websocket", "webtransport"]


def both_ports() -> int:
    """A number that is free for TCP and UDP."""
    port = free_port()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", port))
    return port


def options(port: int) -> dict[str, str]:
    return {"LISTEN": "null", "SIO_OPTIONS": json.dumps({"webtransport": {"port": port}})}


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a second may be too little for QUIC; where the port is free, they are refused at once."""
    monkeypatch.setattr("wsgi_sio.client.engineio.webtransport._PATIENCE", DEADLINE)


def transport_after_a_while(client: Client) -> str | None:
    deadline = time.monotonic() + DEADLINE
    while client.io.transport_name == "polling" and time.monotonic() < deadline:
        time.sleep(0.01)
    return client.io.transport_name


def connect_over_webtransport(client: Client) -> None:
    """Workers that have just begun may not know yet that another one has the port, and the session."""

    def connected() -> bool:
        client.connect()
        if transport_after_a_while(client) != "webtransport":
            client.disconnect()
        return client.connected

    eventually(connected, "a connection over WebTransport")


@pytest.mark.parametrize("kind", KINDS)
def test_it_listens_when_it_serves(kind: str) -> None:
    port = both_ports()
    with start_server(kind, "tests.apps.webtransport:application", options(port), port=port) as server:
        with Client(server.url, transports=ALL, verify=False) as client:
            assert transport_after_a_while(client) == "webtransport"
            assert client.emit_with_ack("transport") == "webtransport"
        with Client(server.url, transports=["webtransport"], verify=False) as client:
            assert client.emit_with_ack("echo", b"") == [b""]
        assert server.problems() == []


@pytest.mark.slow
def test_several_workers_with_one_port() -> None:
    """One has it, and clients of the others come through it; when it is killed, another takes the port."""
    port = both_ports()
    gunicorn = {"workers": 3}
    with start_server(KINDS[1], "tests.apps.webtransport:application", options(port), gunicorn, port=port) as server:
        clients: list[Client] = []

        def one_more() -> int:
            client = Client(server.url, transports=ALL, verify=False)
            connect_over_webtransport(client)
            clients.append(client)
            return len({client.emit_with_ack("pid") for client in clients})

        eventually(lambda: one_more() == 3, "clients of all workers")
        while len(clients) < 9:
            one_more()
        for client in clients:
            assert client.emit_with_ack("transport") == "webtransport"
        for client in clients:
            got: list[object] = []
            client.on("again", got.append)
            for number in range(50):
                client.emit("again", [number, b"x" * number])
            assert client.emit_with_ack("echo", b"y" * 300_000) == [b"y" * 300_000]
            eventually(lambda: len(got) == 50, "the echoes")  # noqa: B023
            assert got == [[number, b"x" * number] for number in range(50)]
        listening = Client(server.url, transports=["webtransport"], verify=False, reconnection=False)
        listening.connect()
        os.kill(listening.emit_with_ack("pid"), signal.SIGKILL)
        for client in clients:
            client.disconnect()
        late = Client(server.url, transports=["webtransport"], verify=False)
        late.connect(retry=True, wait=False)
        eventually(lambda: late.connected, "another worker at the port")
        assert late.emit_with_ack("echo", 1) == [1]
        late.disconnect()


HOOKS = """
from wsgi_sio.gunicorn import drain_hooks

post_worker_init, worker_int, worker_exit = drain_hooks("tests.apps.webtransport:io", seconds=2)
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_reload_hands_the_port_on(tmp_path: Path) -> None:
    """The new workers have it when the old ones drain; whoever is connected is told in time, and comes back."""
    port = both_ports()
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text(HOOKS)
    gunicorn = {"workers": 2, "config": str(conf), "graceful_timeout": 20}
    with start_server(KINDS[1], "tests.apps.webtransport:application", options(port), gunicorn, port=port) as server:
        clients = [Client(server.url, transports=ALL, verify=False, reconnection_delay=0.1) for _ in range(8)]
        ends: list[str] = []
        for client in clients:
            connect_over_webtransport(client)
            client.on("disconnect", ends.append)
        old = {client.emit_with_ack("pid") for client in clients}
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(ends) == len(clients), "the end of the old ones")
        for client in clients:
            eventually(lambda: client.connected, "their return")  # noqa: B023
        # They all come at once, and not all are answered by QUIC within the second that a client waits for that.
        assert set(map(transport_after_a_while, clients)) <= {"webtransport", "websocket"}
        late = Client(server.url, transports=["webtransport"], verify=False, timeout=2, reconnection_delay=0.1)
        late.connect(retry=True, wait=False)
        eventually(lambda: late.connected, "a new worker at the port")  # as soon as it has found the port free
        assert late.emit_with_ack("echo", 1) == [1]
        late.disconnect()
        assert not old & {client.emit_with_ack("pid") for client in clients}
        assert set(ends) == {"transport close"}
        for client in clients:
            client.disconnect()
        assert server.problems() == []


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("mode", ["webtransport", "upgrade to webtransport", "all three"])
def test_every_feature_with_the_javascript_client(mode: str) -> None:
    """Node has no QUIC, so the stream of each session is a TCP connection; all above that is the real thing."""
    env = {"WEBTRANSPORT_TCP_PORT": str(free_port()), "NODE_OPTIONS": "--require ./fake_webtransport.js"}
    env["SIO_OPTIONS"] = json.dumps({"transports": ALL})
    with start_server(KINDS[0], "tests.apps.webtransport_tcp:app", env) as server:
        run_scenario(server.url, mode, "", MAY_FAIL, env)
        eventually(lambda: not any(ask(server.url).values()), "the end of all clients")
        assert_clean(server)


# JavaScript's client sends no query there. And one that is closed while it upgrades drops the packet that would tell
# the server of the upgrade, so that only the heartbeat finds out that it has gone.
MAY_FAIL = (
    "connecting: the server sees auth and query, and greets after the connection",
    "leaving: no socket of all these clients is left on the server",
)


def ask(url: str) -> dict[str, int]:
    """How many clients are in each namespace."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts
