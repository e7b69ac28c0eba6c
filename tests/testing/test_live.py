"""LiveServer, and the fixtures as pytest finds them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.support.world import WORLD
from wsgi_sio import Server, WSGIApp
from wsgi_sio.testing import LiveServer

Serve = Callable[..., LiveServer]


def page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return [b"page"]


def test_it_serves_an_application(sio_live_server: Serve) -> None:
    io = Server()
    server = sio_live_server(WSGIApp(io, page))
    with urlopen(server.url, timeout=5) as answer:
        assert answer.read() == b"page"
    with urlopen(f"{server.url}/socket.io/?EIO=4&transport=polling", timeout=5) as answer:
        assert answer.read().startswith(b"0{")


def test_it_serves_a_server(sio_live_server: Serve) -> None:
    with urlopen(f"{sio_live_server(Server()).url}/socket.io/?EIO=4&transport=polling", timeout=5) as answer:
        assert b'"upgrades":["websocket"]' in answer.read()


def test_stopping_closes_the_port() -> None:
    with LiveServer(page) as server:
        assert urlopen(server.url, timeout=5).status == 200
    connection = HTTPConnection("127.0.0.1", server.port, timeout=2)
    try:
        connection.connect()
    except OSError:
        return
    raise AssertionError("somebody still listens")


def test_stopping_twice_is_harmless() -> None:
    server = LiveServer(page)
    server.stop()
    server.stop()


USES_BOTH = """
    from wsgi_sio import Server

    def test_client(sio_client):
        io = Server()
        io.on("echo", lambda socket, *args: args)
        assert sio_client(io).call("echo", 1) == 1

    def test_live(sio_live_server):
        assert sio_live_server(Server()).url.startswith("http://127.0.0.1:")
"""


def test_the_plugin_gives_the_fixtures(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text("\n".join(line[4:] for line in USES_BOTH.splitlines()))
    patch = "from gevent import monkey; monkey.patch_all(); " if WORLD == "gevent" else ""
    code = f"{patch}import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", str(test)]
    if b"wsgi_sio = wsgi_sio.testing.plugin" not in _entry_points():
        command += ["-p", "wsgi_sio.testing.plugin"]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": ""}
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
    assert "2 passed" in run.stdout, run.stdout + run.stderr


def _entry_points() -> bytes:
    from importlib.metadata import entry_points

    return b"\n".join(f"{point.name} = {point.value}".encode() for point in entry_points(group="pytest11"))
