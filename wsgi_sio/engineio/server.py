"""EngineServer: the table of sessions, and the way of a request through the engine."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from typing import NamedTuple

from ..logtext import one_line, quote
from ..runtime import Event, Rank, Reactor, create_reactor, make_lock, tell_in_child, threads_are_greenlets
from .bodies import BodyWatch
from .capacity import Capacity
from .config import EngineConfig, Environ
from .cookie import SessionCookie
from .framed import Base64Session
from .handshake import compose_accept
from .heartbeat import Heartbeat
from .origin import OriginPolicy
from .packet import OPEN, Packet
from .parked import Hijacked
from .polling import PollingTransport
from .reports import no_descriptors, no_websocket, origin_advice, several_processes
from .request import (
    BAD_REQUEST,
    FORBIDDEN,
    UNKNOWN_SID,
    EngineError,
    EngineRequest,
    Headers,
    Response,
    parse_request,
    verify,
)
from .session import Session
from .takeover import Taken, can_take, holds_thread, take
from .upgrade import Upgrade
from .v3 import PollingTransportV3, SessionV3
from .websocket import WebSocketTransport

logger = logging.getLogger("wsgi_sio.engineio")

# How many ended sessions are remembered, so that a client's last requests are not taken for those of another process.
_REMEMBERED = 1000

_NO_WEBSOCKET = "WebSocket is not available on this server"


class _Serving(NamedTuple):
    """What exists only in the process that serves, hence after any fork."""

    reactor: Reactor
    heartbeat: Heartbeat
    bodies: BodyWatch
    capacity: Capacity


class EngineServer:
    """An Engine.IO server (protocol 4, and 3 on demand), ready for :class:`wsgi_sio.WSGIApp`.

    :param config: its options.
    :ivar asked: whether a request has come to this process.
    :ivar alone: whether nothing connects it with other processes that serve the same application.
    :ivar on_fork: called in a forked child, where it has no sessions any more, with whether it ever had any.
    :param on_session: called with each new :class:`Session`, on the thread of the handshake request: set the session's
        callbacks there; it must not block.
    """

    def __init__(self, config: EngineConfig, on_session: Callable[[Session], None]) -> None:
        self.config = config
        self.sessions: dict[str, Session] = {}
        self._on_session = on_session
        self._origins = OriginPolicy(
            config.cors_allowed_origins, config.cors_credentials, unknown_scripts=config.jsonp_without_origin
        )
        self._cookie = None if config.cookie in (None, False) else SessionCookie(config.cookie)
        self._lock = make_lock(Rank.REGISTRY)
        self._serving: _Serving | None = None
        self._reported: set[str] = set()
        self._opening: set[str] = set()  # the ids of sessions whose handshake is being answered
        self._ended: dict[str, None] = {}  # the ids of the sessions that ended last
        self._closed = False
        self.asked = False
        self.alone = True
        self.on_fork: Callable[[bool], None] = _ignore
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
    def capacity(self) -> Capacity:
        """What this process's WSGI server bears."""
        return self._in_this_process().capacity

    def _in_this_process(self) -> _Serving:
        serving = self._serving
        if serving is None:
            with self._lock:
                serving = self._serving
                if serving is None:
                    config = self.config
                    reactor = create_reactor(max_workers=config.max_workers)
                    reactor.tell_when_stuck()
                    heartbeat = Heartbeat(reactor, config.ping_interval, config.ping_timeout)
                    bodies = BodyWatch(reactor, config.http_request_body_timeout)
                    capacity = Capacity(lambda: len(self.sessions), self.report)
                    serving = self._serving = _Serving(reactor, heartbeat, bodies, capacity)
        return serving

    def after_fork(self) -> None:
        """In a forked child: have no clients."""
        served = bool(self.sessions or self._ended)
        self._lock = make_lock(Rank.REGISTRY)
        for session in self.sessions.values():
            session.after_fork()
            if isinstance(session.transport, PollingTransport):
                session.transport.after_fork()
        self.sessions, self._opening, self._ended, self._serving = {}, set(), {}, None
        self.asked = False
        self.on_fork(served)

    # -- a request ----------------------------------------------------------------------------------------------

    def notice(self) -> None:
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
        upgrade, cors = False, []
        try:
            request = parse_request(environ)
            upgrade = request.upgrade and request.query.get("transport") != "polling"
            if not self._origins.allows(request):
                raise EngineError(FORBIDDEN, origin_advice(request))
            preflight = self._origins.preflight(request)
            cors = self._origins.headers(request)
            answer = preflight or self._route(request, cors)
        except EngineError as error:
            if error.code != UNKNOWN_SID or request.sid not in self._ended:
                self.report(error.kind, error.context)
            answer = error.response(upgrade)
        if isinstance(answer, Response):
            answer.headers += cors
        return answer

    def cors_headers(self, environ: Environ) -> Headers:
        """The CORS headers of an answer to the page that made the request, from whatever answers it."""
        request = EngineRequest(environ, environ["REQUEST_METHOD"], {}, False)
        try:
            return self._origins.headers(request) if self._origins.allows(request) else []
        except EngineError:  # the application's own rule may refuse in its own words
            return []

    def _route(self, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        session = verify(request, self.config, self.sessions.get)
        websocket = request.query["transport"] == "websocket"
        if session is None:
            return self._open(request, cors, websocket)
        if websocket:
            return self._upgrade(session, request, cors)
        transport = session.transport
        if not isinstance(transport, PollingTransport):
            raise EngineError(BAD_REQUEST, "the session has left polling")
        if request.method == "GET":
            return transport.get(request, cors)
        if request.method == "POST":
            return transport.post(request, self.config.max_http_buffer_size, cors)
        return Response(500)

    # -- a new session ------------------------------------------------------------------------------------------

    def _open(self, request: EngineRequest, cors: Headers, websocket: bool) -> Response | Hijacked:
        self.asked = True
        if self.alone and request.environ.get("wsgi.multiprocess"):
            self.report(*several_processes())
        kind = SessionV3 if request.protocol == 3 else Base64Session if request.query.get("b64") else Session
        session = kind(self, secrets.token_urlsafe(15), _keep(request.environ))
        if self._closed or not self._reserve(session):
            return Response(503, [("Retry-After", "1")])
        try:
            return self._open_websocket(session, request, cors) if websocket else self._open_polling(session, request)
        finally:
            self._opening.discard(session.id)

    def _reserve(self, session: Session) -> bool:
        """Take one of ``max_sessions`` places, if one is free; it is the session's while it is being opened."""
        self._in_this_process()  # whose table is empty in the beginning
        limit = self.config.max_sessions
        with self._lock:
            free = limit is None or len(self.sessions) + len(self._opening) < limit
            if free:
                self._opening.add(session.id)
        if not free:
            self.report(
                "too many sessions",
                f"max_sessions={limit} clients are connected, so another is answered 503; raise it if there is memory"
                " and file descriptors for more, or add processes",
            )
        return free

    def _open_polling(self, session: Session, request: EngineRequest) -> Response:
        config = self.config
        hold = config.ping_interval + config.ping_timeout
        kind = PollingTransportV3 if session.protocol == 3 else PollingTransport
        serving = self._in_this_process()
        transport = kind(session, serving.reactor, serving.bodies, serving.capacity, hold, config.http_compression)
        session.transport = transport
        upgradable = config.allow_upgrades and "websocket" in config.transports and self._may_take(request.environ)
        self._admit(session)
        with session.lock:
            packets = [self._open_packet(session, ["websocket"] if upgradable else []), *(session.take_locked() or [])]
        response = transport.payload_response(request, packets)
        if self._cookie is not None:
            response.headers.append(self._cookie.header(session.id, request.environ.get("wsgi.url_scheme", "http")))
        return response

    def _open_websocket(self, session: Session, request: EngineRequest, cors: Headers) -> Hijacked:
        transport, early, held = self._accept(session, request, cors)
        session.transport = transport
        try:
            self._admit(session)  # what it sends already waits in the outbox, since the transport is not idle yet
        except BaseException:
            session.close("transport error", abort=True)
            transport.finish()
            raise
        transport.write([self._open_packet(session, [])])
        transport.start(early)
        return Hijacked(held)

    def _admit(self, session: Session) -> None:
        with self._lock:
            self.sessions[session.id] = session
            self._opening.discard(session.id)
        if logger.isEnabledFor(logging.DEBUG):
            address = session.environ.get("REMOTE_ADDR", "nowhere")
            logger.debug("a session with %s has begun over %s", quote(address), session.transport.name)
        self._on_session(session)
        self.heartbeat.start(session)
        if self._closed:  # while this one was on its way
            session.close("forced close", abort=True)

    def _open_packet(self, session: Session, upgrades: list[str]) -> Packet:
        config = self.config
        handshake = {
            "sid": session.id,
            "upgrades": upgrades,
            "pingInterval": round(config.ping_interval * 1000),
            "pingTimeout": round(config.ping_timeout * 1000),
            "maxPayload": config.max_http_buffer_size,
        }
        return Packet(OPEN, json.dumps(handshake, separators=(",", ":")))

    # -- WebSocket ----------------------------------------------------------------------------------------------

    def _upgrade(self, session: Session, request: EngineRequest, cors: Headers) -> Hijacked:
        candidate, early, held = self._accept(session, request, cors)
        polling = session.transport
        if isinstance(polling, PollingTransport):
            upgrade = Upgrade(session, polling, candidate, self.reactor)
            if session.begin_upgrade(upgrade):
                upgrade.start(early, self.config.upgrade_timeout)
                return Hijacked(held)
        candidate.turn_away()  # over, upgraded already, or being upgraded: the session is not affected
        return Hijacked(held)

    def _accept(
        self, session: Session, request: EngineRequest, cors: Headers
    ) -> tuple[WebSocketTransport, bytes, Event | None]:
        environ = request.environ
        obstacle = no_websocket(environ)
        if obstacle is not None:
            raise EngineError(BAD_REQUEST, obstacle, _NO_WEBSOCKET, cause="WebSocket")
        accept = compose_accept(environ, cors)
        held = holds_thread(environ)
        if held and not self.capacity.occupy(environ):
            raise EngineError(BAD_REQUEST, "no thread can be spared for a WebSocket over TLS", _NO_WEBSOCKET)
        try:
            transport, taken = self._take(session, environ)
        except BaseException:
            if held:
                self.capacity.leave()
            raise
        transport.send_accept(accept)
        return transport, taken.early, taken.held

    def _take(self, session: Session, environ: Environ) -> tuple[WebSocketTransport, Taken]:
        try:
            taken = take(environ, self.reactor)
        except OSError as error:
            raise EngineError(BAD_REQUEST, no_descriptors(error)[1]) from None
        try:
            return WebSocketTransport(session, taken.sock, self.reactor, self.config.max_http_buffer_size), taken
        except (OSError, RuntimeError):  # the connection cannot go back
            taken.sock.close()
            raise

    def _may_take(self, environ: Environ) -> bool:
        """Whether a WebSocket is possible at present."""
        return can_take(environ) and (not holds_thread(environ) or self.capacity.has_room(environ))

    def wait_over(self, hijacked: Hijacked) -> None:
        """Block in the WSGI thread for as long as the connection that it gave away needs it."""
        if hijacked.held is not None:
            try:
                hijacked.held.wait()
            finally:
                self.capacity.leave()

    # -- the end ------------------------------------------------------------------------------------------------

    def forget(self, session: Session) -> None:
        """Take a session out of the table."""
        with self._lock:
            self.sessions.pop(session.id, None)
            self._ended[session.id] = None
            if len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]

    def refuse_new_sessions(self) -> None:
        """Answer handshakes with 503 from now on."""
        self._closed = True

    def close(self) -> None:
        """Refuse new sessions and end the present ones; polling clients learn it with their next GET."""
        self.refuse_new_sessions()
        for session in list(self.sessions.values()):
            session.close("forced close", abort=True)

    def report(self, kind: str, text: str) -> None:
        """Log what was refused and how to allow it: the first time at WARNING, then at DEBUG."""
        first = kind not in self._reported
        self._reported.add(kind)
        logger.log(logging.WARNING if first else logging.DEBUG, "refused (%s): %s", kind, one_line(text))


def _ignore(*args: object) -> None:
    """What a server does in a forked child until something has been set."""


def _refuse_unpatched_gevent(environ: Environ) -> None:
    if environ.get("SERVER_SOFTWARE", "").startswith("gevent/") and not threads_are_greenlets():
        raise RuntimeError(
            "gevent serves this app but has not patched the standard library: put"
            " 'from gevent import monkey; monkey.patch_all()' at the very top of the program"
        )


def _keep(environ: Environ) -> Environ:
    """What a session remembers of its handshake: everything but the server's own objects."""
    kept = {key: value for key, value in environ.items() if not key.startswith(("wsgi.", "gunicorn.", "werkzeug."))}
    kept["wsgi.url_scheme"] = environ.get("wsgi.url_scheme", "http")
    return kept
