"""Which web pages may talk to the server: the Origin check, for polling and WebSocket alike, and CORS headers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from urllib.parse import urlsplit

from .config import AllowedOrigins, Environ
from .request import EngineRequest, Headers, Response

_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE"


class OriginPolicy:
    """Decides by the Origin header, which browsers always send cross-origin and other clients need not send.

    :param allowed: see ``EngineConfig.cors_allowed_origins``.
    :param credentials: whether the answer lets browsers use cookies.
    """

    def __init__(self, allowed: AllowedOrigins, credentials: bool) -> None:
        self._configured = allowed is not None
        self._credentials = credentials
        self._any = False
        self._ask: Callable[[str, Environ], bool] | None = None
        self._listed: frozenset[str] = frozenset()
        if callable(allowed):
            self._ask = _with_environ(allowed)
        elif allowed is not None:
            origins = frozenset([allowed] if isinstance(allowed, str) else allowed)
            self._any = "*" in origins
            self._listed = frozenset(_canonical(origin) for origin in origins)

    def allows(self, request: EngineRequest) -> bool:
        """Whether the page that made the request may."""
        origin = request.origin
        if self._any:
            return True
        if origin is None:
            return not _is_foreign_script(request)
        if _is_same_origin(origin, request.environ):
            return True
        if self._ask is not None:
            return self._ask(origin, request.environ)
        return _canonical(origin) in self._listed

    def headers(self, request: EngineRequest) -> Headers:
        """The CORS headers of an answer to an allowed request."""
        if not self._configured:
            return []
        if self._any and not self._credentials:
            return [("Access-Control-Allow-Origin", "*")]
        headers = [("Vary", "Origin")]
        if request.origin is not None:
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
        if wanted:
            headers += [("Vary", "Access-Control-Request-Headers"), ("Access-Control-Allow-Headers", wanted)]
        return Response(204, headers)


def _is_foreign_script(request: EngineRequest) -> bool:
    # JSONP (protocol 3): a script has no Origin, and its page can read it; today's browsers say where it is from.
    return "j" in request.query and request.environ.get("HTTP_SEC_FETCH_SITE") in ("cross-site", "same-site")


def _with_environ(ask: Callable[..., bool]) -> Callable[[str, Environ], bool]:
    try:
        inspect.signature(ask).bind("origin", {})
    except TypeError:
        return lambda origin, environ: ask(origin)
    return ask


def _canonical(origin: str) -> str:
    scheme, _, rest = origin.strip().rstrip("/").lower().partition("://")
    scheme = {"wss": "https", "ws": "http"}.get(scheme, scheme)
    return f"{scheme}://{rest}" if rest else scheme


def _is_same_origin(origin: str, environ: Environ) -> bool:
    # Schemes are not compared: behind a proxy that ends TLS the page is https and this request http.
    try:
        page = urlsplit(origin.lower())
        host = urlsplit(f"//{environ.get('HTTP_HOST') or environ.get('SERVER_NAME', '')}".lower())
        return page.hostname is not None and (page.hostname, _port(page.port)) == (host.hostname, _port(host.port))
    except ValueError:
        return False


def _port(port: int | None) -> int:
    return 80 if port is None or port == 443 else port
