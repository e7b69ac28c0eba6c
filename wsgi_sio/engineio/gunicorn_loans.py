"""Connections that gunicorn's gthread worker has lent us, and that come back to it.

The worker's threads answer requests; what becomes of a connection then is decided in its main thread, by
``finish_request()``: the poller has it, or another thread, or it is closed.  So that method is asked for first here,
on this one worker: a connection that is lent stays out of the poller, and goes there when it is given back.

All that are lent count as one of ``worker_connections``: waiting polls have never counted there, but the worker is not
to leave before it has them back.  When it stops, those that go on waiting are let go of, as parked polls are.  What is
given back when it has left all the same is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .gunicorn_main_thread import MainThread, has_main_thread

# Called in the worker's main thread, when it is done with a request, with whether the connection goes on; returns
# whether it is taken.
Taker = Callable[[bool], bool]


class Loans:
    """See the module's text.

    :param worker: gunicorn's.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._count = 0  # of those that are lent
        self._main_thread = MainThread(worker)
        self._agreed: dict[Any, Taker] = {}
        self._results: dict[Any, Any] = {}
        self._then: Callable[[Any, Any], None] = worker.finish_request
        worker.finish_request = self._finish_request

    def agree(self, conn: Any, take: Taker) -> None:
        """In the thread that answers a request: ``take`` the connection when that is over."""
        self._agreed[conn] = take

    def give_back(self, conn: Any) -> None:
        """From anywhere: gunicorn has a connection again, and what its reader holds."""
        self._main_thread.call(partial(self._return, conn, True), partial(self._close, conn))

    def close(self, conn: Any) -> None:
        """From anywhere: nothing is to follow on a connection."""
        self._main_thread.call(partial(self._return, conn, False), partial(self._close, conn))

    def let_go(self, conn: Any) -> None:
        """From anywhere: the worker need not wait for a connection, which is not given back."""
        self._main_thread.call(partial(self._forget, conn), _nothing)

    def _close(self, conn: Any) -> None:
        """The worker, which has ended, does not."""
        self._results.pop(conn, None)
        conn.close()

    # -- in the worker's main thread ----------------------------------------------------------------------------

    def _finish_request(self, conn: Any, result: Any) -> None:
        take = self._agreed.pop(conn, None)
        if take is not None and take(not result.cancelled() and not result.exception() and result.result() is True):
            self._results[conn] = result
            self._lend(1)
        else:
            self._then(conn, result)

    def _return(self, conn: Any, goes_on: bool) -> None:
        result = self._results.pop(conn)
        self._lend(-1)
        if goes_on:
            self._then(conn, result)
        else:
            self._worker.nr_conns -= 1
            conn.close()

    def _forget(self, conn: Any) -> None:
        del self._results[conn]
        self._lend(-1)
        self._worker.nr_conns -= 1

    def _lend(self, change: int) -> None:
        before, self._count = self._count, self._count + change
        self._worker.nr_conns += min(1, self._count) - min(1, before) - change


def borrow_from(worker: Any) -> Loans | None:
    """What lends a worker's connections; None for a version of gunicorn that has it otherwise."""
    known = all(hasattr(worker, name) for name in ("finish_request", "nr_conns")) and has_main_thread(worker)
    return Loans(worker) if known else None


def _nothing() -> None:
    """Nobody waits for the connection any more."""
