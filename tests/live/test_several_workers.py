"""Several workers serve as one: any of them gets any request, whatever the worker class and however they listen."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.crowd import Plan
from tests.live.several import SeveralWorkers, exchange, free_ports, gunicorn, run, wait_for_pages, wait_for_siblings
from tests.support.node import JS, run_node
from tests.support.npm import install
from tests.support.scenario import assert_clean
from tests.support.servers import ROOT
from tests.support.world import WORLD

# What `local` reaches.
ONE_PROCESS = "rooms: everybody of one process"
TELL = {"TELL": "1"}
GTHREAD = "-k gthread --threads 8"
WORKER = "-k gevent" if WORLD == "gevent" else GTHREAD
CLASSES = ["-k gevent"] if WORLD == "gevent" else [GTHREAD, "-k gthread --threads 1", "-k sync"]
slow = pytest.mark.slow
EVERY_DAY = [(CLASSES[0], 3, ""), ("-k sync", 2, " --preload")]
MATRIX = [
    pytest.param(f"{kind} -w {workers}{preload}", marks=() if (kind, workers, preload) in EVERY_DAY else slow)
    for kind in CLASSES
    for workers, preload in ((2, " --preload"), (3, ""), (4, ""), (4, " --preload"))
]
MODES = ("polling", "websocket", "upgrade")
NEW, OLD = "scenario.js", "v2/scenario.js"
# Each class has each mode, and each script; the first has all of both.
SCENARIOS = [
    *((script, CLASSES[0], mode) for script in (NEW, OLD) for mode in MODES),
    *((OLD if mode == "websocket" else NEW, kind, mode) for kind in CLASSES[1:] for mode in MODES),
]


@pytest.fixture
def runtime_directory() -> Iterator[str]:
    """A short path: names of Unix sockets cannot be long."""
    with tempfile.TemporaryDirectory(prefix="sio") as directory:
        yield directory


def assert_shared(server: SeveralWorkers, report: dict[str, Any], workers: int) -> None:
    """All workers have clients, and requests came to another than their owner; nobody complained.

    How many did is the kernel's business: it may give almost all connections to one worker.
    """
    assert len(report["tags"]) == workers, report["tags"]
    own, foreign = server.held()
    assert foreign, own
    assert not server.warnings()
    assert_clean(server)


@pytest.mark.parametrize("options", MATRIX)
def test_any_worker_takes_any_request(options: str) -> None:
    """Polling, WebSocket and upgrade, each request on a connection of its own: no number is lost, doubled or late."""
    workers = int(options.split("-w ")[1][0])
    with gunicorn(options, env=TELL) as server:
        wait_for_siblings(server, server.port, workers)
        report = exchange(Plan((server.port,), clients=12))
        assert_shared(server, report, workers)


@pytest.mark.parametrize("kind", [CLASSES[0], *(pytest.param(kind, marks=slow) for kind in CLASSES[1:])])
def test_clients_that_come_while_the_workers_start(kind: str) -> None:
    """Some workers know of the others when sessions begin, and some do not: nobody is lost."""
    with gunicorn(f"{kind} -w 4") as server:
        exchange(Plan((server.port,), clients=100, seconds=2, period=0.8))
        assert not server.warnings()
        assert_clean(server)


@slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", CLASSES)
def test_one_way_of_transport(kind: str, mode: str) -> None:
    with gunicorn(f"{kind} -w 3") as server:
        wait_for_siblings(server, server.port, 3)
        report = exchange(Plan((server.port,), clients=9, modes=(mode,)))
        assert len(report["tags"]) == 3
        assert not server.warnings()
        assert_clean(server)


@slow
@pytest.mark.parametrize("kind", CLASSES)
def test_several_binds(kind: str) -> None:
    """A session that began at one address goes on at the other."""
    ports = free_ports(2)
    with gunicorn(f"{kind} -w 2", env=TELL, ports=ports) as server:
        wait_for_siblings(server, ports[0], 2)
        assert_shared(server, exchange(Plan(tuple(ports), clients=9)), 2)


@slow
@pytest.mark.parametrize("kind", CLASSES)
def test_reuse_port(kind: str) -> None:
    with gunicorn(f"{kind} -w 3 --reuse-port", env=TELL) as server:
        wait_for_siblings(server, server.port, 3)
        assert_shared(server, exchange(Plan((server.port,), clients=9)), 3)


@pytest.mark.parametrize("kind", [CLASSES[0], *(pytest.param(kind, marks=slow) for kind in CLASSES[1:])])
def test_a_unix_socket(kind: str, runtime_directory: str) -> None:
    """As behind nginx; the sockets between the workers are no servers' sockets."""
    path = f"{runtime_directory}/web"
    with gunicorn(f"{kind} -w 3", env=TELL, unix=path) as server:
        wait_for_siblings(server, path, 3)
        assert_shared(server, exchange(Plan((path,), clients=9)), 3)


@pytest.mark.skipif(WORLD != "gevent", reason="a server of the world of gevent")
def test_gevents_own_server_in_forked_processes() -> None:
    """The way of gevent's documentation: one listening socket, several processes that accept."""
    (port,) = free_ports(1)
    with run([sys.executable, "-m", "tests.apps.forked_pywsgi", str(port), "3"], TELL, port, "{}") as server:
        wait_for_pages(server, port)
        wait_for_siblings(server, port, 3)
        assert_shared(server, exchange(Plan((port,), clients=9)), 3)


@pytest.mark.parametrize(
    "app", ["tests.apps.many_flask:app", pytest.param("tests.apps.many_django:application", marks=slow)]
)
def test_the_extensions(app: str) -> None:
    """Flask's and Django's servers are no different."""
    with gunicorn(f"{WORKER} -w 3", app=app, env=TELL) as server:
        exchange(Plan((server.port,), clients=9))
        assert not server.warnings()
        assert_clean(server)


@slow
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(("script", "kind", "mode"), SCENARIOS)
def test_javascript_clients(script: str, kind: str, mode: str) -> None:
    """Every feature, with the present client and the last one of Socket.IO v2, on two workers."""
    install(JS / "v2")
    with gunicorn(f"{kind} -w 2", app="tests.apps.main:app", allow_eio3=True, ping_timeout=20) as server:
        checks = run_node(script, f"http://127.0.0.1:{server.port}", mode, timeout=200)["checks"]
        failures = [check for check in checks if not check["ok"] and check["name"] != ONE_PROCESS]
        assert checks and not failures, json.dumps(failures, indent=1)
        assert_clean(server)


@slow
@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
@pytest.mark.parametrize("kind", CLASSES)
def test_python_clients(kind: str, transports: list[str]) -> None:
    """Ours and python-socketio's, three of each: events, acknowledgements, and a broadcast that all get."""
    with gunicorn(f"{kind} -w 3") as server:
        wait_for_siblings(server, server.port, 3)
        url = f"http://127.0.0.1:{server.port}"
        result = run_python("tests.live.python_peers", url, json.dumps(transports))
        assert result["echoed"] == 120 and result["workers"] > 1, result  # six are too few for all to have some
        assert_clean(server)


def run_python(module: str, *arguments: str) -> Any:
    """The last line that a program prints, in JSON; in a process of its own, since gevent may have patched ours."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_is_left_behind(runtime_directory: str) -> None:
    """The workers' sockets go with them, and so does the directory's content when a worker is killed."""
    with gunicorn(f"{WORKER} -w 3", env={"RUNTIME_DIRECTORY": runtime_directory}) as server:
        exchange(Plan((server.port,), clients=6, seconds=1))
        (directory,) = Path(runtime_directory).glob("wsgi_sio-*/*")
        assert len(list(directory.iterdir())) == 3
        server.stop()
        assert not list(directory.iterdir())
