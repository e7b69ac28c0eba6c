"""SerialQueue: jobs run one at a time, in order, on whatever worker is free; no thread waits for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

from ..compiled import mypyc_attr
from .locks import Rank, make_lock
from .reactor import FAILURES

logger = logging.getLogger("wsgi_sio.runtime")

# From how many times the limit on a queue overflows: its owner was told, and more came all the same.
_OVERFLOW = 4

# How many jobs one worker runs before it queues again behind the others.
_BATCH = 32


class MailboxOwner(Protocol):
    """Who fills a mailbox, and can stop filling it; told by the thread that fills or empties it."""

    def mailbox_full(self) -> None: ...

    def mailbox_has_room(self) -> None: ...

    def mailbox_overflows(self) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class SerialQueue:
    """A mailbox: ``put`` from any thread, the jobs run in that order, never two at once, each in a fresh context.

    It is bounded by telling, not by blocking: each job has a cost, and the owner is told when those that have not run
    yet cost ``limit`` or more, when they have fallen to half of it, and when they cost four times as much.

    :param submit: runs a callable on a worker (:meth:`Reactor.submit`).
    :param context: makes the context of each job.
    """

    __slots__ = ("_context", "_cost", "_full", "_jobs", "_left", "_limit", "_lock", "_owner", "_running", "_submit")

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], None],
        *,
        limit: int,
        owner: MailboxOwner,
        context: Callable[[], Context] = Context,
    ) -> None:
        self._submit = submit
        self._context = context
        self._limit = limit
        self._owner = owner
        self._lock = make_lock(Rank.LEAF)
        # No deque, of which an empty one takes 600 bytes; and it is never so long that this one would be slow.
        self._jobs: list[tuple[int, Callable[..., object], tuple[Any, ...]]] = []
        self._cost = 0
        self._left = 0  # how many jobs more the present worker may run
        self._running = False
        self._full = False

    def put(self, job: Callable[..., object], *args: Any, cost: int = 0) -> None:
        """Queue ``job(*args)``."""
        with self._lock:
            self._jobs.append((cost, job, args))
            start, self._running = not self._running, True
            tell = self._charge_locked(cost)
        if tell is not None:
            try:
                tell()
            finally:  # what may interrupt that is not to stop the queue
                if start:
                    self._submit(self._drain)
        elif start:
            self._submit(self._drain)

    @property
    def is_followed(self) -> bool:
        """For the job that runs in order: whether the same worker runs another right after it."""
        return self._left > 0 and len(self._jobs) > 0  # no lock: nobody but that worker takes jobs out

    def following(self, job: Callable[..., object]) -> tuple[Any, ...] | None:
        """Likewise: the arguments of that other one if it is ``job``, else None."""
        if not (self._left and self._jobs):
            return None
        _, following, args = self._jobs[0]
        return args if following == job else None

    def after_fork(self) -> None:
        """In a forked child: what is in it is for the parent to do."""
        self._lock = make_lock(Rank.LEAF)
        self._jobs.clear()
        self._cost, self._running, self._full = 0, False, False

    def run_beside(self, job: Callable[..., object], *args: Any, cost: int = 0) -> None:
        """Run ``job(*args)`` out of order, beside the others, at the same price."""

        def run() -> None:
            try:
                job(*args)
            finally:
                self._discharge(cost)

        with self._lock:
            tell = self._charge_locked(cost)
        if tell is None:
            self._submit(run)
            return
        try:
            tell()
        finally:
            self._submit(run)

    def _charge_locked(self, cost: int) -> Callable[[], None] | None:
        """Count a job in; what the owner is to be told, if anything."""
        self._cost += cost
        if not cost or self._cost < self._limit:
            return None
        if not self._full:
            self._full = True
            return self._owner.mailbox_full
        return self._owner.mailbox_overflows if self._cost >= self._limit * _OVERFLOW else None

    def _discharge(self, cost: int) -> None:
        with self._lock:
            relieved = self._discharge_locked(cost)
        if relieved:
            self._owner.mailbox_has_room()

    def _discharge_locked(self, cost: int) -> bool:
        """Count a job out; whether the owner is to be told that there is room."""
        self._cost -= cost
        if not self._full or self._cost * 2 > self._limit:
            return False
        self._full = False
        return True

    def _drain(self) -> None:
        done = 0  # what the job before this one has cost: it is counted out with the lock that takes this one
        for left in range(_BATCH - 1, -1, -1):
            with self._lock:
                self._left = left
                relieved = self._discharge_locked(done)
                idle = relieved or not self._jobs
                if not idle:
                    done, job, args = self._jobs.pop(0)
                elif not relieved:
                    self._running = False
            if idle:
                if not relieved:
                    return
                done = 0
                self._tell_of_room()  # with no job in hand, which would be lost with what may interrupt that
                continue
            try:
                self._context().run(job, *args)
            except FAILURES:
                logger.exception("a job in a mailbox failed")
            except BaseException:  # the worker goes down with this, the queue goes on
                self._go_on_later(done)
                raise
            del job, args
        self._go_on_later(done)

    def _tell_of_room(self) -> None:
        try:
            self._owner.mailbox_has_room()
        except BaseException:
            self._submit(self._drain)
            raise

    def _go_on_later(self, done: int) -> None:
        try:
            self._discharge(done)
        finally:
            self._submit(self._drain)
