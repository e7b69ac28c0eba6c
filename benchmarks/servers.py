"""The servers that are compared, each with the same three handlers (``apps/``), and their processes."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

from benchmarks.install import Cache, Unavailable, own_versions
from benchmarks.load import WebSocketClient
from benchmarks.measure import pinned

ROOT = Path(__file__).resolve().parents[1]
_APPS = ROOT / "benchmarks" / "apps"
_START_TIMEOUT = 20.0  # seconds, until a port is free, or a server that binds by itself has done so
_STOP_TIMEOUT = 3.0


@dataclass(frozen=True)
class Ready:
    """A server that can be started.

    :ivar command: its command line for (descriptor of the listening socket, WebSockets, polling clients) to come.
    :ivar versions: of what it runs on.
    :ivar directory: where it runs.
    :ivar binds: it listens by itself, on the port that it is given in place of the descriptor.
    """

    command: Callable[[int, int, int], list[str]]
    versions: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = ROOT
    binds: bool = False


@dataclass(frozen=True)
class ServerKind:
    """A column of the tables.

    :ivar prepare: installs what is missing; raises :class:`Unavailable`.
    :ivar ours: it is a wsgi_sio.
    :ivar most: clients that it is measured with.
    """

    name: str
    title: str
    prepare: Callable[[Cache], Ready]
    ours: bool = False
    most: int | None = None


def gunicorn_command(python: str, app: str, options: list[str], fd: int) -> list[str]:
    """The command line that serves ``app`` on a descriptor, with one worker."""
    shared = ["--workers=1", "--worker-connections=30000", "--graceful-timeout=0", "--log-level=critical"]
    return [python, "-m", "gunicorn", f"--bind=fd://{fd}", *shared, *options, app]


def _worker(name: str, threads: int) -> list[str]:
    return ["-k", name] if name == "gevent" else ["-k", name, f"--threads={threads}"]


def _prepare_ours(cache: Cache, worker: str, compiled: Path | None = None) -> Ready:
    versions = own_versions()
    needed = ["gunicorn", "gevent"] if worker == "gevent" else ["gunicorn"]
    for name in needed:
        if name not in versions:
            raise Unavailable(f"{name} is not installed")

    def command(fd: int, websockets: int, pollers: int) -> list[str]:
        # Neither a waiting GET nor a WebSocket holds one of gunicorn's threads.
        options = _worker(worker, threads=8)
        return gunicorn_command(str(compiled or sys.executable), "benchmarks.apps.ours:app", options, fd)

    directory = ROOT if compiled is None else cache.beside_installed(compiled, ROOT / "benchmarks")
    found = {name: versions[name] for name in (*needed, "gunicorn_h1c") if name in versions}
    return Ready(command, found, directory=directory)


def _prepare_python_socketio(cache: Cache, worker: str) -> Ready:
    python, versions = cache.python_socketio()

    def command(fd: int, websockets: int, pollers: int) -> list[str]:
        # A waiting GET holds one of gunicorn's threads, and so does a WebSocket.
        options = _worker(worker, threads=8 + pollers + websockets)
        return gunicorn_command(str(python), "benchmarks.apps.pysio:app", options, fd)

    return Ready(command, versions, {"ASYNC_MODE": "gevent" if worker == "gevent" else "threading"})


def _prepare_node(cache: Cache) -> Ready:
    modules, versions = cache.socket_io()

    def command(fd: int, websockets: int, pollers: int) -> list[str]:
        return ["node", str(_APPS / "node.js"), str(fd)]

    # What ws takes where somebody has installed it is not a plain socket.io.
    return Ready(command, versions, {"NODE_PATH": str(modules), "WS_NO_BUFFER_UTIL": "1"})


def _prepare_bun(cache: Cache) -> Ready:
    bun, script, versions = cache.bun(_APPS / "bun.mjs")

    def command(port: int, websockets: int, pollers: int) -> list[str]:
        return [str(bun), str(script), str(port)]

    return Ready(command, versions, binds=True)


NODE = "node"  # what the others are compared with

KINDS = (
    ServerKind("ours-gevent", "wsgi_sio, gunicorn gevent", partial(_prepare_ours, worker="gevent"), ours=True),
    ServerKind("ours-gthread", "wsgi_sio, gunicorn gthread", partial(_prepare_ours, worker="gthread"), ours=True),
    ServerKind(NODE, "socket.io, Node.js", _prepare_node),
    ServerKind("bun", "socket.io, Bun", _prepare_bun),
    ServerKind("pysio-gevent", "python-socketio, gunicorn gevent", partial(_prepare_python_socketio, worker="gevent")),
    ServerKind(
        "pysio-gthread",
        "python-socketio, gunicorn gthread",
        partial(_prepare_python_socketio, worker="gthread"),
        most=1000,  # each has four threads
    ),
)


def with_compiled(python: Path) -> tuple[ServerKind, ...]:
    """The kinds, and behind ours the same by an interpreter that has the compiled wheel."""
    compiled = [
        ServerKind(
            f"{kind.name}-compiled",
            f"{kind.title}, compiled",
            partial(_prepare_ours, worker=kind.name.partition("-")[2], compiled=python),
            ours=True,
        )
        for kind in KINDS
        if kind.ours
    ]
    return (*(kind for kind in KINDS if kind.ours), *compiled, *(kind for kind in KINDS if not kind.ours))


def _listen(port: int) -> socket.socket:
    """A listening socket; whoever had the port may take a while to end, with thousands of connections."""
    deadline = monotonic() + _START_TIMEOUT
    while True:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=4096)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() > deadline:
                raise
            sleep(0.02)


class RunningServer:
    """A server process of its own, listening on ``port``; a context manager that ends it and what it started.

    :param core: where to pin it; None leaves that to the system.
    :param port: 0: a free one.
    :raises Unavailable: it does not answer; with the last lines it wrote.
    """

    def __init__(self, ready: Ready, core: int | None, websockets: int = 0, pollers: int = 0, *, port: int = 0) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # stop() closes it
        # The socket is made here: no race for a free port, and the kernel holds early clients while the server boots.
        with _listen(port) as listener, pinned(core):
            self.port: int = listener.getsockname()[1]
            place = self.port if ready.binds else listener.fileno()
            if ready.binds:
                listener.close()
            self._process = subprocess.Popen(
                ready.command(place, websockets, pollers),
                cwd=ready.directory,
                env={**os.environ, **ready.environment},
                pass_fds=[] if ready.binds else [place],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._await(_START_TIMEOUT if ready.binds else 0.0)
        except OSError as error:
            written = self.log()[-500:]
            self.stop()
            raise Unavailable(f"the server does not answer: {error}. {written}") from error
        except BaseException:
            self.stop()
            raise

    def _await(self, seconds: float) -> None:
        """A client gets an answer; so long it may be told that nobody listens yet."""
        deadline = monotonic() + seconds
        while True:
            try:
                return WebSocketClient(self.port).close()
            except ConnectionRefusedError:
                if monotonic() > deadline or self._process.poll() is not None:
                    raise
                sleep(0.02)

    def ask(self, event: bytes) -> bytes:
        """The acknowledgement's JSON that the server answers to an event without arguments."""
        client = WebSocketClient(self.port)
        try:
            return client.ask(event)
        finally:
            client.close()

    def log(self) -> str:
        """What it has written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def stop(self) -> None:
        """End its process group, whose leader it is."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):  # nothing is left of it
                os.killpg(self.pid, signal_number)
            with suppress(subprocess.TimeoutExpired):  # then it is killed
                self._process.wait(_STOP_TIMEOUT)
        self._log.close()

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
