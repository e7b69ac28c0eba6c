"""Each example runs as its readers run it, and does in a real browser what it promises: ``scripts/<name>.mjs``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES, Browser, environment, run_program, serve
from tests.support.redis import running_redis
from tests.support.require import require
from tests.support.scenario import assert_clean
from tests.support.servers import ROOT
from tests.support.world import WORLD, one_world

# By world: what runs every day, "python" meaning ``python app.py``, and what runs at leisure.
EVERYDAY, AT_LEISURE = {
    "threads": ("python", "gunicorn-gthread"),
    "gevent": ("gunicorn-gevent", "pywsgi"),
}[WORLD]
QUICK = "chat"
OTHERS = ("whiteboard", "connect_four", "from_python_socketio", "dashboard", "progress", "upload", "flask_with_login")
# The first one on both servers, the others on one or the other: what servers do differently, tests/live sees.
CASES = [
    (QUICK, EVERYDAY),
    pytest.param(QUICK, AT_LEISURE, marks=pytest.mark.slow),
    *(
        pytest.param(name, (EVERYDAY, AT_LEISURE)[number % 2], marks=pytest.mark.slow)
        for number, name in enumerate(OTHERS)
    ),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_example(browser: Browser, name: str, kind: str, tmp_path: Path) -> None:
    """It works in the browser, whose console stays clean, and the server logs no error."""
    folder = EXAMPLES / name
    env = {"EVERY": "0.1", "UPLOADS": str(tmp_path)}  # the dashboard's pace
    with run_program(folder / "app.py", env=env) if kind == "python" else serve(kind, folder, env=env) as server:
        browser.run(name, server.url)
        assert_clean(server)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AT_LEISURE])
@pytest.mark.timeout(240)
def test_celery_jobs(browser: Browser, kind: str, tmp_path: Path) -> None:
    """Likewise, with a worker of Celery's, and a Redis between them."""
    require(find_spec("celery"), "celery")
    folder = EXAMPLES / "celery_jobs"
    worker = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "solo", "--loglevel", "ERROR"]
    with running_redis() as redis:
        env = {"REDIS": redis.url}
        server = run_program(folder / "app.py", env=env) if kind == "python" else serve(kind, folder, env=env)
        with server, subprocess.Popen(worker, cwd=folder, env=environment(env)) as celery:
            try:
                browser.run("celery_jobs", server.url)
                assert_clean(server)
            finally:
                celery.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EVERYDAY])
def test_django_polls(browser: Browser, kind: str, tmp_path: Path) -> None:
    """Likewise, by ``manage.py``."""
    folder = EXAMPLES / "django_polls"
    env = {"DATABASE": str(tmp_path / "db.sqlite3")}
    manage(folder, "migrate", env)
    if kind == "python":
        server = run_program(folder / "manage.py", "runserver", "--noreload", "{port}", env=env)
    else:
        server = serve(kind, folder, "mysite.wsgi:application", env)
    with server:
        browser.run("django_polls", server.url)
        assert_clean(server)


@one_world
def test_the_migrations_of_the_polls_are_complete(tmp_path: Path) -> None:
    manage(EXAMPLES / "django_polls", "makemigrations", {"DATABASE": str(tmp_path / "db.sqlite3")}, "--check")


def manage(folder: Path, command: str, env: Mapping[str, str], *options: str) -> None:
    """Run a command of the project's."""
    program = [sys.executable, str(folder / "manage.py"), command, *options]
    done = subprocess.run(program, cwd=ROOT, env=environment(env), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(WORLD == "gevent", reason="it runs in threads")
def test_the_code_before_it_was_moved(browser: Browser) -> None:
    """The same page, and script, with python-socketio: the example says the truth about it."""
    require(find_spec("socketio"), "python-socketio")
    for attempts_left in (2, 1, 0):
        with run_program(EXAMPLES / "from_python_socketio" / "before.py") as server:
            try:
                browser.run("from_python_socketio", server.url)
                return
            except pytest.fail.Exception:  # the peer now and then writes HTTP into the WebSocket that it ends
                if not attempts_left:
                    raise
