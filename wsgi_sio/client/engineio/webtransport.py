"""The client's end of WebTransport: connecting, which blocks, and the server's transport with the roles changed.

The session is asked for at ``https://host:port/path/`` by UDP, whatever the scheme of the server's URL. Datagrams that
are dropped on the way look like a slow server, so where another transport is left to be tried, this one has a second.
"""

from __future__ import annotations

import socket
import ssl
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ...engineio.websocket import Owner
from ...engineio.webtransport import WebTransportTransport
from ...exceptions import ConnectionFailed
from ...runtime import Event
from ...webtransport.connection import Answered, Closed, Connected, Ended, Header
from ...webtransport.connection import Event as ConnectionEvent
from ...webtransport.dialler import Dialler
from ...webtransport.driver import Driver
from ...webtransport.quic import configure
from ..options import ClientOptions
from .interfaces import Engine
from .tcp import BlockingSockets

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration

# Seconds without a word after which a connection is over; the server's pings come sooner.
_IDLE = 120.0
# How long an address may take to answer if there is another, and the last one if another transport is left (seconds).
_PATIENCE = 1.0


class ClientWebTransport(WebTransportTransport):
    """The transport.

    :param owner: who gets what comes; the engine itself, once this is its transport.
    """

    __slots__ = ()

    linger = 2.0
    pings = False

    def __init__(self, engine: Engine, owner: Owner, driver: Driver) -> None:
        super().__init__(driver, engine.reactor, owner, engine.options.max_message_size)
        self.session = engine
        engine.tasks.add(self)

    def abort(self, code: int | None = None, *, baton: bool = False) -> None:
        if baton:
            self.finish(code)
        else:
            super().abort(code)

    def hurry(self) -> None:
        """Wait no longer for the server."""
        self._driver.post(self._leave)

    def _end_connection(self) -> None:
        """At once: a client need not wait for the server to have seen it."""
        self._driver.send_now()
        self._driver.connection.close()
        self._driver.send_now()
        self._driver.give_up("")


class _Approach:
    """Uses the connection until the server has accepted the session, or has not."""

    def __init__(
        self, driver: Driver, done: Event, headers: list[Header], hashes: list[bytes], make: Callable[[Driver], None]
    ) -> None:
        self._driver = driver
        self._done = done
        self._headers = headers
        self._hashes = hashes
        self._make = make
        self.failure: ConnectionFailed | None = None

    def on_event(self, event: ConnectionEvent) -> None:
        connection = self._driver.connection
        if isinstance(event, Connected):
            if self._hashes and connection.peer_certificate_hash not in self._hashes:
                self._fail("the server's certificate is none of certificate_hashes")
                connection.close()
            else:
                connection.request(self._headers)
        elif isinstance(event, Answered):
            if event.status == 200:
                connection.open_stream()
                self._make(self._driver)
                self._done.set()
            else:
                self._fail(f"the server answered {event.status}", event.status)
                connection.close()
        elif isinstance(event, (Ended, Closed)):
            self._fail(event.reason)

    def on_progress(self) -> None:
        """Nothing has been sent."""

    def _fail(self, why: str, status: int | None = None) -> None:
        if self.failure is None:
            self.failure = ConnectionFailed(f"webtransport error: {why}", status)
        self._done.set()


def connect_webtransport(engine: Engine, owner: Owner, sockets: BlockingSockets, *, last: bool) -> ClientWebTransport:
    """Ask the server for a session, blocking; a transport on which nothing has been sent, for ``owner``.

    :param last: whether there is no other transport left to be tried.
    :raises ConnectionFailed: it was not possible.
    """
    options, address = engine.options, engine.address
    port = options.webtransport_port or address.port
    deadline = None if options.timeout is None else monotonic() + options.timeout
    failure = ConnectionFailed(f"webtransport error: {address.host} has no address")
    try:
        found = socket.getaddrinfo(address.host, port, type=socket.SOCK_DGRAM)
    except (OSError, ValueError) as error:  # ValueError: idna
        raise ConnectionFailed(f"webtransport error: {error}") from error
    for number, (family, _, _, _, where) in enumerate(found, 1):
        left = None if deadline is None else deadline - monotonic()
        if number < len(found) or not last:
            left = _PATIENCE if left is None else min(left, _PATIENCE)
        try:
            return _connect_to(engine, owner, sockets, family, where, port, left)
        except ConnectionFailed as error:
            failure = error
    raise failure


def _connect_to(
    engine: Engine, owner: Owner, sockets: BlockingSockets, family: int, where: object, port: int, seconds: float | None
) -> ClientWebTransport:
    made: list[ClientWebTransport] = []
    done = engine.reactor.event()
    headers = _headers(engine, port)
    hashes = [_as_bytes(each) for each in engine.options.certificate_hashes]

    def make(driver: Driver) -> None:
        driver.user = transport = ClientWebTransport(engine, owner, driver)
        made.append(transport)

    configuration = _configure(engine.options, engine.address.host)
    approaches: list[_Approach] = []

    def approach(driver: Driver) -> _Approach:
        approaches.append(_Approach(driver, done, headers, hashes, make))
        return approaches[0]

    try:
        dialler = Dialler(engine.reactor, family, where, configuration, approach)
    except (OSError, RuntimeError) as error:
        raise ConnectionFailed(f"webtransport error: {error}") from error
    sockets.on_cancel(lambda: None if made else dialler.driver.give_up("the connection has been closed meanwhile"))
    done.wait(seconds)
    (approached,) = approaches
    if made:
        return made[0]
    dialler.driver.give_up("")
    if made:  # in the last moment
        made[0].hurry()
    raise approached.failure or ConnectionFailed("webtransport error: timeout")


def _headers(engine: Engine, port: int) -> list[Header]:
    """As a browser asks: by the path alone, unless the application has parameters of its own; but with cookies."""
    address = engine.address
    host = f"[{address.host}]" if ":" in address.host else address.host
    authority = host if port == 443 else f"{host}:{port}"
    path = address.path + (f"?{urlencode(address.query)}" if address.query else "")
    others = {name.lower(): value for name, value in address.headers().items()}
    del others["host"]
    cookies = engine.http_session.cookie_header(f"https://{authority}{path}")
    if cookies is not None:
        others.setdefault("cookie", cookies)
    headers: list[Header] = [
        (b":method", b"CONNECT"),
        (b":protocol", b"webtransport"),
        (b":scheme", b"https"),
        (b":authority", authority.encode()),
        (b":path", path.encode()),
        (b"sec-webtransport-http3-draft02", b"1"),
    ]
    return headers + [(name.encode(), value.encode("latin-1")) for name, value in others.items()]


def _configure(options: ClientOptions, host: str) -> QuicConfiguration:
    configuration, context = replace(configure(None, _IDLE), server_name=host), options.ssl_context
    trusting = options.verify is False if context is None else context.verify_mode == ssl.CERT_NONE
    if trusting or options.certificate_hashes:
        return replace(configuration, verify_mode=ssl.CERT_NONE)
    if context is not None:
        trusted = "".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))
        return replace(configuration, cadata=trusted.encode() or None)
    if isinstance(options.verify, str):
        return replace(configuration, cafile=options.verify)
    paths = ssl.get_default_verify_paths()
    return replace(configuration, cafile=paths.cafile, capath=paths.capath)


def _as_bytes(value: str | bytes) -> bytes:
    return b64decode(value) if isinstance(value, str) else value
