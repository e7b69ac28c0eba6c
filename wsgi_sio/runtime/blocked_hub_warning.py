"""Tells where the application holds gevent's only thread, while nothing else runs: no client, no heartbeat.

A native thread asks the loop for a sign of life; when none comes in time, the stack of the loop's thread tells why.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent.monkey

logger = logging.getLogger("wsgi_sio.runtime")

# How long the loop may be busy with one thing (seconds), and how often it is asked for a sign meanwhile.
LIMIT = 1.0
_AGAIN = 0.1

_FRAMES = 6  # of the stack, from where it is held outwards

_start_thread: Callable[..., int] = gevent.monkey.get_original("_thread", "start_new_thread")
_allocate_lock: Callable[[], Any] = gevent.monkey.get_original("_thread", "allocate_lock")


class HubWatchdog:
    """Watches the loop of one thread until it is stopped.

    :param loop: gevent's loop.
    :param thread: the number of the thread that it runs in.
    """

    def __init__(self, loop: Any, thread: int) -> None:
        self._loop = loop
        self._thread = thread
        self._alive = False
        self._watching = _allocate_lock()  # held until it is stopped
        self._watching.acquire()

    def start(self) -> None:
        """Begin, in a native thread, as soon as the loop runs: until then it is the program that is being loaded."""
        self._loop.run_callback_threadsafe(lambda: _start_thread(self._run, ()))

    def stop(self) -> None:
        """End at once."""
        with suppress(RuntimeError):  # it has been stopped
            self._watching.release()

    def _sign_of_life(self) -> None:
        self._alive = True

    def _stopped_within(self, seconds: float) -> bool:
        return bool(self._watching.acquire(timeout=seconds))

    def _run(self) -> None:
        while True:
            self._alive = False
            self._loop.run_callback_threadsafe(self._sign_of_life)
            if self._stopped_within(LIMIT):
                return
            if not self._alive:
                self._report()
            while not self._alive:
                if self._stopped_within(_AGAIN):
                    return

    def _report(self) -> None:
        frame = sys._current_frames().get(self._thread)
        stack = "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
        logger.warning(
            "gevent's loop has not run for %g s, so all clients wait, and heartbeats too: something blocks without"
            " yielding. Patch the standard library first ('from gevent import monkey; monkey.patch_all()' at the very"
            " top), use drivers that know gevent, give long computations to gevent's threadpool, or serve with"
            " threads. It was here:\n%s",
            LIMIT,
            stack,
        )
