"""WSGI servers of several binds and processes, by their own commands, that serve ``tests/siblings/app.py``."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.servers import ROOT

APP = "tests.siblings.app:app"
PATIENCE = 20.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(where: int | str, host: str = "127.0.0.1") -> dict[str, Any]:
    """What the application says, by a connection of its own to a port or to a Unix socket.

    :raises OSError, http.client.HTTPException: there is no answer.
    """
    if isinstance(where, str):
        connection: http.client.HTTPConnection = UnixConnection(where, PATIENCE)
    else:
        connection = http.client.HTTPConnection(host, where, timeout=PATIENCE)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        answer = json.loads(connection.getresponse().read())
        assert isinstance(answer, dict)
        return answer
    finally:
        connection.close()


def ask_until(where: int | str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Ask again and again, whoever answers, until there is enough; connections that a restart breaks do not count."""
    deadline = time.monotonic() + PATIENCE
    answers: list[dict[str, Any]] = []
    while not enough(answers):
        assert time.monotonic() < deadline, answers[-3:]
        with suppress(OSError, http.client.HTTPException):
            answers.append(ask(where))
    return answers


def several_of(count: int) -> Callable[[list[dict[str, Any]]], bool]:
    """Enough is when so many processes have answered."""
    return lambda answers: len({answer["pid"] for answer in answers}) >= count


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody has; good enough for a test."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as finder:
        return int(finder.getsockname()[1])


class Running:
    """A server's first process, and what it has written."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def log(self) -> str:
        return self._log.read_text(errors="replace")


@contextmanager
def running(
    command: Sequence[str], where: int | str, directory: Path, *, inherited: Sequence[int] = (), **env: str
) -> Iterator[Running]:
    """Run a command line of this interpreter, from when it answers at ``where``; its whole process group ends here."""
    log = directory / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Running(process, log)
    try:
        _wait(server, where)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        process.wait()


def _wait(server: Running, where: int | str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            ask(where)
            return
        except (OSError, http.client.HTTPException):
            assert not server.ended and time.monotonic() < deadline, server.log()
            time.sleep(0.05)


def gunicorn(*options: str, binds: Sequence[str], program: Sequence[str] = ("-m", "gunicorn")) -> list[str]:
    """Its command line."""
    command = [*program, "--graceful-timeout", "1", *options]
    for bind in binds:
        command += ["--bind", bind]
    return [*command, APP]
