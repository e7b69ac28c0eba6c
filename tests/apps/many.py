"""The application of ``tests/live/test_several_workers*.py``: numbered events both ways, and broadcasts of each worker.

Options of the server can be given as JSON in the environment variable ``SIO_OPTIONS``.  With ``SHOUT`` (seconds) each
worker that has had a client broadcasts a number every so often; with ``TELL`` each logs whose requests it gets; with
``ADAPTER`` it is one of several hosts on a ``REDIS``.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.adapters import redis_adapter, redis_streams_adapter, sharded_redis_adapter
from wsgi_sio.cluster.drivers.redis_streams import event_offsets

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logger = logging.getLogger("tests.apps.many")

if "DUMP" in os.environ:  # where is everybody?
    faulthandler.register(signal.SIGPROF, all_threads=True)

"localhost".encode("idna")  # loads it; a worker of another user may not be able to read Python's own files

PERIOD = float(os.environ.get("SHOUT", "0"))
TELL = "TELL" in os.environ

ADAPTERS = {"classic": redis_adapter, "sharded": sharded_redis_adapter, "streams": redis_streams_adapter}

options = {"ping_interval": 5, "ping_timeout": 40, **json.loads(os.environ.get("SIO_OPTIONS", "{}"))}
if "ADAPTER" in os.environ:
    event_offsets._PATIENCE = 30.0  # a busy machine is no outage of Redis
    options["adapter"] = ADAPTERS[os.environ["ADAPTER"]](os.environ["REDIS"])
io = Server(**options)

_shouting = threading.Lock()


@io.on("connection")
def welcome(socket: Socket) -> None:
    socket.emit("welcome", os.getpid(), io.engine.tag)
    if PERIOD and _shouting.acquire(blocking=False):  # never released: one task for each process
        io.start_background_task(shout)


def shout() -> None:
    """Broadcast numbers, each with whose they are and since when there are any."""
    began = time.monotonic()
    for number in itertools.count():
        io.emit("all", os.getpid(), number, began)
        io.sleep(PERIOD)


@io.on("put")
def put(socket: Socket, number: int) -> None:
    """Give it back: what comes late, twice or not at all does so for the client."""
    socket.emit("echo", number)


@io.on("echo")
def echo(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return args


@io.on("who")
def who(socket: Socket) -> tuple[int, str]:
    return os.getpid(), io.engine.tag


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Every page: which process this is, how many sessions it has, and how many siblings."""
    company = io.engine.joining.company
    siblings = None if company is None else len(company.siblings.links())
    body = json.dumps({"pid": os.getpid(), "sessions": len(io.engine.sessions), "siblings": siblings}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def telling(wrapped: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Log whose session each request is for, and who has got it."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        (sid,) = parse_qs(environ.get("QUERY_STRING", "")).get("sid", [""])
        answer = wrapped(environ, start_response)
        if sid:
            logger.info("%s got a %s of %s", io.engine.tag, environ["REQUEST_METHOD"], sid[-4:])
        return answer

    return app


app = telling(WSGIApp(io, site)) if TELL else WSGIApp(io, site)
