"""What a reader of the pages has: a directory, and terminals to type commands in."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType

from tests.docs.pages import Block
from tests.support.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
PORT = "5000"  # the one that the pages name; the tests take a free one in its place
SECONDS = 30.0

_MODULES = ("flask", "gunicorn", "pytest")


class Terminals:
    """One directory; one server at a time runs in it, and any number of commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: subprocess.Popen[bytes] | None = None
        self._log = directory / "server.log"

    def write(self, name: str, text: str) -> None:
        """Make a file of the page's."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(PORT, str(self.port)), encoding="utf-8")

    def run(self, command: str) -> str:
        """What a command prints; it must succeed."""
        done = self._run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.log()}"
        return done.stdout

    def run_to_failure(self, command: str) -> str:
        """What a command writes to stderr; it must fail."""
        done = self._run(command)
        assert done.returncode != 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stderr

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._arguments(command),
            cwd=self.directory,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def serve(self, command: str) -> None:
        """Start a server in the place of the one before, and wait until it answers."""
        self.stop()
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                self._arguments(command),
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            assert self._server.poll() is None and time.monotonic() < deadline, f"{command}: {self.log()}"
            time.sleep(0.05)  # nothing tells that another program listens by now

    def follow(self, block: Block) -> None:
        """Do what a block of the page says, and see that it prints what it says.

        Commands of the kind ``server`` go on running, those of the kind ``runs`` print this or that, and those of the
        kind ``setup`` are the reader's alone.
        """
        if block.caption:
            self.write(block.caption, block.text)
        elif block.language == "console" and block.kind == "server":
            for command, _ in block.commands():
                self.serve(command)
        elif block.language == "console" and block.kind != "setup":
            for command, expected in block.commands():
                output = self.run(command)
                assert block.kind == "runs" or output == expected, f"{block}: {command}"

    @property
    def workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
        assert self._server is not None
        pid = self._server.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def log(self) -> str:
        """What the server has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        """End the server, with its workers; how it ends in good order is for others to test."""
        server, self._server = self._server, None
        if server is not None:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def __enter__(self) -> Terminals:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _arguments(self, command: str) -> list[str]:
        program, *rest = shlex.split(command.replace(PORT, str(self.port)))
        if program == "python":
            return [sys.executable, *rest]
        assert program in _MODULES, command
        installed = "wsgi_sio" in entry_points(group="pytest11").names
        fixtures = ["-p", "wsgi_sio.testing.plugin"] if program == "pytest" and not installed else []
        return [sys.executable, "-m", program, *fixtures, *rest]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("HEAD", "/", headers={"Connection": "close"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True
