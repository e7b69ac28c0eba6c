"""Servers of several workers, started by gunicorn's own command, and crowds of clients for them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.live.crowd import Plan, has_ended
from tests.live.peers import eventually
from tests.support.servers import ROOT, RunningServer

APP = "tests.apps.many:app"


class SeveralWorkers(RunningServer):
    """A server that has forked workers."""

    @property
    def worker_pids(self) -> list[int]:
        """Its children, but those that have ended and have not been collected."""
        return [pid for pid in children(self.pid) if not has_ended(pid)]

    def warnings(self) -> list[str]:
        """What our own loggers have said at WARNING or above."""
        return [line for line in self.log().splitlines() if line.startswith(("WARNING wsgi_sio", "ERROR wsgi_sio"))]

    def held(self) -> tuple[int, int]:
        """Of how many requests the worker that got them was the owner, and of how many it was not (with TELL)."""
        got = [line.split() for line in self.log().splitlines() if " got a " in line]
        own = sum(words[-1] == words[-6] for words in got)
        return own, len(got) - own


def children(pid: int) -> list[int]:
    """Of a process, in the order of their birth."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on just now."""
    with ExitStack() as stack:
        finders = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [finder.getsockname()[1] for finder in finders]


@contextmanager
def gunicorn(
    options: str,
    *,
    app: str = APP,
    env: Mapping[str, str] | None = None,
    ports: Iterable[int] = (),
    unix: str | None = None,
    **sio_options: Any,
) -> Iterator[SeveralWorkers]:
    """Run ``gunicorn OPTIONS APP`` on free ports, or a Unix socket, until the block ends.

    :param sio_options: of the Socket.IO server.
    """
    ports = list(ports) or free_ports(1)
    binds = [f"unix:{unix}"] if unix else [f"127.0.0.1:{port}" for port in ports]
    command = [str(Path(sys.executable).with_name("gunicorn")), "--graceful-timeout", "1", "--no-control-socket"]
    command += [*(part for bind in binds for part in ("--bind", bind)), *options.split(), app]
    with run(command, env, ports[0], json.dumps(sio_options)) as server:
        wait_for_pages(server, unix or ports[0])
        yield server


@contextmanager
def run(command: list[str], env: Mapping[str, str] | None, port: int, sio_options: str) -> Iterator[SeveralWorkers]:
    """Run a server in a process group of its own, all of which is ended with the block."""
    with SeveralWorkers.launch(command, port, {"SIO_OPTIONS": sio_options, **(env or {})}) as server:
        yield server


def wait_for_pages(server: RunningServer, address: int | str) -> None:
    """Return when a page has been served."""

    def served() -> bool:
        assert server.process.poll() is None, server.log()
        try:
            return fetch_at(address) != b""
        except (ConnectionError, FileNotFoundError, TimeoutError):
            return False

    eventually(served, bool, timeout=60)


def fetch_at(address: int | str, path: str = "/", body: bytes | None = None) -> bytes:
    """The answer to a GET, or a POST, from a port or a Unix socket."""
    connection = HTTPConnection("127.0.0.1", timeout=30)
    if isinstance(address, int):
        connection.sock = socket.create_connection(("127.0.0.1", address), timeout=30)
    else:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(address)
    try:
        connection.request("GET" if body is None else "POST", path, body, {"Connection": "close"})
        return connection.getresponse().read()
    finally:
        connection.close()


def wait_for_siblings(server: SeveralWorkers, address: int | str, workers: int, *, busy: bool = False) -> None:
    """Return when all workers have joined, which each does with its first request.

    Until then who has not can be given no sessions.

    :param busy: others have sessions there already; otherwise it is also waited for the end of those made here.
    """

    def come_and_go(_: int) -> None:
        opened = fetch_at(address, "/socket.io/?EIO=4&transport=polling").decode()
        sid = json.loads(opened[1:])["sid"]
        fetch_at(address, f"/socket.io/?EIO=4&transport=polling&sid={sid}", b"1")
        fetch_at(address, f"/socket.io/?EIO=4&transport=polling&sid={sid}")  # which the end waits for

    def joined() -> bool:
        list(pool.map(come_and_go, range(8)))
        page = json.loads(fetch_at(address))
        return bool(page["siblings"] == workers - 1 and (busy or page["sessions"] == 0))

    with ThreadPoolExecutor(8) as pool:
        eventually(joined, bool, timeout=60)


class RunningCrowd:
    """Clients that have all joined, and are sending numbers."""

    def __init__(self, process: subprocess.Popen[str], plan: Plan) -> None:
        self._process = process
        self.plan = plan
        self.joined = self._line()
        self.began = time.monotonic()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the clients ended with status {self._process.wait()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def report(self) -> dict[str, Any]:
        """Wait for their end."""
        return self._line()


@contextmanager
def crowd(plan: Plan) -> Iterator[RunningCrowd]:
    """Have clients come, in a process of their own."""
    command = [sys.executable, "-m", "tests.live.crowd", plan.encode()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            yield RunningCrowd(process, plan)
        finally:
            process.kill()


def exchange(plan: Plan) -> dict[str, Any]:
    """Have clients exchange numbers with the server and check that nothing was lost, doubled, or out of order."""
    with crowd(plan) as clients:
        report = clients.report()
    assert not report["wrongs"], report["wrong"]
    assert not report["lost"], report["lost"]
    assert report["counts"]["echoes"] > plan.clients
    return report
