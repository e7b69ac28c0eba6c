"""The examples as they are run by their readers, and one Chromium for all of them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.npm import install
from tests.support.require import require
from tests.support.servers import ROOT, RunningServer, free_port, start_server

HERE = Path(__file__).resolve().parent
EXAMPLES = ROOT / "examples"
SECONDS = 150  # for a script, of which each wait may take 30, or 75 where much is computed


class Browser:
    """``drive.mjs``: one browser, in which scripts run one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, script: str, url: str) -> None:
        """Run ``scripts/<script>.mjs`` against ``url``; fail the test when it fails."""
        assert self._process.stdin is not None and self._process.stdout is not None
        watchdog = threading.Timer(SECONDS, self._process.kill)
        watchdog.start()
        try:
            print(json.dumps({"script": script, "url": url}), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not answer:
            pytest.fail(f"the browser ended, or had to be ended after {SECONDS} s")
        error = json.loads(answer)["error"]
        if error is not None:
            pytest.fail(f"{script}.mjs: {error}", pytrace=False)


@pytest.fixture(scope="package")
def browser(node_modules: Path) -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    require(chromium, "Chromium (the Debian package chromium)")
    install(HERE.parent / "browser")
    screenshots = os.environ.get("SCREENSHOTS", "")
    if screenshots:
        Path(screenshots).mkdir(parents=True, exist_ok=True)
        screenshots = str(Path(screenshots).resolve())
    command = ["node", "drive.mjs", str(chromium), screenshots]
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Browser(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # it closes Chromium and ends
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def environment(added: Mapping[str, str]) -> dict[str, str]:
    """What a program of the examples needs to run from the root, where the browser's client is found."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **added}


def run_program(program: Path, *arguments: str, env: Mapping[str, str] | None = None) -> RunningServer:
    """Run ``python program arguments`` until it listens, on a free port: PORT, or ``{port}`` in the arguments."""
    port = free_port()
    command = [sys.executable, str(program), *(argument.format(port=port) for argument in arguments)]
    server = RunningServer.launch(command, port, environment({"PORT": str(port), **(env or {})}))
    try:
        _wait_until_it_listens(server)
    except BaseException:
        server.stop()
        raise
    return server


def _wait_until_it_listens(server: RunningServer) -> None:
    """Nobody tells when it does, so try until then."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            return
        except OSError:
            assert server.process.poll() is None and time.monotonic() < deadline, server.log()
            time.sleep(0.05)


def serve(kind: str, folder: Path, app: str = "app:app", env: Mapping[str, str] | None = None) -> RunningServer:
    """Serve the example in ``folder`` with a WSGI server, as ``tests.support.servers`` does."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return start_server(kind, app, {"PYTHONPATH": path, **(env or {})})
