"""Long jobs in Celery: its workers, processes that serve nobody, emit to whoever follows a job.

It needs a Redis, at REDIS (redis://127.0.0.1:6379), and at least one worker, in this folder::

    celery -A tasks worker

``python app.py``, then http://127.0.0.1:8000. Behind production servers, on one host or several that share the Redis::

    gunicorn -w 2 --worker-class gevent app:app
    gunicorn -w 2 --threads 16 app:app
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from flask import Flask, send_from_directory
from tasks import REDIS, count_primes

from wsgi_sio.client_files import find_client, install_client
from wsgi_sio.flask import SocketIO, join_room

HERE = Path(__file__).resolve().parent
LIMITS = (200_000, 1_000_000)

app = Flask(__name__)
socketio = SocketIO(app, message_queue=REDIS, client_files=find_client() or install_client())


@socketio.on("start")
def start(limit: Any) -> dict[str, str]:
    """Have a job done, which this client follows; the answer has the id by which others may follow it, too."""
    if not isinstance(limit, int) or limit not in LIMITS:
        return {"error": "There is no such job."}
    job = secrets.token_urlsafe(12)
    join_room(job)  # before the job begins, so that no report is missed
    count_primes.delay(job, limit)
    return {"id": job}


@socketio.on("follow")
def follow(job: Any) -> None:
    if isinstance(job, str):
        join_room(job)


@app.get("/")
def page() -> Any:
    return send_from_directory(HERE, "page.html")


@app.get("/shared/<path:name>")
def shared(name: str) -> Any:
    return send_from_directory(HERE.parent / "shared", name)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", "8000")))
