"""The jobs, and what runs them: ``celery -A tasks worker`` in this folder, as often as you like, on any host."""

from __future__ import annotations

import os
from math import isqrt

from celery import Celery

from wsgi_sio import Emitter, NotPublished

REDIS = os.environ.get("REDIS", "redis://127.0.0.1:6379")
BLOCK = 20_000  # numbers between two reports

celery = Celery("tasks", broker=REDIS)
# Made once: it connects with the first emit, in each process of the pool by itself.
emitter = Emitter(REDIS)


@celery.task
def count_primes(job: str, limit: int) -> None:
    """Count the primes below ``limit``; the room ``job`` is told how far it is."""
    room, found = emitter.to(job), 0
    for begin in range(0, limit, BLOCK):
        block = range(begin, min(begin + BLOCK, limit))
        found += sum(map(is_prime, block))
        try:
            room.volatile.emit("progress", job, block.stop, limit, found)
        except NotPublished:
            pass  # the next report says more
    # This one matters, so let Celery try again, but only where nobody can have got it.
    try:
        room.emit("done", job, limit, found)
    except NotPublished as error:
        if not error.perhaps:
            tell.apply_async([job, limit, found], countdown=1)


@celery.task(autoretry_for=(NotPublished,), retry_backoff=True, max_retries=10)
def tell(job: str, limit: int, found: int) -> None:
    """Tell the result of a job that could not be told at once."""
    emitter.to(job).emit("done", job, limit, found)


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))
