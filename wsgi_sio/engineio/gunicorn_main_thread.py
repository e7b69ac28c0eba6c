"""What is to be done in the main thread of gunicorn's gthread worker, which runs a loop until the worker has ended.

Its queue is a pipe, which is closed then, while our threads go on for as long as the process does: the number of its
descriptor may be that of somebody's connection by now.  So nothing is put into it any more, and what it has not got to
is done otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..runtime import Rank, make_lock

Job = Callable[[], object]


class MainThread:
    """See the module's text.

    :param worker: gunicorn's; see :func:`has_main_thread`.
    """

    def __init__(self, worker: Any) -> None:
        queue = worker.method_queue
        self._defer: Callable[[Job], None] = queue.defer
        self._close: Callable[[], None] = queue.close
        self._lock = make_lock(Rank.LEAF)
        self._ended = False
        self._jobs: deque[tuple[Job, Job]] = deque()
        queue.close = self._end

    def call(self, job: Job, otherwise: Job) -> None:
        """From anywhere: have ``job`` done there, or ``otherwise`` (which must not fail) anywhere when it has ended."""
        with self._lock:  # until it is in the queue, which does not block, nobody may close that
            ended = self._ended
            if not ended:
                self._jobs.append((job, otherwise))
                self._defer(self._do_next)
        if ended:
            otherwise()

    def _do_next(self) -> None:
        job, _ = self._jobs.popleft()
        job()

    def _end(self) -> None:
        with self._lock:
            self._ended = True
        self._close()
        while self._jobs:
            _, otherwise = self._jobs.popleft()
            otherwise()


def has_main_thread(worker: Any) -> bool:
    """Whether a worker is one that has what is needed here, as some versions of gunicorn's gthread have."""
    return all(hasattr(getattr(worker, "method_queue", None), name) for name in ("defer", "close"))
