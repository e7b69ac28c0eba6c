"""The polls project on real servers: log in over HTTP, vote over Socket.IO with the JavaScript client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.conformance.raw import Endpoint
from tests.django.conftest import SITE
from tests.live.peers import Peer, fetch
from tests.support.node import run_node
from tests.support.scenario import assert_clean
from tests.support.servers import ROOT, SERVERS, RunningServer, free_port, start_server
from tests.support.world import WORLD

threads_only = pytest.mark.skipif(WORLD == "gevent", reason="a server of the world of threads")


def environment(site: Path, database: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "SITE_DATABASE": str(database), "PYTHONUNBUFFERED": "1"}


@contextmanager
def runserver(site: Path, database: Path, *options: str) -> Iterator[RunningServer]:
    """``manage.py runserver`` in ``site``."""
    port = free_port()
    command = [sys.executable, "manage.py", "runserver", f"127.0.0.1:{port}", *options]
    with RunningServer.launch(command, port, environment(site, database), cwd=site) as server:
        wait_for_pages(server)
        yield server


def wait_for_pages(server: RunningServer) -> None:
    """Return once a page is served; nobody tells when it begins to listen."""
    deadline = time.monotonic() + 60
    while True:
        try:
            fetch(server, "/")
            return
        except OSError:
            assert server.process.poll() is None and time.monotonic() < deadline, server.log()
            time.sleep(0.05)


@contextmanager
def serve(kind: str, database: Path) -> Iterator[RunningServer]:
    if kind == "runserver":
        with runserver(SITE, database) as server:
            yield server
    else:
        with start_server(kind, "mysite.wsgi:application", environment(SITE, database)) as server:
            yield server


def cookie_of(server: RunningServer, name: str) -> str:
    """Log in through the page; what the browser has then."""
    jar = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    browser.open(f"{server.url}/", timeout=10).read()
    token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
    form = urlencode({"username": name, "password": "secret", "csrfmiddlewaretoken": token}).encode()
    assert browser.open(f"{server.url}/login/", form, timeout=10).read() == b"welcome"
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


KINDS = [kind for kind in SERVERS if kind in ("gunicorn-gthread", "gunicorn-gevent")]
KINDS += [] if WORLD == "gevent" else ["runserver"]


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(
    "transports",
    [*(pytest.param(only, marks=pytest.mark.slow) for only in ("polling", "websocket")), "polling,websocket"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_logged_in_voter(database: Path, kind: str, transports: str) -> None:
    from django.contrib.auth.models import User
    from polls.models import Choice, results

    Choice.objects.create(text="yes")
    User.objects.create_user("ada", password="secret")
    with serve(kind, database) as server:
        seen = run_node("../django/voter.js", server.url, transports, cookie_of(server, "ada"))
        foreign = Endpoint(server.url, "/socket.io").request(
            "GET", "EIO=4&transport=polling", headers={"Origin": "http://evil.example"}
        )
        assert foreign.status == 403
        assert_clean(server)
    assert seen == {
        "name": ["ada"],
        "words": [[1], [2]],
        "voted": [True],
        "results": [{"yes": 1}],
        "refused": ["for the staff", {"user": "ada"}],
        "transport": transports.rpartition(",")[2],
        "closed": [{"yes": 1}],
    }
    assert results() == {"yes": 1}


@pytest.mark.skipif(WORLD != "gevent", reason="about gevent")
def test_a_django_loaded_before_gevent_is_refused(database: Path) -> None:
    """gunicorn --preload -k gevent patches in the worker: Django's own pages fail, and we say why."""
    with start_server(
        "gunicorn-gevent", "mysite.wsgi:application", environment(SITE, database), {"preload": True}
    ) as server:
        assert Endpoint(server.url, "/socket.io").request("GET", "EIO=4&transport=polling").status == 500
        server.wait_for_log("monkey.patch_all()' at the very top of gunicorn.conf.py")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "runserver"])
def test_preloading_is_fine_otherwise(database: Path, tmp_path: Path, kind: str) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("from gevent import monkey; monkey.patch_all()\n" if kind == "gunicorn-gevent" else "")
    options = {"preload": True, "config": str(config)}
    with (
        start_server(kind, "mysite.wsgi:application", environment(SITE, database), options) as server,
        Peer(server).join() as peer,
    ):
        assert peer.call("whoami") == [""]
        assert_clean(server)


@threads_only
@pytest.mark.slow
def test_runserver_reloads_handlers(database: Path, tmp_path: Path) -> None:
    """The reloader sees sio_events.py; open WebSockets do not hold the old process back, and clients can come again."""
    site = Path(shutil.copytree(SITE, tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3")))
    events = site / "polls" / "sio_events.py"
    with runserver(site, database) as server:
        with Peer(server).join() as peer:
            assert peer.call("whoami") == [""]
            changed = events.read_text().replace("return socket.request.user.get_username()", 'return "changed"')
            events.write_text(changed)
            wait_for_reload(peer, events)
        wait_for_pages(server)
        with Peer(server).join() as peer:
            assert peer.call("whoami") == ["changed"]
        assert_clean(server)


def wait_for_reload(peer: Peer, changed: Path) -> None:
    """The reloader looks once a second; what has changed before its first look it does not see, hence once more."""
    for attempt in range(1, 20):
        os.utime(changed, (time.time() + attempt, time.time() + attempt))
        with suppress(TimeoutError):
            peer.wait_closed(timeout=2)
            return
    raise AssertionError("it was not reloaded")


@threads_only
def test_runserver_does_not_start_with_wrong_settings(database: Path) -> None:
    run = subprocess.run(
        [sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:1"],
        cwd=SITE,
        env={**os.environ, **environment(SITE, database), "SITE_OPTIONS": '{"ping_intervall": 3}'},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode != 0
    assert "wsgi_sio.E002" in run.stderr and "did you mean 'ping_interval'" in run.stderr
