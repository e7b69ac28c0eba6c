"""Server: the namespaces and their options, on top of an EngineServer."""

from __future__ import annotations

import inspect
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from ..client_files import ClientFiles, InstalledClient
from ..engineio import EngineConfig, EngineServer, Session
from ..engineio.config import refuse_unknown_options
from ..engineio.log_messages import emit_after_fork, emit_to_nobody, tasks_left_behind
from ..engineio.packet import MESSAGE
from ..engineio.packet import Packet as EnginePacket
from ..logtext import quote
from ..refuse_async import refuse_async
from ..runtime import FAILURES, Rank, Reactor, SharedTimeouts, Task, Timer, make_lock
from ..validation import BYTES, COUNT, DELAY_SECONDS, check_options, type_hints
from .adapter import Adapter
from .broadcast_operator import BroadcastOperator, Broadcasts, Sends
from .broadcast_options import Room
from .connection import Connection
from .dynamic_namespaces import NamespaceTest, ParentNamespace
from .jsoncodec import JSONCodec
from .listens import Listens
from .memory_adapter import MemoryAdapter
from .namespace import AnyErrorHandler, AnyMiddleware, Namespace
from .packet import MAX_ATTACHMENTS, Packet
from .parser import JSON_PARSER, Parser
from .presence import Watchable
from .recovery import RecoveryConfig
from .remote_socket import RemoteSocket
from .server_options import ServerOptions
from .server_side_emit import ServerSide
from .session_aware_adapter import session_aware
from .shutdown import Shutdown
from .socket import Socket
from .v2_clients import ConnectionV2

logger = logging.getLogger("wsgi_sio.socketio")

_NUMBERS = {"connect_timeout": DELAY_SECONDS, "max_mailbox": BYTES, "max_attachments": COUNT}


class Server(ServerOptions, Broadcasts, Sends, Listens, ServerSide, Watchable, Shutdown):
    """A Socket.IO server (protocol 5); wrap your app with :class:`wsgi_sio.WSGIApp` to serve it.

    Registration, broadcasting and middlewares are those of the namespace ``/``.

    :param path: URL prefix.
    :param connect_timeout: seconds a client may stay without joining a namespace.
    :param json: any object with ``dumps`` and ``loads``; None takes the built-in codec.
    :param parser: how packets are written, an object with ``Encoder`` and ``Decoder`` that the clients must have too:
        the default is JSON, ``wsgi_sio.socketio.packet_msgpack`` is the other one.
    :param adapter: makes the adapter of each namespace; called with the namespace.
    :param connection_state_recovery: give clients whose connection was lost their id, rooms, data and missed events
        back: True, or a mapping with fields of :class:`~wsgi_sio.socketio.recovery.RecoveryConfig`.
    :param async_handlers: run all handlers of a client's events beside each other instead of in order.
    :param max_mailbox: bytes of a client's events that may wait for their handlers before nothing more is read from it.
    :param max_attachments: how many bytes values an event or an acknowledgement may hold, either way; JavaScript's
        clients take ten, unless they are told otherwise.
    :param client_files: a directory with the browser's client (``socket.io.min.js``...), served below ``path``. True
        serves the one that ``python -m wsgi_sio client-files`` or npm has installed, False and None serve none.
    :param cleanup_empty_child_namespaces: forget a dynamic namespace when its last client has left.
    :param engine_options: the options of :class:`wsgi_sio.engineio.EngineConfig`.
    :raises TypeError: an option is unknown, or its value of the wrong type.
    :raises ValueError: an option makes no sense.
    """

    # What namespaces are made of where no other kind is asked for; a framework's subclass has its own.
    namespace_class: type[Namespace] = Namespace

    # The Host of a test client's handshake.
    test_host = "localhost"

    def __init__(
        self,
        *,
        path: str = "/socket.io",
        connect_timeout: float = 45.0,
        json: JSONCodec | None = None,
        parser: Parser = JSON_PARSER,
        adapter: Callable[[Namespace], Adapter] | None = None,
        connection_state_recovery: bool | Mapping[str, Any] | None = None,
        async_handlers: bool = False,
        max_mailbox: int = 1_000_000,
        max_attachments: int = MAX_ATTACHMENTS,
        client_files: str | os.PathLike[str] | bool | None = True,
        cleanup_empty_child_namespaces: bool = False,
        **engine_options: Any,
    ) -> None:
        refuse_unknown_options(engine_options, {*EngineConfig.names(), *inspect.signature(Server).parameters})
        own = {
            "connect_timeout": connect_timeout,
            "adapter": adapter,
            "connection_state_recovery": connection_state_recovery,
            "async_handlers": async_handlers,
            "max_mailbox": max_mailbox,
            "max_attachments": max_attachments,
            "client_files": client_files,
            "cleanup_empty_child_namespaces": cleanup_empty_child_namespaces,
        }
        numbers = check_options(own, type_hints(Server.__init__), _NUMBERS)
        self._connect_timeout = connect_timeout or 45.0
        self._json = json
        self._async_handlers = async_handlers
        self._max_mailbox = numbers["max_mailbox"]
        self._max_attachments = numbers["max_attachments"]
        self._client_files = _client_files(client_files)
        self._parser = parser
        self._recovery = RecoveryConfig.of(connection_state_recovery)
        self._encoder = parser.Encoder(json, self.max_attachments)
        self.engine = EngineServer(EngineConfig(path=path, **engine_options), self._on_session)
        self.engine.on_fork = self._on_fork
        self._make_adapter = self._default_adapter() if adapter is None else adapter
        self._orphaned = False  # a child of a process that served, and serves nobody itself
        self._has_tasks = self._left_tasks = False  # background tasks have been started here; by the process before
        self._lock = make_lock(Rank.REGISTRY)
        self._cleanup_empty_child_namespaces = cleanup_empty_child_namespaces
        self._deserted = None
        self.outside = self._nobody_outside()
        self._parents: tuple[ParentNamespace, ...] = ()
        self._namespaces: dict[str, Namespace] = {}
        self._main = self.namespace_class(self, "/")
        self._namespaces["/"] = self._main
        self._handlers = self._main._handlers
        self.engine.is_alone = lambda: self._main.adapter.is_alone()  # noqa: PLW0108 (a fork makes another)

    @property
    def make_adapter(self) -> Callable[[Namespace], Adapter]:
        """The option ``adapter``, or what there is without it."""
        return self._make_adapter

    def _default_adapter(self) -> Callable[[Namespace], Adapter]:
        """What makes the adapters when the option ``adapter`` is not given; the other options are known by now.

        One process is all that is known here: :class:`wsgi_sio.Server` may choose another.
        """
        recovery = self.recovery
        if recovery is None:
            return MemoryAdapter
        return session_aware(recovery.max_disconnection_duration, recovery.max_stored)

    def _on_session(self, session: Session) -> None:
        self._orphaned = False
        if self._left_tasks:
            self._left_tasks = False
            self.engine.report(*tasks_left_behind())
        kind = ConnectionV2 if session.protocol == 3 else Connection
        kind(self, session)

    def _nobody_outside(self) -> SharedTimeouts[Connection]:
        def call_later(delay: float, look: Callable[[], None]) -> Timer:
            # The reactor is made when it is first needed, and another in a forked child.
            return self.reactor.call_later(delay, look)

        return SharedTimeouts(call_later, self.connect_timeout, Connection.stays_outside)

    def _on_fork(self, served: bool) -> None:
        self._lock = make_lock(Rank.REGISTRY)
        self.outside = self._nobody_outside()
        self._deserted = None
        self._orphaned = served or self._orphaned
        self._has_tasks, self._left_tasks = False, self._has_tasks and not served
        for namespace in (*self._namespaces.values(), *self._parents):
            namespace.after_fork()

    def tell_if_unheard(self) -> None:
        """Nobody is reached: if that is because the clients are another process's, say so."""
        adapter = self._main.adapter
        adapter.look_around()
        if not adapter.is_alone():
            return
        if not self._orphaned and not self.engine.asked:
            self.engine.report(*emit_to_nobody())
        elif self._orphaned:
            self.engine.report(*emit_after_fork())

    def encode(self, packet: Packet, compress: bool = True) -> list[EnginePacket]:
        """Encode once what may go to many."""
        parts = self._encoder.encode(packet)
        if len(parts) == 1:  # nearly always, and a comprehension is a call of its own
            return [EnginePacket(MESSAGE, parts[0], compress)]
        return [EnginePacket(MESSAGE, part, compress) for part in parts]

    @property
    def reactor(self) -> Reactor:
        """The reactor of this process."""
        return self.engine.reactor

    def submit(self, job: Callable[[], Any]) -> None:
        """Run work of the application's, in no client's queue, on a worker; frameworks put around it what they need."""
        self.reactor.submit(job)

    def as_handler(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """What is called where ``func`` is the handler of an event.

        A framework's subclass puts around it what it needs.
        """
        return func

    # -- namespaces ---------------------------------------------------------------------------------------------

    @overload
    def of(self, name: str, kind: type[Namespace] | None = None) -> Namespace: ...

    @overload
    def of(self, name: re.Pattern[str] | NamespaceTest, kind: type[Namespace] | None = None) -> ParentNamespace: ...

    def of(self, name: str | re.Pattern[str] | NamespaceTest, kind: type[Namespace] | None = None) -> Namespace:
        """The namespace ``name`` (a leading slash is added), made on first use.

        :param name: or a compiled pattern, or a function ``(name, auth) -> bool``: then the parent of all namespaces
            that clients ask for and it accepts; the first parent that accepts a name gets it.
        :param kind: a subclass with ``on_<event>`` methods, for a namespace (or children) not made yet.
        """
        if not isinstance(name, str):
            parent = ParentNamespace(self, f"/_{len(self._parents)}", name, kind or self.namespace_class)
            self._parents = (*self._parents, parent)
            return parent
        name = name if name.startswith("/") else f"/{name}"
        namespace = self._namespaces.get(name)
        if namespace is None:
            parents = [parent for parent in self._parents if parent.matches_by_name(name)]
            made = parents[0].make_child(name, kind) if parents else (kind or self.namespace_class)(self, name)
            namespace = self._publish(made, parents[0] if parents else None)
        return namespace

    def _publish(self, made: Namespace, parent: ParentNamespace | None) -> Namespace:
        """Make ``made`` known, unless another thread has been faster: then that one's is returned."""
        with self._lock:
            namespace = self._namespaces.setdefault(made.name, made)
            if namespace is made and parent is not None:
                parent.children[made.name] = made
        if namespace is made and made.name != "/":
            made.adapter.begin()
            for handler in self._handlers.find("new_namespace"):
                if handler.once and not self._handlers.claim(handler):
                    continue
                try:
                    handler.func(made)
                except FAILURES:
                    logger.exception("a handler of 'new_namespace' failed for %r", made)
        return namespace

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """Those that there are, by name; the parents of dynamic ones are not among them."""
        return self._namespaces

    @property
    def has_parents(self) -> bool:
        """Whether there are dynamic namespaces."""
        return bool(self._parents)

    def enter_namespace(self, name: str) -> Namespace | None:
        """The namespace a client asks for, which stays until it has left; None when there is none of that name."""
        with self._lock:
            namespace = self._namespaces.get(name)
            if namespace is not None:
                namespace.clients += 1
        return namespace

    def enter_dynamic_namespace(self, name: str, auth: dict[str, Any]) -> Namespace | None:
        """Likewise, made by the first parent that accepts it; runs the application's tests."""
        for parent in self._parents:
            try:
                accepted = parent.matches(name, auth)
                while accepted:  # an empty one may be cleaned away before we are in
                    self._publish(parent.make_child(name), parent)
                    namespace = self.enter_namespace(name)
                    if namespace is not None:
                        return namespace
            except FAILURES:
                logger.exception("whether %s is a namespace could not be told, or it could not be made", quote(name))
        return None

    def leave_namespace(self, namespace: Namespace) -> None:
        """A client that entered is out; the last one takes a dynamic namespace along, if that is wanted."""
        with self._lock:
            namespace.clients -= 1
            emptied = self.cleanup_empty_child_namespaces and namespace.clients == 0
            parents = [p for p in self._parents if emptied and p.children.get(namespace.name) is namespace]
            for parent in parents:
                del parent.children[namespace.name]
                del self._namespaces[namespace.name]
        if parents:
            namespace.adapter.close()
        if self._deserted is not None:
            self._tell_if_deserted(self._deserted)

    @property
    def sockets(self) -> Namespace:
        """The namespace ``/``."""
        return self._main

    def on_error(self, handler: AnyErrorHandler) -> AnyErrorHandler:
        """See :meth:`Namespace.on_error`."""
        return self._main.on_error(handler)

    def use(self, middleware: AnyMiddleware) -> AnyMiddleware:
        """See :meth:`Namespace.use`."""
        return self._main.use(middleware)

    # -- sending ------------------------------------------------------------------------------------------------

    def _operator(self) -> BroadcastOperator:
        return self._main._operator()

    def _own_namespace(self) -> Namespace:
        return self._main

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event to everybody in the namespace ``/``; see :meth:`BroadcastOperator.emit`."""
        return self._main.emit(event, *args, callback=callback)

    def fetch_sockets(self) -> list[Socket | RemoteSocket]:
        """All sockets of the namespace ``/``."""
        return self._main.fetch_sockets()

    def sockets_join(self, room: Room | Iterable[Room]) -> None:
        """Make all sockets of ``/`` join a room, or several."""
        self._main.sockets_join(room)

    def sockets_leave(self, room: Room | Iterable[Room]) -> None:
        """Make all sockets of ``/`` leave a room, or several."""
        self._main.sockets_leave(room)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect everybody in ``/``; see :meth:`Socket.disconnect`."""
        self._main.disconnect_sockets(close)

    # -- background work ----------------------------------------------------------------------------------------

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run ``target(*args, **kwargs)`` in a thread (or greenlet) of its own; the result has ``join(timeout)``.

        It begins with no context variable set, whoever starts it.

        :raises TypeError: it is ``async def``.
        """
        refuse_async(target, "a background task")
        self._has_tasks = True
        return self.reactor.spawn(target, *args, **kwargs)

    def sleep(self, seconds: float) -> None:
        """The same as ``time.sleep``, which gevent has patched where it matters."""
        time.sleep(seconds)


def _client_files(option: str | os.PathLike[str] | bool | None) -> ClientFiles | InstalledClient | None:
    if option is None or isinstance(option, bool):
        return InstalledClient() if option else None
    return ClientFiles(option)
