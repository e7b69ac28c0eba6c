"""Child process of ``tests.support.servers``: ``python -m tests.support.serve KIND MODULE:APP FD OPTIONS``."""

from __future__ import annotations

import json
import logging
import socket
import sys
from importlib import import_module
from typing import Any


def main(kind: str, app: str, fd: int, options: dict[str, Any]) -> None:
    """Serve ``app`` on the inherited listening socket ``fd`` until the process is told to stop."""
    if kind == "pywsgi":
        from gevent import monkey

        monkey.patch_all()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if kind.startswith("gunicorn-"):
        gunicorn(kind.removeprefix("gunicorn-"), app, fd, options)
    else:
        servers = (pywsgi, werkzeug, wsgiref, waitress, asgiref, a2wsgi)
        {server.__name__: server for server in servers}[kind](load(app), fd, options)


def load(app: str) -> Any:
    """Return the WSGI callable named by ``module:attribute``."""
    module, _, name = app.partition(":")
    return getattr(import_module(module), name)


def gunicorn(worker_class: str, app: str, fd: int, options: dict[str, Any]) -> None:
    from gunicorn.app.wsgiapp import run

    defaults = {"workers": 1, "graceful_timeout": 1, "access_logfile": "-", "log_level": "info"}
    if worker_class == "gthread":
        defaults["threads"] = 16
    sys.argv = ["gunicorn", "--worker-class", worker_class, "--bind", f"fd://{fd}"]
    for name, value in {**defaults, **options}.items():
        if value is not None:
            sys.argv += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    sys.argv.append(app)
    run()


def pywsgi(app: Any, fd: int, options: dict[str, Any]) -> None:
    import gevent.socket
    from gevent.pywsgi import WSGIServer

    WSGIServer(gevent.socket.socket(fileno=fd), app, **options).serve_forever()


def werkzeug(app: Any, fd: int, options: dict[str, Any]) -> None:
    from werkzeug.serving import make_server

    host, port = socket.socket(fileno=socket.dup(fd)).getsockname()
    make_server(host, port, app, **{"threaded": True, **options}, fd=fd).serve_forever()


def wsgiref(app: Any, fd: int, options: dict[str, Any]) -> None:
    """A thread per connection, as Django's runserver does it, and telling the application so."""
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    class ThreadedServer(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    def threaded_app(environ: dict[str, Any], start_response: Any) -> Any:
        return app({**environ, "wsgi.multithread": True}, start_response)  # the standard handler always says False

    listener = socket.socket(fileno=fd)
    server = ThreadedServer(listener.getsockname(), WSGIRequestHandler, bind_and_activate=False, **options)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()
    server.setup_environ()
    server.set_app(threaded_app)
    server.serve_forever()


def waitress(app: Any, fd: int, options: dict[str, Any]) -> None:
    from waitress import serve

    serve(app, sockets=[socket.socket(fileno=fd)], **{"threads": 32, **options})  # each parked poll holds a thread


def asgiref(app: Any, fd: int, options: dict[str, Any]) -> None:
    from asgiref.wsgi import WsgiToAsgi

    uvicorn(WsgiToAsgi(app), fd)


def a2wsgi(app: Any, fd: int, options: dict[str, Any]) -> None:
    from a2wsgi import WSGIMiddleware

    uvicorn(WSGIMiddleware(app, **options), fd)


def uvicorn(app: Any, fd: int) -> None:
    from uvicorn import Config, Server

    Server(Config(app, log_config=None)).run(sockets=[socket.socket(fileno=fd)])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
