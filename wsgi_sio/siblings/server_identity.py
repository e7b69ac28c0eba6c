"""Which server this process belongs to, and whether it has, or is to expect, siblings.

A server is known by the names of the listening sockets that its processes accept connections from:

=================================  =====================================================================================
gunicorn                           all of its worker's, which signal handlers of the worker lead to: before any request,
                                   and the same whichever of several binds a request has come through
a server that shows its client's   the one that has accepted it
socket
uWSGI, mod_wsgi, ASGI's            all that this process has
=================================  =====================================================================================

It is not the parent's pid: an upgrade of gunicorn (USR2) has two masters, uWSGI without a master has none.
"""

from __future__ import annotations

import _socket
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..runtime import has_forked
from .server_addresses import anywhere, forms, listening_names, name_of
from .socket_directory import OWN

Environ = Mapping[str, Any]

# gunicorn's handlers are methods of its worker; an application may have replaced one, uvicorn's worker keeps only one.
_SIGNALS = ("SIGABRT", "SIGUSR1", "SIGWINCH", "SIGQUIT")
# What is in the path of a listening socket that is no server's: ours, and those of multiprocessing.
_PRIVATE = (f"/{OWN}-", "/pymp-")


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A server.

    :ivar name: the same in all of its processes.
    :ivar several: whether it has several; None: it may have, if only for the time of a reload.
    """

    name: str
    several: bool | None


@dataclass(frozen=True, slots=True)
class Alone:
    """This process is to join nobody.

    :ivar why: for the log.
    :ivar missed: whether there are others, whom it cannot join.
    """

    why: str
    missed: bool


def identify_server(
    environ: Environ | None, client: Any = None, siblings: bool | str = True, *, handed_down: bool = False
) -> ServerIdentity | Alone | None:
    """Where this process is to look for siblings; None: nothing can be told before there is a request.

    :param environ: of a request; None when there has been none.
    :param client: the socket of the request's client, where the server shows it.
    :param siblings: ``False``: nowhere; a text: whoever has the same, on the same host and of the same user.
    :param handed_down: whether the application was loaded in another process, which has forked this one.
    """
    if siblings is False:
        return Alone("siblings=False", missed=False)
    several = bool(environ and environ.get("wsgi.multiprocess"))
    if not _has_unix_sockets():
        return Alone(
            "this system has no Unix sockets that carry descriptors", missed=several or isinstance(siblings, str)
        )
    if environ is not None and (reason := _one_request_each(environ)):
        return Alone(reason, missed=True)
    if isinstance(siblings, str):
        return ServerIdentity(f"name:{siblings}", several=True)
    server = find_server(environ, client)
    if server is None:
        return None if environ is None else Alone("this process has no listening socket", missed=several or handed_down)
    if server.several is False:
        # Who has forked, and serves as well, has siblings in its children.
        joins = handed_down or has_forked()
        return replace(server, several=None) if joins else Alone("the server has one process", missed=False)
    return server


def find_server(environ: Environ | None = None, client: Any = None) -> ServerIdentity | None:
    """The server that this process belongs to; None where that cannot be seen (yet).

    :param environ: of a request; without one, only gunicorn can be told.
    :param client: the socket of the request's client, where the server shows it.
    """
    several = bool(environ and environ.get("wsgi.multiprocess"))
    worker = gunicorn_worker()
    if worker is not None:
        names = [name_of(sock) for sock in worker.sockets]
        if None in names:
            return None  # it has closed them, since it is about to end
        return _identity(filter(None, names), (several or worker.cfg.workers > 1) or None)
    if environ is None:
        return None
    return _identity(_accepting(client), several)


def _identity(names: Iterable[str], several: bool | None) -> ServerIdentity | None:
    name = "|".join(sorted(set(names)))
    return ServerIdentity(name, several) if name else None


def gunicorn_worker() -> Any | None:
    """The worker of gunicorn's that this process is; None where that is none, or does not show."""
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        worker = None if number is None else getattr(signal.getsignal(number), "__self__", None)
        if hasattr(worker, "sockets") and hasattr(worker, "cfg"):  # the arbiter's are handlers as well
            return worker
    return None


def before_serving(call: Callable[[], None]) -> None:
    """Have ``call`` called when the gunicorn worker that this process is, or is about to be, is about to serve.

    That is through its hook ``post_worker_init``, behind whatever is there already; outside of gunicorn, never.
    """
    owner = gunicorn_worker() or _gunicorn_arbiter()
    if owner is None:
        return
    config = owner.cfg
    then = config.post_worker_init

    def post_worker_init(worker: object) -> None:
        then(worker)
        call()

    try:
        config.set("post_worker_init", post_worker_init)
    except (AttributeError, TypeError):  # another gunicorn's; then it is known by its first request
        pass


def _gunicorn_arbiter() -> Any | None:
    """Whoever forks the workers; in a worker that has just been forked its handlers are still there."""
    arbiter = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return arbiter if hasattr(arbiter, "LISTENERS") and hasattr(arbiter, "cfg") else None


def _accepting(client: Any) -> Iterable[str]:
    """The names of the sockets that have, or may have, accepted ``client``."""
    names = listening_names()
    local = None if client is None else name_of(client)
    if local is None:
        return [name for name in names if not any(mark in name for mark in _PRIVATE)]
    for form in forms(local):
        if form in names:
            return [form]
    return [anywhere(local)]  # another process accepts, and passes connections on; or a router has changed the address


def _one_request_each(environ: Environ) -> str | None:
    """Why nobody could find this process again; None when it is one that stays."""
    if environ.get("wsgi.run_once"):
        return "this process serves one request (CGI)"
    if environ.get("wsgi.multiprocess") and environ.get("SERVER_SOFTWARE", "").startswith("Werkzeug"):
        return "werkzeug's server forks a process for each request (processes=)"
    return None


def _has_unix_sockets() -> bool:
    return hasattr(_socket, "AF_UNIX") and hasattr(_socket.socket, "sendmsg") and hasattr(os, "geteuid")
