"""The servers that are compared, each with the same three handlers (``apps/``), and their processes."""

from __future__ import annotations

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
from types import TracebackType

from benchmarks.install import Cache, Unavailable, own_versions
from benchmarks.load import WebSocketClient
from benchmarks.measure import pinned

ROOT = Path(__file__).resolve().parents[1]
_APPS = ROOT / "benchmarks" / "apps"
_STOP_TIMEOUT = 3.0


@dataclass(frozen=True)
class Ready:
    """A server that can be started.

    :ivar command: its command line for (descriptor of the listening socket, WebSockets, polling clients) to come.
    :ivar versions: of what it runs on.
    """

    command: Callable[[int, int, int], list[str]]
    versions: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerKind:
    """A row of the tables.

    :ivar prepare: installs what is missing; raises :class:`Unavailable`.
    """

    name: str
    title: str
    prepare: Callable[[Cache], Ready]


def gunicorn_command(python: str, app: str, options: list[str], fd: int) -> list[str]:
    """The command line that serves ``app`` on a descriptor, with one worker."""
    shared = ["--workers=1", "--worker-connections=10000", "--graceful-timeout=0", "--log-level=critical"]
    return [python, "-m", "gunicorn", f"--bind=fd://{fd}", *shared, *options, app]


def _worker(name: str, threads: int) -> list[str]:
    return ["-k", name] if name == "gevent" else ["-k", name, f"--threads={threads}"]


def _prepare_ours(cache: Cache, worker: str) -> Ready:
    versions = own_versions()
    needed = ["gunicorn", "gevent"] if worker == "gevent" else ["gunicorn"]
    for name in needed:
        if name not in versions:
            raise Unavailable(f"{name} is not installed")

    def command(fd: int, websockets: int, pollers: int) -> list[str]:
        # Neither a waiting GET nor a WebSocket holds one of gunicorn's threads.
        options = _worker(worker, threads=8)
        return gunicorn_command(sys.executable, "benchmarks.apps.ours:app", options, fd)

    return Ready(command, {name: versions[name] for name in (*needed, "gunicorn_h1c") if name in versions})


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

    return Ready(command, versions, {"NODE_PATH": str(modules)})


KINDS = (
    ServerKind("ours-gevent", "wsgi_sio, gunicorn gevent", partial(_prepare_ours, worker="gevent")),
    ServerKind("ours-gthread", "wsgi_sio, gunicorn gthread", partial(_prepare_ours, worker="gthread")),
    ServerKind("pysio-gevent", "python-socketio, gunicorn gevent", partial(_prepare_python_socketio, worker="gevent")),
    ServerKind(
        "pysio-gthread", "python-socketio, gunicorn gthread", partial(_prepare_python_socketio, worker="gthread")
    ),
    ServerKind("node", "socket.io, Node.js", _prepare_node),
)


class RunningServer:
    """A server process of its own, listening on ``port``; a context manager that ends it and what it started.

    :param core: where to pin it; None leaves that to the system.
    :raises Unavailable: it does not answer; with the last lines it wrote.
    """

    def __init__(self, ready: Ready, core: int | None, websockets: int = 0, pollers: int = 0) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # stop() closes it
        # The socket is made here: no race for a free port, and the kernel holds early clients while the server boots.
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, pinned(core):
            self.port: int = listener.getsockname()[1]
            self._process = subprocess.Popen(
                ready.command(listener.fileno(), websockets, pollers),
                cwd=ROOT,
                env={**os.environ, **ready.environment},
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            WebSocketClient(self.port).close()
        except OSError as error:
            written = self.log()[-500:]
            self.stop()
            raise Unavailable(f"the server does not answer: {error}. {written}") from error
        except BaseException:
            self.stop()
            raise

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
