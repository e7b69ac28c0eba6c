"""Servers that have no command line, or not the one that is needed: ``python -m tests.siblings.serve KIND PORT``."""

from __future__ import annotations

import sys
from typing import Any


def pywsgi_forked(port: int) -> None:
    """As gevent's documentation has it: bind, fork, serve in each."""
    from gevent import fork, monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    server = WSGIServer(("127.0.0.1", port), _app(), log=None)
    server.init_socket()
    fork()
    server.serve_forever()


def pywsgi(port: int) -> None:
    from gevent import monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", port), _app(), log=None).serve_forever()


def werkzeug(port: int, **options: Any) -> None:
    from werkzeug.serving import make_server

    make_server("127.0.0.1", port, _app(), **(options or {"threaded": True})).serve_forever()


def werkzeug_forking(port: int) -> None:
    werkzeug(port, processes=2)


def wsgiref(port: int) -> None:
    from wsgiref.simple_server import make_server

    make_server("0.0.0.0", port, _app()).serve_forever()


def waitress(port: int) -> None:
    from waitress import serve

    serve(_app(), listen=f"127.0.0.1:{port}")


def cheroot(port: int) -> None:
    from cheroot.wsgi import Server

    Server(("127.0.0.1", port), _app()).start()


def a2wsgi(port: int) -> None:
    import uvicorn
    from a2wsgi import WSGIMiddleware

    uvicorn.run(WSGIMiddleware(_app()), host="127.0.0.1", port=port)


def uwsgi(port: int) -> None:
    uwsgi_by("--http-socket", port)


def uwsgi_router(port: int) -> None:
    """A process that accepts, and passes requests on to a port of the workers'."""
    uwsgi_by("--http", port)


def uwsgi_by(option: str, port: int) -> None:
    import pyuwsgi

    app = ["--module", "tests.siblings.app:app", "--pythonpath", ".", "--need-app"]
    pyuwsgi.run([option, f"127.0.0.1:{port}", "--processes", "2", "--master", *app])


def _app() -> Any:
    from tests.siblings.app import app

    return app


if __name__ == "__main__":
    kinds = (
        pywsgi, pywsgi_forked, werkzeug, werkzeug_forking, wsgiref, waitress, cheroot, a2wsgi, uwsgi, uwsgi_router
    )  # fmt: skip
    {kind.__name__: kind for kind in kinds}[sys.argv[1]](int(sys.argv[2]))
