"""Keeping a connection of gunicorn's gevent worker: its greenlet sleeps, and the hub answers polls meanwhile.

It sleeps in the ``close()`` of an answer, which returns when the connection's next request is one for gunicorn.  So the
connection is gunicorn's at any time: it counts it, closes it, and waits for it when it is to end.
"""

from __future__ import annotations

from collections.abc import Callable

from .config import Environ
from .gunicorn_calls import Call
from .kept_connection import Keeper, KeptConnection
from .kept_past import Past
from .request import EngineRequest, Waiting
from .response import Headers
from .wsgi_capacity import Capacity
from .wsgi_pool_size import Pool, find_pool


class GreenletKeeping:
    """See the module's text.

    :cvar waits: whether a request that gunicorn has parsed need not wait where it is.
    :param capacity: bounds how many polls wait, so that gunicorn has greenlets for pages.
    """

    waits = False

    def __init__(self, keeper: Keeper, capacity: Capacity) -> None:
        self._keeper = keeper
        self._capacity = capacity

    def fits(self, call: Call) -> bool:
        """Whether this is how the connections of such calls are kept."""
        return call.conn is None

    def prepare(self, environ: Environ, call: Call, past: Past) -> Callable[[], None]:
        """What keeps the connection of a request, once that has been answered."""
        pool = find_pool(environ)
        return lambda: self._keep(call, pool, past)

    def wait(
        self, request: EngineRequest, cors: Headers, lost: Callable[[], object], call: Call, past: Past
    ) -> Waiting | None:
        """Greenlets are cheap: it waits in its own."""
        return None

    def _keep(self, call: Call, pool: Pool | None, past: Past) -> None:
        keeper = self._keeper
        lender = _Greenlet(self._capacity, pool, keeper)
        connection = KeptConnection(keeper, call, lender)
        keeper.add(connection)
        try:
            connection.begin()
            lender.over.wait()
        finally:
            connection.abandon()  # somebody may have killed the greenlet
            keeper.remove(connection)
        past.note(connection, call)
        if connection.finished:
            call.response.force_close()
        elif connection.unread:
            call.unreader.unread(connection.unread)


class _Greenlet:
    """A greenlet of gunicorn's that sleeps until its connection is gunicorn's again.

    :param pool: where gunicorn's greenlets come from.
    """

    __slots__ = ("_capacity", "_pool", "over")

    def __init__(self, capacity: Capacity, pool: Pool | None, keeper: Keeper) -> None:
        self._capacity = capacity
        self._pool = pool
        self.over = keeper.reactor.event()

    def hold(self) -> bool:
        return self._capacity.hold(self._pool)

    def leave(self) -> None:
        self._capacity.leave()

    def take_back(self) -> None:
        self.over.set()

    def stop(self, busy: bool) -> bool:
        return False  # it has what time it would have without: gunicorn waits for its greenlets
