"""Which connections are kept between two polls, so that these cost no whole request of the WSGI server's each.

Under gunicorn's gevent worker the answer to a poll has a ``close()``, which the worker calls when all has been sent and
logged, and which returns when the connection's next request is one for gunicorn.  Meanwhile the greenlet sleeps, and
the hub answers polls (kept_connection.py).  What has been read too much goes back into gunicorn's reader.  So the
connection is gunicorn's at any time: it counts it, closes it, and waits for it when it is to end.

Nobody is to miss a poll that gunicorn has not seen: connections are kept where gunicorn calls us directly, has no hooks
around requests and, unless ``keep_polling_connections`` says that this does not matter, writes no access log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.utils import formatdate
from time import monotonic, time
from typing import Any
from weakref import WeakKeyDictionary

from ..runtime import Reactor
from .config import Environ
from .gunicorn_gevent import Call, find_call
from .interfaces import Engine
from .kept_connection import KeptConnection
from .known_heads import Head, KnownHeads, is_plain
from .request import parse_query
from .response import Response
from .wsgi_capacity import Capacity
from .wsgi_pool_size import Pool, find_pool

# How often it is looked whose time is over (seconds).
_LOOK = 1.0
# A connection that has been kept so often in vain, since its requests have ever other headers, is left to gunicorn for
# so many requests; then it has as many attempts as it takes to know a client's GETs and POSTs.
_IN_VAIN, _REST, _ATTEMPTS = 8, 100, 4


class _Past:
    """What is remembered of a connection while it is gunicorn's.

    :ivar head: that of the request that has been given back.
    :ivar number: which of gunicorn's requests on this connection that is: no other has that head.
    :ivar in_vain: how often it has been kept, of late, without a poll that could be answered.
    """

    __slots__ = ("head", "in_vain", "number")

    def __init__(self) -> None:
        self.head: Head | None = None
        self.number = 0
        self.in_vain = 0

    def rests(self) -> bool:
        """Whether it is better left to gunicorn, once more."""
        if self.in_vain < _IN_VAIN:
            return False
        self.in_vain += 1
        if self.in_vain > _IN_VAIN + _REST:
            self.in_vain = _IN_VAIN - _ATTEMPTS
        return self.in_vain >= _IN_VAIN


class Keeper:
    """See the module's text.

    :ivar known: heads that gunicorn has parsed.
    :ivar patience: seconds in which a client has to take some of an answer.
    """

    def __init__(self, engine: Engine, reactor: Reactor, capacity: Capacity) -> None:
        config = engine.config
        self.engine = engine
        self.reactor = reactor
        self.capacity = capacity
        self.known = KnownHeads()
        self.patience = config.ping_interval + config.ping_timeout
        self._unlogged = config.keep_polling_connections is True
        self._connections: set[KeptConnection] = set()
        self._pasts: WeakKeyDictionary[Any, _Past] = WeakKeyDictionary()  # by gunicorn's readers
        self._looking = False
        self._useless = False
        self._date = (0, "")

    def follow(self, environ: Environ, start_response: Any, response: Response) -> Iterable[bytes]:
        """The body of a response, which has been started: with it the connection is kept, if it may be."""
        if self._useless or response.status != 200 or "gunicorn.socket" not in environ or not is_plain(environ):
            return [response.body]
        query = parse_query(environ["QUERY_STRING"])
        sid = query.get("sid")
        if sid is not None and sid not in self.engine.sessions:
            return [response.body]  # a sibling's, which has answered
        call = find_call(environ, start_response)
        if call is None:
            return [response.body]
        if call.misses(self._unlogged):
            self._useless = True  # for as long as this process serves
            return [response.body]
        past = self._pasts.setdefault(call.unreader, _Past())
        request = call.response.req
        head, past.head = past.head, None
        if head is not None and past.number == request.req_number:
            cors = self.engine.settled_cors(environ)
            if cors is not None:
                self.known.learn(head, environ, cors, request.limit_request_line)
        if past.rests():
            return [response.body]
        return _Followed(self, response.body, call, find_pool(environ), past)

    def keep(self, call: Call, pool: Pool | None, past: _Past) -> None:
        """Keep a connection whose request is over, in gunicorn's greenlet, until it has to go on."""
        if not call.goes_on:
            return
        connection = KeptConnection(self, call, pool, call.worker.cfg.keepalive)
        self._connections.add(connection)
        self._look_later()
        try:
            connection.over.wait()
        finally:
            connection.abandon()  # somebody may have killed the greenlet
            self._connections.discard(connection)
        past.head = connection.parsing
        past.number = call.response.req.req_number + 1
        past.in_vain = 0 if connection.polls else past.in_vain + 1
        if connection.finished:
            call.response.force_close()
        elif connection.unread:
            call.unreader.unread(connection.unread)

    # -- the time -----------------------------------------------------------------------------------------------

    def date_line(self) -> str:
        """The Date header, as gunicorn writes it."""
        now = int(time())
        if self._date[0] != now:
            self._date = (now, f"Date: {formatdate(now, usegmt=True)}\r\n")
        return self._date[1]

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self.reactor.call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._looking = False
        now = monotonic()
        for connection in list(self._connections):
            connection.look(now)
        if self._connections:
            self._look_later()


class _Followed:
    """The body of an answer after which its connection is kept."""

    __slots__ = ("_body", "_call", "_keeper", "_past", "_pool", "_sent")

    def __init__(self, keeper: Keeper, body: bytes, call: Call, pool: Pool | None, past: _Past) -> None:
        self._keeper = keeper
        self._body = body
        self._call = call
        self._pool = pool
        self._past = past
        self._sent = False

    def __iter__(self) -> Iterator[bytes]:
        yield self._body
        self._sent = True  # gunicorn could write it, or would not ask for more

    def close(self) -> None:
        """All has been sent and logged, or could not be."""
        if self._sent:
            self._keeper.keep(self._call, self._pool, self._past)
