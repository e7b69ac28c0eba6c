"""The application of ``tests/live/test_drain*.py``: it logs every end, and says which process it is.

``tests/apps/draining_conf.py`` is its gunicorn configuration.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from wsgi_sio import Server, Socket, WSGIApp

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logger = logging.getLogger("draining")

io = Server(**json.loads(os.environ.get("SIO_OPTIONS", "{}")))


@io.on("echo")
def echo(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return args


@io.on("pid")
def pid(socket: Socket) -> int:
    return os.getpid()


@io.on("disconnect")
def note_end(socket: Socket, reason: str) -> None:
    io.sleep(float(os.environ.get("LAST_WORDS", "0")))  # a handler that has something to finish
    logger.info("%d has seen the end: %s", os.getpid(), reason)


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Every page: which process has served it."""
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


app = WSGIApp(io, site)
