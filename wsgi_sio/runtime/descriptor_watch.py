"""One descriptor in the poller that the threads of a reactor share: what it wants to know, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from .epoll_kqueue import READ, WRITE, Poller
from .locks import Rank, make_lock
from .reactor import FAILURES, Unwatched, Watched

logger = logging.getLogger("wsgi_sio.runtime")


class SharedPoller(Protocol):
    """A poller and all that is watched with it: the reactor of threads."""

    poller: Poller
    watches: dict[int, DescriptorWatch]
    closed: bool


class DescriptorWatch:
    """One registration in the shared poller.

    ``reading`` keeps two threads from reading one descriptor at once: re-arming for a write while another thread reads
    must not arm the read as well.
    """

    __slots__ = ("_conn", "_fd", "_interest", "_lock", "_open", "_paused", "_reactor", "_reading")

    def __init__(self, reactor: SharedPoller, conn: Watched, fd: int, reading: bool) -> None:
        self._reactor = reactor
        self._conn: Watched = conn
        self._fd = fd
        self._lock = make_lock(Rank.LEAF)
        self._interest = READ if reading else 0
        self._reading = False
        self._paused = not reading
        self._open = True

    def pause(self) -> None:
        with self._lock:
            self._paused = True
            self._interest &= ~READ
            self._arm_locked()

    def resume(self) -> None:
        with self._lock:
            self._paused = False
            self._interest |= READ
            self._arm_locked()

    def want_write(self) -> None:
        with self._lock:
            self._interest |= WRITE
            self._arm_locked()

    @property
    def reading(self) -> bool:
        return self._reading

    def close(self, release: Callable[[], None]) -> None:
        with self._lock:
            if not self._open:
                return
            self._open = False
            if self._reactor.watches.get(self._fd) is self:
                del self._reactor.watches[self._fd]
            if not self._reactor.closed:
                self._reactor.poller.remove(self._fd)
        self._conn = Unwatched()
        release()

    def after_fork(self) -> int:
        """In a forked child: let go of the descriptor, which is returned (-1: it is closed)."""
        self._lock = make_lock(Rank.LEAF)
        self._open = False
        return self._conn.fileno()

    def fire(self, happened: int) -> None:
        """Run the callbacks for what the poller told, then listen again."""
        with self._lock:
            if not self._open:
                return  # closed between the poller's answer and now
            # A hang-up is told even to who does not listen, again and again: not re-armed, it waits for resume().
            hung_up = bool(happened & READ) and self._paused
            read = bool(happened & READ) and not self._paused and not self._reading
            if read:
                self._reading = True
            write = bool(self._interest & WRITE) and (bool(happened & WRITE) or hung_up)
            if write:
                self._interest &= ~WRITE
        try:
            if write:
                self._conn.on_writable()
            if read:
                self._conn.on_readable()
        except FAILURES:
            logger.exception("a connection's callback failed")
        with self._lock:
            if read:
                self._reading = False
            if not hung_up:
                self._arm_locked()

    def _arm_locked(self) -> None:
        # epoll_ctl does not block; doing it under the lock keeps the last decision the one the kernel has.
        if self._open and not self._reactor.closed:
            self._reactor.poller.arm(self._fd, self._interest & ~READ if self._reading else self._interest)
