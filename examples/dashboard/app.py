"""A live dashboard: a background task measures this machine once a second, and every open page draws it.

``python app.py``, then http://127.0.0.1:8000. Behind a production server, with one worker because the task is in it::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.client_files import find_client, install_client

HERE = Path(__file__).resolve().parent
EVERY = float(os.environ.get("EVERY", "1"))  # seconds between samples
KEPT = 120  # samples

Sample = dict[str, float]

io = Server(client_files=find_client() or install_client())


class Sampler:
    """Measures as long as somebody watches, and remembers what it has measured."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._lock = threading.Lock()  # handlers and the task run side by side
        self._watchers: set[str] = set()
        self._running = False

    def add(self, socket: Socket) -> None:
        """Let a client watch, beginning with the samples so far; under the lock, so that it misses none after them."""
        with self._lock:
            socket.emit("samples", list(self._samples))
            socket.join("watchers")
            self._watchers.add(socket.id)
            if not self._running:
                self._running = True
                io.start_background_task(self._run)

    def remove(self, socket: Socket) -> None:
        """The client does not watch any more, if it did."""
        with self._lock:
            socket.leave("watchers")
            self._watchers.discard(socket.id)

    def _run(self) -> None:
        used, then = time.process_time(), time.monotonic()
        while True:
            io.sleep(EVERY)
            used_before, used = used, time.process_time()
            before, then = then, time.monotonic()
            sample = {
                "time": time.time() * 1000,  # ms, as JavaScript counts
                "load": os.getloadavg()[0],
                "cpu": 100 * (used - used_before) / (then - before),  # percent of one core, by this server
                "threads": threading.active_count(),
                "clients": len(io.sockets.sockets),
            }
            with self._lock:
                self._running = bool(self._watchers)
                if not self._running:
                    return
                self._samples.append(sample)
                # Volatile: a page that cannot keep up skips a sample, it does not get old ones later.
                io.to("watchers").volatile.emit("sample", sample)


sampler = Sampler()


@io.on("watch")
def watch(socket: Socket, on: Any) -> None:
    """Begin or stop watching."""
    if on is True:
        sampler.add(socket)
    else:
        sampler.remove(socket)


@io.on("disconnect")
def disconnect(socket: Socket) -> None:
    sampler.remove(socket)


files = {"/static": HERE / "static", "/shared": HERE.parent / "shared", "/": HERE / "page.html"}
app = WSGIApp(io, SharedDataMiddleware(NotFound(), {url: str(path) for url, path in files.items()}, cache=False))

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)
