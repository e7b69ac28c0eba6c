"""Locks with a rank: a thread may only take a lock of a higher rank than the ones it holds.

The order is registry < adapter < session < leaf.  Under a lock only plain data is read or changed, so no greenlet is
ever switched while one is held: a native lock serves threads and greenlets alike.  It is re-entrant so that an emit
from a signal handler, which interrupts its own thread anywhere, cannot deadlock.

``WSGI_SIO_CHECK_LOCKS=1`` (set by the test suite) swaps in a lock that asserts the order.
"""

from __future__ import annotations

import _thread
import os
import threading
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Any


class Rank(IntEnum):
    """The order in which locks may be taken, lowest first."""

    REGISTRY = 1
    ADAPTER = 2
    SESSION = 3
    LEAF = 4


class RankedLock:
    """A lock that raises :class:`AssertionError` when it is taken against the order."""

    _held = threading.local()  # per-thread stack of ranks; debugging aid, never used in production

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._lock = _thread.RLock()

    def __enter__(self) -> None:
        held: list[Rank] = self._held.__dict__.setdefault("ranks", [])
        assert not held or held[-1] < self._rank, f"{self._rank!r} taken while holding {held}"
        self._lock.acquire()
        held.append(self._rank)

    def __exit__(self, *exc_info: object) -> None:
        self._held.ranks.remove(self._rank)
        self._lock.release()


def make_lock(rank: Rank) -> AbstractContextManager[Any]:
    """Make a lock; with ``WSGI_SIO_CHECK_LOCKS=1`` in the environment, one that asserts the rank order."""
    return RankedLock(rank) if _CHECK else _thread.RLock()


class Alarm:
    """Wakes the one thread that waits for it, which also resets it.

    An Event cannot be set by a signal handler that has interrupted its own thread in the middle of setting it.
    """

    __slots__ = ("_unset",)

    def __init__(self) -> None:
        self._unset = _thread.allocate_lock()
        self._unset.acquire()

    def set(self) -> None:
        try:
            self._unset.release()
        except RuntimeError:
            pass  # it is set already

    def wait(self, timeout: float | None) -> None:
        """Block until it is set, for up to ``timeout`` seconds (None: for ever)."""
        self._unset.acquire(timeout=-1 if timeout is None else timeout)


_CHECK = os.environ.get("WSGI_SIO_CHECK_LOCKS") == "1"
