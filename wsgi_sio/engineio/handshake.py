"""Engine.IO's handshake: from a request that has been checked to the open packet, and a session in the table."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..logtext import quote
from ..sockets import own_descriptor
from .base64_session import Base64Session
from .config import Environ
from .cookie import SessionCookie
from .interfaces import Engine
from .kept_environ import EnvironKeeper
from .packet import OPEN, Packet
from .polling import PollingTransport
from .protocol_v3 import PollingTransportV3, SessionV3
from .request import EngineRequest
from .response import Headers, Hijacked, Response
from .session import Session
from .websocket import WebSocketTransport

if TYPE_CHECKING:
    from .webtransport import WebTransportTransport

logger = logging.getLogger("wsgi_sio.engineio")


class Handshakes:
    """See the module's text.

    :ivar environs: what sessions keep of their handshakes.
    :param on_session: see :class:`EngineServer`.
    """

    def __init__(self, engine: Engine, on_session: Callable[[Session], None]) -> None:
        self._engine = engine
        self._on_session = on_session
        cookie = engine.config.cookie
        self._cookie = None if cookie in (None, False) else SessionCookie(cookie)
        limits = {
            "pingInterval": round(engine.config.ping_interval * 1000),
            "pingTimeout": round(engine.config.ping_timeout * 1000),
            "maxPayload": engine.config.max_http_buffer_size,
        }
        self._limits = _to_json(limits)[1:]
        self.environs = EnvironKeeper()
        self._under_way: set[str] = set()  # the ids of sessions whose handshake is being answered
        self.closed = False

    def after_fork(self) -> None:
        """In a forked child: nobody is on the way."""
        self._under_way = set()

    # -- handshakes ---------------------------------------------------------------------------------------------

    def open(self, request: EngineRequest, cors: Headers) -> Response | Hijacked:
        """Answer a handshake that has been checked, and is not placed elsewhere."""
        if request.query["transport"] == "websocket":
            return self._begin(request, lambda session: self._open_websocket(session, request, cors))
        return self._begin(request, lambda session: self._open_polling(session, request))

    def open_placed(
        self, request: EngineRequest, take: Callable[[], int], accept: bytes, early: bytes
    ) -> Response | Hijacked:
        """Open a session whose handshake another process has checked.

        :param take: gives the descriptor of its WebSocket, if it is for one.
        :param accept: the 101 of that, else nothing.
        """
        self._engine.asked = True
        if not accept:
            return self._begin(request, lambda session: self._open_polling(session, request))

        def begin(session: Session) -> Hijacked:
            transport = self._engine.make_websocket(session, own_descriptor(take()))
            self._start_websocket(session, transport, accept, early)
            return Hijacked(None)

        return self._begin(request, begin)

    def _begin(self, request: EngineRequest, begin: Callable[[Session], Response | Hijacked]) -> Response | Hijacked:
        kind = SessionV3 if request.protocol == 3 else Base64Session if request.query.get("b64") else Session
        session = kind(self._engine, self._engine.new_id(), self.environs.keep(request.environ))
        if self.closed or not self._reserve(session):
            return Response(503, [("Retry-After", "1")])
        try:
            return begin(session)
        finally:
            self._under_way.discard(session.id)

    def _reserve(self, session: Session) -> bool:
        """Take one of ``max_sessions`` places, if one is free; it is the session's while it is being opened."""
        engine = self._engine
        limit = engine.config.max_sessions
        with engine.lock:
            free = limit is None or len(engine.sessions) + len(self._under_way) < limit
            if free:
                self._under_way.add(session.id)
        if not free:
            engine.report(
                "too many sessions",
                f"max_sessions={limit} clients are connected, so another is answered 503; raise it if there is memory"
                " and file descriptors for more, or add processes",
            )
        return free

    def _open_polling(self, session: Session, request: EngineRequest) -> Response:
        engine = self._engine
        config = engine.config
        hold = config.ping_interval + config.ping_timeout
        kind = PollingTransportV3 if session.protocol == 3 else PollingTransport
        transport = kind(session, engine.reactor, engine.bodies, engine.capacity, hold, config.http_compression)
        session.transport = transport
        upgrades = self._upgrades(request, session)
        self._admit(session)
        with session.lock:
            packets = [self._open_packet(session, upgrades), *(session.take_locked() or [])]
        response = transport.payload_response(request, packets)
        if self._cookie is not None:
            response.headers.append(self._cookie.header(session.id, request.environ.get("wsgi.url_scheme", "http")))
        return response

    def _upgrades(self, request: EngineRequest, session: Session) -> list[str]:
        """The transports that a session may go over to."""
        engine = self._engine
        upgrades: list[str] = []
        if engine.config.allow_upgrades:
            if "websocket" in engine.config.transports and (
                request.carrier is not None or engine.acceptance.is_possible(request.environ)
            ):
                upgrades.append("websocket")
            if engine.offers_webtransport and session.protocol == 4:
                upgrades.append("webtransport")
        return upgrades

    def _open_websocket(self, session: Session, request: EngineRequest, cors: Headers) -> Hijacked:
        accepted = self._engine.accept_websocket(session, request, cors)
        with self._engine.acceptance.holding(accepted.held):
            self._start_websocket(session, accepted.transport, accepted.response, accepted.early)
        return Hijacked(accepted.held)

    def _start_websocket(self, session: Session, transport: WebSocketTransport, accept: bytes, early: bytes) -> None:
        session.transport = transport
        try:
            self._admit(session)  # what it sends already waits in the buffer, since the transport is not idle yet
        except BaseException:
            session.close("transport error", abort=True)
            transport.send_accept(accept)
            transport.finish()
            raise
        transport.write_behind(accept, [self._open_packet(session, [])])
        transport.start(early)

    def open_webtransport(self, transport: WebTransportTransport, environ: Environ) -> bool:
        """Open a session whose client has connected by WebTransport; whether it is."""
        engine = self._engine
        engine.asked = True
        session = Session(engine, engine.new_id(), self.environs.keep(environ))
        if self.closed or not self._reserve(session):
            return False
        session.transport = transport
        transport.session = transport.owner = session
        try:
            self._admit(session)
        except BaseException:
            session.close("transport error", abort=True)
            transport.finish()
            raise
        finally:
            self._under_way.discard(session.id)
        transport.write([self._open_packet(session, [])])
        return True

    def _admit(self, session: Session) -> None:
        engine = self._engine
        with engine.lock:
            engine.sessions[session.id] = session
            self._under_way.discard(session.id)
        engine.tell_load()
        if logger.isEnabledFor(logging.DEBUG):
            address = session.environ.get("REMOTE_ADDR", "nowhere")
            logger.debug("a session with %s has begun over %s", quote(address), session.transport.name)
        self._on_session(session)
        engine.heartbeat.start(session)
        if self.closed:  # while this one was on its way
            session.close("forced close", abort=True)

    def _open_packet(self, session: Session, upgrades: list[str]) -> Packet:
        # An id has nothing in it that JSON would write otherwise.
        names = _to_json(upgrades) if upgrades else "[]"
        return Packet(OPEN, f'{{"sid":"{session.id}","upgrades":{names},{self._limits}')


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
