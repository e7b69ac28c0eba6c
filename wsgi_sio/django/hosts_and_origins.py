"""Which handshakes are answered: Django's own rules about hosts and origins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from ..engineio.config import Environ
from ..engineio.errors import BAD_REQUEST, FORBIDDEN, EngineError
from ..logtext import one_line, quote
from ..runtime import threads_are_greenlets
from .around_event import close_old_connections
from .request import as_request


class HandshakePolicy:
    """Adds Django's rules to the options of a server.

    :ivar options: ``options`` with an ``allow_request`` that asks the project's afterwards, and, unless the project
        has given origins of its own, with ``cors_allowed_origins``.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._ask_project: Callable[[Environ], bool | str | None] | None = options.get("allow_request")
        self._checks_origin = options.get("cors_allowed_origins") is None
        self._csrf = CsrfViewMiddleware(lambda request: HttpResponse())
        self._greenlets = threads_are_greenlets()
        self.options = {**options, "allow_request": self.allow_request}
        if self._checks_origin:
            # The engine asks only about pages of other hosts; these need the CORS headers that this brings.
            self.options["cors_allowed_origins"] = self.trusts_origin

    def allow_request(self, environ: Environ) -> bool | str | None:
        """Check a handshake.

        :raises EngineError: by Django's rules it is refused.
        :raises RuntimeError: gevent has patched the standard library too late for Django.
        """
        if threads_are_greenlets() and not self._greenlets:
            raise RuntimeError(
                "gevent has patched the standard library after Django was loaded, whose database connections greenlets"
                " cannot use then: leave gunicorn's --preload out, or put 'from gevent import monkey;"
                " monkey.patch_all()' at the very top of gunicorn.conf.py"
            )
        request = as_request(environ)
        try:
            request.get_host()
        except DisallowedHost as error:
            raise EngineError(BAD_REQUEST, one_line(str(error), 300)) from None
        if self._checks_origin and "HTTP_ORIGIN" in environ:
            self._verify_origin(request)
        if self._ask_project is None:
            return True
        close_old_connections()  # those of a thread of the WSGI server's, outside of any request that Django sees
        try:
            return self._ask_project(environ)
        finally:
            close_old_connections()

    def trusts_origin(self, origin: str, environ: Environ) -> bool:
        """Whether a page of another host may talk to the server.

        :raises EngineError: it may not.
        """
        self._verify_origin(as_request({**environ, "HTTP_ORIGIN": origin}))  # it may be known by the Referer
        return True

    def _verify_origin(self, request: WSGIRequest) -> None:
        # Not public, but the very rule that forms are checked by.
        if not self._csrf._origin_verified(request):  # type: ignore[attr-defined]
            origin, host = quote(request.META["HTTP_ORIGIN"]), one_line(request.META.get("HTTP_HOST", ""), 100)
            raise EngineError(
                FORBIDDEN,
                f"the page is from {origin} and the server is {request.scheme}://{host}; to allow it, add"
                f" {origin} to CSRF_TRUSTED_ORIGINS (behind a proxy that ends TLS, set SECURE_PROXY_SSL_HEADER)",
            )
