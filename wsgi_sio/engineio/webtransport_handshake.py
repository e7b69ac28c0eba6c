"""From a CONNECT to a session of Engine.IO: the environ that a WSGI server would have made of it, the checks of the
other transports, and the first packet, ``0`` for a new session or ``0{"sid":..}`` to upgrade one.

The browser's URL has no query, so neither a session's id nor the protocol's version is known before that packet.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import Protocol
from urllib.parse import unquote_to_bytes

from ..runtime import FAILURES
from ..webtransport.connection import Address, Closed, Ended, Event, Header, Requested
from ..webtransport.driver import Driver
from .config import Environ
from .errors import BAD_REQUEST, FORBIDDEN, EngineError
from .handshake import Handshakes
from .interfaces import Engine
from .log_messages import no_descriptors, origin_advice
from .relay.joining import Joining
from .relay.webtransport_proxy import relay
from .request import EngineRequest, parse_request
from .verify import ask_application
from .webtransport import WebTransportTransport

logger = logging.getLogger("wsgi_sio.engineio")

_OPEN = "0"
_PORT = re.compile(r":[0-9]*$")
# The longest first packet that may be one (characters).
_LONGEST = 1000


def make_environ(headers: tuple[Header, ...], address: Address, port: int, prefix: str) -> Environ:
    """What a WSGI server would have made of the request.

    :param address: the client's.
    :param port: ours.
    :param prefix: where the application is mounted.
    """
    host = address[0].removeprefix("::ffff:")  # an IPv4 client of a socket that takes both
    environ: Environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/3",
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(address[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        text = value.decode("latin-1")
        if name == b":path":
            path, _, environ["QUERY_STRING"] = text.partition("?")
            if prefix and path.startswith(f"{prefix}/"):
                environ["SCRIPT_NAME"], path = prefix, path[len(prefix) :]
            environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
        elif name == b":authority":
            environ["HTTP_HOST"] = text
            environ["SERVER_NAME"] = _PORT.sub("", text)
        elif not name.startswith(b":") and b"_" not in name:  # in the environ that would look like another header
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            separator = "; " if name == b"cookie" else ","
            environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    return environ


class WebTransportEngine(Engine, Protocol):
    """An :class:`EngineServer`."""

    @property
    def handshakes(self) -> Handshakes: ...

    @property
    def joining(self) -> Joining: ...

    def allows_origin(self, request: EngineRequest) -> bool: ...


class Handshake:
    """Uses a connection until it has a session of Engine.IO, or has shown that it gets none.

    :param port: of the listener.
    :param prefix: where the application is mounted.
    """

    def __init__(self, engine: WebTransportEngine, driver: Driver, port: int, prefix: str) -> None:
        self._engine = engine
        self._driver = driver
        self._port = port
        self._prefix = prefix
        self._environ: Environ = {}
        self._transport: WebTransportTransport | None = None
        self._over = False
        self._timeout = engine.reactor.expire_after(engine.config.upgrade_timeout, self._took_too_long)

    # -- the connection's user, until the session of WebTransport is accepted ------------------------------------

    def on_event(self, event: Event) -> None:
        if isinstance(event, Requested):
            self._environ = make_environ(event.headers, self._driver.address, self._port, self._prefix)
            # The application is asked, and may take its time.
            self._engine.reactor.submit(lambda: self._answer(event.headers))
        elif isinstance(event, (Ended, Closed)):
            self._end()
            self._driver.connection.close()

    def on_progress(self) -> None:
        """Nothing has been sent."""

    def _answer(self, headers: tuple[Header, ...]) -> None:
        """On a worker."""
        try:
            status = self._judge()
        except EngineError as error:
            self._engine.refuse(error, None, upgrade=False)
            status = 403 if error.code == FORBIDDEN else 400
        except FAILURES:
            logger.exception("whether a client may connect by WebTransport could not be told")
            status = 500
        self._driver.post(lambda: self._accept(headers) if status == 200 else self._refuse(status))

    def _judge(self) -> int:
        """The HTTP status.

        :raises EngineError: it is to be refused.
        """
        engine, environ = self._engine, self._environ
        if environ["PATH_INFO"].rstrip("/") != engine.config.path.rstrip("/"):
            return 404
        if engine.handshakes.closed:
            return 503
        request = parse_request(environ)
        if request.origin and any(ord(char) < 32 or ord(char) == 127 for char in request.origin):
            raise EngineError(BAD_REQUEST, "the Origin header holds control characters")
        # Browsers have WebTransport in secure contexts only: a page of plain http is one of this very machine.
        page = EngineRequest({**environ, "wsgi.url_scheme": "http"}, request.method, request.query, upgrade=False)
        if not engine.allows_origin(page):
            raise EngineError(FORBIDDEN, origin_advice(request))
        if request.query.get("EIO", "4") != "4" or request.query.get("transport", "webtransport") != "webtransport":
            raise EngineError(BAD_REQUEST, "WebTransport needs EIO=4 and transport=webtransport, if anything")
        if request.sid is None:
            ask_application(request, engine.config)
        return 200

    def _refuse(self, status: int) -> None:
        if not self._over:
            self._driver.connection.refuse(status)
            # The time-out hangs up, should the client not do so.

    def _accept(self, headers: tuple[Header, ...]) -> None:
        if self._over:
            return
        engine = self._engine
        transport = WebTransportTransport(self._driver, engine.reactor, self, engine.config.max_http_buffer_size)
        self._transport = self._driver.user = transport
        self._driver.connection.accept(headers)

    # -- the transport's owner, until the first packet -----------------------------------------------------------

    def receive(self, data: str | bytes) -> None:
        """Take the first packet."""
        transport, engine = self._transport, self._engine
        assert transport is not None
        self._end()
        if data == _OPEN:
            if not engine.handshakes.open_webtransport(transport, self._environ):
                transport.turn_away()
            return
        sid = _read_sid(data)
        session = engine.sessions.get(sid) if sid is not None else None
        if session is None and sid is not None and self._relay(transport, sid):
            return
        if session is None or session.protocol != 4:
            logger.debug("a client wanted to go over to WebTransport with a session that there is not")
            transport.turn_away()
            return
        transport.session = session
        engine.begin_upgrade(session, transport, b"")

    def _relay(self, transport: WebTransportTransport, sid: str) -> bool:
        """Let a sibling have what comes, if the session is its own."""
        company = self._engine.joining.company
        owner = None if company is None else company.forwarder.find_owner(sid)
        if owner is None:
            return False
        try:
            relay(transport, owner, sid, self._engine.reactor, self._engine.config.max_http_buffer_size)
        except OSError as error:
            self._engine.report(*no_descriptors(error))
            return False
        return True

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool:
        """The client has ended it, or does not speak our language."""
        assert self._transport is not None
        self._end()
        self._transport.turn_away()
        return True

    # -- the end ------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._over = True
        self._timeout.cancel()

    def dismiss(self) -> None:
        """The process is about to end."""
        self._driver.post(self._give_up)

    def _took_too_long(self) -> None:
        if not self._over:
            logger.debug("a client of WebTransport has said nothing for %g s", self._engine.config.upgrade_timeout)
        self._driver.post(self._give_up)

    def _give_up(self) -> None:
        if not self._over:
            self._end()
            if self._transport is not None:
                self._transport.turn_away()
            else:
                self._driver.connection.close()


def _read_sid(data: str | bytes) -> str | None:
    """The session that a first packet is about."""
    if not isinstance(data, str) or data[:1] != _OPEN or len(data) > _LONGEST:
        return None
    try:
        handshake = json.loads(data[1:])
    except (ValueError, RecursionError):
        return None
    sid = handshake.get("sid") if isinstance(handshake, dict) else None
    return sid if isinstance(sid, str) else None
