"""WSGIApp: the middleware.  Only here is ``start_response`` known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .engineio.request import Response
from .engineio.server import EngineServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .socketio.server import Server


class WSGIApp:
    """Serves Socket.IO below the server's path and passes every other request on to ``app``.

    :param server: a :class:`wsgi_sio.Server`, or a bare :class:`wsgi_sio.engineio.EngineServer`.
    :param app: the wrapped WSGI application; None answers 404 for everything else.
    :ivar server: the server.
    """

    def __init__(self, server: Server | EngineServer, app: WSGIApplication | None = None) -> None:
        self.server = server
        self._engine = server if isinstance(server, EngineServer) else server.engine
        self._client_files = None if isinstance(server, EngineServer) else server.client_files
        self._prefix = self._engine.config.path.rstrip("/") + "/"
        self._app = not_found if app is None else app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._engine.notice()
        path = environ.get("PATH_INFO", "")
        if not path.startswith(self._prefix):
            return self._app(environ, start_response)
        if self._client_files is not None:
            found = self._client_files.respond(
                path[len(self._prefix) :],
                if_none_match=environ.get("HTTP_IF_NONE_MATCH"),
                accept_encoding=environ.get("HTTP_ACCEPT_ENCODING"),
            )
            if found is not None:
                status, headers, body = found
                start_response(status, headers + self._engine.cors_headers(environ))
                return [body]
        answer = self._engine.handle(environ)
        if isinstance(answer, Response):
            return _send(answer, start_response)
        self._engine.wait_over(answer)
        # The server writes this into a dead socket: see takeover.py.
        start_response(answer.status, [] if answer.status.startswith("101") else [("Content-Length", "0")])
        return []


def _send(response: Response, start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = response.headers
    if response.status not in (204, 304) and not any(name == "Content-Length" for name, _ in headers):
        headers.append(("Content-Length", str(len(response.body))))
    start_response(response.status_line, headers)
    return [response.body]


def not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """What stands in for a wrapped application when there is none."""
    body = b"Not Found"
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
