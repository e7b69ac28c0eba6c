"""A long job with a progress bar: it goes on when the page is reloaded or the connection lost, and can be cancelled.

``python app.py``, then http://127.0.0.1:8000. Behind a production server, with one worker because the jobs are in it::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.client_files import find_client, install_client

HERE = Path(__file__).resolve().parent
LIMITS = (200_000, 1_000_000, 3_000_000)
RUNNING, KEPT = 4, 50  # jobs at a time; that are remembered
EVERY = 0.1  # seconds between two reports
BLOCK = 500  # numbers looked at without a pause

Json = dict[str, Any]


@dataclass
class Job:
    """The primes below ``limit`` are counted; the page follows it in the room of its id, which nobody can guess."""

    limit: int
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "running"  # or "done", "cancelled"
    looked_at: int = 0
    found: int = 0
    cancel: threading.Event = field(default_factory=threading.Event)

    def status(self) -> Json:
        """What the page shows."""
        return {"state": self.state, "limit": self.limit, "looked_at": self.looked_at, "found": self.found}


io = Server(client_files=find_client() or install_client())
jobs: OrderedDict[str, Job] = OrderedDict()
lock = threading.Lock()  # the handlers of different clients run side by side


@io.on("start")
def start(socket: Socket, limit: Any) -> Json:
    """Start a job; the answer has the id to follow it by."""
    if not isinstance(limit, int) or limit not in LIMITS:
        return {"error": "There is no such job."}
    with lock:
        if sum(job.state == "running" for job in jobs.values()) >= RUNNING:
            return {"error": "Too many jobs are running. Please try again later."}
        job = Job(limit)
        jobs[job.id] = job
        while len(jobs) > KEPT:
            jobs.popitem(last=False)
    io.start_background_task(count_primes, job)
    return {"id": job.id}


@io.on("follow")
def follow(socket: Socket, id: Any) -> Json:
    """Get the reports of a job, beginning with the latest."""
    job = find(id)
    if job is None:
        return {"error": "This job is not known any more."}
    with lock:  # so that no later report comes before this one
        socket.join(f"job {job.id}")
        socket.emit("progress", job.id, job.status())
    return {}


@io.on("cancel")
def cancel(socket: Socket, id: Any) -> None:
    job = find(id)
    if job is not None:
        job.cancel.set()


def find(id: Any) -> Job | None:
    return jobs.get(id) if isinstance(id, str) else None


def count_primes(job: Job) -> None:
    """The job, in a background task; ``emit`` may be called from anywhere."""
    reported = time.monotonic()
    while job.looked_at < job.limit and not job.cancel.is_set():
        block = range(job.looked_at, min(job.looked_at + BLOCK, job.limit))
        job.found += sum(map(is_prime, block))
        job.looked_at = block.stop
        io.sleep(0)  # let others have a turn: under gevent nobody else runs while we compute
        if time.monotonic() - reported >= EVERY:
            reported = time.monotonic()
            report(job)
    report(job, "done" if job.looked_at == job.limit else "cancelled")


def report(job: Job, state: str = "running") -> None:
    """Tell who follows the job how far it is."""
    with lock:
        job.state = state
        io.to(f"job {job.id}").emit("progress", job.id, job.status())


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


files = {"/static": HERE / "static", "/shared": HERE.parent / "shared", "/": HERE / "page.html"}
app = WSGIApp(io, SharedDataMiddleware(NotFound(), {url: str(path) for url, path in files.items()}, cache=False))

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)
