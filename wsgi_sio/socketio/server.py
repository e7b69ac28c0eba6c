"""Server: the namespaces and their options, on top of an EngineServer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..adapters import Adapter, MemoryAdapter, Room
from ..client_files import ClientFiles
from ..engineio import EngineConfig, EngineServer, Session
from ..engineio.config import refuse_unknown_options
from ..runtime import Rank, Reactor, Task, make_lock
from .broadcast import BroadcastOperator, Broadcasts
from .connection import Connection
from .handlers import Listens
from .jsoncodec import JSONCodec
from .namespace import AnyMiddleware, Namespace
from .packet import Encoder
from .socket import Socket


class Server(Broadcasts, Listens):
    """A Socket.IO server (protocol 5); wrap your app with :class:`wsgi_sio.WSGIApp` to serve it.

    Registration, broadcasting and middlewares are those of the namespace ``/``.

    :param path: URL prefix.
    :param connect_timeout: seconds a client may stay without joining a namespace.
    :param json: any object with ``dumps`` and ``loads``; None takes the built-in codec.
    :param async_handlers: run all handlers of a client's events beside each other instead of in order.
    :param max_mailbox: bytes of a client's events that may wait for their handlers before nothing more is read from it.
    :param client_files: a directory with the JavaScript client (``socket.io.min.js``...), served below ``path``.
    :param engine_options: the options of :class:`wsgi_sio.engineio.EngineConfig`.
    :raises TypeError: an option is unknown.
    :raises ValueError: an option makes no sense.
    """

    def __init__(
        self,
        *,
        path: str = "/socket.io",
        connect_timeout: float = 45.0,
        json: JSONCodec | None = None,
        async_handlers: bool = False,
        max_mailbox: int = 1_000_000,
        client_files: str | os.PathLike[str] | None = None,
        **engine_options: Any,
    ) -> None:
        own = ("path", "connect_timeout", "json", "async_handlers", "max_mailbox", "client_files")
        refuse_unknown_options(engine_options, {*EngineConfig.names(), *own})
        self.connect_timeout = connect_timeout or 45.0
        self.json = json
        self.async_handlers = async_handlers
        self.max_mailbox = max_mailbox
        self.client_files = None if client_files is None else ClientFiles(client_files)
        self.adapter_class: Callable[[dict[str, Socket]], Adapter] = MemoryAdapter
        self.encoder = Encoder(json)
        self.engine = EngineServer(EngineConfig(path=path, **engine_options), self._on_session)
        self._lock = make_lock(Rank.REGISTRY)
        self._namespaces: dict[str, Namespace] = {}
        self._main = self.of("/")
        self._handlers = self._main._handlers

    def _on_session(self, session: Session) -> None:
        Connection(self, session)

    @property
    def reactor(self) -> Reactor:
        """The reactor of this process."""
        return self.engine.reactor

    # -- namespaces ---------------------------------------------------------------------------------------------

    def of(self, name: str) -> Namespace:
        """The namespace ``name`` (a leading slash is added), made on first use."""
        name = name if name.startswith("/") else f"/{name}"
        namespace = self._namespaces.get(name)
        if namespace is None:
            with self._lock:
                namespace = self._namespaces.setdefault(name, Namespace(self, name))
        return namespace

    def find_namespace(self, name: str) -> Namespace | None:
        """The namespace a client asks for, or None when there is none of that name."""
        return self._namespaces.get(name)

    @property
    def sockets(self) -> Namespace:
        """The namespace ``/``."""
        return self._main

    def use(self, middleware: AnyMiddleware) -> AnyMiddleware:
        """See :meth:`Namespace.use`."""
        return self._main.use(middleware)

    # -- sending ------------------------------------------------------------------------------------------------

    def _operator(self) -> BroadcastOperator:
        return self._main._operator()

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event to everybody in the namespace ``/``; see :meth:`BroadcastOperator.emit`."""
        return self._main.emit(event, *args, callback=callback)

    def send(self, *args: Any) -> bool:
        """Emit the event "message"."""
        return self._main.send(*args)

    def fetch_sockets(self) -> list[Socket]:
        """All sockets of the namespace ``/``."""
        return self._main.fetch_sockets()

    def sockets_join(self, room: Room | list[Room]) -> None:
        """Make all sockets of ``/`` join a room, or several."""
        self._main.sockets_join(room)

    def sockets_leave(self, room: Room | list[Room]) -> None:
        """Make all sockets of ``/`` leave a room, or several."""
        self._main.sockets_leave(room)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect everybody in ``/``; see :meth:`Socket.disconnect`."""
        self._main.disconnect_sockets(close)

    # -- background work and the end ----------------------------------------------------------------------------

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run ``target(*args, **kwargs)`` in a thread (or greenlet) of its own; the result has ``join(timeout)``."""
        return self.reactor.spawn(target, *args, **kwargs)

    def sleep(self, seconds: float) -> None:
        """Sleep; the same as ``time.sleep``, which gevent has patched where it matters."""
        import time

        time.sleep(seconds)

    def close(self) -> None:
        """Stop serving: handlers see "server shutting down", clients lose their connection and will reconnect.

        New sessions are refused with 503 from now on; the WSGI server itself goes on.
        """
        for namespace in list(self._namespaces.values()):
            for socket in list(namespace.sockets.values()):
                socket.conn.close("server shutting down")
            namespace.adapter.close()
        self.engine.close()
