"""A keep-alive connection between two requests of its WSGI server's, on which polls are answered where they are read.

A poll of a session that lives here, in a head that gunicorn has parsed before (known_heads.py), is answered at once or
when its session has something to say.  Everything else ends this, and is given back as it has come: gunicorn parses it,
and refuses it if it is to be refused.  That goes for half a head, for what comes behind a poll before its answer, for a
session that is unknown, held back, or going over to WebSocket, and for a body that is large or late.

Whatever happens to a connection is a call of its own, one after the other, in whichever thread it comes: where there
are threads, the one that reads, the one whose emit is the answer, the clock's, and gunicorn's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from io import BytesIO
from math import inf
from time import monotonic
from typing import Protocol

from ..runtime import Reactor, SerialExecutor, Watch
from .errors import EngineError
from .gunicorn_calls import Call
from .interfaces import Engine
from .known_heads import Head, Known, KnownHeads, read_head
from .request import EngineRequest, Waiting, parse_query
from .response import Headers, Hijacked, Response

logger = logging.getLogger("wsgi_sio.engineio")

# What is read at once (bytes).
_READ = 65_536
# A larger body is read and decoded in gunicorn's thread or greenlet (bytes).
_LARGEST = 16_384


class Keeper(Protocol):
    """Who keeps connections; see kept_polls.py.

    :ivar known: heads that gunicorn has parsed.
    :ivar patience: seconds in which a client has to take some of an answer.
    """

    engine: Engine
    reactor: Reactor
    known: KnownHeads
    patience: float

    def date_line(self) -> str: ...

    def add(self, connection: KeptConnection) -> None: ...

    def remove(self, connection: KeptConnection) -> None: ...


class Lender(Protocol):
    """Whose a connection is before it is kept, and afterwards."""

    def hold(self) -> bool:
        """A poll begins to wait; False where there is no room."""

    def leave(self) -> None:
        """It waits no more."""

    def take_back(self) -> None:
        """The connection is over, or goes on with what has not been answered here."""

    def stop(self, busy: bool) -> bool:
        """The worker is to stop: whether it gets the connection back, which is ``busy`` with a request, or not."""


class KeptConnection:
    """See the module's text.

    :param briefly: whether it is gunicorn's again when its first request has been answered.
    :ivar unread: what has come and been left to gunicorn, if it is over.
    :ivar parsing: the head with which that begins, if it has one.
    :ivar finished: whether nothing is to follow on it.
    :ivar polls: how many have been answered that gunicorn has not parsed.
    """

    __slots__ = ("_begun", "_briefly", "_call", "_deadline", "_ended", "_keepalive", "_keeper", "_lender", "_peer",
                 "_request", "_sock", "_turns", "_unsent", "_watch", "finished", "parsing", "polls",
                 "unread")  # fmt: skip

    _watch: Watch

    def __init__(self, keeper: Keeper, call: Call, lender: Lender, briefly: bool = False) -> None:
        self._keeper = keeper
        self._call = call
        self._peer = call.peer
        self._lender = lender
        self._briefly = briefly
        self._keepalive: float = call.worker.cfg.keepalive
        self._sock = call.sock
        self._turns = SerialExecutor(logger)
        self._request: KeptRequest | None = None
        self._unsent = b""
        self._begun = False
        self._ended = False
        self._deadline = inf
        self.unread = b""
        self.parsing: Head | None = None
        self.finished = False
        self.polls = 0

    def expect(self, cors: Headers, lost: Callable[[], object], unread: bytes) -> KeptRequest:
        """Before it is begun: it has a request that waits for its answer, and ``unread`` has come behind that."""
        self._request = request = KeptRequest(self, False, cors, lost)
        self.unread = unread
        self.polls = -1
        return request

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._request is not None

    def begin(self) -> None:
        """gunicorn is done with it, and its socket does not block.

        :raises OSError: the system cannot watch more.
        :raises RuntimeError: the system has no thread for the first one.
        """
        self._watch = self._keeper.reactor.watch(self, reading=False)
        self._turns.call(self._start)

    def _start(self) -> None:
        self._begun = True
        if self._ended:
            self._watch.close(_nothing)
            return
        if self._request is None:
            self._deadline = monotonic() + self._keepalive
        if not self.unread:
            self._watch.resume()
        self._send()

    def fileno(self) -> int:
        return int(self._sock.fileno())

    # -- what comes ---------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        self._turns.call(self._read)

    def _read(self) -> None:
        if self._ended:
            return
        try:
            data: bytes = self._sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data and self.unread and self._request is None:  # half a POST: its session is to hear of it
            self._give_back(self.unread, None)
        elif not data:
            self._break_off()
        elif self._request is not None:  # nobody needs to, before the answer: so gunicorn will see to it
            self.unread += data
            self._watch.pause()
        else:
            self._take(self.unread + data if self.unread else data)

    def _take(self, data: bytes) -> None:
        head = read_head(data, self._peer)
        known = None if head is None else self._keeper.known.find(head)
        if head is None or known is None or head.length > _LARGEST:
            self._give_back(data, head)
        elif len(data) < head.end + head.length:
            self.unread = data  # its body is on its way
        elif not self._begin(head, known, data):
            self._give_back(data, head)

    def _begin(self, head: Head, known: Known, data: bytes) -> bool:
        """Answer a poll, or let it wait; False when it is gunicorn's."""
        engine = self._keeper.engine
        try:
            query = parse_query(head.query)
        except EngineError:
            return False
        session = engine.sessions.get(query.get("sid", ""))
        if session is None or session.paused or session.upgrade is not None:
            return False
        if query.get("transport") != "polling" or "j" in query:
            return False
        environ = known.environ
        end = head.end + head.length
        holds = head.method == "GET"
        if holds:
            if not self._lender.hold():
                return False
        elif 0 < head.length <= engine.config.max_http_buffer_size:
            body = BytesIO(data[head.end : end])
            environ = {**environ, "CONTENT_LENGTH": str(head.length), "wsgi.input": body}
        else:
            return False
        abort = partial(session.close, "transport error", abort=True)
        self._request = carrier = KeptRequest(self, holds, known.cors, abort)
        self._deadline = inf
        self.unread = data[end:]
        if self.unread:
            self._watch.pause()
        try:
            answer = engine.answer_member(EngineRequest(environ, head.method, query, False, carrier), known.cors)
        except EngineError:  # nothing has been done yet
            self._release()
            return False
        except Exception:  # as the WSGI server would have it
            logger.exception("a request on a connection that is kept failed")
            answer = Response(500)
        if isinstance(answer, Response):
            carrier.answer(answer)
        return True

    # -- what goes ----------------------------------------------------------------------------------------------

    def answer(self, request: KeptRequest, response: Response) -> None:
        """Give the client the response to its request, unless it has one; from anywhere, without blocking."""
        if self._request is not request or self._unsent:
            return  # its client has left
        if not self._call.worker.alive:  # as gunicorn answers from then on
            self.finished = True
        headers = response.headers + request.cors if request.cors else response.headers
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        connection = "Connection: close\r\n" if self.finished else self._call.after
        head = (
            f"HTTP/1.1 {response.status_line}\r\n{self._call.before}{self._keeper.date_line()}{connection}{lines}"
            f"Content-Length: {len(response.body)}\r\n\r\n"
        )
        self._unsent = head.encode("latin-1") + response.body
        self._keeper.reactor.on_loop(self.on_writable)

    def hold(self) -> bool:
        """A request that is no GET waits: whether there is room, which it takes."""
        return self._lender.hold()

    def unsent(self, request: KeptRequest) -> int:
        """How many bytes of its answer the client has not taken yet."""
        return len(self._unsent) if self._request is request else 0

    def on_writable(self) -> None:
        self._turns.call(self._send)

    def _send(self) -> None:
        if self._ended or not self._begun or not self._unsent:
            return
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break_off()
            return
        if sent < len(self._unsent):
            self._unsent = self._unsent[sent:]
            if sent or self._deadline == inf:
                self._deadline = monotonic() + self._keeper.patience
            self._watch.want_write()
            return
        self.polls += 1
        self._release()
        if self.unread or self.finished or self._briefly:
            self._end()
        else:
            self._deadline = monotonic() + self._keepalive

    # -- the end ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Time passes."""
        self._turns.call(self._look)

    def _look(self) -> None:
        if self._ended or not self._begun:
            return
        if not self._call.worker.alive and not self._unsent and self._lender.stop(self.busy):
            self._end()
            return
        now = monotonic()
        if now < self._deadline:
            return
        if self._unsent:  # what it has taken meanwhile counts, though nobody has noticed
            self._send()
            if now >= self._deadline:
                self._break_off()
            return
        self._read()  # what has come by now has come in time
        if not self._ended and self._request is None and now >= self._deadline:
            self.finished = not self.unread  # a body has more time, which request_body.py counts
            self._end()

    def abandon(self) -> None:
        """gunicorn goes on, whatever is under way."""
        self._turns.call(self._break_off)

    def _give_back(self, data: bytes, head: Head | None) -> None:
        if not self._ended:
            self.unread = data
            self.parsing = head
            self._end()

    def _break_off(self) -> None:
        """The client has left, or is to."""
        if not self._ended:
            request = self._request
            self.unread = b""
            self.finished = True
            self._end()
            if request is not None:
                request.lose()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._release()
            if self._begun:
                self._watch.close(_nothing)
            self._lender.take_back()

    def _release(self) -> None:
        """There is no request under way."""
        request, self._request = self._request, None
        self._unsent = b""
        if request is not None and request.holds:
            self._lender.leave()


class KeptRequest:
    """A poll on a kept connection: how its answer comes to its client, and how it waits for that.

    :ivar holds: whether it is one of those that hold a greenlet for long.
    :ivar cors: headers for its answer.
    :param abort: called when its client has left, until it waits.
    """

    __slots__ = ("_abort", "_connection", "cors", "holds", "request")

    request: EngineRequest

    def __init__(self, connection: KeptConnection, holds: bool, cors: Headers, abort: Callable[[], object]) -> None:
        self._connection = connection
        self._abort = abort
        self.holds = holds
        self.cors = cors

    def wait(
        self,
        request: EngineRequest,
        cors: Headers,
        patience: float,
        release: Callable[[], None],
        lost: Callable[[], object],
    ) -> Waiting:
        self.request = request
        self._abort = lost
        self.holds = self.holds or self._connection.hold()
        return self

    def answer(self, response: Response) -> None:
        self._connection.answer(self, response)

    def result(self) -> Hijacked:
        return Hijacked(None, "200 OK")

    @property
    def unsent(self) -> int:
        return self._connection.unsent(self)

    def lose(self) -> None:
        """Its client has left."""
        self._abort()


def _nothing() -> None:
    """The socket is gunicorn's to close."""
