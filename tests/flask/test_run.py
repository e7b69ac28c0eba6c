"""``socketio.run()`` and ``stop()``, in a process of their own, and what they make of their options."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from websocket import WebSocket, WebSocketConnectionClosedException, create_connection

from tests.flask.conftest import Site
from tests.support.inprocess import Background, eventually
from tests.support.require import require
from tests.support.servers import free_port
from tests.support.world import WORLD

ROOT = Path(__file__).resolve().parents[2]


class Program:
    """``python -m tests.apps.flask_runs``."""

    def __init__(self, directory: str, **options: Any) -> None:
        self.port = options.setdefault("port", free_port())
        self.tls = "ssl_context" in options or "certfile" in options
        self._log = Path(directory) / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.apps.flask_runs", dumps(options)],
                cwd=ROOT,
                env={**os.environ, "WORLD": WORLD, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str = "/") -> tuple[int, str]:
        """Status and text of a page, or (0, "") while nobody answers."""
        context = ssl._create_unverified_context() if self.tls else None
        kind: Any = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        connection = kind("127.0.0.1", self.port, timeout=5, **({"context": context} if self.tls else {}))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):  # it may end in the middle of an answer
            return 0, ""
        finally:
            connection.close()

    def started(self) -> Program:
        eventually(lambda: self.process.poll() is not None or self.get()[0], "the first answer", timeout=20)
        assert self.process.poll() is None, self.log()
        return self

    def join(self) -> WebSocket:
        """A client over WebSocket that has joined "/"."""
        scheme = "wss" if self.tls else "ws"
        client = create_connection(
            f"{scheme}://127.0.0.1:{self.port}/socket.io/?EIO=4&transport=websocket",
            timeout=5,
            sslopt={"cert_reqs": ssl.CERT_NONE},
        )
        assert client.recv()[:1] == "0"
        client.send("40")
        assert client.recv()[:2] == "40"
        return client

    def ended(self, within: float = 30.0) -> int:
        """The exit status."""
        return self.process.wait(within)


@contextmanager
def running(**options: Any) -> Iterator[Program]:
    with tempfile.TemporaryDirectory() as directory:
        program = Program(directory, **options)
        try:
            yield program.started()
        finally:
            if program.process.poll() is None:
                os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()


def assert_told(client: WebSocket, program: Program) -> None:
    """The client's connection has been closed in good order, and the handler has run."""
    assert client.recv_frame().opcode == 8
    assert "left: server disconnect (server shutting down)" in program.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with running() as program:
        client = program.join()
        client.send('421["echo",1]')
        assert client.recv() == "431[1]"
        began = time.monotonic()
        for _ in range(2):  # as from a terminal and a wrapper at once
            program.process.send_signal(number)
        assert program.ended() == 0
        assert time.monotonic() - began < 10
        assert_told(client, program)
        assert "run() has returned" in program.log() and "Traceback" not in program.log()


@pytest.mark.parametrize("how", ["page", "event"])
def test_stop_stops(how: str) -> None:
    with running() as program:
        client = program.join()
        if how == "event":
            client.send('42["stop"]')
        else:
            assert program.get("/stop") == (200, "stopping")
        assert program.ended() == 0
        assert_told(client, program)
        assert "run() has returned" in program.log() and "Traceback" not in program.log()


def test_it_can_be_run_again(site: Site) -> None:
    """In a thread that is not the main one, as fixtures do."""
    site.app.add_url_rule("/", view_func=lambda: "page")
    site.attach()
    for _ in range(2):
        port = free_port()
        serving = Background(lambda port=port: site.socketio.run(site.app, port=port, log_output=False))
        eventually(lambda port=port: page(port) == b"page", "the page")
        opened = page(port, "/socket.io/?EIO=4&transport=polling")
        site.socketio.stop()
        serving.result()
        assert opened.startswith(b"0{")
    assert site.socketio.wsgi_server is None


def page(port: int, path: str = "/") -> bytes:
    """What is answered, or nothing while nobody does."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def test_stop_says_when_it_is_not_its_business(site: Site) -> None:
    with pytest.raises(RuntimeError, match="run.. has started; something else serves this app"):
        site.attach().stop()


@pytest.mark.slow
def test_debug_mode_reloads_and_shows_errors_in_the_browser() -> None:
    with (
        tempfile.NamedTemporaryFile(suffix=".py") as watched,
        running(debug=True, reloader_options={"extra_files": [watched.name], "reloader_type": "stat"}) as program,
    ):
        first = program.get()[1]
        client = program.join()
        assert "ValueError: on purpose" in program.get("/fail")[1]
        later = time.time() + 10
        os.utime(watched.name, (later, later))
        eventually(lambda: program.get()[1] not in ("", first), "another process that serves", timeout=20)
        with pytest.raises(WebSocketConnectionClosedException):
            client.recv_frame()
            client.recv_frame()
        program.process.send_signal(signal.SIGINT)
        os.killpg(program.process.pid, signal.SIGINT)
        program.ended()
        assert "Traceback (most recent call last)" not in program.log().split("on purpose")[-1]


@pytest.mark.slow
def test_stop_ends_the_reloader_too() -> None:
    with running(use_reloader=True, reloader_type="stat") as program:
        assert program.get("/stop") == (200, "stopping")
        assert program.ended(10) == 0


@pytest.mark.parametrize("by", ["files", pytest.param("context", marks=pytest.mark.slow)])
def test_tls(by: str, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
        + ["-days", "1", "-subj", "/CN=localhost"],
        capture_output=True,
        check=False,
    )
    require(made.returncode == 0, "openssl")
    files = [str(certificate), str(key)]
    options = {"certfile": files[0], "keyfile": files[1]} if by == "files" else {"ssl_context": files}
    with running(**options) as program:
        client = program.join()
        client.send('421["echo","over TLS"]')
        assert client.recv() == '431["over TLS"]'
        program.process.send_signal(signal.SIGTERM)
        assert program.ended() == 0
        assert "Traceback" not in program.log()


def test_the_port_of_server_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from wsgi_sio.flask.run import _port

    assert _port(site.app, None) == 5000
    site.app.config["SERVER_NAME"] = "example.org:8080"
    assert _port(site.app, None) == 8080 and _port(site.app, 80) == 80
    site.app.config["SERVER_NAME"] = "example.org"
    assert _port(site.app, None) == 5000


@pytest.mark.skipif(WORLD == "gevent", reason="the options of gevent's server are gevent's to check")
def test_an_unknown_option_of_run_is_named(site: Site) -> None:
    with pytest.raises(TypeError, match="'use_reload'; did you mean 'use_reloader'"):
        site.attach().run(site.app, use_reload=False)


def test_flask_run_serves_the_app_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """``socketio.run`` in a module that ``flask run`` imports must not start a second server."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    site.attach().run(site.app)
    assert "'flask run' serves the app" in caplog.text
