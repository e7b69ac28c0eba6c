"""WebTransport under the commands that people begin with: ``socketio.run()``, ``flask run``, ``manage.py runserver``.

Each with its reloader, too: the process that serves has the port, and the one after it gets it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.django.conftest import SITE
from tests.live.test_webtransport import ALL, both_ports, transport_after_a_while
from tests.support.servers import ROOT, RunningServer
from tests.support.waiting import DEADLINE, eventually
from tests.support.world import WORLD
from wsgi_sio import Client

# In the order of the table in the guide; gevent has one only.
COMMANDS = ("socketio.run", "flask run", "runserver")
KINDS = COMMANDS if WORLD == "threads" else COMMANDS[:1]


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a second may be too little for QUIC; where the port is free, they are refused at once."""
    monkeypatch.setattr("wsgi_sio.client.engineio.webtransport._PATIENCE", DEADLINE)


@contextmanager
def serve(kind: str, folder: Path, reload: bool) -> Iterator[RunningServer]:
    """Serve, on one number for TCP and UDP; ``folder / "watched"`` is what the reloader looks at, if there is one."""
    port = both_ports()
    watched = folder / "watched"
    watched.touch()
    cwd, env = ROOT, {"WEBTRANSPORT": json.dumps({"host": "127.0.0.1", "port": port}), "WORLD": WORLD}
    if kind == "socketio.run":
        options: dict[str, Any] = {"port": port, "use_reloader": reload}
        if reload:
            options |= {"extra_files": [str(watched)], "reloader_type": "stat"}
        command = ["-m", "tests.apps.webtransport_flask", json.dumps(options)]
    elif kind == "flask run":
        command = ["-m", "flask", "--app", "tests.apps.webtransport_flask", "run", "--port", str(port)]
        command += ["--reload", "--extra-files", str(watched)] if reload else ["--no-reload"]
    else:
        cwd = Path(shutil.copytree(SITE, folder / "site", ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3")))
        env = {
            "PYTHONPATH": f"{cwd}{os.pathsep}{ROOT}",
            "SITE_DATABASE": str(folder / "db.sqlite3"),
            "SITE_OPTIONS": json.dumps({"webtransport": {"host": "127.0.0.1", "port": port}}),
        }
        command = ["manage.py", "runserver", f"127.0.0.1:{port}", *([] if reload else ["--noreload"])]
    with RunningServer.launch([sys.executable, *command], port, env, cwd=cwd) as server:
        yield server


def wait_for_pages(server: RunningServer) -> None:
    """Somebody visits a page, as people do, even if it is not there."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            urllib.request.urlopen(f"{server.url}/no-such-page", timeout=DEADLINE)
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            assert server.process.poll() is None and time.monotonic() < deadline, server.log()
            time.sleep(0.05)


def visit(server: RunningServer) -> None:
    """By an upgrade, and directly."""
    for _ in range(3):  # on a busy machine it may not be there within the second that a client waits
        with Client(server.url, transports=ALL, verify=False) as client:
            transport = transport_after_a_while(client)
        if transport == "webtransport":
            break
    assert transport == "webtransport", server.log()
    with Client(server.url, transports=["webtransport"], verify=False) as client:
        assert client.io.transport_name == "webtransport"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_served(kind: str, tmp_path: Path) -> None:
    with serve(kind, tmp_path, reload=False) as server:
        if kind != "socketio.run":  # this one knows that it serves
            wait_for_pages(server)
        else:
            client = Client(server.url, transports=["webtransport"], verify=False, timeout=1, reconnection_delay=0.1)
            client.connect(retry=True, wait=False)
            eventually(lambda: client.connected, "a client before any page")
            assert client.emit_with_ack("echo", b"1") == b"1"
            client.disconnect()
        visit(server)
        assert server.problems() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_who_is_started_again_has_it_again(kind: str, tmp_path: Path) -> None:
    """The client is told at once, long before its time-out of 45 s, and comes back."""
    with serve(kind, tmp_path, reload=True) as server:
        wait_for_pages(server)
        ends: list[str] = []
        client = Client(server.url, transports=ALL, verify=False, reconnection_delay=0.1, reconnection_delay_max=0.2)
        client.on("disconnect", ends.append)
        client.connect()
        assert transport_after_a_while(client) == "webtransport", server.log()
        began = time.monotonic()
        touch_until(lambda: ends, changed(kind, tmp_path))
        eventually(lambda: client.connected, "its return")
        # A process that has just begun has much to do: then it may go over to what is there within a second.
        assert transport_after_a_while(client) in ("webtransport", "websocket"), server.log()
        assert ends == ["transport close"] and time.monotonic() - began < DEADLINE
        client.disconnect()
        visit(server)
        assert server.problems() == []


def changed(kind: str, folder: Path) -> Path:
    """The file that the reloader looks at."""
    return folder / "site" / "polls" / "sio_events.py" if kind == "runserver" else folder / "watched"


def touch_until(condition: Any, file: Path) -> None:
    """The reloader looks once a second; what has changed before its first look it does not see, hence once more."""
    for attempt in range(1, 20):
        os.utime(file, (time.time() + attempt, time.time() + attempt))
        with suppress(AssertionError):
            eventually(condition, timeout=2.0)
            return
    raise AssertionError("it was not started again")
