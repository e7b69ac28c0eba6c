"""Servers for development and tests: werkzeug's with a thread a request, or gevent's where gevent patched in."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug import serving

from .logtext import hide_session_ids
from .runtime import threads_are_greenlets

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# What to serve TLS with: a context, the files of certificate and key, or "adhoc".
TLS = ssl.SSLContext | tuple[str, str | None] | str | None


class DevelopmentServer(Protocol):
    """It listens when it has been made.

    :ivar port: where.
    """

    port: int

    def serve_forever(self) -> None:
        """Serve until :meth:`stop` or Ctrl-C."""

    def stop(self) -> None:
        """End :meth:`serve_forever`, which runs in another thread or greenlet; requests under way are left alone."""


def make_server(
    app: WSGIApplication, host: str, port: int, *, tls: TLS = None, log: bool = True, **options: Any
) -> DevelopmentServer:
    """Listen on ``host`` and ``port`` (0: a free one), with the server that fits the world this process lives in.

    :param tls: see :data:`TLS`.
    :param log: write a line for each request, without the ids of sessions.
    :param options: those of :func:`werkzeug.serving.make_server`, or of :class:`gevent.pywsgi.WSGIServer`.
    :raises OSError: cannot listen there (with gevent; werkzeug says so and ends the program).
    """
    kind = GreenletServer if threads_are_greenlets() else ThreadedServer
    return kind(app, host, port, tls, log, options)


class ThreadedServer:
    """werkzeug's."""

    def __init__(
        self, app: WSGIApplication, host: str, port: int, tls: TLS, log: bool, options: dict[str, Any]
    ) -> None:
        handler = _DiscreetHandler if log else _QuietHandler
        context: Any = tls
        options = {"threaded": True, "request_handler": handler, **options}
        self._http = serving.make_server(host, port, app, ssl_context=context, **options)
        self.port = self._http.port
        if log:
            self._http.log_startup()

    def serve_forever(self) -> None:
        self._http.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        self._http.shutdown()


class _DiscreetHandler(serving.WSGIRequestHandler):
    """Writes the line without a secret of the client's."""

    def log(self, type: str, message: str, *args: Any) -> None:
        super().log(type, message, *[hide_session_ids(arg) if isinstance(arg, str) else arg for arg in args])


class _QuietHandler(serving.WSGIRequestHandler):
    """Does not write a line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return


class GreenletServer:
    """gevent's."""

    def __init__(
        self, app: WSGIApplication, host: str, port: int, tls: TLS, log: bool, options: dict[str, Any]
    ) -> None:
        from gevent.pywsgi import WSGIHandler, WSGIServer

        class DiscreetHandler(WSGIHandler):
            def format_request(self) -> str:
                return hide_session_ids(super().format_request())

        if tls is not None:
            options = {**options, "ssl_context": _as_context(tls)}
        options = {"handler_class": DiscreetHandler, **options}
        self._http = WSGIServer((host, port), app, log="default" if log else None, **options)
        self._http.start()
        self.port = int(self._http.address[1])

    def serve_forever(self) -> None:
        if not self._http.started:
            return  # stopped before it got here; gevent's would begin again
        try:
            self._http.serve_forever(stop_timeout=0)
        except KeyboardInterrupt:
            return  # werkzeug's returns likewise

    def stop(self) -> None:
        self._http.close()


def _as_context(tls: TLS) -> ssl.SSLContext:
    if isinstance(tls, ssl.SSLContext):
        return tls
    return serving.load_ssl_context(*tls) if isinstance(tls, tuple) else serving.generate_adhoc_ssl_context()
