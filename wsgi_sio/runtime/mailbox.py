"""SerialQueue: jobs run one at a time, in order, on whatever worker is free; no thread waits for them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from .locks import Rank, make_lock

logger = logging.getLogger("wsgi_sio.runtime")

# How many jobs one worker runs before it queues again behind the others.
_BATCH = 32


class SerialQueue:
    """A mailbox: ``put`` from any thread, the jobs run in that order, never two at once.

    It is bounded by telling, not by blocking: each job has a cost, ``on_full`` is called when the waiting jobs cost
    ``limit`` or more, and ``on_room`` once they have fallen below half of it.

    :param submit: runs a callable on a worker (:meth:`Reactor.submit`).
    """

    __slots__ = ("_cost", "_full", "_jobs", "_limit", "_lock", "_on_full", "_on_room", "_running", "_submit")

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], None],
        *,
        limit: int,
        on_full: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        self._submit = submit
        self._limit = limit
        self._on_full = on_full
        self._on_room = on_room
        self._lock = make_lock(Rank.LEAF)
        self._jobs: deque[tuple[int, Callable[..., object], tuple[Any, ...]]] = deque()
        self._cost = 0
        self._running = False
        self._full = False

    def put(self, job: Callable[..., object], *args: Any, cost: int = 1) -> None:
        """Queue ``job(*args)``."""
        with self._lock:
            self._jobs.append((cost, job, args))
            self._cost += cost
            start, self._running = not self._running, True
            filled = self._cost >= self._limit and not self._full
            if filled:
                self._full = True
        if filled:
            self._on_full()
        if start:
            self._submit(self._drain)

    def _drain(self) -> None:
        for _ in range(_BATCH):
            with self._lock:
                if not self._jobs:
                    self._running = False
                    return
                cost, job, args = self._jobs.popleft()
                self._cost -= cost
                relieved = self._full and self._cost * 2 <= self._limit
                if relieved:
                    self._full = False
            if relieved:
                self._on_room()
            try:
                job(*args)
            except Exception:
                logger.exception("a job in a mailbox failed")
        self._submit(self._drain)
