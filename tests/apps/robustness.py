"""The application of ``tests/live/test_robustness*.py`` and ``test_servers_*.py``.

It counts, keeps a journal, floods its clients, and shows its insides below ``/debug/``.

Options of the server can be given as JSON in the environment variable ``SIO_OPTIONS``.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from wsgi_sio import Server, Socket, WSGIApp

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")  # where the server sets none up

OPTIONS = json.loads(os.environ.get("SIO_OPTIONS", "{}"))

io = Server(**OPTIONS)
second = Server(path="/second", **OPTIONS)

gate = threading.Event()
journal: dict[str, tuple[str, float]] = {}  # socket id -> (reason, when it was told, on the machine's monotonic clock)
received: Counter[str] = Counter()


# --- what clients may do ---


@io.on("disconnect")
@second.on("disconnect")
def note_end(socket: Socket, reason: str) -> None:
    journal[socket.id] = (reason, time.monotonic())


@io.on("echo")
def echo(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return args


@second.on("echo")
def echo_in_second(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return ("second", *args)


@second.on("shout")
def shout_in_second(socket: Socket, text: str) -> None:
    second.emit("shouted", text)


@io.on("number")
def take_number(socket: Socket, number: int) -> None:
    socket.data.setdefault("numbers", []).append(number)


@io.on("numbers")
def numbers(socket: Socket) -> list[int]:
    return socket.data.get("numbers", [])


@io.on("gated")
def take_number_when_the_gate_is_open(socket: Socket, number: int, padding: str) -> None:
    gate.wait()
    received[socket.id] += 1
    socket.data.setdefault("numbers", []).append(number)


@io.on("tick")
def tick(socket: Socket, count: int, pause: float) -> None:
    """Emit ``count`` numbers from a background task, one every ``pause`` seconds."""
    io.start_background_task(send_ticks, socket, count, pause)


def send_ticks(socket: Socket, count: int, pause: float) -> None:
    for number in range(count):
        socket.emit("ticked", number)
        io.sleep(pause)


@io.on("dismiss me")
def dismiss(socket: Socket) -> None:
    socket.disconnect(close=True)


@io.on("hold")
def hold(socket: Socket, seconds: float) -> None:
    """Compute for so long: under gevent, nothing else runs meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


# --- what the tests may ask, over HTTP ---


def broadcast(count: int, size: int, batch: int, pause: float) -> float:
    """Broadcast ``count`` events of about ``size`` bytes, ``batch`` at a time; return the seconds without pauses."""
    padding = "x" * (size - 40)
    spent = 0.0
    for first in range(0, count, batch):
        began = time.monotonic()
        for number in range(first, min(first + batch, count)):
            io.emit("broadcast", number, time.monotonic(), padding)
        spent += time.monotonic() - began
        io.sleep(pause)
    return spent


def census() -> dict[str, int]:
    """How many objects live that belong to a client, and how many greenlets."""
    gc.collect()
    names = Counter(type(thing).__name__ for thing in gc.get_objects())
    kinds = ("Session", "WebSocketTransport", "PollingTransport", "Upgrade", "Connection", "Socket")
    return {**{kind: names[kind] for kind in kinds}, "greenlets": names["greenlet"] + names["Greenlet"]}


def gunicorn_connections() -> int:
    """How many connections gunicorn's thread worker believes to have, this request's own among them."""
    (worker,) = (thing for thing in gc.get_objects() if type(thing).__name__ == "ThreadWorker")
    return int(worker.nr_conns)


def emit_from_native_thread(sid: str) -> float:
    """Emit to a client from a thread that gevent knows nothing of; return when, on the monotonic clock."""
    from gevent.monkey import get_original

    done = get_original("_thread", "allocate_lock")()
    done.acquire()
    emitted = []

    def run() -> None:
        emitted.append(time.monotonic())
        io.to(sid).emit("from a thread", len(emitted))
        done.release()

    get_original("_thread", "start_new_thread")(run, ())
    done.acquire()
    return emitted[0]


def fork() -> None:
    """Have a child that does nothing, for longer than anybody waits for the end of a connection."""
    if not os.fork():
        signal.alarm(60)
        signal.pause()
        os._exit(0)


QUESTIONS: dict[str, Callable[..., Any]] = {
    "broadcast": lambda count, size, batch, pause: broadcast(int(count), int(size), int(batch), float(pause)),
    "census": census,
    "connections": gunicorn_connections,
    "emit": lambda sid, event: io.to(sid).emit(event),
    "journal": lambda: journal,
    "open-gate": gate.set,
    "close-gate": gate.clear,
    "received": lambda sid: received[sid],
    "fork": fork,
    "emit-from-native-thread": emit_from_native_thread,
}


class Debug:
    """Answers what is asked below ``/debug/`` with JSON and passes the rest on."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        _, _, question = environ["PATH_INFO"].partition("/debug/")
        if not question:
            return self._app(environ, start_response)
        parameters = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        body = json.dumps(QUESTIONS[question](**parameters)).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The wrapped application: says hello, and how it was asked."""
    body = f"hello over {environ['SERVER_PROTOCOL']}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def wrap(wrapped: Callable[..., Iterable[bytes]]) -> WSGIApp:
    """Put both Socket.IO servers and the questions in front of ``wrapped``."""
    return WSGIApp(io, WSGIApp(second, Debug(wrapped)))


app = wrap(site)
