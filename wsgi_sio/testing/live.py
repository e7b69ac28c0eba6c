"""LiveServer: an application served on the loopback by this very process, for tests with real clients."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ..development_server import make_server
from ..runtime import Task, create_reactor
from ..server import Server
from ..wsgi import WSGIApp

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class LiveServer:
    """Serves from the moment it is made until :meth:`stop`, with threads, or greenlets where gevent has patched.

    :param app: a WSGI application, or a :class:`wsgi_sio.Server`.
    :param host: address to listen on.
    :param port: 0 takes a free one.
    :ivar url: such as ``http://127.0.0.1:40123``.
    """

    def __init__(self, app: Server | WSGIApplication, *, host: str = "127.0.0.1", port: int = 0) -> None:
        wsgi_app = WSGIApp(app) if isinstance(app, Server) else app
        self._server = make_server(wsgi_app, host, port, log=False)
        self._reactor = create_reactor()
        self._task: Task | None = self._reactor.spawn(self._server.serve_forever)
        self.port = self._server.port
        self.url = f"http://{host}:{self.port}"

    def stop(self) -> None:
        """Stop listening; returns when that is done. The second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            self._server.stop()
            task.join()
            self._reactor.close()

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
