"""SharedReactor: a reactor for many users, made when the first needs it, and closed when none does any more."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType

from . import create_reactor, make_event
from .locks import Rank, make_lock
from .reactor import Event, Reactor
from .timer_queue import Timer

# How long closing waits for the threads to end (seconds).
_JOIN = 1.0


class SharedReactor:
    """Counts who uses the reactor: connections, jobs, timers, callers that wait.

    So a client at rest has no threads, whatever way it came to rest, and there is no right moment to be missed.

    :param given: the application's own, which is never closed here.
    :param max_workers: for the one that is made otherwise.
    """

    __slots__ = ("_given", "_idle", "_lock", "_max_workers", "_reactor", "_users")

    def __init__(self, given: Reactor | None, max_workers: int | None) -> None:
        self._given = given
        self._max_workers = max_workers
        self._reactor = given
        self._users = 0
        self._idle: Event | None = None  # set when the reactor of now has been closed
        self._lock = make_lock(Rank.LEAF)

    def hold(self) -> Reactor:
        """Use the reactor until :meth:`let_go`."""
        with self._lock:
            self._users += 1
            reactor = self._reactor
        if reactor is not None:
            return reactor
        fresh, idle = create_reactor(max_workers=self._max_workers), make_event()
        with self._lock:
            reactor = self._reactor
            if reactor is None:
                self._reactor, self._idle = fresh, idle
        if reactor is None:
            return fresh
        fresh.close()  # another thread was faster
        return reactor

    def let_go(self) -> None:
        """Use it no more; the last one closes it."""
        with self._lock:
            self._users -= 1
            if self._users or self._given is not None:
                return
            reactor, self._reactor = self._reactor, None
            idle = self._idle
        if reactor is not None and idle is not None:
            reactor.close()
            idle.set()

    def after_fork(self) -> None:
        """In a forked child: begin anew, for the reactor is the parent's, even one that was given."""
        self._lock = make_lock(Rank.LEAF)
        self._given = self._reactor = self._idle = None
        self._users = 0

    def __enter__(self) -> Reactor:
        return self.hold()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()

    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job`` on a worker."""

        def run() -> None:
            try:
                job()
            finally:
                self.let_go()

        self.hold().submit(run)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback``, which must not block, in ``delay`` seconds."""
        timer = SharedTimer(self, callback)
        timer.start(self.hold().call_later, delay)
        return timer

    def expire_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """See :meth:`Reactor.expire_after`."""
        timer = SharedTimer(self, callback)
        timer.start(self.hold().expire_after, seconds)
        return timer

    def end(self, action: Callable[[], bool]) -> None:
        """Hold the reactor while ``action`` ends what uses it; if that says so, wait for its own end, a second at most.

        On one of its own threads it does not wait, nor for a reactor that is the application's.
        """
        reactor = self.hold()
        with self._lock:
            idle = self._idle
        try:
            ended = action()
        finally:
            self.let_go()
        if not ended or idle is None or reactor.inside():
            return
        deadline = monotonic() + _JOIN
        if idle.wait(_JOIN):
            reactor.join(max(0.0, deadline - monotonic()))


class SharedTimer:
    """A timer that lets go of the reactor once, whether it fires or is cancelled."""

    __slots__ = ("_callback", "_lock", "_shared", "_timer")

    def __init__(self, shared: SharedReactor, callback: Callable[[], None]) -> None:
        self._shared = shared
        self._lock = make_lock(Rank.LEAF)
        self._callback: Callable[[], None] | None = callback
        self._timer: Timer | None = None

    def start(self, call_later: Callable[[float, Callable[[], None]], Timer], delay: float) -> None:
        self._timer = call_later(delay, self._fire)

    def cancel(self) -> None:
        if self._take() is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._shared.let_go()

    def _fire(self) -> None:
        callback = self._take()
        if callback is not None:
            try:
                callback()
            finally:
                self._shared.let_go()

    def _take(self) -> Callable[[], None] | None:
        """The callback, for one caller only."""
        with self._lock:
            callback, self._callback = self._callback, None
            return callback
