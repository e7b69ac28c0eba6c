"""The only place that makes threads, greenlets, locks, timers and selectors.

Everything above asks :func:`create_reactor` for the world it lives in and never needs to know which one it got.
"""

from __future__ import annotations

import sys
import threading

from .after_fork import Forkable, disown, has_forked, tell_in_child
from .future import Future
from .locks import Rank, make_lock
from .mailbox import MailboxOwner, SerialQueue
from .reactor import FAILURES, Event, Reactor, Task, Watch, Watched
from .serial_executor import SerialExecutor
from .shared_timeouts import SharedTimeouts
from .stall_tolerant_timeouts import PIECES, HeardTime, sleepless_clock, wait_patiently
from .task_group import TaskGroup
from .timer_queue import Timer

__all__ = [
    "FAILURES",
    "PIECES",
    "Event",
    "Forkable",
    "Future",
    "HeardTime",
    "MailboxOwner",
    "Rank",
    "Reactor",
    "SerialExecutor",
    "SerialQueue",
    "SharedTimeouts",
    "Task",
    "TaskGroup",
    "Timer",
    "Watch",
    "Watched",
    "create_reactor",
    "disown",
    "has_forked",
    "make_event",
    "make_lock",
    "sleepless_clock",
    "tell_in_child",
    "threads_are_greenlets",
    "wait_patiently",
]


def threads_are_greenlets() -> bool:
    """Whether gevent has monkey-patched :mod:`threading` in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def make_event() -> Event:
    """Make an event for whatever world this is, where there is no reactor to ask."""
    return threading.Event()  # gevent's monkey patch turns this very class into its own


def create_reactor(*, max_workers: int | None = None) -> Reactor:
    """Make the reactor that fits this process: greenlets where gevent patched ``threading``, else threads.

    Call it when serving starts, after any fork: threads, hubs and descriptors do not survive one.

    :param max_workers: how many handlers may run (or block) at once; None takes the world's default
        (64 threads, 1000 greenlets).
    """
    if threads_are_greenlets():
        from .greenlet_reactor import GreenletReactor

        return GreenletReactor(max_workers=max_workers or 1000)
    from .thread_reactor import ThreadReactor

    return ThreadReactor(max_workers=max_workers or 64)
