"""The reactor of threads: a few threads share one poller; whichever wakes reads, then runs the handlers itself.

* One thread can do everything while handlers are short, so a busy server does not fight over the GIL.
* The clock thread watches it: when every thread has been inside handlers since the last tick, one more is started.
* At most ``max_workers`` threads run handlers; one more may only poll, so heartbeats, acks and closes are always read
  (a handler that waits for an ack cannot lock the server up).  One that waits in :meth:`wait` lets another run
  meanwhile, within a bound.
* Threads are made on first use, hence after a fork, and leave when they have been idle.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from time import monotonic

from .after_fork import disown, tell_in_child
from .descriptor_watch import DescriptorWatch
from .epoll_kqueue import READ, make_poller
from .jam_warning import JamWarning
from .locks import Alarm, Rank, make_lock
from .reactor import FAILURES, Event, Places, Reactor, Watched
from .timer_queue import QueuedTimer, TimerQueue

logger = logging.getLogger("wsgi_sio.runtime")

# How long every thread may be inside handlers before another is started (seconds).
_PATIENCE = 0.005
# A thread that had nothing to do for so long leaves, unless it is the last (seconds).
_IDLE = 10.0

# How many descriptors a thread asks for at once while it is the only one that asks. All but the first wait for it,
# until its handler waits, or the clock finds it inside one.
_AT_ONCE = 16

# How many ticks without work the clock goes on watching the threads.
_TICKS_BEFORE_REST = 100

Job = Callable[[], None]
# Who is to be told what: None for one that was closed or a nudge. No number: it may soon be another's.
_Ready = tuple[DescriptorWatch | None, int]


class _OfThread(threading.local):
    """What a reactor knows of the present thread."""

    batch: list[Job] | None = None  # in the middle of reading or writing: the jobs that come of it
    keeps_time = False


class ThreadReactor(Reactor):
    """See the module's text."""

    def __init__(self, *, max_workers: int = 64) -> None:
        self._places = Places(max_workers)
        self.poller = make_poller()
        self.watches: dict[int, DescriptorWatch] = {}
        self._backlog: deque[Job] = deque()
        self._told: deque[_Ready] = deque()  # by the poller, and nobody has dealt with them yet
        self._timers = TimerQueue()
        self._lock = make_lock(Rank.LEAF)
        self._local = _OfThread()
        self._clock_wake = Alarm()
        self._clock_running = False
        self._clock_resting = True
        self._threads = 0
        self._alive: set[threading.Thread] = set()
        self._busy = 0
        self._jam_warning = JamWarning()
        self._starved = False  # of threads, by the system
        self._progress = 0
        self.closed = False
        self._nudge_out, self._nudge_in = os.pipe()
        os.set_blocking(self._nudge_out, False)
        os.set_blocking(self._nudge_in, False)
        self.poller.add(self._nudge_out, READ)
        tell_in_child(self)

    # -- the interface ------------------------------------------------------------------------------------------

    def watch(self, conn: Watched, *, reading: bool = True) -> DescriptorWatch:
        fd = conn.fileno()
        watch = DescriptorWatch(self, conn, fd, reading)
        self.watches[fd] = watch
        try:
            self.poller.add(fd, READ if reading else 0)
            if not self._threads:
                self._grow()
        except (OSError, RuntimeError):
            del self.watches[fd]
            raise
        return watch

    def call_later(self, delay: float, callback: Callable[[], None]) -> QueuedTimer:
        timer, first = self._timers.add(monotonic() + delay, callback)
        if self.closed:
            timer.cancel()
        elif not self._clock_running:
            self._start_clock()
        elif first:
            self._clock_wake.set()
        return timer

    def submit(self, job: Job) -> None:
        batch = self._local.batch
        if batch is not None:  # an I/O thread in the middle of reading: it runs the job itself right after
            batch.append(job)
            return
        self._add_to_backlog(job)

    def event(self) -> Event:
        return threading.Event()

    def wait(self, event: Event, timeout: float | None = None) -> bool:
        if event.is_set():
            return True
        if not self.may_wait():
            raise RuntimeError("a thread that reads, writes or keeps the time for all must not wait")
        if not self.inside():
            return event.wait(timeout)
        with self._lock:
            self._places.wait(1)
            alone = self._busy >= self._threads
        if alone:  # let there be one that reads what is waited for, without waiting for the clock to notice
            self._grow()
        elif self._backlog or self._told:
            self._nudge()
        try:
            return event.wait(timeout)
        finally:
            with self._lock:
                self._places.wait(-1)

    def may_wait(self) -> bool:
        local = self._local
        return local.batch is None and not local.keeps_time

    def may_be_held_back(self) -> bool:
        return self.may_wait() and threading.current_thread() is not threading.main_thread()

    def close(self) -> None:
        with self._lock:
            again, self.closed = self.closed, True
            alone = self._threads == 0
        if again:
            return
        self._timers.clear()
        self._clock_wake.set()
        if alone:
            self._close_files()
        else:
            self._nudge()

    def tell_when_stuck(self) -> None:
        self._jam_warning.enabled = True

    def inside(self) -> bool:
        return threading.current_thread() in self._alive

    def join(self, timeout: float) -> bool:
        deadline = monotonic() + timeout
        me = threading.current_thread()
        others = {thread for thread in set(self._alive) if thread is not me and thread.ident is not None}
        for thread in others:
            thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in others)

    def after_fork(self) -> None:
        self.closed = True
        self._lock = make_lock(Rank.LEAF)
        self._timers = TimerQueue()
        self._backlog.clear()
        self._told.clear()
        self._alive.clear()
        self._threads = 0
        self._close_files()  # without a word to the poller, which is the parent's as well
        disown([watch.after_fork() for watch in self.watches.values()])

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        def run() -> None:
            try:
                target()
            finally:
                self._alive.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._alive.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._alive.discard(thread)
            raise

    # -- the threads --------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        with self._lock:
            if self.closed or self._threads > max(self._places.count, self._busy):
                return
            self._threads += 1
            alone = self._threads == 1
        try:
            self._start_thread(self._run, "wsgi_sio-io")
        except RuntimeError as error:  # the system has no more; those that there are go on
            with self._lock:
                self._threads -= 1
            if alone:
                raise
            if not self._starved:  # it will be tried again, and again
                self._starved = True
                logger.warning("handlers wait for a thread, and none can be started (%s): raise ulimit -u", error)
        else:
            self._starved = False

    def _run(self) -> None:
        polled = True
        while not self.closed:
            self._progress += 1
            # Turn about, so that jobs which beget jobs cannot keep us from reading; and the one thread that may run
            # none (all others being in handlers) must not touch the backlog.
            if polled and self._backlog and self._busy < self._places.count:
                polled = False
                self._run_backlog()
                continue
            ready = self._next_ready()
            polled = True
            if ready is not None:
                self._dispatch(*ready)
            elif not self._backlog and self._retire():
                return
        self._leave()

    def _next_ready(self) -> _Ready | None:
        """One for whom there is something to do; None when none comes within a while."""
        try:
            if self._told:
                return self._told.popleft()
        except IndexError:
            pass  # another thread was faster
        most = _AT_ONCE if self._threads - self._busy == 1 else 1
        told = self.poller.wait(0 if self._backlog and self._busy < self._places.count else _IDLE, most)
        if not told:
            return None
        if (self._nudge_out, READ) in told:  # before all else: until it is re-armed, nobody who sleeps can be nudged
            self._read_nudges()
        ready = [(self.watches.get(fd), happened) for fd, happened in told]
        if len(ready) > 1:
            self._told.extend(ready[1:])
            if self._threads - self._busy > 1:  # another has begun to ask meanwhile
                self._nudge()
        return ready[0]

    def _run_backlog(self) -> None:
        try:
            job = self._backlog.popleft()
        except IndexError:
            return  # another thread was faster
        self._run_job(job)

    def _dispatch(self, watch: DescriptorWatch | None, happened: int) -> None:
        if watch is None:
            return  # a nudge, which has been read; or it was closed between the poller's answer and now
        batch: list[Job] = []
        self._local.batch = batch
        try:
            watch.fire(happened)
        finally:
            self._local.batch = None
        if batch:
            # The first is ours; the others, being others' business, must not wait for it.
            for job in batch[1:]:
                self._add_to_backlog(job)
            self._run_job(batch[0])

    def _add_to_backlog(self, job: Job) -> None:
        self._backlog.append(job)
        if not self._threads:
            self._grow()
        elif self._busy < self._threads:
            self._nudge()

    def _run_job(self, job: Job) -> None:
        with self._lock:
            allowed = self._busy < self._places.count
            if allowed:
                self._busy += 1
                rested, self._clock_resting = self._clock_resting, False
        if not allowed:  # this is the thread that must go on polling
            self._backlog.appendleft(job)
            return
        if rested:
            self._wake_clock()
        try:
            Context().run(job)
        except BaseException:  # a handler may try to end its thread, but the thread is not its own
            logger.exception("a job failed")
        finally:
            with self._lock:
                self._busy -= 1

    def _retire(self) -> bool:
        with self._lock:
            if self._threads - self._busy <= 1:
                return False
            self._threads -= 1
            return True

    def _leave(self) -> None:
        """The reactor is closed: wake the next thread; the last one puts the light out."""
        with self._lock:
            self._threads -= 1
            last = self._threads == 0
        if last:
            self._close_files()
        else:
            self._nudge()

    def _close_files(self) -> None:
        self.poller.close()
        for end in (self._nudge_out, self._nudge_in):
            if end >= 0:
                os.close(end)
        self._nudge_out = self._nudge_in = -1

    def _nudge(self) -> None:
        try:
            os.write(self._nudge_in, b"\0")
        except BlockingIOError:
            return  # the pipe is full of wake-ups already
        except OSError:
            if not self.closed:
                raise

    def _read_nudges(self) -> None:
        try:
            os.read(self._nudge_out, 1)
        except BlockingIOError:
            pass  # two threads woke for one byte
        self.poller.arm(self._nudge_out, READ)

    # -- the clock ----------------------------------------------------------------------------------------------

    def _start_clock(self) -> None:
        with self._lock:
            if self._clock_running or self.closed:
                return
            self._clock_running = True
        try:
            self._start_thread(self._run_clock, "wsgi_sio-clock")
        except RuntimeError:
            self._clock_running = False
            raise

    def _wake_clock(self) -> None:
        if self._clock_running:
            self._clock_wake.set()
        else:
            self._start_clock()

    def _run_clock(self) -> None:
        seen = idle_ticks = 0
        self._local.keeps_time = True
        while not self.closed:
            self._clock_wake.wait(self._clock_sleep())
            self._run_timers()
            if self._threads and self._progress == seen:
                if self._busy >= self._threads:
                    self._grow()
                elif self._told:  # those that took of it are inside handlers, and others sleep in the poller
                    self._nudge()
            self._jam_warning.look(self._busy, self._places.count, len(self._backlog))
            idle_ticks = idle_ticks + 1 if self._busy == 0 and self._progress == seen else 0
            seen = self._progress
            if idle_ticks > _TICKS_BEFORE_REST:
                with self._lock:
                    self._clock_resting = self._busy == 0

    def _run_timers(self) -> None:
        for callback in self._timers.take_due(monotonic()):
            try:
                callback()
            except FAILURES:
                logger.exception("a timer failed")

    def _clock_sleep(self) -> float | None:
        deadline = self._timers.next_deadline()
        until = None if deadline is None else max(0.0, deadline - monotonic())
        if self._clock_resting:
            return until
        return _PATIENCE if until is None else min(until, _PATIENCE)
