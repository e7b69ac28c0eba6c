"""One descriptor in gevent's loop: what it wants to know, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from .reactor import Unwatched, Watched

logger = logging.getLogger("wsgi_sio.runtime")

Job = Callable[[], None]

_READ, _WRITE = 1, 2  # libev's own numbers


class LoopOwner(Protocol):
    """The reactor of gevent.

    :ivar batch: in the middle of reading or writing: the jobs that come of it.
    """

    loop: Any
    closed: bool
    batch: list[Job] | None
    watches: set[GreenletWatch]

    def on_loop(self, callback: Callable[[], None]) -> None: ...

    def start(self, job: Job) -> None: ...

    def start_all(self, jobs: list[Job]) -> None: ...


class GreenletWatch:
    """Two libev watchers, the one for writing made when it is first needed."""

    __slots__ = ("_conn", "_fd", "_open", "_reactor", "_read", "_write", "reading")

    def __init__(self, reactor: LoopOwner, conn: Watched) -> None:
        self._reactor = reactor
        self._conn: Watched = conn
        self._fd = conn.fileno()
        self._open = True
        self.reading = False
        self._read = reactor.loop.io(self._fd, _READ)
        self._write: Any = None

    def pause(self) -> None:
        self._reactor.on_loop(self._read.stop)

    def resume(self) -> None:
        self._reactor.on_loop(self._start_reading)

    def want_write(self) -> None:
        self._reactor.on_loop(self._start_writing)

    def close(self, release: Callable[[], None]) -> None:
        if self._open:
            self._open = False
            self._reactor.on_loop(lambda: self._stop(release))

    def _start_reading(self) -> None:
        if self._open and not self._reactor.closed:
            self._read.start(self._guarded)

    def _start_writing(self) -> None:
        if self._open and not self._reactor.closed:
            if self._write is None:
                self._write = self._reactor.loop.io(self._fd, _WRITE)
            self._write.start(self._on_writable)

    def _on_writable(self) -> None:
        self._write.stop()
        self._guarded(writing=True)

    def _guarded(self, writing: bool = False) -> None:
        # Found here, for one that the watcher kept would be memory.
        callback = self._conn.on_writable if writing else self._conn.on_readable
        if not self._open or self._reactor.closed:
            return
        self.reading = True  # or writing, which nobody need tell apart
        reactor = self._reactor
        batch: list[Job] = []
        reactor.batch = batch
        try:
            callback()
        except Exception:  # none of the application's; a signal handler of its own may end the program
            logger.exception("a connection's callback failed")
        finally:  # whatever has interrupted it, what has been read is handled
            reactor.batch = None
            if len(batch) == 1:
                reactor.start(batch[0])
            elif batch:
                reactor.start_all(batch)
        self.reading = False

    def stop(self) -> None:
        """The loop has nothing to tell any more."""
        for watcher in (self._read, self._write):
            if watcher is not None:
                watcher.stop()

    def after_fork(self) -> int:
        """In a forked child: let go of the descriptor, which is returned (-1: it is closed)."""
        self._open = False
        self.stop()
        return self._conn.fileno()

    def _stop(self, release: Callable[[], None]) -> None:
        self._reactor.watches.discard(self)
        self._conn = Unwatched()
        for watcher in (self._read, self._write):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        release()
