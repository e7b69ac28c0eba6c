"""The reactor of gevent: the hub reads and parses, handlers run in pooled greenlets that are switched to directly.

The hub belongs to the thread that makes the reactor; every other native thread reaches
it through a thread-safe callback, so its emits go out at once too.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

import gevent
import gevent.event
import gevent.monkey
from gevent.hub import get_hub
from greenlet import GreenletExit, getcurrent, greenlet

from .after_fork import disown, tell_in_child
from .blocked_hub_warning import HubWatchdog
from .greenlet_watch import GreenletWatch
from .reactor import Event, Places, Reactor, Task, Watched, run_task
from .signal_handlers import in_signal_handler
from .timer_queue import Timer

logger = logging.getLogger("wsgi_sio.runtime")

Job = Callable[[], None]

_native_thread_id: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")


class GreenletReactor(Reactor):
    """See the module's text."""

    one_thread = True

    def __init__(self, *, max_workers: int = 1000) -> None:
        self._hub = get_hub()
        self.loop = self._hub.loop
        self._thread = _native_thread_id()
        self._places = Places(max_workers)
        self._workers: set[greenlet] = set()
        self._all_gone = gevent.event.Event()
        self._idle: list[greenlet] = []
        self._backlog: deque[Job] = deque()
        self._hub_watchdog: HubWatchdog | None = None
        self.closed = False
        self.batch: list[Job] | None = None  # in the middle of reading or writing: the jobs that come of it
        self.watches: set[GreenletWatch] = set()
        self._timers: set[HubTimer] = set()  # that have been started
        tell_in_child(self)

    # -- the interface ------------------------------------------------------------------------------------------

    def watch(self, conn: Watched, *, reading: bool = True) -> GreenletWatch:
        watch = GreenletWatch(self, conn)
        self.watches.add(watch)
        if reading:
            watch.resume()
        return watch

    def disregard(self, descriptor: int) -> None:
        # libev stops to watch without a word to epoll, for a descriptor is as good as forgotten when it is closed; when
        # it hears of one that it does not watch any more, it makes its epoll set anew, with all there is in it.
        loop = get_hub().loop  # the server's, which need not be the reactor's
        if getattr(loop, "backend", None) != "epoll":
            return
        epoll = gevent.monkey.get_original("select", "epoll")
        try:
            with epoll.fromfd(os.dup(loop.fileno() or -1)) as poller:
                poller.unregister(descriptor)
        except OSError:
            pass  # it has never been watched; or there is no descriptor left, and it goes without

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = HubTimer(self, self.loop.timer(delay), callback)
        self.on_loop(timer.start)
        return timer

    def submit(self, job: Job) -> None:
        if getcurrent() is self._hub:
            batch = self.batch
            if batch is None:
                self.start(job)
            else:
                batch.append(job)
        elif _native_thread_id() == self._thread:
            self.loop.run_callback(self.start, job)
        else:
            self.loop.run_callback_threadsafe(self.start, job)

    def event(self) -> Event:
        return gevent.event.Event()  # type: ignore[return-value]  # its wait() is overloaded, to the same effect

    def wait(self, event: Event, timeout: float | None = None) -> bool:
        if event.is_set():
            return True
        if not self.may_wait():
            raise RuntimeError("gevent's hub must not wait")
        if getcurrent() not in self._workers:
            return event.wait(timeout)
        self._places.wait(1)
        if self._backlog:
            self.loop.run_callback(self._catch_up)
        try:
            return event.wait(timeout)
        finally:
            self._places.wait(-1)

    def may_wait(self) -> bool:
        return getcurrent() is not self._hub

    def in_loop(self) -> bool:
        return getcurrent() is self._hub and not in_signal_handler()

    def give_turn(self) -> None:
        if self.may_wait() and _native_thread_id() == self._thread and not in_signal_handler():
            # No sleep(0): fifty of these come before a look at descriptors.
            self._hub.wait(self.loop.timer(0.0))

    def tell_when_stuck(self) -> None:
        self._hub_watchdog = HubWatchdog(self.loop, self._thread)
        self._hub_watchdog.start()

    def close(self) -> None:
        self.closed = True
        if self._hub_watchdog is not None:
            self._hub_watchdog.stop()
        self.on_loop(self._let_go)

    def inside(self) -> bool:
        current = getcurrent()
        return current is self._hub or current in self._workers

    def join(self, timeout: float) -> bool:
        if not self._workers - {getcurrent()}:
            return True
        return not self.inside() and bool(self._all_gone.wait(timeout))

    def after_fork(self) -> None:
        self.closed = True
        if self._hub_watchdog is not None:
            self._hub_watchdog.stop()
        self._backlog.clear()
        self._forget_timers()
        # Or the child's hub would read what is for the parent.
        disown([watch.after_fork() for watch in self.watches])

    def _let_go(self) -> None:
        """It is closed: what the loop would call it for need not live until then."""
        self._forget_timers()
        for watch in tuple(self.watches):
            watch.stop()
        idle, self._idle = self._idle, []
        for worker in idle:
            self.loop.run_callback(worker.switch, _nothing)

    def _forget_timers(self) -> None:
        """What they would call need not live until they are due."""
        for timer in tuple(self._timers):
            timer.cancel()

    def on_loop(self, callback: Callable[[], None]) -> None:
        """Touch a watcher: at once from the hub's own thread (any greenlet), else through the loop's mailbox."""
        if _native_thread_id() == self._thread:
            callback()
        else:
            self.loop.run_callback_threadsafe(callback)

    def spawn(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        # No patched thread: its start waits, which the hub must not, and it lives in the hub of whoever starts it.
        task = HubTask()
        self.on_loop(lambda: task.start(target, args, kwargs))
        return task

    # -- the workers --------------------------------------------------------------------------------------------

    def start(self, job: Job) -> None:
        """In the hub: give ``job`` to a worker and come back when it ends or first waits."""
        if self.closed:
            return
        if len(self._workers) - len(self._idle) >= self._places.count:
            self._backlog.append(job)
        elif self._idle:
            self._idle.pop().switch(job)
        else:
            worker = greenlet(self._work, self._hub)
            self._workers.add(worker)
            worker.switch()  # with the job as an argument, the greenlet would keep that for as long as it lives
            worker.switch(job)

    def start_all(self, jobs: list[Job]) -> None:
        """In the hub: likewise, one after the other."""
        for number, job in enumerate(jobs, 1):
            try:
                self.start(job)
            except BaseException:  # Ctrl-C, or a signal handler of the application's: the others have their turn yet
                self.loop.run_callback(self.start_all, jobs[number:])
                raise

    def _catch_up(self) -> None:
        """In the hub: there are more places than there were, so begin what has waited."""
        while self._backlog and len(self._workers) - len(self._idle) < self._places.count:
            self.start(self._backlog.popleft())

    def _work(self) -> None:
        me = getcurrent()
        try:
            job: Job = self._hub.switch()
            while not self.closed:
                try:
                    Context().run(job)
                except GreenletExit:  # somebody has killed the worker
                    logger.exception("a job was killed")
                    return
                except BaseException as error:
                    if _is_ctrl_c(error):
                        raise
                    logger.exception("a job failed")
                stood_in = len(self._workers) - len(self._idle) > self._places.count  # for one that waited
                if self._backlog and not stood_in:
                    job = self._backlog.popleft()
                elif not self.closed:
                    del job  # an idle worker must not keep its last client alive
                    self._idle.append(me)
                    job = self._hub.switch()
        finally:
            self._workers.discard(me)
            if self._backlog and not self.closed:
                self.loop.run_callback(self._catch_up)
            if self.closed and not self._workers:
                self._all_gone.set()


def _nothing() -> None:
    """The job that wakes an idle worker so that it ends."""


def _is_ctrl_c(error: BaseException) -> bool:
    """Whether ``error`` means the program: Python raises it wherever the main thread is, unless somebody else cares."""
    by_signal = get_hub().main_hub and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return by_signal and isinstance(error, KeyboardInterrupt)


class HubTask:
    """A greenlet of the reactor's own hub; started from anywhere, joined by any thread or greenlet."""

    __slots__ = ("_over",)

    def __init__(self) -> None:
        self._over = gevent.event.Event()

    def start(self, target: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        gevent.spawn(self._run, target, args, kwargs)

    def _run(self, target: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            run_task(target, args, kwargs)
        except KeyboardInterrupt as error:
            if _is_ctrl_c(error):
                raise
            logger.exception("a background task failed")
        finally:
            self._over.set()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)

    def is_alive(self) -> bool:
        return not self._over.is_set()


class HubTimer:
    """A libev timer that runs its callback once."""

    __slots__ = ("_callback", "_reactor", "_timer")

    def __init__(self, reactor: GreenletReactor, timer: Any, callback: Callable[[], None]) -> None:
        self._reactor = reactor
        self._timer = timer
        self._callback: Callable[[], None] | None = callback

    def start(self) -> None:
        if self._reactor.closed:
            self.cancel()
        elif self._callback is not None:
            self._reactor._timers.add(self)
            self._timer.start(self._fire, update=True)

    def cancel(self) -> None:
        self._callback = None
        self._reactor.on_loop(self._stop)

    def _stop(self) -> None:
        self._reactor._timers.discard(self)
        self._timer.close()

    def _fire(self) -> None:
        self._stop()
        callback, self._callback = self._callback, None
        if callback is not None and not self._reactor.closed:
            try:
                callback()
            except Exception:  # likewise
                logger.exception("a timer failed")
