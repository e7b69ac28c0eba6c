"""A client that measures itself, in a process of its own; see ``benchmarks.client``, which starts it.

``python -m benchmarks.apps.measured_client LIBRARY WORLD SCENARIO TRANSPORT PORT SECONDS`` prints a JSON object.
Each library is imported where it is used, so that neither weighs on the other's memory.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Union

from benchmarks.measure import memory_bytes, thread_count

DEPTH = 8  # acknowledgements awaited at once, where they are told to a callback
IDLE = 50  # clients
FLOOD = 10_000  # events that are received in all
_CHUNK = 1000  # of which so many are on the way at once: the server drops clients that are too far behind
_WARMUP = 0.5  # seconds
_SETTLE = 1.0  # seconds before memory is measured
_TIMEOUT = 60.0  # seconds for anything that others do
_DATA = "." * 32

Figures = dict[str, float]


class Ours:
    """wsgi_sio's client; the same few methods as :class:`Peer`."""

    def __init__(self, url: str, transport: str, **options: Any) -> None:
        from wsgi_sio.client import Client

        self._client = Client(url, transports=[transport], **options)
        self.emit = self._client.emit
        self.on = self._client.on
        self.close = self._client.disconnect

    def connect(self) -> None:
        self._client.connect(timeout=_TIMEOUT)

    def call(self, event: str, *args: Any) -> Any:
        return self._client.emit_with_ack(event, *args, timeout=_TIMEOUT)


class Peer:
    """python-socketio's client, its defaults but for one."""

    def __init__(self, url: str, transport: str) -> None:
        import engineio.payload
        import socketio

        engineio.payload.Payload.max_decode_packets = FLOOD  # over polling it refuses more than 16 at once
        self._url = url
        self._transport = transport
        self._client = socketio.Client()
        self.on = self._client.on
        self.close = self._client.disconnect

    def connect(self) -> None:
        self._client.connect(self._url, transports=[self._transport], wait_timeout=_TIMEOUT)

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> None:
        self._client.emit(event, args, callback=callback)

    def call(self, event: str, *args: Any) -> Any:
        return self._client.call(event, args, timeout=_TIMEOUT)


Library = Union[type[Ours], type[Peer]]
LIBRARIES: dict[str, Library] = {"ours": Ours, "pysio": Peer}


class Wrong(Exception):
    """The server's answer is not what was asked for."""


def _measure(client: Ours | Peer, run: Callable[[float], int], seconds: float) -> Figures:
    """What it costs to ``run`` until so many seconds later, once it is warm."""
    run(time.monotonic() + _WARMUP)
    figures = _cost(lambda: run(time.monotonic() + seconds))
    client.close()
    return figures


def measure_calls(library: Library, url: str, transport: str, seconds: float) -> Figures:
    """The main thread emits and blocks until the acknowledgement is there, again and again."""
    client = library(url, transport)
    client.connect()

    def run(until: float) -> int:
        count = 0
        while time.monotonic() < until:
            data = f"{count}{_DATA}"
            if client.call("echo", data) != data:
                raise Wrong("another answer")
            count += 1
        return count

    return _measure(client, run, seconds)


def measure_callbacks(library: Library, url: str, transport: str, seconds: float) -> Figures:
    """:data:`DEPTH` acknowledgements are always awaited; the callback of each emits the next."""
    client = library(url, transport)
    client.connect()

    def run(until: float) -> int:
        answers: list[str] = []
        left = list(range(DEPTH))
        done = threading.Event()

        def emit(number: int) -> None:
            client.emit("echo", f"{number}{_DATA}", callback=lambda data: answered(number, data))

        def answered(number: int, data: str) -> None:
            answers.append(data)
            if data != f"{number}{_DATA}":
                raise Wrong("another answer")
            if time.monotonic() < until:
                emit(number + DEPTH)
                return
            left.pop()
            if not left:
                done.set()

        for number in range(DEPTH):
            emit(number)
        _wait(done, "answers")
        if len(set(answers)) != len(answers):
            raise Wrong("an answer came twice")
        return len(answers)

    return _measure(client, run, seconds)


def measure_received(library: Library, url: str, transport: str, seconds: float) -> Figures:
    """The server sends :data:`FLOOD` events, to a handler that counts; ``seconds`` do not matter."""
    client = library(url, transport)
    seen: list[int] = []
    complete = threading.Event()

    def received(number: int, data: str) -> None:
        seen.append(number)
        if len(seen) == _CHUNK:
            complete.set()

    client.on("msg", received)
    client.connect()

    def run(chunks: int) -> int:
        for _ in range(chunks):
            seen.clear()
            complete.clear()
            client.emit("flood", _CHUNK, _DATA)
            _wait(complete, "events")
            if sorted(seen) != list(range(_CHUNK)):
                raise Wrong("not each event once")
        return chunks * _CHUNK

    run(1)
    figures = _cost(lambda: run(FLOOD // _CHUNK))
    client.close()
    return figures


def measure_idle(library: Library, url: str, transport: str, seconds: float, **options: Any) -> Figures:
    """:data:`IDLE` clients at rest: memory and threads of each; in the end each still gets an answer."""
    first = library(url, transport, **options)  # what is loaded and made once is not theirs
    first.connect()
    first.call("echo", _DATA)
    memory, threads = _settled()
    clients = [library(url, transport, **options) for _ in range(IDLE)]
    for client in clients:
        client.connect()
    more_memory, more_threads = _settled()
    for client in [first, *clients]:
        if client.call("echo", _DATA) != _DATA:
            raise Wrong("another answer")
        client.close()
    return {"KB": (more_memory - memory) / IDLE / 1000, "threads": (more_threads - threads) / IDLE}


def measure_idle_shared(library: Library, url: str, transport: str, seconds: float) -> Figures:
    """The same with one reactor for all, which is ours alone."""
    from wsgi_sio.runtime import create_reactor

    return measure_idle(library, url, transport, seconds, reactor=create_reactor())


SCENARIOS: dict[str, Callable[[Library, str, str, float], Figures]] = {
    "calls": measure_calls,
    "callbacks": measure_callbacks,
    "received": measure_received,
    "idle": measure_idle,
    "idle-shared": measure_idle_shared,
}


def _cost(work: Callable[[], int]) -> Figures:
    """What each of the messages costs that ``work`` counts."""
    gc.collect()
    began, cpu = time.monotonic(), time.process_time()
    count = work()
    cpu, elapsed = time.process_time() - cpu, time.monotonic() - began
    return {"us": cpu * 1e6 / count, "rate": count / elapsed, "busy": cpu / elapsed}


def _wait(event: threading.Event, what: str) -> None:
    if not event.wait(_TIMEOUT):
        raise Wrong(f"{what} are missing after {_TIMEOUT:g} s")


def _settled() -> tuple[float, float]:
    gc.collect()
    time.sleep(_SETTLE)
    return memory_bytes(os.getpid()) or 0, thread_count(os.getpid()) or 0


def main(library: str, world: str, scenario: str, transport: str, port: str, seconds: str) -> None:
    """Measure, and print the figures."""
    measure = SCENARIOS[scenario]
    print(json.dumps(measure(LIBRARIES[library], f"http://127.0.0.1:{port}", transport, float(seconds))))


if __name__ == "__main__":
    if sys.argv[2] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    main(*sys.argv[1:])
