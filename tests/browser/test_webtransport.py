"""WebTransport in a real browser: Chromium with the unmodified client, against real servers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_chat import HERE, chromium, playwright
from tests.docs.pages import blocks
from tests.support.require import require
from tests.support.servers import ROOT, RunningServer, free_port, start_server
from tests.support.waiting import eventually
from tests.support.world import WORLD

CHECKS = (
    "direct",
    "heartbeat",
    "upgrade",
    "three",
    "fallback",
    "shut",
    "foreign",
    "last words",
    "busy page",
    "leaving",
)
KIND = "pywsgi" if WORLD == "gevent" else "werkzeug"
# From its flags: no sandbox as root, nothing to draw on.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")

__all__ = ["chromium", "playwright"]  # fixtures

pytestmark = pytest.mark.slow


@contextmanager
def serve(kind: str = KIND, options: dict[str, Any] | None = None, **listen: Any) -> Iterator[RunningServer]:
    """The application of ``tests/apps/webtransport.py``, on a TCP and a UDP port of one number."""
    port = free_port()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", port))  # it is free for UDP too
    env = {"LISTEN": json.dumps({"port": port, **listen}), "SIO_OPTIONS": json.dumps(options or {})}
    with start_server(kind, "tests.apps.webtransport:application", env, port=port) as server:
        yield server


def ask(server: RunningServer, path: str) -> Any:
    with urllib.request.urlopen(server.url + path, timeout=20) as answer:
        return json.load(answer)


@contextmanager
def browse(url: str, folder: Path) -> Iterator[Path]:
    """A fresh browser with one page; its log."""
    program = shutil.which("chromium")
    require(program, "Chromium (the Debian package chromium)")
    log = folder / "chromium.log"
    command = [str(program), *FLAGS, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", url]
    with log.open("wb") as errors, subprocess.Popen(command, stdout=errors, stderr=errors) as browser:
        try:
            yield log
        finally:
            browser.terminate()
            with suppress(subprocess.TimeoutExpired):
                browser.wait(5)
            browser.kill()


def run(server: RunningServer, checks: tuple[str, ...], folder: Path, host: str = "127.0.0.1") -> dict[str, Any]:
    """What the page has found: of each check its report, and of all of them together why their sockets ended."""
    url = f"http://{host}:{server.port}/?checks={','.join(checks)}"
    with browse(url, folder) as log:

        def all_found() -> Any:
            time.sleep(0.1)
            told = ask(server, "/found")
            return told if set(told["found"]) >= set(checks) else None

        try:
            told = eventually(all_found, "the checks", timeout=100.0)
        except AssertionError:
            raise AssertionError(f"{ask(server, '/found')}\n{server.log()}\n{log.read_text()[-3000:]}") from None
        if "leaving" in checks:
            told = eventually(
                lambda: (now := ask(server, "/found")) and any(end[0] == "leaving" for end in now["ended"]) and now,
                "the end of a page's connection",
            )
    return {**told["found"], "ended": dict(told["ended"])}


@pytest.fixture(scope="module")
def told(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        server = stack.enter_context(serve())
        found = run(server, CHECKS, tmp_path_factory.mktemp("chromium"))
        found["problems"] = server.problems()
        found["log"] = server.log()
    yield found


def of(told: dict[str, Any], check: str) -> Any:
    said = told[check]
    assert said["error"] is None, f"{said['error']}\n{told['log']}"
    return said["found"]


def test_a_direct_connection(told: dict[str, Any]) -> None:
    found = of(told, "direct")
    name, origin, address, protocol = found["welcome"]
    assert (name, address, protocol) == ("webtransport", "127.0.0.1", "HTTP/3")
    assert origin.startswith("http://127.0.0.1:")
    assert found["echoes"] == {str(size): True for size in (0, 1, 125, 126, 65535, 65536, 300000)}
    assert found["text"] and found["name"] == "webtransport"
    assert told["ended"]["direct"] == "client namespace disconnect"


def test_it_stays_alive(told: dict[str, Any]) -> None:
    assert of(told, "heartbeat") == {"alive": True, "echo": [1]}


def test_an_upgrade_under_traffic(told: dict[str, Any]) -> None:
    found = of(told, "upgrade")
    assert found["welcome"][0] == "polling"
    assert (found["name"], found["server"]) == ("webtransport", "webtransport")
    assert (found["here"], found["there"]) == (200, 200)


def test_it_is_preferred_to_websocket(told: dict[str, Any]) -> None:
    assert of(told, "three") == {"name": "webtransport", "echo": [1]}


def test_websocket_where_udp_is_shut(told: dict[str, Any]) -> None:
    assert of(told, "fallback") == {"name": "websocket", "echo": [1]}
    assert of(told, "shut") == {"error": "webtransport error"}


def test_a_page_of_another_origin(told: dict[str, Any]) -> None:
    assert of(told, "foreign") == {"error": "webtransport error"}
    assert "refused (code 4): the page is from 'http://127.0.0.1:" in told["log"]


def test_what_is_sent_right_before_the_end_arrives(told: dict[str, Any]) -> None:
    found = of(told, "last words")
    assert found["words"] == [[number, 50000] for number in range(5)]
    assert found["reason"] == "io server disconnect"
    assert told["ended"]["last words"] == "server namespace disconnect"


def test_what_a_busy_page_has_yet_to_read_when_the_end_comes_arrives(told: dict[str, Any]) -> None:
    found = of(told, "busy page")
    assert found["words"] == [[number, 500_000] for number in range(5)]
    assert found["reason"] == "io server disconnect"


def test_a_page_that_is_left(told: dict[str, Any]) -> None:
    assert of(told, "leaving") == {} and told["ended"]["leaving"] == "transport close"


def test_nobody_complains(told: dict[str, Any]) -> None:
    assert told["problems"] == []
    assert {check: told[check]["complaints"] for check in CHECKS} == {check: [] for check in CHECKS}


def test_localhost_on_a_socket_of_both_families(node_modules: Path, tmp_path: Path) -> None:
    with serve() as server:
        found = run(server, ("direct", "upgrade"), tmp_path, host="localhost")
        assert found["direct"]["error"] is None and found["direct"]["found"]["name"] == "webtransport"
        assert found["upgrade"]["error"] is None and found["upgrade"]["found"]["here"] == 200


def test_fifty_upgrades_under_traffic_lose_and_reorder_nothing(node_modules: Path, tmp_path: Path) -> None:
    with serve() as server:
        found = run(server, ("fifty",), tmp_path)["fifty"]
        assert found["error"] is None, f"{found}\n{server.log()}"
        assert found["found"] == [["webtransport", 60, 60]] * 50
        assert server.problems() == []


@pytest.mark.timeout(300)
def test_the_chat_shows_it(node_modules: Path, chromium: str, playwright: None, tmp_path: Path) -> None:
    port = free_port()
    client = node_modules / "socket.io-client" / "dist"
    command = [sys.executable, "-m", "wsgi_sio", "--webtransport", "--port", str(port), "--client-dir", str(client)]
    command += ["--server", "gevent" if WORLD == "gevent" else "werkzeug"]
    with subprocess.Popen(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[1]
            browser = ["node", "chat_webtransport.mjs", url, chromium]
            done = subprocess.run(browser, cwd=HERE, capture_output=True, text=True, timeout=250, check=False)
        finally:
            server.kill()
    assert json.loads(done.stdout) == {"transport": "webtransport"}, done.stderr


PAGE = """<!doctype html><title>guide</title><script src="/static/socket.io.min.js"></script><script type="module">
%s
socket.io.engine.on("upgrade", async (transport) => {
  if (transport.name === "websocket") return location.reload(); // on a busy machine its probe may win
  const answer = await socket.emitWithAck("echo", 42);
  fetch(`/told-${transport.name}-${answer}`);
});
</script>"""


def test_the_guides_application(node_modules: Path, tmp_path: Path) -> None:
    """Copied from the page as it stands, but for the port."""
    port = free_port()
    guide = [block.text for block in blocks("webtransport.rst")]
    (program,) = [block for block in guide if "socketio.run" in block]
    (script,) = [block for block in guide if "atob" in block]
    patch = "from gevent import monkey; monkey.patch_all()\n" if WORLD == "gevent" else ""
    program = program.replace("5000", str(port)).replace(" port=", " log_output=True, port=")
    (tmp_path / "app.py").write_text(patch + program)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text(PAGE % script)
    shutil.copy(node_modules / "socket.io-client" / "dist" / "socket.io.min.js", tmp_path / "static")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    with log.open("wb") as out:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment, stdout=out, stderr=out)
    try:
        eventually(lambda: is_there(port), "the server")
        with browse(f"http://127.0.0.1:{port}/static/index.html", tmp_path):
            eventually(lambda: "/told-" in log.read_text(), "the page's word")
    finally:
        server.kill()
        server.wait()
    assert "/told-webtransport-42" in log.read_text() and "Traceback" not in log.read_text()


def is_there(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.mark.parametrize("kind", ["gunicorn-gevent"] if WORLD == "gevent" else ["gunicorn-gthread", "waitress"])
def test_behind_other_wsgi_servers(node_modules: Path, tmp_path: Path, kind: str) -> None:
    """It needs nothing of them."""
    with serve(kind) as server:
        found = run(server, ("direct", "upgrade", "three", "last words"), tmp_path)
        for check in ("direct", "upgrade", "three", "last words"):
            assert found[check]["error"] is None, f"{check}: {found[check]}\n{server.log()}"
        assert server.problems() == []
