"""``socketio.run()`` and ``stop()``."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Mapping
from typing import Any

import flask
from werkzeug._reloader import run_with_reloader
from werkzeug.debug import DebuggedApplication
from werkzeug.serving import is_running_from_reloader
from werkzeug.wsgi import ClosingIterator

from ..development_server import TLS, DevelopmentServer, make_server
from ..engineio.config import refuse_unknown_options
from ..runtime import Event, Rank, make_lock, threads_are_greenlets
from ..server import Server
from .ending_signals import ended_by_signals

logger = logging.getLogger("wsgi_sio.flask")

# The names that run() knows where threads serve: its own, those of app.run(), the reloader's.
_OWN = ("debug", "use_reloader", "reloader_options", "extra_files", "log_output", "ssl_context", "certfile", "keyfile",
        "use_debugger", "use_evalex", "allow_unsafe_werkzeug", "load_dotenv")  # fmt: skip
_WERKZEUG = ("passthrough_errors", "request_handler", "threaded", "processes")
_RELOADER = ("exclude_patterns", "reloader_interval", "reloader_type")
RUN_OPTIONS = frozenset(("host", "port", *_OWN, *_WERKZEUG, *_RELOADER))

# How long requests may take to end when the server does (seconds).
_GRACE = 1.0


class Runner:
    """Serves one app at a time.

    :ivar server: what serves at present, or None.
    """

    def __init__(self) -> None:
        self.server: DevelopmentServer | None = None

    def run(
        self,
        app: flask.Flask,
        io: Server,
        host: str | None,
        port: int | None,
        *,
        debug: bool | None = None,
        use_reloader: bool | None = None,
        reloader_options: Mapping[str, Any] | None = None,
        extra_files: Iterable[str] | None = None,
        log_output: bool | None = None,
        allow_unsafe_werkzeug: bool = True,
        load_dotenv: bool = True,
        ssl_context: TLS = None,
        certfile: str | None = None,
        keyfile: str | None = None,
        use_debugger: bool | None = None,
        use_evalex: bool = True,
        **options: Any,
    ) -> bool:
        """Serve until :meth:`stop`, Ctrl-C or SIGTERM, then close the clients' connections.

        :param debug: sets ``app.debug``, and stands for ``use_reloader`` and ``use_debugger``.
        :param use_reloader: start again when a source file changes.
        :param reloader_options: for the reloader: ``extra_files``, ``exclude_patterns``, ``reloader_interval`` (s),
            ``reloader_type``; they can be given directly too.
        :param extra_files: more files for the reloader to watch.
        :param log_output: a line for each request; None: with werkzeug yes, with gevent in debug mode.
        :param allow_unsafe_werkzeug: ignored, as is ``load_dotenv``.
        :param ssl_context: serve TLS: an SSLContext, the two files, or "adhoc".
        :param certfile: the file of the certificate, instead; ``keyfile`` that of its key.
        :param use_debugger: show errors of views in the browser.
        :param use_evalex: with a console there.
        :param options: those of werkzeug's or gevent's server.
        :return: whether it has served: not where ``flask run`` does.
        :raises TypeError: an option is unknown.
        """
        if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
            logger.warning("socketio.run() is ignored: 'flask run' serves the app, with Socket.IO")
            return False
        reloading = {name: options.pop(name) for name in _RELOADER if name in options}
        if not threads_are_greenlets():
            refuse_unknown_options(options, {*_OWN, *_WERKZEUG, *_RELOADER})
        app.debug = app.debug if debug is None else bool(debug)
        application: Any = app
        if app.debug if use_debugger is None else use_debugger:
            application = DebuggedApplication(app, evalex=use_evalex)
        tls = (certfile, keyfile) if certfile is not None else ssl_context
        log = (app.debug or not threads_are_greenlets()) if log_output is None else log_output

        def serve() -> None:
            self._serve(application, io, host or "127.0.0.1", _port(app, port), tls=tls, log=log, **options)

        if app.debug if use_reloader is None else use_reloader:
            reloading |= dict(reloader_options or {})
            if extra_files:
                reloading["extra_files"] = extra_files
            _reload(serve, reloading)
        else:
            serve()
        return True

    def _serve(self, app: Any, io: Server, host: str, port: int, **options: Any) -> None:
        under_way = _Requests(app, io.reactor.event())
        self.server = server = make_server(under_way, host, port, **options)
        io.engine.begin_serving()

        def stop() -> None:
            if threads_are_greenlets():
                server.stop()
            else:
                io.start_background_task(server.stop)  # it waits for the loop, which the signal has interrupted

        with ended_by_signals(stop):
            try:
                server.serve_forever()
            finally:
                self.server = None
                io.drain(0, grace=_GRACE)
                under_way.finish(_GRACE)
        if is_running_from_reloader():
            # The reloader waits in the main thread (or greenlet) for files to change; a timer's signal gets there.
            io.reactor.call_later(0, lambda: os.kill(os.getpid(), signal.SIGTERM))

    def stop(self) -> None:
        """Make :meth:`run` return.

        :raises RuntimeError: it is not running.
        """
        if self.server is None:
            raise RuntimeError("stop() ends what run() has started; something else serves this app, and has to")
        self.server.stop()


class _Requests:
    """The app, and how many requests are in it: they and the connections they hold are let finish.

    :param done: set when there are none any more, once :meth:`finish` waits for that.
    """

    def __init__(self, app: Any, done: Event) -> None:
        self._app = app
        self._done = done
        self._lock = make_lock(Rank.LEAF)
        self._count = 0
        self._finishing = False

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self._add(1)
        try:
            return ClosingIterator(self._app(environ, start_response), lambda: self._add(-1))
        except BaseException:
            self._add(-1)
            raise

    def finish(self, seconds: float) -> None:
        """Wait for the requests under way, but not for longer than this."""
        self._finishing = True
        self._add(0)
        self._done.wait(seconds)

    def _add(self, number: int) -> None:
        with self._lock:
            self._count += number
            done = self._finishing and not self._count
        if done:
            self._done.set()


def _port(app: flask.Flask, port: int | None) -> int:
    if port is not None:
        return port
    _, _, named = (app.config.get("SERVER_NAME") or "").rpartition(":")
    return int(named) if named.isdigit() else 5000


def _reload(serve: Any, options: dict[str, Any]) -> None:
    if "reloader_interval" in options:
        options["interval"] = options.pop("reloader_interval")
    run_with_reloader(serve, **options)
