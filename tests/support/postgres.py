"""A real Postgres on a free port of the loopback, which tests may stop, freeze and start anew."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import Any

import psycopg

from tests.support.freezing import freeze, thaw
from tests.support.inprocess import eventually
from tests.support.redis import free_port
from tests.support.require import require

# It keeps nothing through a crash, and is as small as can be.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


def program(name: str) -> str:
    """Where one of Postgres's programs is; Debian has those of each version in a folder of their own."""
    found = shutil.which(name) or next(iter(sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)
    require(found, f"Postgres ({name})")
    assert found is not None
    return found


def as_whom() -> dict[str, Any]:
    """Whose the server is: it refuses to be root's."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise AssertionError("there is no user but root")


class PostgresServer:
    """A server; :meth:`start` after :meth:`stop` gives it back on the same port, with what it had.

    :ivar url: of its one database, as its superuser.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql://tests@127.0.0.1:{self.port}/postgres"
        self.folder = tempfile.mkdtemp(prefix="wsgi-sio-postgres-")
        self._data = f"{self.folder}/data"
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = as_whom()
        if self._owner:
            os.chown(self.folder, self._owner["user"], self._owner["group"])
        command = [program("initdb"), "-D", self._data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        result = subprocess.run(
            command, check=False, cwd="/", capture_output=True, text=True, timeout=60, **self._owner
        )
        assert result.returncode == 0, result.stderr
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [program("postgres"), "-D", self._data, "-p", str(self.port)]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with Path(f"{self.folder}/log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._owner)
        eventually(self._answers, "an answer of Postgres")

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, Path(f"{self.folder}/log").read_text()
        with suppress(psycopg.Error):
            return self.do("SELECT 1") == [(1,)]
        return False

    def stop(self) -> None:
        """End it at once, with all its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def start_again(self) -> None:
        """Have it as it was before :meth:`stop` or :meth:`freeze`."""
        if self._process is None:
            self.start()
        else:
            self.thaw()

    def freeze(self) -> None:
        """Have it, and all that serve a connection, stand still."""
        for pid in self._pids():
            freeze(pid)

    def thaw(self) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):
                thaw(pid)

    def _pids(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def do(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement, on a connection of its own."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def kill_connections(self) -> int:
        """End all connections of ours, and wait until they have ended; how many there were."""
        condition = "application_name = 'wsgi_sio'"
        return len(self.do(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {condition}"))

    def close(self) -> None:
        if self._process is not None:
            self.thaw()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server for the length of a ``with`` block."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.close()
