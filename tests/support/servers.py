"""Real WSGI servers in child processes, one :class:`RunningServer` each.

The listening socket is made here and inherited by the child (``tests.support.serve``), so the port is known and
owned before the server starts: no race for a free port, and no connection is refused while the server boots.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tests.support.world import WORLD

if TYPE_CHECKING:
    from typing_extensions import Self  # the standard library's from 3.11 on

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("gunicorn-gthread", "gunicorn-gevent", "pywsgi", "werkzeug", "wsgiref", "waitress", "asgiref", "a2wsgi")
SERVERS = (
    ("gunicorn-gevent", "pywsgi") if WORLD == "gevent" else ("gunicorn-gthread", "werkzeug", "wsgiref", "waitress")
)
_PROBLEM = re.compile(r"\b(?:ERROR|CRITICAL)\b|^Traceback|^Exception (?:ignored )?in |Warning: ")


class RunningServer:
    """A server process that answers on ``url`` until :meth:`stop`; usable as a context manager."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log_path = log_path
        self._final_log: str | None = None

    @classmethod
    def launch(
        cls,
        command: Sequence[str],
        port: int,
        env: Mapping[str, str] | None = None,
        *,
        cwd: Path = ROOT,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Run ``command`` in a process group of its own; it is said to listen on ``port``, which nobody has waited for.

        :param env: what its environment has besides ours.
        """
        log_fd, log_name = tempfile.mkstemp(prefix="wsgi-sio-server-", suffix=".log")
        with os.fdopen(log_fd, "wb") as log_file:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(process, port, Path(log_name))

    @property
    def worker_pid(self) -> int:
        """Process that runs the application: the first worker under gunicorn, else the server itself."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0]) if children else self.pid

    def thread_count(self) -> int:
        """Number of operating system threads in the worker."""
        return len(os.listdir(f"/proc/{self.worker_pid}/task"))

    def socket_count(self) -> int:
        """Number of sockets open in the worker: the listener, the connections, and what the runtime needs."""
        return sum(target.startswith("socket:") for target in self._open_files())

    def fd_count(self) -> int:
        """Number of file descriptors open in the worker."""
        return len(self._open_files())

    def log(self) -> str:
        """Everything the server has written to stdout, stderr and its loggers (level INFO and above) so far."""
        return self._log_path.read_text(errors="replace") if self._final_log is None else self._final_log

    def wait_for_log(self, text: str, timeout: float = 5.0) -> None:
        """Return once ``text`` is in the log; raise AssertionError with the log after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while text not in self.log():  # a file of another process has no event to wait for
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} did not show up in the log:\n{self.log()}")
            time.sleep(0.02)

    def problems(self) -> list[str]:
        """Lines of the log that no healthy run contains: level ERROR or worse, tracebacks, Python warnings."""
        return [line for line in self.log().splitlines() if _PROBLEM.search(line)]

    def stop(self) -> None:
        """Terminate the server and everything in its process group; the log stays readable. Safe to call twice."""
        if self._final_log is not None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with suppress(ProcessLookupError):  # the usual case: no worker outlived its server
            os.killpg(self.pid, signal.SIGKILL)
        self._final_log = self.log()
        self._log_path.unlink()

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _open_files(self) -> list[str]:
        targets = []
        for link in Path(f"/proc/{self.worker_pid}/fd").iterdir():
            try:
                targets.append(os.readlink(link))
            except FileNotFoundError:
                continue  # closed between listing and reading
        return targets


def free_port() -> int:
    """A port for a server that makes its own socket, of those that the system gives to nobody in the meantime."""
    while True:
        port = SystemRandom().randrange(12_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def start_server(
    kind: str,
    app: str,
    env: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    port: int = 0,
    start_timeout: float = 60.0,
) -> RunningServer:
    """Serve ``app`` ("package.module:callable") with the interpreter of this run and return once it answers HTTP.

    ``options`` go to the server: command line options for gunicorn (``{"threads": 4, "preload": True}``; None takes one
    of ours away), keyword arguments of the constructor for the others. ``env`` is added to the environment. ``port`` 0
    means any free one.
    Raises RuntimeError with the log when the server exits or does not answer within ``start_timeout`` seconds.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown server kind {kind!r}; known: {', '.join(KINDS)}")
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        command = [sys.executable, "-m", "tests.support.serve", kind, app, str(listener.fileno())]
        command.append(json.dumps(dict(options or {})))
        server = RunningServer.launch(command, listener.getsockname()[1], env, pass_fds=[listener.fileno()])
    try:
        _wait_for_answer(server, start_timeout)
    except RuntimeError:
        server.stop()
        raise
    return server


def _wait_for_answer(server: RunningServer, timeout: float) -> None:
    """Block until the server answers any HTTP request; the kernel holds the connection while it boots."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and server.process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=deadline - time.monotonic())
        try:
            connection.request("HEAD", "/", headers={"Connection": "close"})
            connection.getresponse().read()
            return
        except (OSError, http.client.HTTPException):
            continue  # the process died with our connection in its backlog, or the time is over: the loop decides
        finally:
            connection.close()
    raise RuntimeError(f"the server did not answer (exit status {server.process.poll()}); its log:\n{server.log()}")
