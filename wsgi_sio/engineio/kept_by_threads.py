"""Keeping a connection of gunicorn's gthread worker: it is lent (gunicorn_loans.py), and no thread waits for it.

That goes for a GET that finds nothing too, although gunicorn has parsed it: its answer is not gunicorn's any more, so
its thread goes back to the pool, and the connection, which a parked one (pending_requests.py) takes along, stays.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..runtime import Rank, make_lock
from .config import Environ
from .gunicorn_calls import Call
from .gunicorn_loans import Loans, borrow_from
from .kept_connection import Keeper, KeptConnection
from .kept_past import Past
from .request import EngineRequest, Waiting
from .response import Headers


class ThreadKeeping:
    """See the module's text.

    :cvar waits: whether a request that gunicorn has parsed need not wait where it is.
    """

    waits = True

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._lock = make_lock(Rank.LEAF)
        self._loans: Loans | None = None

    def fits(self, call: Call) -> bool:
        """Whether this is how the connections of such calls are kept."""
        if self._loans is None and call.conn is not None:
            with self._lock:
                if self._loans is None:
                    self._loans = borrow_from(call.worker)
        return self._loans is not None

    def prepare(self, environ: Environ, call: Call, past: Past) -> Callable[[], None]:
        """What keeps the connection of a request, once that has been answered."""
        return self._ask_for(call, past, False).agree

    def wait(
        self, request: EngineRequest, cors: Headers, lost: Callable[[], object], call: Call, past: Past
    ) -> Waiting | None:
        """Let a request wait for its answer, which is not gunicorn's to write any more."""
        if not call.worker.alive:
            return None
        loan = self._ask_for(call, past, past.rests())
        waiting = loan.connection.expect(cors, lost, call.unreader.read() if call.more else b"")
        waiting.wait(request, cors, 0.0, _nothing, lost)
        loan.agree()
        call.response.headers_sent = True
        return waiting

    def _ask_for(self, call: Call, past: Past, briefly: bool) -> _Loan:
        assert self._loans is not None
        return _Loan(self._keeper, self._loans, call, past, briefly)


class _Loan:
    """A connection that is lent.

    :param briefly: for one request.
    """

    __slots__ = ("_briefly", "_call", "_keeper", "_let_go", "_loans", "_past", "_taken", "connection")

    def __init__(self, keeper: Keeper, loans: Loans, call: Call, past: Past, briefly: bool) -> None:
        self._keeper = keeper
        self._loans = loans
        self._call = call
        self._past = past
        self._briefly = briefly
        self._taken = False
        self._let_go = False
        self.connection = KeptConnection(keeper, call, self, briefly)

    def agree(self) -> None:
        """When gunicorn is done with the request, it is lent."""
        self._loans.agree(self._call.conn, self._take)

    def _take(self, goes_on: bool) -> bool:
        """In gunicorn's main thread: whether it is lent now."""
        connection, call = self.connection, self._call
        if connection.busy:
            self._taken = goes_on and self._begin()
            if not self._taken:
                connection.abandon()
        else:
            self._taken = goes_on and call.worker.alive and not call.more and self._begin()
        return self._taken

    def _begin(self) -> bool:
        self._taken = True  # it may be over at once
        self._call.sock.setblocking(False)
        self._keeper.add(self.connection)
        try:
            self.connection.begin()
        except (OSError, RuntimeError):  # gunicorn may have more luck
            self._keeper.remove(self.connection)
            self._taken = False
        return self._taken

    # -- what its connection wants ------------------------------------------------------------------------------

    def hold(self) -> bool:
        return True

    def leave(self) -> None:
        """Nothing is held."""

    def take_back(self) -> None:
        connection, call = self.connection, self._call
        self._keeper.remove(connection)
        if not self._taken:
            self._hang_up()
            return
        if not self._briefly:
            self._past.note(connection, call)
        if self._let_go:
            call.conn.close()
        elif connection.finished:
            self._loans.close(call.conn)
        else:
            call.unreader.unread(connection.unread)
            self._loans.give_back(call.conn)

    def stop(self, busy: bool) -> bool:
        if busy and not self._let_go:
            self._let_go = True
            self._loans.let_go(self._call.conn)
        return not busy

    def _hang_up(self) -> None:
        """gunicorn has it, and is not to wait for more, nor is the client whose request waits."""
        try:
            self._call.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client was faster


def _nothing() -> None:
    """It holds no thread."""
