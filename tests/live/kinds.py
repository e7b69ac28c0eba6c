"""Every kind of server that can do WebSocket in this world: ``tests.support.servers`` and more, by their own commands.

``-tls`` kinds serve HTTPS with a self-signed certificate.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from tests.live.peers import fetch
from tests.support.require import require
from tests.support.servers import SERVERS, RunningServer, free_port, start_server
from tests.support.world import WORLD

APP = "tests.apps.robustness:app"
WEBSOCKET_SERVERS = tuple(kind for kind in SERVERS if kind != "waitress")
COMMANDS = {
    "gunicorn-gthread-tls": "gunicorn --worker-class gthread --threads 16 --bind 127.0.0.1:{port} {tls}",
    "gunicorn-gevent-tls": "gunicorn --worker-class gevent --bind 127.0.0.1:{port} {tls}",
    # Without an access log, which nobody would miss a poll in, so that polling connections are kept.
    "gunicorn-gevent-kept": "gunicorn --worker-class gevent --bind 127.0.0.1:{port} --log-level debug",
    "gunicorn-gthread-kept": "gunicorn --worker-class gthread --threads 16 --bind 127.0.0.1:{port} --log-level debug",
    "gunicorn-sync": "gunicorn --worker-class sync --bind 127.0.0.1:{port}",
    "uwsgi": "tests.live.run_uwsgi --http-socket 127.0.0.1:{port} --master --die-on-term --need-app --threads 8"
    f" --module {APP}",
    "cheroot": "cheroot --bind 127.0.0.1:{port}",
    "flask-run": "flask --app tests.apps.flask_site run --port {port}",
    "flask-run-debugger": "flask --app tests.apps.flask_site --debug run --port {port} --no-reload",
    "django-runserver": "tests.apps.django_site runserver --noreload 127.0.0.1:{port}",
}
# The servers of threads where gevent has patched the standard library.
PATCHED = tuple(f"patched-{kind}" for kind in ("cheroot", "flask-run", "django-runserver"))
WEBSOCKET_KINDS = WEBSOCKET_SERVERS + (
    ("gunicorn-gevent-tls", "gunicorn-gevent-kept")
    if WORLD == "gevent"
    else (
        "gunicorn-gthread-tls",
        "gunicorn-gthread-kept",
        "cheroot",
        "flask-run",
        "flask-run-debugger",
        "django-runserver",
    )
)


def first_everyday(kinds: Sequence[str]) -> list[Any]:
    """Parameters for what hardly depends on the WSGI server: the first kind every day, the others as slow tests."""
    return [kinds[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in kinds[1:])]


@contextmanager
def serve(kind: str, options: Mapping[str, Any] | None = None, **sio_options: Any) -> Iterator[RunningServer]:
    """Serve ``tests/apps/robustness.py`` with ``options`` of the WSGI server and ``sio_options`` of Socket.IO."""
    env = {"SIO_OPTIONS": json.dumps(sio_options)}
    with (
        start_command(kind, env, options or {})
        if kind in (*COMMANDS, *PATCHED)
        else start_server(kind, APP, env, options) as server
    ):
        yield server


def start_command(kind: str, env: Mapping[str, str], options: Mapping[str, Any], app: str = APP) -> RunningServer:
    """Start a server by its own command, ``options`` added to it, and return once it answers."""
    port = free_port()
    patched, kind = kind in PATCHED, kind.removeprefix("patched-")
    command = COMMANDS[kind].format(port=port, tls="--certfile {}/cert.pem --keyfile {}/key.pem")
    if kind.endswith("-tls"):
        command = command.format(make_certificate(), make_certificate())
    arguments = command.split()
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    if arguments[0] in ("gunicorn", "cheroot"):
        arguments.append(app)
    if patched:
        arguments = ["gevent.monkey", "--module", *arguments]
    server = RunningServer.launch([sys.executable, "-m", *arguments], port, env)
    if kind.endswith("-tls"):
        server.url = server.url.replace("http:", "https:")
    try:
        _wait_for_answer(server)
    except BaseException:
        server.stop()
        raise
    return server


def _wait_for_answer(server: RunningServer) -> None:
    """Return once a page has been served: by then the worker is there too."""
    deadline = time.monotonic() + 60
    while True:
        try:
            fetch(server, "/")
            return
        except ConnectionRefusedError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start; its log:\n{server.log()}") from None
            time.sleep(0.02)  # nobody tells when it begins to listen


@cache
def make_certificate() -> str:
    """A directory with a fresh self-signed ``cert.pem`` and its ``key.pem``; it goes away with this process."""
    require(shutil.which("openssl"), "the openssl command, for a certificate")
    directory = tempfile.TemporaryDirectory(prefix="wsgi-sio-tls-")
    _certificates.append(directory)
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory.name,
        check=True,
        capture_output=True,
    )
    return directory.name


_certificates: list[tempfile.TemporaryDirectory[str]] = []
