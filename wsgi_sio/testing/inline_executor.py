"""InlineExecutor: a thread that uses a test client runs the handlers that come of it, itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from time import monotonic

from ..runtime import Rank, Reactor, make_lock

Job = Callable[[], None]


class InlineExecutor:
    """Takes the jobs of one client's sockets as long as the client is being used; else the reactor's workers do.

    Those that come of a handler which runs at another client's are run there: when one user throws another out, the
    handlers of both run in the test's thread.  What background tasks, timers and other threads cause while no client
    is being used stays on the workers.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._lock = make_lock(Rank.LEAF)
        self._jobs: deque[Job] = deque()
        self._visits = 0
        self._wake = reactor.event()
        self.busy = False  # in the middle of a job: whoever comes now is called by a handler

    def submit(self, job: Job) -> None:
        """Have ``job`` run; callable from any thread."""
        here = _here.get(None)
        if not (self.take(job) or (here is not None and here.take(job))):
            self._reactor.submit(job)

    def take(self, job: Job) -> bool:
        """Keep ``job`` for who is here; False when nobody is."""
        with self._lock:
            taken = self._visits > 0
            if taken:
                self._jobs.append(job)
        if taken:
            self._wake.set()
        return taken

    def mark(self) -> Mark:
        """Something to wait for here."""
        return Mark(self._wake.set)

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Take jobs as long as the block lasts; those that it leaves behind go to the workers."""
        with self._lock:
            self._visits += 1
        token = _here.set(self)
        try:
            yield
        finally:
            _here.reset(token)
            with self._lock:
                self._visits -= 1
                left = [] if self._visits else list(self._jobs)
                if left:
                    self._jobs.clear()
            for job in left:
                self._reactor.submit(job)

    def run_until(self, mark: Mark, timeout: float) -> bool:
        """Run the jobs that come, in copies of the caller's context, until ``mark`` is set.

        :param timeout: seconds without a job; a job itself takes as long as it takes.
        :return: whether it is set.
        """
        until = monotonic() + timeout
        while True:
            self._wake.clear()
            if self._run():
                until = monotonic() + timeout
            if mark.is_set:
                return True
            if not self._wake.wait(max(0.0, until - monotonic())):
                return mark.is_set

    def _run(self) -> bool:
        """Run what there is; False when there was nothing."""
        busy, self.busy = self.busy, True
        ran = False
        try:
            while self._jobs:
                copy_context().run(self._jobs.popleft())
                ran = True
        finally:
            self.busy = busy
        return ran


class Mark:
    """A flag that wakes who waits in :meth:`InlineExecutor.run_until`."""

    __slots__ = ("_wake", "is_set")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.is_set = False
        self._wake = wake

    def set(self) -> None:
        self.is_set = True
        self._wake()


# Whose block the present thread (or greenlet) is in.
_here: ContextVar[InlineExecutor] = ContextVar("wsgi_sio.testing.here")
