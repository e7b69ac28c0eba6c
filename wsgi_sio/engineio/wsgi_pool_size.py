"""How many requests the WSGI server of a request runs at once, found out from that request.

No server tells its application.  Where the number can be looked up, it is read from the objects of the server that the
environ leads to, from the module that it puts into the process, or from the frames below the request: the function in
which a pool's thread waits for work knows its pool.  python-peers.md 5.2 has the facts about each server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from ..runtime import threads_are_greenlets
from .config import Environ

# What a server, or a middleware that knows better, can put into the environ: how many requests run at once.
THREADS = "wsgi_sio.threads"


class Pool(NamedTuple):
    """What a WSGI server runs requests in.

    :ivar size: how many it runs at once; None: as many as come.
    :ivar setting: what raises it, for the log.
    """

    size: int | None
    setting: str


def find_pool(environ: Environ) -> Pool | None:
    """The pool that runs the present request; None where that cannot be found out.  Call it in the request's thread."""
    try:
        return _told(environ) or _beneath(sys._getframe(1), environ)
    except (AttributeError, KeyError):  # a version of the server that keeps it elsewhere
        return None


def setting_of(environ: Environ) -> str:
    """What raises the size of a pool that could not be found."""
    if environ.get("SERVER_SOFTWARE", "").startswith("Granian"):
        return "granian's --blocking-threads"
    return "the number of the server's threads"


def _told(environ: Environ) -> Pool | None:
    if THREADS in environ:
        return Pool(environ[THREADS], f"environ[{THREADS!r}]")
    if not environ.get("wsgi.multithread", True) and not threads_are_greenlets():
        return Pool(1, "the number of the server's threads, which is one")
    if "waitress.client_disconnected" in environ:
        return Pool(environ["waitress.client_disconnected"].__self__.adj.threads, "waitress's --threads")
    if "uwsgi.version" in environ:
        return Pool(sys.modules["uwsgi"].cores, "uWSGI's --threads (or --gevent)")
    if "mod_wsgi.version" in environ:
        return Pool(sys.modules["mod_wsgi"].threads_per_process, "threads= of mod_wsgi's WSGIDaemonProcess")
    return None


def _beneath(frame: FrameType | None, environ: Environ) -> Pool | None:
    while frame is not None:
        if frame.f_code.co_name in _FUNCTIONS:
            find = _FINDERS.get((frame.f_globals.get("__name__"), frame.f_code.co_name))
            if find is not None:
                return find(frame.f_locals, environ)
        frame = frame.f_back
    return None


def _executor(local: dict[str, Any], environ: Environ) -> Pool | None:
    executor = local["executor_reference"]()
    if executor is None:
        return None
    size = executor._max_workers
    if environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        return Pool(size, "gunicorn's --threads")
    if size == 1:
        return Pool(1, "the workers (asgiref's WsgiToAsgi has one: a2wsgi's WSGIMiddleware takes workers=N)")
    return Pool(size, "workers= of the WSGIMiddleware")


def _gevent_gunicorn(local: dict[str, Any], environ: Environ) -> Pool:
    return Pool(local["self"].worker_connections, "gunicorn's --worker-connections")


def _pywsgi(local: dict[str, Any], environ: Environ) -> Pool:
    pool = local["self"].server.pool
    return Pool(None if pool is None else pool.size, "the size of WSGIServer's spawn= pool")


def _cheroot(local: dict[str, Any], environ: Environ) -> Pool:
    return Pool(len(local["self"].server.requests._threads), "cheroot's numthreads")


def _thread_each(local: dict[str, Any], environ: Environ) -> Pool:
    return Pool(None, "")


# By the module and the function in which a pool runs its requests.
_FINDERS: dict[tuple[Any, str], Callable[[dict[str, Any], Environ], Pool | None]] = {
    # gunicorn gthread, asgiref, a2wsgi, uvicorn's and hypercorn's middleware
    ("concurrent.futures.thread", "_worker"): _executor,
    ("gunicorn.workers.ggevent", "handle"): _gevent_gunicorn,
    ("gevent.pywsgi", "handle"): _pywsgi,
    ("cheroot.workers.threadpool", "run"): _cheroot,
    # Werkzeug, Django's runserver, wsgiref with a mix-in
    ("socketserver", "process_request_thread"): _thread_each,
}
_FUNCTIONS = frozenset(function for _, function in _FINDERS)
