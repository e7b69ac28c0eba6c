"""Events told one after the other, whichever threads they happen on, and nothing behind the last."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from ...runtime import Rank, make_lock

logger = logging.getLogger("wsgi_sio.client")


class Strand:
    """Runs callbacks at once in the calling thread; while one runs, the next wait for its end and run behind it.

    They must not block, so the queue of those that wait stays short.
    """

    __slots__ = ("_busy", "_lock", "_sealed", "_waiting")

    def __init__(self) -> None:
        self._lock = make_lock(Rank.LEAF)
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._busy = False
        self._sealed = False

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Run ``callback(*args)``, unless the last call has been made."""
        with self._lock:
            if self._sealed:
                return
            if self._busy:
                self._waiting.append((callback, args))
                return
            self._busy = True
        self._run(callback, args)

    def call_last(self, callback: Callable[..., object], *args: Any) -> None:
        """The same, and ignore every later call."""
        with self._lock:
            if self._sealed:
                return
            self._sealed = True
            if self._busy:
                self._waiting.append((callback, args))
                return
            self._busy = True
        self._run(callback, args)

    def seal(self) -> None:
        """Make no call any more; for a forked child, of which no other thread is at it."""
        self._lock = make_lock(Rank.LEAF)
        self._sealed = True
        self._waiting.clear()

    def _run(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        while True:
            try:
                callback(*args)
            except Exception:
                logger.exception("a callback of the engine failed")
            except BaseException:
                with self._lock:
                    self._busy = False
                raise
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                callback, args = self._waiting.popleft()
