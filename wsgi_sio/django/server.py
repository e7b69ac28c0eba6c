"""The server, namespaces and sockets of a Django project: work for a client is done as the work for a request is."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, cast, overload

from django.core.cache import close_caches
from django.core.handlers.base import BaseHandler
from django.db import connections, reset_queries
from django.urls import get_script_prefix, set_script_prefix

from .. import server as core_server
from ..refuse_async import refuse_async
from ..runtime import Task
from ..socketio import namespace as core_namespace
from ..socketio import socket as core_socket
from ..socketio.dynamic_namespaces import NamespaceTest, ParentNamespace
from ..socketio.handlers import HandlerTable
from ..socketio.server_side_emit import ServerSideHandlers
from .around_event import EVENT, Caches, Event, close_old_connections, set_prefix, tidy
from .request import Requests

if TYPE_CHECKING:
    from django.http import HttpRequest

    from ..socketio.broadcast_options import BroadcastOptions
    from ..socketio.packet import Packet

logger = logging.getLogger("wsgi_sio.django")


class Socket(core_socket.Socket):
    """A client in a namespace, with a request."""

    __slots__ = ()

    @property
    def request(self) -> HttpRequest:
        """The handshake as a Django request, with ``session`` and ``user`` if the project has these middlewares.

        It is the same one as long as an event is handled, and a new one for the next event: what has changed in the
        database meanwhile is seen.  A session that is changed is saved when the event is over, which needs a session
        that exists: a handler cannot set the cookie of a new one.  Outside of events each access makes a new request,
        whose session you would have to save yourself.
        """
        event = EVENT.get(None)
        request = event.requests.get(self) if event else None
        if request is None:
            request = self._server.requests.make(self.handshake.environ)
            if event and not event.over:
                event.requests[self] = request
        return request

    @property
    def _server(self) -> Server:
        return cast("Server", self.nsp.server)

    def _emit(
        self, event: str, args: tuple[Any, ...], options: BroadcastOptions, callback: Callable[..., Any] | None
    ) -> bool:
        if callback is not None:
            refuse_async(callback, "the callback")
            callback = self._server.as_event(callback, self)
        return super()._emit(event, args, options, callback)

    def _run_event(self, packet: Packet, size: int, in_order: bool) -> None:
        with self._server.around_event(self):
            super()._run_event(packet, size, in_order)


class _ServerSideHandlers(ServerSideHandlers):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._server = server

    def run(self, data: list[Any]) -> Any:
        with self._server.around_event():
            return super().run(data)


class Namespace(core_namespace.Namespace):
    """A namespace of the project's server; derive from it for one with ``on_<event>`` methods."""

    socket_class = Socket

    def __init__(self, server: core_server.Server, name: str) -> None:
        super().__init__(server, name)
        self.server_side_handlers = _ServerSideHandlers(cast("Server", server))

    def admit(self, socket: core_socket.Socket) -> None:
        with cast("Server", self.server).around_event(socket):
            super().admit(socket)

    def dismiss(self, socket: core_socket.Socket, own: HandlerTable, reason: str, was_connected: bool) -> None:
        with cast("Server", self.server).around_event(socket):
            super().dismiss(socket, own, reason, was_connected)

    def dispatch(self, socket: core_socket.Socket, own: HandlerTable, data: list[Any]) -> Any:
        result = super().dispatch(socket, own, data)
        cast("Server", self.server).save_sessions()  # before the client gets its acknowledgement
        return result


class Server(core_server.Server):
    """The project's server, ``wsgi_sio.django.io``.

    :param options: those of :class:`wsgi_sio.Server`.
    """

    namespace_class = Namespace
    test_host = "testserver"  # which Django's test runner adds to ALLOWED_HOSTS

    def __init__(self, **options: Any) -> None:
        self.requests = Requests()
        self._caches = Caches()
        self._make_atomic = BaseHandler().make_view_atomic
        super().__init__(**options)

    @overload
    def of(self, name: str, kind: type[core_namespace.Namespace] | None = None) -> core_namespace.Namespace: ...

    @overload
    def of(
        self, name: re.Pattern[str] | NamespaceTest, kind: type[core_namespace.Namespace] | None = None
    ) -> ParentNamespace: ...

    def of(self, name: Any, kind: type[core_namespace.Namespace] | None = None) -> core_namespace.Namespace:
        """See :meth:`wsgi_sio.Server.of`.

        :raises TypeError: ``kind`` does not derive from this module's Namespace, so its sockets would have no request.
        """
        if kind is not None and not issubclass(kind, Namespace):
            raise TypeError(f"{kind.__qualname__} must derive from wsgi_sio.django.Namespace")
        namespace: core_namespace.Namespace = super().of(name, kind)
        return namespace

    @contextmanager
    def around_event(self, socket: core_socket.Socket | None = None) -> Iterator[None]:
        """Do around a block what Django does around a request, and save the sessions that it changes.

        All work for clients runs in it; use it for other work of long-lived threads.

        :param socket: whose event it is: ``reverse()`` gives URLs below the prefix of its handshake.
        """
        event = Event()
        token = EVENT.set(event)
        prefix = get_script_prefix()
        set_prefix(socket)
        tidy(self._caches.use, reset_queries, close_old_connections)
        try:
            yield
        finally:
            self.save_sessions()
            event.over = True
            EVENT.reset(token)
            set_script_prefix(prefix)
            tidy(close_old_connections, close_caches)

    def save_sessions(self) -> None:
        """Save the sessions that the event under way has changed."""
        requests = EVENT.get().requests
        while requests:
            socket, request = requests.popitem()
            try:
                self.requests.finish(request)
            except Exception:
                logger.exception("the session of %r could not be saved", socket)

    def as_event(self, function: Callable[..., Any], socket: core_socket.Socket | None = None) -> Callable[..., Any]:
        """``function``, within :meth:`around_event`."""

        @wraps(function)
        def within_event(*args: Any, **kwargs: Any) -> Any:
            with self.around_event(socket):
                return function(*args, **kwargs)

        return within_event

    def as_handler(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """``func``, as atomic as a view: by ``ATOMIC_REQUESTS`` of each database, ``non_atomic_requests`` opts out."""

        def handle(*args: Any) -> Any:  # asked anew each time, since settings change in tests
            return self._make_atomic(func)(*args)

        return handle

    def submit(self, job: Callable[[], Any]) -> None:
        super().submit(self.as_event(job))

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """See :meth:`wsgi_sio.Server.start_background_task`; the task's database connections end with it.

        Its ``reverse()`` gives the URLs that whoever starts it gets.
        """
        prefix = get_script_prefix()

        refuse_async(target, "a background task")

        def run() -> None:
            set_script_prefix(prefix)
            try:
                target(*args, **kwargs)
            finally:
                connections.close_all()

        return super().start_background_task(run)
