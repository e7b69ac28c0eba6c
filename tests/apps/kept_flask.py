"""Flask with Socket.IO and middlewares outside of it, for ``tests/live/test_kept_polls.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from wsgi_sio.flask import SocketIO


def make() -> Flask:
    app = Flask(__name__)
    socketio = SocketIO(app)

    @socketio.on("echo")
    def echo(value: Any) -> Any:
        return value

    @app.get("/")
    def page() -> str:
        return "hello"

    return app


class Timed:
    """Knows how long each request has taken, as monitoring does."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = time.monotonic()
        answer = self._app(environ, start_response)
        assert time.monotonic() >= began
        return answer


direct = make()

proxied = make()
proxied.wsgi_app = ProxyFix(proxied.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]

timed = Timed(make())

wrapped = make()
wrapped.wsgi_app = Timed(DispatcherMiddleware(wrapped.wsgi_app))  # type: ignore[method-assign]
