"""Where Socket.IO stands among the middlewares of an app."""

from __future__ import annotations

from typing import Any

import flask
from werkzeug.middleware.proxy_fix import ProxyFix

from ..server import Server
from ..wsgi import WSGIApp

# Where middlewares keep the application that they wrap.
_WRAPPED = ("app", "wsgi_app", "application", "_app")


def wrap(app: flask.Flask, io: Server) -> None:
    """Put ``io`` around all that ``app`` has so far; but within a ProxyFix, which is to correct its requests too."""
    outer = _innermost_proxy_fix(app.wsgi_app)
    if outer is None:
        app.wsgi_app = WSGIApp(io, app.wsgi_app)  # type: ignore[method-assign]
    else:
        outer.app = WSGIApp(io, outer.app)


def _innermost_proxy_fix(application: Any) -> ProxyFix | None:
    """The last ProxyFix on the way of a request, as far as the middlewares show what they wrap."""
    found = None
    seen: set[int] = set()
    pending = [application]
    while pending:
        application = pending.pop()
        if id(application) in seen or isinstance(application, flask.Flask):
            continue
        seen.add(id(application))
        if isinstance(application, ProxyFix):
            found = application
        attributes = getattr(application, "__dict__", {})  # what answers to any name, such as a mock, has no end
        pending += [attributes[name] for name in _WRAPPED if name in attributes]
    return found
