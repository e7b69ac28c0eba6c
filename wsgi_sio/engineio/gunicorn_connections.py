"""Connections that have left a gunicorn worker with a request and go on in this process, as those of its own worker.

Siblings have handed them over, or a request has waited outside of the worker (pending_requests.py).

When the request with which one has come is answered, it is put into the worker as if that had accepted it and had
answered one request: gthread's has it among its idle keep-alive connections and counts it in ``nr_conns``, gevent's has
a greenlet for it in the pool of the server at whose address it has come.  From then on it is like any other: gunicorn
times it out, parses its next request, has its end counted, and ends it when the worker stops.

That is where gunicorn is known to have it so, and accepts nothing but HTTP/1 without TLS or PROXY protocol there; and
for as long as the worker has room.  Elsewhere a connection ends with its answer.
"""

from __future__ import annotations

import _socket
import socket
import sys
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

from ..runtime import Rank, make_lock
from ..siblings.server_addresses import forms, name_of
from .gunicorn_main_thread import MainThread, has_main_thread
from .hijacked_connection import Place


class WorkerConnections(ABC):
    """Those of a worker; see the module's text.

    :param listeners: what a connection is told to have come to, by the name of its address.
    """

    def __init__(self, worker: Any, listeners: dict[str | None, Any]) -> None:
        self._worker = worker
        self._listeners = listeners
        self._lock = make_lock(Rank.LEAF)
        self._expected = 0  # those for which there is to be room

    def reserve(self, sock: _socket.socket) -> Place | None:
        """From anywhere: room for a connection that is about to be answered; None where it is to end with that."""
        name = name_of(sock)
        names = () if name is None else forms(name)
        listener = next((self._listeners[name] for name in names if name in self._listeners), None)
        if listener is None or not self._worker.alive:
            return None
        try:
            client = sock.getpeername()
        except OSError:  # it has left
            return None
        with self._lock:
            if self._room(listener) <= self._expected:
                return None
            self._expected += 1
        return _Reservation(self, client, listener)

    def release(self) -> None:
        """From anywhere: one that was expected has come, or does not."""
        with self._lock:
            self._expected -= 1

    @abstractmethod
    def _room(self, listener: Any) -> int:
        """For how many more there is room."""

    @abstractmethod
    def add(self, sock: _socket.socket, client: Any, listener: Any) -> None:
        """The worker has one that was expected."""


class _Reservation:
    """See :class:`Place`.

    :param client: whose it is, as ``accept()`` would tell it.
    """

    __slots__ = ("_client", "_connections", "_listener")

    def __init__(self, connections: WorkerConnections, client: Any, listener: Any) -> None:
        self._connections = connections
        self._client = client
        self._listener = listener

    def take(self, sock: _socket.socket) -> None:
        self._connections.add(sock, self._client, self._listener)

    def release(self) -> None:
        self._connections.release()


class ThreadConnections(WorkerConnections):
    """Those of a gthread worker, whose main thread has them.

    :param kind: what it knows of each is of this class.
    """

    def __init__(self, worker: Any, kind: Any) -> None:
        super().__init__(worker, {name_of(sock): sock.getsockname() for sock in worker.sockets})
        self._main_thread = MainThread(worker)
        self._kind = kind

    def _room(self, listener: Any) -> int:
        worker = self._worker
        idle = worker.max_keepalived - len(worker.keepalived_conns)
        return int(min(worker.worker_connections - worker.nr_conns, idle))

    def add(self, sock: _socket.socket, client: Any, listener: Any) -> None:
        accepted = socket.socket(sock.family, sock.type, sock.proto, sock.detach())
        conn = self._kind(self._worker.cfg, accepted, client, listener)
        conn.init()
        self._main_thread.call(partial(self._add, conn), partial(self._close, conn))

    def _add(self, conn: Any) -> None:
        self.release()
        self._worker.nr_conns += 1
        self._worker.finish_request(conn, _Answered())

    def _close(self, conn: Any) -> None:
        """The worker has ended meanwhile."""
        self.release()
        conn.close()


class _Answered:
    """The outcome of a request in gunicorn's pool: it has been answered, and its connection goes on."""

    __slots__ = ()

    def cancelled(self) -> bool:
        return False

    def exception(self) -> None:
        return None

    def result(self) -> bool:
        return True


class GreenletConnections(WorkerConnections):
    """Those of a gevent worker.

    :param servers: gevent's, one for each listening socket.
    """

    def __init__(self, worker: Any, servers: list[Any]) -> None:
        super().__init__(worker, {name_of(server.socket): server for server in servers})

    def _room(self, listener: Any) -> int:
        return int(listener.pool.free_count()) if listener.started else 0

    def add(self, sock: _socket.socket, client: Any, listener: Any) -> None:
        self.release()
        if self._room(listener) <= 0:  # others have come meanwhile
            sock.close()
            return
        kind = type(self._worker.sockets[0])  # gevent's
        listener.do_handle(kind(sock.family, sock.type, sock.proto, sock.detach()), client)


def find_connections(worker: Any) -> WorkerConnections | None:
    """Those of gunicorn's ``worker``; None where it is not known to have them so, or none can come, or not yet."""
    try:
        return _find(worker)
    except (AttributeError, KeyError, OSError, TypeError):  # another version of gunicorn, or it ends
        return None


def _find(worker: Any) -> WorkerConnections | None:
    config = worker.cfg
    if config.is_ssl or not config.keepalive or config.settings["proxy_protocol"].get() not in ("off", False):
        return None
    if getattr(config, "http2_cleartext", None) in ("prior-knowledge", "both"):
        return None  # a connection would be asked for the preface of HTTP/2, first
    if _is_a(worker, "gunicorn.workers.gthread", "ThreadWorker"):
        kind = sys.modules["gunicorn.workers.gthread"].TConn
        wanted = ("self", "cfg", "sock", "client", "server")
        known = (
            kind.__init__.__code__.co_varnames[: len(wanted)] == wanted
            and hasattr(kind, "init")
            and hasattr(kind, "close")
        )
        known = known and all(hasattr(worker, name) for name in _OF_THREADS) and has_main_thread(worker)
        return ThreadConnections(worker, kind) if known else None
    if _is_a(worker, "gunicorn.workers.ggevent", "GeventWorker") and worker.server_class is None:
        servers = _find_servers(worker)
        known = all(hasattr(server, name) for server in servers for name in _OF_GREENLETS)
        return GreenletConnections(worker, servers) if servers and known else None
    return None


_OF_THREADS = ("finish_request", "nr_conns", "worker_connections", "keepalived_conns", "max_keepalived")
_OF_GREENLETS = ("socket", "pool", "do_handle", "started")


def _is_a(worker: Any, module: str, name: str) -> bool:
    return any((kind.__module__, kind.__name__) == (module, name) for kind in type(worker).__mro__)


def _find_servers(worker: Any) -> list[Any]:
    """Those that the worker's ``run()`` has made, in the process's main greenlet, where it sleeps while they serve."""
    greenlet = sys.modules["gevent"].get_hub()
    while greenlet.parent is not None:
        greenlet = greenlet.parent
    frame = greenlet.gr_frame
    while frame is not None:
        if frame.f_code.co_name == "run" and frame.f_locals.get("self") is worker:
            return list(frame.f_locals["servers"])
        frame = frame.f_back
    return []
