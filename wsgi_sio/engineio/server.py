"""EngineServer: the table of sessions, and the way of a request through the engine."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import NamedTuple

from ..logtext import one_line
from ..runtime import Rank, Reactor, create_reactor, make_lock, tell_in_child
from ..sockets import NonBlockingSocket
from .config import EngineConfig, Environ
from .cors import OriginPolicy
from .errors import BAD_REQUEST, FORBIDDEN, UNKNOWN_SID, EngineError, unknown_session
from .handshake import Handshakes
from .heartbeat import Heartbeat
from .held_sessions import HeldSessions
from .hijacked_connection import Connections
from .kept_polls import Keeper
from .log_messages import adapter_of_one_process, origin_advice, several_processes
from .optional_transport import ServesWebTransport
from .polling import PollingTransport
from .relay.joining import Joining, is_unpatched_gevent
from .request import EngineRequest, parse_request
from .request_body import BodyWatch
from .response import Headers, Hijacked, Response
from .session import Session
from .upgrade import Candidate, Upgrade
from .verify import verify_any, verify_handshake, verify_member
from .websocket import WebSocketTransport
from .websocket_handshake import Acceptance, Accepted
from .wsgi_capacity import Capacity

logger = logging.getLogger("wsgi_sio.engineio")

# How long the answers of the last sessions may be on their way to siblings (seconds).
_LAST_ANSWERS = 1.0
# How many ended sessions are remembered, so that a client's last requests are not taken for those of another process.
_REMEMBERED = 1000


class _Serving(NamedTuple):
    """What exists only in the process that serves, hence after any fork."""

    reactor: Reactor
    heartbeat: Heartbeat
    bodies: BodyWatch
    capacity: Capacity
    acceptance: Acceptance
    held_sessions: HeldSessions


class EngineServer(ServesWebTransport):
    """An Engine.IO server (protocol 4, and 3 on demand), ready for :class:`wsgi_sio.WSGIApp`.

    :param config: its options.
    :ivar asked: whether a request has come to this process.
    :ivar notice: called with each request that is served, of the engine or not.
    :ivar keeper: keeps polling connections, where that can be, once this process serves.
    :ivar is_alone: tells whether what is emitted reaches only the clients of this process.
    :ivar on_fork: called in a forked child, where it has no sessions any more, with whether it ever had any.
    :param on_session: called with each new :class:`Session`, on the thread of the handshake request: set the session's
        callbacks there; it must not block.
    """

    def __init__(self, config: EngineConfig, on_session: Callable[[Session], None]) -> None:
        self.config = config
        self.sessions: dict[str, Session] = {}
        self._origins = OriginPolicy(
            config.cors_allowed_origins, config.cors_credentials, unknown_scripts=config.jsonp_without_origin
        )
        self.lock = make_lock(Rank.REGISTRY)
        self._serving: _Serving | None = None
        self._reported: set[str] = set()
        self._ended: dict[str, None] = {}  # the ids of the sessions that ended last
        self._closed = False
        self.asked = False
        self.keeper: Keeper | None = None
        self.is_alone: Callable[[], bool] = _always
        self.on_fork: Callable[[bool], None] = _ignore
        self.handshakes = Handshakes(self, on_session)
        self.joining = Joining(self)
        self.notice: Callable[[], None] = self._notice
        self._prepare_webtransport()
        tell_in_child(self)

    # -- what lives in the serving process ----------------------------------------------------------------------

    @property
    def reactor(self) -> Reactor:
        """The reactor of this process, made on first use."""
        return self._in_this_process().reactor

    @property
    def heartbeat(self) -> Heartbeat:
        """The heartbeat of this process, made on first use."""
        return self._in_this_process().heartbeat

    @property
    def held_sessions(self) -> HeldSessions:
        """The sessions of this process in which something waits for a moment."""
        return self._in_this_process().held_sessions

    @property
    def bodies(self) -> BodyWatch:
        """The watch over request bodies of this process, made on first use."""
        return self._in_this_process().bodies

    @property
    def capacity(self) -> Capacity:
        """What this process's WSGI server bears."""
        return self._in_this_process().capacity

    @property
    def acceptance(self) -> Acceptance:
        """What accepts WebSockets in this process."""
        return self._in_this_process().acceptance

    @property
    def tag(self) -> str:
        """Four characters that name this process among its siblings, as the ids of its sessions do; or none."""
        company = self.joining.company
        return "" if company is None else company.siblings.tag

    def new_id(self) -> str:
        """20 characters for something that lives here; where the process has siblings the last four name it."""
        tag = self.tag
        return secrets.token_urlsafe(12) + tag if tag else secrets.token_urlsafe(15)

    def _in_this_process(self) -> _Serving:
        serving = self._serving
        if serving is None:
            with self.lock:
                serving = self._serving
                if serving is None:
                    config = self.config
                    reactor = create_reactor(max_workers=config.max_workers)
                    reactor.tell_when_stuck()
                    heartbeat = Heartbeat(reactor, config.ping_interval, config.ping_timeout)
                    bodies = BodyWatch(reactor, config.http_request_body_timeout)
                    capacity = Capacity(lambda: len(self.sessions), self.report)
                    acceptance = Acceptance(reactor, capacity)
                    held_sessions = HeldSessions(reactor)
                    serving = self._serving = _Serving(reactor, heartbeat, bodies, capacity, acceptance, held_sessions)
                    if config.keep_polling_connections is not False:
                        self.keeper = Keeper(self, reactor, capacity)
        return serving

    def after_fork(self) -> None:
        """In a forked child: have no clients."""
        served = bool(self.sessions or self._ended)
        self.lock = make_lock(Rank.REGISTRY)
        for session in self.sessions.values():
            session.after_fork()
            if isinstance(session.transport, PollingTransport):
                session.transport.after_fork()
        self.sessions, self._ended, self._serving = {}, {}, None
        self.webtransport = self.keeper = None
        self.asked = False
        self.handshakes.after_fork()
        self.joining.after_fork()
        if self._start is not None:
            self._start.after_fork()
        self.on_fork(served)

    # -- a request ----------------------------------------------------------------------------------------------

    def _notice(self) -> None:
        """A request is being served, of the engine or not: that tells what the WSGI server bears."""
        self.asked = True
        serving = self._serving
        if serving is not None:
            serving.capacity.notice()

    def handle(self, environ: Environ) -> Response | Hijacked:
        """Answer one request below the engine's path.

        :raises RuntimeError: gevent serves without having been patched in.
        """
        _refuse_unpatched_gevent(environ)
        if not self.joining.settled:
            self.joining.settle(environ)
        sid, upgrade, cors = None, False, []
        try:
            request = parse_request(environ)
            request.keeper = self.keeper
            sid = request.sid
            upgrade = request.upgrade and request.query.get("transport") != "polling"
            if not self._origins.allows(request):
                raise EngineError(FORBIDDEN, origin_advice(request))
            preflight = self._origins.preflight(request)
            cors = self._origins.headers(request)
            answer = preflight or self._route(request, cors)
        except EngineError as error:
            answer = self.refuse(error, sid, upgrade)
        if isinstance(answer, Response):
            answer.headers += cors
        return answer

    def allows_origin(self, request: EngineRequest) -> bool:
        """Whether the page that made the request may connect."""
        return self._origins.allows(request)

    def cors_headers(self, environ: Environ) -> Headers:
        """The CORS headers of an answer to the page that made the request, from whatever answers it."""
        request = EngineRequest(environ, environ["REQUEST_METHOD"], {}, False)
        try:
            return self._origins.headers(request) if self._origins.allows(request) else []
        except EngineError:  # the application's own rule may refuse in its own words
            return []

    def settled_cors(self, environ: Environ) -> Headers | None:
        """The same for all answers to that page; None where the application is asked about it each time."""
        request = EngineRequest(environ, environ["REQUEST_METHOD"], {}, False)
        return None if self._origins.asks(request) else self.cors_headers(environ)

    def _route(self, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        verify_any(request, self.config)
        sid, company = request.sid, self.joining.company
        if sid is None:
            verify_handshake(request, self.config)
            self.asked = True
            return self._place(request, cors) or self.handshakes.open(request, cors)
        if company is not None and sid not in self.sessions:
            owner = company.forwarder.find_owner(sid)
            if owner is not None:
                return company.forwarder.forward(owner, request, cors)
        return self.answer_member(request, cors)

    def _place(self, request: EngineRequest, cors: Headers) -> Hijacked | None:
        """Have a sibling open the session that a checked handshake asks for; None when it is to be opened here."""
        company = self.joining.company
        if company is None:
            apart = self.config.siblings is False and request.environ.get("wsgi.multiprocess")
            if apart and self.is_alone():
                self.report(*several_processes())
            return None
        if company.siblings.links() and self.is_alone():
            self.report(*adapter_of_one_process())
        return company.load_balancer.place(request, cors, self.handshakes.environs.keep, self.handshakes.closed)

    def find_member(self, request: EngineRequest) -> Session:
        """The session that a request belongs to.

        :raises EngineError: there is none, or the request is to be refused.
        """
        session = self.sessions.get(request.sid or "")
        if session is None:
            raise unknown_session(alone=self.joining.company is None)
        verify_member(request, session)
        return session

    def answer_member(self, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        """Answer a request of a session that lives here.

        :raises EngineError: it is to be refused.
        """
        session = self.find_member(request)
        if request.query["transport"] == "websocket":
            accepted = self.accept_websocket(session, request, cors)
            with self.acceptance.holding(accepted.held):
                accepted.transport.send_accept(accepted.response)
                self.begin_upgrade(session, accepted.transport, accepted.early)
            return Hijacked(accepted.held)
        transport = session.transport
        if not isinstance(transport, PollingTransport):
            raise EngineError(BAD_REQUEST, "the session has left polling")
        if request.method == "GET":
            return transport.get(request, cors)
        if request.method == "POST":
            return transport.post(request, self.config.max_http_buffer_size, cors)
        return Response(500)

    def refuse(self, error: EngineError, sid: str | None, upgrade: bool) -> Response:
        """The answer to a request that is refused, of which the log is told."""
        if error.code != UNKNOWN_SID or sid not in self._ended:
            self.report(error.kind, error.context)
        return error.response(upgrade)

    def find_connections(self) -> Connections | None:
        """Among which connections that siblings have handed over go on; None where they end with their answers."""
        return None if self.keeper is None else self.keeper.find_connections()

    # -- WebSocket ----------------------------------------------------------------------------------------------

    def accept_websocket(self, session: Session, request: EngineRequest, cors: Headers) -> Accepted:
        """Accept a WebSocket.

        :raises EngineError: it is to be refused.
        """
        response = self.acceptance.compose(request, cors)
        taken = self.acceptance.take(request.environ)
        with self.acceptance.holding(taken.held):
            transport = self.make_websocket(session, taken.sock)
        return Accepted(transport, response, taken.early, taken.held)

    def make_websocket(
        self, session: Session, sock: NonBlockingSocket, kind: type[WebSocketTransport] = WebSocketTransport
    ) -> WebSocketTransport:
        """The transport over a connection that has left its WSGI server."""
        try:
            return kind(session, sock, self.reactor, self.config.max_http_buffer_size)
        except (OSError, RuntimeError):  # the connection cannot go back
            sock.close()
            raise

    def begin_upgrade(self, session: Session, candidate: Candidate, early: bytes) -> None:
        """Let a session that polls go over to ``candidate``, if it may."""
        polling = session.transport
        if isinstance(polling, PollingTransport):
            upgrade = Upgrade(session, polling, candidate, self.reactor)
            if session.begin_upgrade(upgrade):
                upgrade.start(early, self.config.upgrade_timeout)
                return
        candidate.turn_away()  # over, upgraded already, or being upgraded: the session is not affected

    # -- the end ------------------------------------------------------------------------------------------------

    def forget(self, session: Session) -> None:
        """Take a session out of the table."""
        with self.lock:
            self.sessions.pop(session.id, None)
            self._ended[session.id] = None
            if len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]
        self.tell_load()
        if self._closed:
            self._leave_if_deserted()

    def abort(self, sid: str, reason: str) -> None:
        """End a session, if there is one of this id, whose client has been found to have left."""
        session = self.sessions.get(sid)
        if session is not None:
            session.close(reason, abort=True)

    def tell_load(self) -> None:
        """The number of sessions has changed."""
        company = self.joining.company
        if company is not None:
            company.load_balancer.tell()

    def refuse_new_sessions(self) -> None:
        """From now on leave handshakes to siblings, or answer them 503."""
        self.handshakes.closed = True
        company = self.joining.company
        if company is not None:
            company.siblings.tell_draining()
        self._let_go_of_port()

    def close(self) -> None:
        """Refuse new sessions and end the present ones; polling clients learn it with their next GET.

        When all have gone, so do the siblings: what they have of ours, and we of theirs, is no use any more.
        """
        self.refuse_new_sessions()
        for session in list(self.sessions.values()):
            session.close("forced close", abort=True)
        if self.webtransport is not None:
            self.webtransport.dismiss()
        self._closed = True
        self._leave_if_deserted()

    def _leave_if_deserted(self) -> None:
        if not self.sessions and self.joining.company is not None:
            self.reactor.call_later(_LAST_ANSWERS, lambda: self.reactor.submit(self.joining.leave))

    def report(self, kind: str, text: str) -> None:
        """Log what was refused and how to allow it: the first time at WARNING, then at DEBUG."""
        first = kind not in self._reported
        self._reported.add(kind)
        logger.log(logging.WARNING if first else logging.DEBUG, "refused (%s): %s", kind, one_line(text))


def _always() -> bool:
    """An engine knows nobody else."""
    return True


def _ignore(*args: object) -> None:
    """What a server does in a forked child until something has been set."""


def _refuse_unpatched_gevent(environ: Environ) -> None:
    if is_unpatched_gevent(environ):
        raise RuntimeError(
            "gevent serves this app but has not patched the standard library: put"
            " 'from gevent import monkey; monkey.patch_all()' at the very top of the program"
        )
