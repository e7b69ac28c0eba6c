"""The application of ``tests/live/test_handed_over*.py``: each page tells of the gunicorn worker that has served it.

Options of the server can be given as JSON in the environment variable ``SIO_OPTIONS``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.engineio.gunicorn_connections import _find_servers
from wsgi_sio.siblings import gunicorn_worker

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

io = Server(**{"ping_interval": 60, **json.loads(os.environ.get("SIO_OPTIONS", "{}"))})


@io.on("echo")
def echo(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return args


@io.on("who")
def who(socket: Socket) -> int:
    return os.getpid()


@io.on("large")
def large(socket: Socket, size: int) -> str:
    return "x" * size


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Every page: which process this is, how it knows its client, and how many connections and sessions it has."""
    worker: Any = gunicorn_worker()
    if hasattr(worker, "nr_conns"):
        connections = worker.nr_conns
    else:
        connections = sum(server.pool.size - server.pool.free_count() for server in _find_servers(worker))
    company = io.engine.joining.company
    told = {
        "pid": os.getpid(),
        "client": [environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT")],
        "server": [environ.get("SERVER_NAME"), environ.get("SERVER_PORT")],
        "connections": connections,
        "sockets": sum(_is_socket(name) for name in os.listdir("/proc/self/fd")),
        "sessions": len(io.engine.sessions),
        "siblings": 0 if company is None else len(company.siblings.links()),
    }
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _is_socket(name: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    except FileNotFoundError:  # the listing's own
        return False


app = WSGIApp(io, site)


def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The same within a middleware."""
    return app(environ, start_response)
