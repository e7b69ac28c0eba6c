"""Which connections are kept between two polls, so that these cost no whole request of the WSGI server's each.

Under gunicorn's gevent and gthread workers the answer to a poll has a ``close()``, which the worker calls when all has
been sent and logged.  From then on polls are answered where they are read (kept_connection.py), until there is a
request for gunicorn.  What has been read too much goes back into gunicorn's reader.  How a connection is lent, and
comes back, is kept_by_greenlets.py and kept_by_threads.py.

Nobody is to miss a poll that gunicorn has not seen: connections are kept where gunicorn calls us directly, has no hooks
around requests and, unless ``keep_polling_connections`` says that this does not matter, writes no access log.

A connection that has left gunicorn with a request, for a sibling or because that waits, needs less in order to go on:
once it is in a worker again, gunicorn sees all that comes on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from time import time
from typing import Any
from weakref import WeakKeyDictionary

from ..runtime import Rank, Reactor, make_lock, threads_are_greenlets
from ..siblings import gunicorn_worker
from .config import Environ
from .gunicorn_calls import Call, find_call
from .gunicorn_connections import WorkerConnections, find_connections
from .interfaces import Engine
from .kept_by_greenlets import GreenletKeeping
from .kept_by_threads import ThreadKeeping
from .kept_connection import KeptConnection
from .kept_past import Past
from .known_heads import KnownHeads, is_plain
from .request import EngineRequest, Waiting, parse_query
from .response import Headers, Response
from .wsgi_capacity import Capacity

# How often it is looked whose time is over (seconds).
_LOOK = 1.0


class Keeper:
    """See the module's text.

    :ivar known: heads that gunicorn has parsed.
    :ivar patience: seconds in which a client has to take some of an answer.
    """

    def __init__(self, engine: Engine, reactor: Reactor, capacity: Capacity) -> None:
        config = engine.config
        self.engine = engine
        self.reactor = reactor
        self.known = KnownHeads()
        self.patience = config.ping_interval + config.ping_timeout
        self._unlogged = config.keep_polling_connections is True
        self._way = GreenletKeeping(self, capacity) if threads_are_greenlets() else ThreadKeeping(self)
        self._lock = make_lock(Rank.LEAF)
        self._connections: set[KeptConnection] = set()
        self._pasts: WeakKeyDictionary[Any, Past] = WeakKeyDictionary()  # by gunicorn's readers
        self._worker_connections: WorkerConnections | None = None
        self._looking = False
        self._useless = False
        self._date = (0, "")

    def follow(self, environ: Environ, start_response: Any, response: Response) -> Iterable[bytes]:
        """The body of a response, which has been started: with it the connection is kept, if it may be."""
        if response.status != 200:
            return [response.body]
        call = self._find(environ)
        if call is None or call.response is not getattr(start_response, "__self__", None):
            return [response.body]
        past = self._learn(environ, call)
        if past.rests():
            return [response.body]
        return _Followed(response.body, call, self._way.prepare(environ, call, past))

    def wait(self, request: EngineRequest, cors: Headers, lost: Callable[[], object]) -> Waiting | None:
        """Let a request of gunicorn's wait without its thread, whose connection is kept from now on; None where that
        cannot be.

        :param cors: headers for its answer.
        :param lost: called when its client has left.
        """
        if not self._way.waits:
            return None
        call = self._find(request.environ)
        if call is None:
            return None
        past = self._learn(request.environ, call)
        return self._way.wait(request, cors, lost, call, past)

    def persists(self, environ: Environ) -> bool:
        """Whether the connection of a request may go on when that is answered elsewhere: gunicorn would let it, and
        nothing of what comes behind the request has been read.
        """
        if not _concerns(environ):
            return False
        call = find_call(environ, through=True)
        return call is not None and not call.more

    def find_connections(self) -> WorkerConnections | None:
        """Where one goes on that has left its worker, in this process or a sibling; None where it ends."""
        if self._worker_connections is None:
            worker = gunicorn_worker()
            if worker is not None:
                self._worker_connections = find_connections(worker)
        return self._worker_connections

    def _find(self, environ: Environ) -> Call | None:
        sid = parse_query(environ.get("QUERY_STRING", "")).get("sid")
        if sid is not None and sid not in self.engine.sessions:
            return None  # a sibling's, which has answered
        return self._find_call(environ)

    def _find_call(self, environ: Environ) -> Call | None:
        if self._useless or not _concerns(environ):
            return None
        call = find_call(environ)
        if call is not None and (call.misses(self._unlogged) or not self._way.fits(call)):
            self._useless = True  # for as long as this process serves
            return None
        return call

    def _learn(self, environ: Environ, call: Call) -> Past:
        past = self._pasts.setdefault(call.unreader, Past())
        request = call.response.req
        head, past.head = past.head, None
        if head is not None and past.number == request.req_number:
            cors = self.engine.settled_cors(environ)
            if cors is not None:
                self.known.learn(head, environ, cors, request.limit_request_line)
        return past

    def add(self, connection: KeptConnection) -> None:
        """One is kept: tell it the time."""
        with self._lock:
            self._connections.add(connection)
        self._look_later()

    def remove(self, connection: KeptConnection) -> None:
        """It is not any more."""
        with self._lock:
            self._connections.discard(connection)

    # -- the time -----------------------------------------------------------------------------------------------

    def date_line(self) -> str:
        """The Date header, as gunicorn writes it."""
        now = int(time())
        if self._date[0] != now:
            self._date = (now, f"Date: {formatdate(now, usegmt=True)}\r\n")
        return self._date[1]

    def _look_later(self) -> None:
        with self._lock:
            if self._looking or not self._connections:
                return
            self._looking = True
        self.reactor.call_later(_LOOK, self._look)

    def _look(self) -> None:
        with self._lock:
            self._looking = False
            connections = list(self._connections)
        for connection in connections:
            connection.look()
        self._look_later()


def _concerns(environ: Environ) -> bool:
    """Whether it is gunicorn's, and wants nothing but an answer."""
    return "gunicorn.socket" in environ and is_plain(environ)


class _Followed:
    """The body of an answer after which its connection is kept."""

    __slots__ = ("_body", "_call", "_keep", "_sent")

    def __init__(self, body: bytes, call: Call, keep: Callable[[], None]) -> None:
        self._body = body
        self._call = call
        self._keep = keep
        self._sent = False

    def __iter__(self) -> Iterator[bytes]:
        yield self._body
        self._sent = True  # gunicorn could write it, or would not ask for more

    def close(self) -> None:
        """All has been sent and logged, or could not be."""
        if self._sent and self._call.goes_on:
            self._keep()
