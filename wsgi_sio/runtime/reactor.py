"""What the layers above may ask of the world they run in; thread_reactor.py and greenlet_reactor.py answer it.

The rules for callbacks: ``on_readable``, ``on_writable`` and timers run on an I/O thread (or gevent's hub), so they
must not block; jobs given to :meth:`Reactor.submit` may, best by :meth:`Reactor.wait`.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import Context
from typing import Any, ClassVar, Protocol

from .stall_tolerant_timeouts import PatientTimer
from .timer_queue import Timer

logger = logging.getLogger("wsgi_sio.runtime")

# What application code may raise that is a failure of its own, and ends nothing else: sys.exit() in a handler must end
# neither its thread nor, as it would under gevent, the server of all clients.
FAILURES: tuple[type[BaseException], ...] = (Exception, SystemExit)

# For how many waiting jobs others may run in their place, as a multiple of ``max_workers``.
_STAND_INS = 4


class Watched(Protocol):
    """A non-blocking descriptor with its callbacks."""

    def fileno(self) -> int: ...

    def on_readable(self) -> None:
        """Bytes (or the end of the stream, or an error) can be read. Never called twice at once."""

    def on_writable(self) -> None:
        """The descriptor takes bytes again after :meth:`Watch.want_write`. Called once for each such wish."""


class Watch(Protocol):
    """A registration; all of its methods may be called from any thread."""

    def pause(self) -> None:
        """Stop calling ``on_readable``: the kernel's buffer fills and TCP slows the peer down."""

    def resume(self) -> None:
        """Call ``on_readable`` again."""

    def want_write(self) -> None:
        """Call ``on_writable`` once, as soon as the descriptor takes bytes."""

    @property
    def reading(self) -> bool:
        """Whether some thread is in the middle of ``on_readable``, or a handler was begun there."""

    def close(self, release: Callable[[], None]) -> None:
        """Forget the descriptor, then call ``release``, which closes it; the second call does nothing.

        A callback under way in another thread may still finish afterwards.
        """


class Unwatched:
    """What a registration has in the place of a connection that is closed, which may go then: it keeps the other."""

    __slots__ = ()

    def fileno(self) -> int:
        return -1

    def on_readable(self) -> None:
        """There is nobody to tell."""

    def on_writable(self) -> None:
        """Likewise."""


class Event(Protocol):
    """A flag that one thread or greenlet waits for and any other sets."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class Task(Protocol):
    """A background task started by the application."""

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool: ...


class Reactor(ABC):
    """Watches descriptors, keeps time and runs jobs.

    :cvar one_thread: whether all runs in one, so that a callback or a job begins without another having to wake up, and
        no others run beside it.
    """

    one_thread: ClassVar[bool] = False

    @abstractmethod
    def watch(self, conn: Watched, *, reading: bool = True) -> Watch:
        """Call ``conn.on_readable()`` whenever ``conn.fileno()`` has something to read.

        :param reading: False begins paused.
        :raises OSError: the system cannot watch more.
        :raises RuntimeError: the system has no thread for the first one.
        """

    def disregard(self, descriptor: int) -> None:
        """Another process is to have ``descriptor``, which the server that calls may have watched; close it soon.

        Its end here would not end what the system watches, for its file lives on.
        """

    def on_loop(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, which must not block, where descriptors are watched: at once with threads, and in any
        greenlet of the hub's thread.
        """
        callback()

    @abstractmethod
    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` (which must not block) in ``delay`` seconds.

        This is for what we are to do; for the time-out of what others are to do see :meth:`expire_after`.

        :raises RuntimeError: the system has no thread for the clock; when it has one, for whatever comes next, this
            call is made as well.
        """

    def expire_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` (which must not block) when others have had ``seconds`` in which they could be heard.

        While this process stood still they could not; and what has come by then is read first.
        """
        return PatientTimer(self.call_later, seconds, callback)

    @abstractmethod
    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job``, which may block, on a pooled worker, with no context variable set."""

    @abstractmethod
    def event(self) -> Event:
        """Make an event that may be waited for by a worker and set from anywhere.

        Under gevent one native thread's greenlets can wait for it at a time.
        """

    @abstractmethod
    def wait(self, event: Event, timeout: float | None = None) -> bool:
        """Block until ``event`` is set, for up to ``timeout`` seconds (None: for ever); from any thread or greenlet.

        A worker that waits here does not count as one of ``max_workers``: meanwhile another may run jobs in its place.
        That holds for up to four times ``max_workers`` that wait; those that come back are not held up, so for a while
        more than ``max_workers`` may run.

        :return: whether it is set.
        :raises RuntimeError: the caller must not wait; see :meth:`may_wait`.
        """

    @abstractmethod
    def may_wait(self) -> bool:
        """Whether the caller may block: not in the middle of reading or writing, in a timer, or in gevent's hub."""

    def may_be_held_back(self) -> bool:
        """Whether a caller that has not asked to wait may be made to: likewise, but it must be no signal handler, which
        may have interrupted anything."""
        return self.may_wait()

    def in_loop(self) -> bool:
        """Whether the caller is where all else is done as well, so that nothing is until it returns; a signal handler
        is not, for it may have interrupted anything."""
        return False

    def give_turn(self) -> None:
        """Let others run that wait for the caller's thread, if it can be left now; for whoever computes for long."""

    @abstractmethod
    def tell_when_stuck(self) -> None:
        """Log, from now on, when handlers keep all others from running; for a server."""

    @abstractmethod
    def close(self) -> None:
        """Stop watching, timing and accepting jobs; those under way finish on their own."""

    @abstractmethod
    def inside(self) -> bool:
        """Whether the caller runs on one of the reactor's threads or workers."""

    @abstractmethod
    def join(self, timeout: float) -> bool:
        """After :meth:`close`: wait up to ``timeout`` seconds for threads or workers to end, but not for the caller.

        :return: whether they have.
        """

    def spawn(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run a long task of its own thread or greenlet, with no context variable set."""
        # A thread could inherit its starter's, as it does in free-threaded builds of Python.
        thread = threading.Thread(
            target=Context().run, args=(run_task, target, args, kwargs), daemon=True, name="wsgi_sio-task"
        )
        thread.start()
        return thread


def run_task(target: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Run a background task; its ``sys.exit()`` is told, and ends nothing else."""
    try:
        target(*args, **kwargs)
    except SystemExit:
        logger.exception("a background task failed")


class Places:
    """How many jobs may be in hand at once: ``max_workers``, and one more for each that waits, within a bound.

    Guarded by whoever uses it.
    """

    __slots__ = ("_max_workers", "_waiting", "count")

    def __init__(self, max_workers: int) -> None:
        self._max_workers = max_workers
        self._waiting = 0
        self.count = max_workers

    def wait(self, change: int) -> None:
        """One of the jobs begins (1) or ceases (-1) to wait."""
        self._waiting += change
        self.count = self._max_workers + min(self._waiting, _STAND_INS * self._max_workers)
