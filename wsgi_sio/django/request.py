"""Requests for handlers: a handshake's environ with the session and the user that views would get."""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends import signed_cookies
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from ..engineio.config import Environ

logger = logging.getLogger("wsgi_sio.django")


def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def as_request(environ: Environ) -> WSGIRequest:
    """A Django request of a handshake's environ, or of what was kept of it; it has no body."""
    return WSGIRequest({**environ, "wsgi.input": BytesIO()})  # a copy, since Django changes it


class Requests:
    """Makes requests, and ends them; one for a project."""

    def __init__(self) -> None:
        self._warned = False

    @cached_property
    def _middlewares(self) -> list[Any]:
        """The session and authentication middlewares of ``MIDDLEWARE``, subclasses too: others are about responses."""
        kinds: tuple[type[MiddlewareMixin], ...] = (SessionMiddleware,)
        if apps.is_installed("django.contrib.auth"):  # else its models could not be imported
            from django.contrib.auth.middleware import AuthenticationMiddleware

            kinds += (AuthenticationMiddleware,)
        classes: list[Any] = [import_string(path) for path in settings.MIDDLEWARE]
        return [cls(_view) for cls in classes if isinstance(cls, type) and issubclass(cls, kinds)]

    def make(self, environ: Environ) -> HttpRequest:
        """A request with ``session`` and ``user``, both of which are read when first used."""
        request = as_request(environ)
        for middleware in self._middlewares:
            middleware.process_request(request)
        return request

    def finish(self, request: HttpRequest) -> None:
        """Save the session if it was changed, as at the end of a view."""
        response = HttpResponse()
        for middleware in reversed(self._middlewares):
            if hasattr(middleware, "process_response"):
                response = middleware.process_response(request, response)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is None or cookie.value == request.COOKIES.get(cookie.key):
            return
        # To delete it is of no importance, unless the cookie is the session itself.
        if cookie.value or isinstance(request.session, signed_cookies.SessionStore):
            self._warn()

    def _warn(self) -> None:
        logger.log(
            logging.DEBUG if self._warned else logging.WARNING,
            "a handler has changed the session so that its cookie would have to change (a first write without a"
            " session, a log-in, or SESSION_ENGINE is signed_cookies), but a handler cannot set cookies: the browser"
            " keeps the old one; do that in a view",
        )
        self._warned = True
