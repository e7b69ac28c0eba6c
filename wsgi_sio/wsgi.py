"""WSGIApp: the middleware.  Only here is ``start_response`` known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .client_files import is_client_file
from .engineio.errors import UNKNOWN_TRANSPORT, EngineError
from .engineio.gunicorn_calls import spare_answer
from .engineio.log_messages import no_client_file
from .engineio.response import Response
from .engineio.server import EngineServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .client_files import ClientFiles, InstalledClient
    from .server import Server


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
        self._engine.joining.serve()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._engine.notice()
        path = environ.get("PATH_INFO", "")
        if not path.startswith(self._prefix):
            self._engine.joining.begin(environ)
            return self._app(environ, start_response)
        name = path[len(self._prefix) :]
        if name and self._client_files is not None and is_client_file(name):
            self._engine.joining.begin(environ)
            return self._serve_client(self._client_files, name, environ, start_response)
        answer = self._engine.handle(environ)
        if isinstance(answer, Response):
            body = _send(answer, start_response)
            keeper = self._engine.keeper
            return body if keeper is None else keeper.follow(environ, start_response, answer)
        self._engine.acceptance.wait_over(answer)
        # For the access log, and for who writes it into a dead socket: see engineio/hijack.py.
        start_response(answer.status, [] if answer.status.startswith("101") else [("Content-Length", "0")])
        spare_answer(start_response)
        return []

    def _serve_client(
        self, files: ClientFiles | InstalledClient, name: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        cors = self._engine.cors_headers(environ)
        found = files.respond(
            name,
            if_none_match=environ.get("HTTP_IF_NONE_MATCH"),
            accept_encoding=environ.get("HTTP_ACCEPT_ENCODING"),
        )
        if found is not None:
            status, headers, body = found
            start_response(status, headers + cors)
            return [body]
        kind, text = no_client_file(name)
        self._engine.report(kind, text)
        return _send(EngineError(UNKNOWN_TRANSPORT, text, text, cors).response(False), start_response)


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
