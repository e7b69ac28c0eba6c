"""The chat in a real browser: ``chat.mjs`` drives two tabs of Chromium against ``python -m wsgi_sio``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.require import require
from tests.support.servers import free_port
from tests.support.world import WORLD

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SECONDS = 180  # for the whole conversation
SERVER = "gevent" if WORLD == "gevent" else "werkzeug"

CHECKS = (
    "entering with a name",
    "there is room to write before the first key",
    "presence",
    "the transport is upgraded to websocket",
    "a message arrives in the other tab",
    "ticks tell that everybody has the message",
    "typing is shown, and ends with the message",
    "markup stays text",
    "a name in use is refused",
    "an image is sent as binary and displayed",
    "a dropped image over the limit is sent smaller",
    "rooms are isolated, with an unread badge and a history",
    "the history and its images are there for a newcomer",
    "an image opens large and closes with Escape",
    "a reload comes back under the same name in the same room",
    "nothing is complained about in the console",
    "when the server dies a banner appears",
    "when the server is back both are in their room and can chat",
    "somebody who closes the tab is gone",
)


class ChatServer:
    """``python -m wsgi_sio`` on one port, to be killed and started again."""

    def __init__(self, port: int, client: Path, log: Path) -> None:
        options = ["--port", str(port), "--server", SERVER, "--client-dir", str(client)]
        self.command = [sys.executable, "-m", "wsgi_sio", *options]
        self.url = f"http://127.0.0.1:{port}/"
        self.log = log
        self.start()

    def start(self) -> None:
        """Start it, and return when it says that it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith(f"Chat: {self.url[:-1]}"), f"{said}{self.log.read_text()}"

    def kill(self) -> None:
        """Kill it without a chance to say goodbye."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def chromium() -> str:
    path = shutil.which("chromium")
    require(path, "Chromium (the Debian package chromium)")
    return str(path)


@pytest.fixture(scope="module")
def playwright() -> None:
    """The npm package of this directory's ``package.json``, installed on the first use."""
    require(shutil.which("node") and shutil.which("npm"), "Node.js and npm")
    pinned = json.loads((HERE / "package.json").read_text())["dependencies"]["playwright-core"]
    manifest = HERE / "node_modules" / "playwright-core" / "package.json"
    if not manifest.exists() or json.loads(manifest.read_text())["version"] != pinned:
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=180)
        require(done.returncode == 0, f"npm packages: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def conversation(
    chromium: str, playwright: None, node_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str | None]]:
    """The error text, or None, of every check that ran; the browser runs once for all of them."""
    folder = tmp_path_factory.mktemp("chat")
    screenshots = Path(os.environ.get("SCREENSHOTS") or folder).resolve()
    screenshots.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = ChatServer(port, node_modules / "socket.io-client" / "dist", folder / "server.log")
    try:
        results = converse(["node", "chat.mjs", server.url, chromium, str(screenshots)], server, folder / "node.log")
    finally:
        server.kill()
    results["server log"] = server.log.read_text() or None
    yield results


def converse(command: list[str], server: ChatServer, log: Path) -> dict[str, str | None]:
    """Run the browser's script to its end, doing with the server what it asks for."""
    results: dict[str, str | None] = {}
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as browser,
    ):
        assert browser.stdin is not None and browser.stdout is not None
        watchdog = threading.Timer(SECONDS, browser.kill)
        watchdog.start()
        try:
            for line in browser.stdout:
                said: dict[str, Any] = json.loads(line)
                if "check" in said:
                    results[said["check"]] = said["error"]
                    continue
                {"kill": server.kill, "start": server.start}[said["do"]]()
                browser.stdin.write("done\n")
                browser.stdin.flush()
        finally:
            watchdog.cancel()
            browser.kill()
    results["browser log"] = log.read_text() or None
    return results


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_two_people_chat(conversation: dict[str, str | None], check: str) -> None:
    """What ``check`` says holds in the browser."""
    assert check in conversation, f"the browser did not get that far: {conversation}"
    error = conversation[check]
    assert error is None, f"{error}\nserver log: {conversation['server log']}"


@pytest.mark.slow
def test_no_check_is_left_out(conversation: dict[str, str | None]) -> None:
    """The list above and the browser's script name the same checks."""
    assert [name for name in conversation if not name.endswith(" log")] == list(CHECKS)


@pytest.mark.slow
def test_the_server_has_nothing_to_complain_about(conversation: dict[str, str | None]) -> None:
    """No traceback, warning or error was logged while people chatted, came and went."""
    assert conversation["server log"] is None
