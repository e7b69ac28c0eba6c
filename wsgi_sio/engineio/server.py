"""EngineServer: the table of sessions, and the way of a request through the engine."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..runtime import Event, Rank, Reactor, create_reactor, make_lock, threads_are_greenlets
from .bodies import BodyWatch
from .capacity import Capacity
from .config import EngineConfig, Environ
from .framed import Base64Session
from .handshake import compose_accept
from .heartbeat import Heartbeat
from .origin import OriginPolicy
from .packet import OPEN, Packet
from .parked import Hijacked
from .polling import PollingTransport
from .reports import no_descriptors
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

    pid: int
    reactor: Reactor
    heartbeat: Heartbeat
    bodies: BodyWatch
    capacity: Capacity


class EngineServer:
    """An Engine.IO server (protocol 4, and 3 on demand), ready for :class:`wsgi_sio.WSGIApp`.

    :param config: its options.
    :param on_session: called with each new :class:`Session`, on the thread of the handshake request: set the session's
        callbacks there; it must not block.
    """

    def __init__(self, config: EngineConfig, on_session: Callable[[Session], None]) -> None:
        self.config = config
        self.sessions: dict[str, Session] = {}
        self._on_session = on_session
        self._origins = OriginPolicy(config.cors_allowed_origins, config.cors_credentials)
        self._lock = make_lock(Rank.REGISTRY)
        self._serving: _Serving | None = None
        self._reported: set[str] = set()
        self._ended: dict[str, None] = {}  # the ids of the sessions that ended last
        self._closed = False

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
        if serving is None or serving.pid != os.getpid():
            with self._lock:
                serving = self._serving
                if serving is None or serving.pid != os.getpid():
                    config = self.config
                    reactor = create_reactor(max_workers=config.max_workers)
                    reactor.tell_when_stuck()
                    heartbeat = Heartbeat(reactor, config.ping_interval, config.ping_timeout)
                    bodies = BodyWatch(reactor, config.http_request_body_timeout)
                    capacity = Capacity(lambda: len(self.sessions), self.report)
                    serving = self._serving = _Serving(os.getpid(), reactor, heartbeat, bodies, capacity)
                    self.sessions = {}
        return serving

    # -- a request ----------------------------------------------------------------------------------------------

    def notice(self) -> None:
        """A request is being served, of the engine or not: that tells what the WSGI server bears."""
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
                raise EngineError(FORBIDDEN, _origin_advice(request))
            preflight = self._origins.preflight(request)
            cors = self._origins.headers(request)
            answer = preflight or self._route(request, cors)
        except EngineError as error:
            if error.code != UNKNOWN_SID or request.sid not in self._ended:
                self.report(f"code {error.code}", error.context)
            answer = error.response(upgrade)
        if isinstance(answer, Response):
            answer.headers += cors
        return answer

    def cors_headers(self, environ: Environ) -> Headers:
        """The CORS headers of an answer to the page that made the request, from whatever answers it."""
        request = EngineRequest(environ, environ["REQUEST_METHOD"], {}, False)
        return self._origins.headers(request) if self._origins.allows(request) else []

    def _route(self, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        session = verify(request, self.config, self.sessions.get)
        websocket = request.query["transport"] == "websocket"
        if session is None:
            if self._closed:
                return Response(503, [("Retry-After", "1")])
            return self._open_websocket(request, cors) if websocket else self._open_polling(request)
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

    def _new_session(self, request: EngineRequest) -> Session:
        kind = SessionV3 if request.protocol == 3 else Base64Session if request.query.get("b64") else Session
        return kind(self, secrets.token_urlsafe(15), _keep(request.environ))

    def _open_polling(self, request: EngineRequest) -> Response:
        config = self.config
        session = self._new_session(request)
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
        if config.cookie not in (None, False):
            response.headers.append(("Set-Cookie", _cookie(config.cookie, session.id)))
        return response

    def _open_websocket(self, request: EngineRequest, cors: Headers) -> Hijacked:
        session = self._new_session(request)
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
        if not request.upgrade:
            raise EngineError(BAD_REQUEST, "transport=websocket came without an Upgrade header")
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
        if not can_take(environ):
            raise EngineError(
                BAD_REQUEST,
                "this WSGI server does not give its socket away, so only polling works; gunicorn with -k gevent or"
                " --threads does",
                _NO_WEBSOCKET,
            )
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
        except OSError:  # the connection cannot go back
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
        logger.log(logging.WARNING if first else logging.DEBUG, "refused (%s): %s", kind, text)


def _refuse_unpatched_gevent(environ: Environ) -> None:
    if environ.get("SERVER_SOFTWARE", "").startswith("gevent/") and not threads_are_greenlets():
        raise RuntimeError(
            "gevent serves this app but has not patched the standard library: put"
            " 'from gevent import monkey; monkey.patch_all()' at the very top of the program"
        )


def _origin_advice(request: EngineRequest) -> str:
    host = request.environ.get("HTTP_HOST", "")
    if request.origin is None:
        return "a page of another site polls by JSONP; that needs cors_allowed_origins='*'"
    return (
        f"the page is from {request.origin!r} and the server is {host!r}; to allow it set"
        f" cors_allowed_origins={request.origin!r} (behind a proxy, let it pass the Host header on)"
    )


def _keep(environ: Environ) -> Environ:
    """What a session remembers of its handshake: everything but the server's own objects."""
    kept = {key: value for key, value in environ.items() if not key.startswith(("wsgi.", "gunicorn.", "werkzeug."))}
    kept["wsgi.url_scheme"] = environ.get("wsgi.url_scheme", "http")
    return kept


def _cookie(cookie: bool | str | Mapping[str, Any], sid: str) -> str:
    """The Set-Cookie value, its defaults being the reference's."""
    options: dict[str, Any] = {"name": "io", "path": "/", "http_only": True, "same_site": "Lax"}
    if isinstance(cookie, str):
        options["name"] = cookie
    elif not isinstance(cookie, bool):
        options.update(cookie)
    parts = [f"{options['name']}={sid}"]
    if options.get("max_age") is not None:
        parts.append(f"Max-Age={int(options['max_age'])}")
    if options.get("domain"):
        parts.append(f"Domain={options['domain']}")
    if options["path"]:
        parts.append(f"Path={options['path']}")
    parts += [flag for key, flag in (("http_only", "HttpOnly"), ("secure", "Secure")) if options.get(key)]
    if options["same_site"]:
        parts.append(f"SameSite={str(options['same_site']).capitalize()}")
    return "; ".join(parts)
