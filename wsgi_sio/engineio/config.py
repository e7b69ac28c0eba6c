"""The engine's options, checked once and frozen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Union

from ..refuse_async import refuse_async
from ..validation import BYTES, COUNT, COUNT_OR_NONE_AT_ALL, PING_SECONDS, SECONDS, check_options, type_hints

Environ = dict[str, Any]
# None: same origin only; "*": any; a string or pattern, or several: these; a callable: (origin[, environ]) -> bool.
AllowedOrigins = Union[None, str, re.Pattern[str], Iterable[Union[str, re.Pattern[str]]], Callable[..., bool]]

# Those that begin with a request of HTTP/1, which are what is used unless other ones are asked for.
HTTP_TRANSPORTS = ("polling", "websocket")
TRANSPORTS = (*HTTP_TRANSPORTS, "webtransport")

# The parameters of listen_webtransport().
_LISTENING = ("host", "port", "certfile", "keyfile", "password", "prefix", "max_connections")

_NUMBERS = {
    "ping_interval": PING_SECONDS,
    "ping_timeout": PING_SECONDS,
    "upgrade_timeout": SECONDS,
    "max_http_buffer_size": BYTES,
    "http_request_body_timeout": SECONDS,
    "http_compression": COUNT_OR_NONE_AT_ALL,
    "max_sessions": COUNT,
    "max_outbox": BYTES,
    "max_workers": COUNT,
}


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Options of the Engine.IO layer; the names are the reference's, in snake case, and times are in seconds.

    :param path: URL prefix of the engine.
    :param ping_interval: seconds between a pong and the next ping.
    :param ping_timeout: seconds a client has to answer a ping.
    :param upgrade_timeout: seconds a probe of another transport may take, or a client of WebTransport to begin.
    :param max_http_buffer_size: largest message or request body accepted, in bytes.
    :param http_request_body_timeout: seconds in which the body of a POST has to arrive.
    :param transports: what clients may use, of ``polling``, ``websocket`` and ``webtransport``; the last needs
        ``webtransport`` below, or :meth:`wsgi_sio.Server.listen_webtransport`, as well.
    :param webtransport: where to listen for it once this process serves: a mapping with parameters of that method, such
        as ``{"port": 443, "certfile": ..., "keyfile": ...}``; it is added to ``transports``. None: nowhere.
    :param allow_upgrades: whether polling clients are offered the others.
    :param cors_allowed_origins: which Origins may connect, over all transports alike. None: only the server's
        own. ``"*"``, one origin, ``"https://*.example.com"`` for all sub-domains, a compiled pattern for the whole
        Origin header, several of these, or a callable ``(origin, environ) -> bool``.
    :param cors_credentials: whether browsers may send cookies cross-origin.
    :param cookie: name of a cookie that carries the session id to a load balancer, or a mapping of its attributes
        (``name``, ``path``, ``http_only``, ``same_site``, ``secure``, ``max_age``, ``domain``); True names it
        ``io``, None and False send none. Without ``secure``, it is Secure on https.
    :param allow_request: ``(environ) -> True, None, False or a message``; False and messages refuse the handshake
        with code 4.
    :param http_compression: bytes from which a polling answer is compressed; None for never.
    :param allow_eio3: whether clients of Socket.IO v2 (Engine.IO protocol 3) may connect as well; on pages of other
        origins they need ``cors_credentials`` too, since they always send cookies.
    :param jsonp_without_origin: whether such a client may poll by script (JSONP) although its page is not known, for
        want of an Origin, Sec-Fetch-Site or Referer header: then any page could, and read the answers.
    :param keep_polling_connections: whether gunicorn's workers (gevent, gthread) are spared most polls: they are
        answered where they are read, at a fifth of the cost. None: where nobody would miss them, so not with an access
        log of gunicorn's, a ``pre_request`` or ``post_request`` hook, or a middleware outside (ProxyFix and
        DispatcherMiddleware of Werkzeug are none); True: even though the access log does not show them; False: never,
        and a connection that leaves gunicorn, for another worker or to wait, ends with its answer.
    :param max_sessions: how many clients may be connected; the others' handshakes are answered 503 (None: no limit).
    :param max_outbox: bytes of memory that may wait for a slow client before it is closed; from half of them on, who
        emits to it alone waits for it.
    :param siblings: whether the processes that serve together (gunicorn's workers) are one server: any of them takes
        any request, and broadcasts reach the clients of all. True: those that accept connections at the same
        addresses, if there may be several; a name: all of this user and host that give the same one; False: each is
        alone.
    :param max_workers: how many handlers may run at once (None: 64 threads or 1000 greenlets), beside those that wait
        for a client.
    :raises TypeError: for a value of the wrong type, and a callable that is ``async def``.
    :raises ValueError: for a value that makes no sense.
    """

    path: str = "/engine.io"
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    max_http_buffer_size: int = 1_000_000
    http_request_body_timeout: float = 30.0
    transports: tuple[str, ...] = HTTP_TRANSPORTS
    webtransport: Mapping[str, Any] | None = None
    allow_upgrades: bool = True
    cors_allowed_origins: AllowedOrigins = None
    cors_credentials: bool = False
    cookie: bool | str | Mapping[str, Any] | None = None
    allow_request: Callable[[Environ], bool | str | None] | None = None
    http_compression: int | None = 1024
    allow_eio3: bool = False
    jsonp_without_origin: bool = False
    keep_polling_connections: bool | None = None
    max_sessions: int | None = None
    max_outbox: int = 4_000_000
    siblings: bool | str = True
    max_workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("allow_request", "cors_allowed_origins"):  # a coroutine would pass for a yes
            refuse_async(getattr(self, name), name)
        for name, value in check_options(vars(self), type_hints(EngineConfig), _NUMBERS).items():
            object.__setattr__(self, name, value)
        transports = (self.transports,) if isinstance(self.transports, str) else tuple(self.transports)
        unknown = [name for name in transports if name not in TRANSPORTS]
        if unknown or not transports:
            raise ValueError(f"transports must be some of {TRANSPORTS}, not {self.transports!r}")
        if self.webtransport is not None:
            refuse_unknown_options(self.webtransport, _LISTENING)
            transports = tuple(dict.fromkeys((*transports, "webtransport")))
        object.__setattr__(self, "transports", transports)
        object.__setattr__(self, "path", "/" + self.path.strip("/"))
        if self.siblings == "":
            raise ValueError("siblings must be a name, True or False, not ''")

    @cached_property
    def http_transports(self) -> tuple[str, ...]:
        """Those of them that begin with a request to the WSGI server."""
        return tuple(name for name in self.transports if name in HTTP_TRANSPORTS)

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of all options."""
        return frozenset(field.name for field in fields(cls))


def refuse_unknown_options(options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse misspelt options instead of ignoring them.

    :raises TypeError: names the first unknown option and the known one that is closest.
    """
    known = sorted(known)
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"
            raise TypeError(f"unknown option {name!r}{hint}")
