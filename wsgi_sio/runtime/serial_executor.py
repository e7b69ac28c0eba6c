"""SerialExecutor: short callbacks, one after the other, whichever threads they come from, and nothing behind the last.

A mailbox's jobs may block, and run on workers; these must not, and run at once, in the thread that calls.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from .locks import Rank, make_lock


class SerialExecutor:
    """Runs callbacks at once in the calling thread; while one runs, the next wait for its end and run behind it.

    They must not block, so the queue of those that wait stays short.

    :param logger: is told of those that fail.
    """

    __slots__ = ("_busy", "_lock", "_logger", "_over", "_waiting")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._lock = make_lock(Rank.LEAF)
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._busy = False
        self._over = False

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Run ``callback(*args)``, unless the last call has been made."""
        with self._lock:
            if self._over:
                return
            if self._busy:
                self._waiting.append((callback, args))
                return
            self._busy = True
        self._run(callback, args)

    def call_last(self, callback: Callable[..., object], *args: Any) -> None:
        """The same, and ignore every later call."""
        with self._lock:
            if self._over:
                return
            self._over = True
            if self._busy:
                self._waiting.append((callback, args))
                return
            self._busy = True
        self._run(callback, args)

    def after_fork(self) -> None:
        """In a forked child, of which no other thread is at it: make no call any more."""
        self._lock = make_lock(Rank.LEAF)
        self._over = True
        self._waiting.clear()

    def _run(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        while True:
            try:
                callback(*args)
            except Exception:
                self._logger.exception("a callback failed")
            except BaseException:
                with self._lock:
                    self._busy = False
                raise
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                callback, args = self._waiting.popleft()
