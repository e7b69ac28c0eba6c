"""Future: what comes of something, for those who wait for it, however late they wake."""

from __future__ import annotations

import threading

from .reactor import Event
from .stall_tolerant_timeouts import wait_patiently


class Future:
    """Done once, without a result or with an exception.

    It is not :mod:`concurrent.futures`' because waiting here is patient: only time in which others could be heard
    counts.  Guarded by its owner: it may be done while a lock is held.
    """

    __slots__ = ("_done", "_exception")

    def __init__(self) -> None:
        self._done: Event = threading.Event()  # gevent's monkey patch turns this very class into its own
        self._exception: Exception | None = None

    def done(self) -> bool:
        """Whether it is."""
        return self._done.is_set()

    def set(self, exception: Exception | None = None) -> None:
        """Let everyone know; the first to do so counts."""
        if not self._done.is_set():
            self._exception = exception
            self._done.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is done, for up to ``timeout`` seconds (None: for ever); whether it is."""
        return wait_patiently(self._done.wait, timeout)

    def result(self) -> None:
        """Block until it is done.

        :raises Exception: that of :meth:`set`.
        """
        self.wait()
        if self._exception is not None:
            raise self._exception
