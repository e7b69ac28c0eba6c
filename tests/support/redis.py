"""A real redis-server on a free port of the loopback, which tests may stop, freeze and start anew."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.support.freezing import freeze, thaw
from tests.support.inprocess import eventually
from tests.support.require import require


class RedisServer:
    """A server that keeps nothing on disk; :meth:`start` after :meth:`stop` gives an empty one on the same port.

    :param arguments: more of redis-server's, such as ``--cluster-enabled yes``.
    """

    def __init__(self, *arguments: str) -> None:
        require(shutil.which("redis-server"), "redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.folder = tempfile.mkdtemp(prefix="wsgi-sio-redis-")
        self.unix_path = f"{self.folder}/redis.sock"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", self.folder, "--unixsocket", self.unix_path, *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers, "an answer of redis-server")

    def _answers(self) -> bool:
        with suppress(OSError, AssertionError):
            return self.do("PING") == "PONG"
        return False

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        freeze(self.pid)

    def thaw(self) -> None:
        thaw(self.pid)

    def do(self, *command: str) -> Any:
        """Run one command, on a connection of its own, by the simplest client there can be."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            parts = [part.encode() for part in command]
            packed = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
            sock.sendall(b"*%d\r\n%b" % (len(parts), packed))
            with sock.makefile("rb") as answers:
                return _read(answers)

    def kill_clients(self, kind: str) -> int:
        """End the connections of a kind (``normal``, ``pubsub``) on the server's side; how many there were."""
        return int(self.do("CLIENT", "KILL", "TYPE", kind))

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(answers: Any) -> Any:
    line = answers.readline()
    assert line.endswith(b"\r\n"), line
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"$":
        return None if rest == "-1" else answers.read(int(rest) + 2)[:-2].decode("utf-8", "replace")
    if kind == b"*":
        return [_read(answers) for _ in range(int(rest))]
    assert kind != b"-", rest
    return int(rest) if kind == b":" else rest


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running_redis(*arguments: str) -> Iterator[RedisServer]:
    """A server for the length of a ``with`` block."""
    server = RedisServer(*arguments)
    try:
        yield server
    finally:
        server.close()


def told_of(shown: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log has of the bus that it shows so; former tests' buses may tell of their servers' end in between."""
    lines = [record.getMessage() for record in caplog.records if record.name == "wsgi_sio.bus"]
    return [line for line in lines if line.startswith(shown)]
