"""Which web pages may talk to the server: the Origin check, for polling and WebSocket alike, and CORS headers."""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from .config import AllowedOrigins, Environ
from .request import EngineRequest
from .response import Headers, Response

_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE"

_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"ws": "http", "wss": "https"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s/?#@\\:\[\]%*\x00-\x20\x7f]*)(?::([0-9]{1,5}))?", re.IGNORECASE)
_WILDCARD = re.compile(r"([^:/*]+://)\*\.([^*]+)")
_PAGE = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)

_CURE = (
    "an origin is 'https://example.com' or 'https://example.com:8443', 'https://*.example.com' are its sub-domains, a"
    " compiled pattern has to match the whole Origin header, '*' is everybody; for anything else give a function"
    " (origin, environ) -> bool"
)


class Origin(NamedTuple):
    """An origin as browsers compare them: in lower case, the host in punycode, the port always said.

    :ivar port: None where the scheme has no default and none was given.
    """

    scheme: str
    host: str
    port: int | None


Rule = Callable[[str, Origin | None], bool]


def parse_origin(text: str) -> Origin | None:
    """Read an Origin header or an option's value; None for ``null`` and whatever else is no origin.

    A final dot is part of the host, as for browsers.
    """
    scheme, separator, rest = text.strip().partition("://")
    authority = _AUTHORITY.fullmatch(rest.removesuffix("/"))
    if not separator or not _SCHEME.fullmatch(scheme) or authority is None:
        return None
    scheme, host = scheme.lower(), authority[1].lower()
    scheme = _SCHEMES.get(scheme, scheme)
    try:
        if host.startswith("["):
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        elif not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:
        return None
    port = int(authority[2]) if authority[2] else _PORTS.get(scheme)
    if (not host and (scheme in _PORTS or port)) or (port or 0) > 65535:
        return None
    return Origin(scheme, host, port)


class OriginPolicy:
    """Decides by the Origin header, which browsers always send cross-origin and other clients need not send.

    :param allowed: see ``EngineConfig.cors_allowed_origins``.
    :param credentials: whether the answer lets browsers use cookies.
    :param unknown_scripts: whether JSONP is answered whose page is not known.
    :raises TypeError: ``allowed`` is, or holds, something of another kind.
    :raises ValueError: it holds something that could never match.
    """

    def __init__(self, allowed: AllowedOrigins, credentials: bool, unknown_scripts: bool = False) -> None:
        self._configured = allowed is not None
        self._credentials = credentials
        self._unknown_scripts = unknown_scripts
        self._ask: Callable[[str, Environ], bool] | None = _with_environ(allowed) if callable(allowed) else None
        entries = [] if allowed is None or callable(allowed) else _several(allowed)
        self._any = "*" in entries
        self._rules = [_rule(entry) for entry in entries if entry != "*"]
        # As browsers write them, as a rule: then there is nothing to read, which is done for every poll.
        self._written = frozenset(entry for entry in entries if isinstance(entry, str) and "*" not in entry)

    def asks(self, request: EngineRequest) -> bool:
        """Whether the application is asked about the page that made the request, and may change its mind."""
        origin, environ = request.origin, request.environ
        if self._ask is None or origin is None or origin in self._written or origin in _own_origins(environ):
            return False
        parsed = parse_origin(origin)
        return parsed is None or not _is_own(parsed, environ)

    def allows(self, request: EngineRequest) -> bool:
        """Whether the page that made the request may."""
        origin = request.origin
        if self._any:
            return True
        if origin is not None:
            return self._allows_page(origin, request.environ)
        if request.protocol == 3 and "j" in request.query:
            return self._allows_script(request)
        return True

    def _allows_page(self, origin: str, environ: Environ) -> bool:
        if origin in self._written or origin in _own_origins(environ):
            return True
        parsed = parse_origin(origin)
        if parsed is not None and _is_own(parsed, environ):
            return True
        if self._ask is not None:
            return bool(self._ask(origin, environ))
        return any(rule(origin, parsed) for rule in self._rules)

    def _allows_script(self, request: EngineRequest) -> bool:
        # JSONP (protocol 3): a script has no Origin, and its page can read it.  Today's browsers say where it is from,
        # but only to https and localhost; most say the page.
        site = request.environ.get("HTTP_SEC_FETCH_SITE")
        if site in ("same-origin", "none"):
            return True
        page = _PAGE.match(request.environ.get("HTTP_REFERER", ""))
        if page is not None:
            return self._allows_page(page[0], request.environ)
        return site is None and self._unknown_scripts

    def headers(self, request: EngineRequest) -> Headers:
        """The CORS headers of an answer to an allowed request."""
        if not self._configured:
            return []
        if self._any and not self._credentials:
            return [("Access-Control-Allow-Origin", "*")]
        headers = [("Vary", "Origin")]
        if request.origin is not None and _is_clean(request.origin):
            headers.append(("Access-Control-Allow-Origin", request.origin))
        if self._credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        return headers

    def preflight(self, request: EngineRequest) -> Response | None:
        """The answer to an OPTIONS request, or None when CORS was not configured."""
        if request.method != "OPTIONS" or not self._configured:
            return None
        headers = [("Access-Control-Allow-Methods", _METHODS), ("Content-Length", "0")]
        wanted = request.environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        if wanted and _is_clean(wanted):
            headers += [("Vary", "Access-Control-Request-Headers"), ("Access-Control-Allow-Headers", wanted)]
        return Response(204, headers)


def _is_clean(header: str) -> bool:
    """Whether a header may be sent back as it came."""
    return header.isascii() and header.isprintable()


# -- the option -------------------------------------------------------------------------------------------------------


def _with_environ(ask: Callable[..., bool]) -> Callable[[str, Environ], bool]:
    if inspect.iscoroutinefunction(ask):  # what it returns would be true, whatever it says
        raise TypeError(f"cors_allowed_origins={ask!r} is an async function: {_CURE}")
    try:
        inspect.signature(ask).bind("origin", {})
    except TypeError:
        return lambda origin, environ: ask(origin)
    return ask


def _several(allowed: Any) -> list[Any]:
    if isinstance(allowed, (str, re.Pattern)):
        return [allowed]
    if isinstance(allowed, (bytes, bytearray, Mapping)) or not isinstance(allowed, Iterable):
        raise TypeError(f"cors_allowed_origins={allowed!r} is of no use: {_CURE}")
    return list(allowed)


def _rule(entry: Any) -> Rule:
    if isinstance(entry, re.Pattern) and isinstance(entry.pattern, str):
        if not entry.pattern.isascii():
            raise ValueError(f"cors_allowed_origins has {entry!r}, but browsers write such hosts in ASCII (punycode)")
        return lambda text, origin: entry.fullmatch(text) is not None
    if not isinstance(entry, str):
        raise TypeError(f"cors_allowed_origins has {entry!r}: {_CURE}")
    if entry == "null":
        return lambda text, origin: text == "null"
    wildcard = _WILDCARD.fullmatch(entry.strip())
    listed = parse_origin(entry if wildcard is None else wildcard[1] + wildcard[2])
    if listed is None:
        raise ValueError(f"cors_allowed_origins has {entry!r}: {_CURE}")
    if wildcard is None:
        return lambda text, origin: origin == listed
    return lambda text, origin: origin is not None and _is_below(origin, listed)


def _is_below(origin: Origin, parent: Origin) -> bool:
    """Whether ``origin`` is of a sub-domain, at any depth."""
    below = origin.host.endswith(f".{parent.host}") and not origin.host.startswith(".")
    return below and (origin.scheme, origin.port) == (parent.scheme, parent.port)


# -- the server's own origin ------------------------------------------------------------------------------------------


def _own_origins(environ: Environ) -> tuple[str, ...]:
    """Of the server's pages, as the Host header has it."""
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME")
    if not host:
        return ()
    # Behind a proxy that ends TLS the page is https and this request http, so nothing is known of schemes.
    return (f"https://{host}",) if environ.get("wsgi.url_scheme") == "https" else (f"http://{host}", f"https://{host}")


def _is_own(page: Origin, environ: Environ) -> bool:
    for own in map(parse_origin, _own_origins(environ)):
        if own is not None and (own.scheme, own.host) == (page.scheme, page.host):
            # Nor is anything known of the usual ports then.
            either = environ.get("wsgi.url_scheme") != "https" and {own.port, page.port} == {80, 443}
            return either or own.port == page.port
    return False
