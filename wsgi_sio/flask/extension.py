"""SocketIO: the extension itself; registering handlers, sending from anywhere, running."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

import flask

from ..refuse_async import refuse_async
from ..runtime import Task
from ..server import Server
from ..socketio.socket import Socket
from .disconnect_reason import Reason
from .dispatcher import Dispatcher
from .emit_parameters import as_clients, either
from .external_process import WriteOnlyServer
from .handler_arguments import EventHandler
from .handler_errors import ErrorHandler
from .handler_registry import HandlerRegistry
from .message_queue import MessageQueue
from .middleware import wrap
from .namespace import Namespace, refuse_async_methods
from .options import Options, check, without_run_options
from .request_context import DISPATCHER_KEY, SOCKET_KEY, current_dispatcher, current_environ
from .run import Runner
from .server import PeerServer

if TYPE_CHECKING:
    from .test_client import SocketIOTestClient

# Where an app keeps what brings its events to each of its SocketIOs.
_DISPATCHERS = "wsgi_sio.flask"

AnyHandler = TypeVar("AnyHandler", bound=Callable[..., Any])
AnyErrorHandler = TypeVar("AnyErrorHandler", bound=ErrorHandler)


class SocketIO:
    """Adds Socket.IO to a Flask app, now or with :meth:`init_app`; to several apps, if need be.

    Without an app, but with ``message_queue``, it emits to the clients of the processes that have one: in Celery, say.

    :param app: the app; its ``wsgi_app`` is wrapped, so ``flask run``, ``app.run`` and ``gunicorn module:app`` serve
        both; werkzeug's ProxyFix stays outside, whether it is set before or after.
    :param options: those of Flask-SocketIO (options.py says what each becomes) and of :class:`wsgi_sio.Server`, and

        ``manage_session``: give handlers a session of their own that begins as a copy of the one at the handshake and
        lasts as long as the connection (True, the default); or open Flask's own for every event and save it, which
        works with sessions kept on the server (False);

        ``old_servers``: processes with Flask-SocketIO or python-socketio share the message queue, and their clients are
        to get what is emitted here (False: what they emit is heard all the same).
    :raises TypeError: an option is unknown.
    :raises ValueError: an option cannot be had here; the text says what to do instead.
    :ivar server_options: what was given.
    :ivar wsgi_server: what :meth:`run` serves with at present.
    """

    reason = Reason

    def __init__(self, app: flask.Flask | None = None, **options: Any) -> None:
        self.manage_session = True
        self.server_options: dict[str, Any] = {}
        self._events = HandlerRegistry()
        self._dispatchers: WeakSet[Dispatcher] = WeakSet()  # each app keeps its own
        self._latest: Dispatcher | None = None
        self._runner = Runner()
        self._write_only: WriteOnlyServer | None = None
        if app is not None:
            self.init_app(app, **options)
        else:
            options = without_run_options(options)
            check(options)
            self.server_options.update(options)

    def init_app(self, app: flask.Flask | None, **options: Any) -> None:
        """Attach to ``app``; ``options`` add to those of the constructor, whose errors this raises too."""
        self.server_options.update(without_run_options(options))
        if app is None:
            check(self.server_options)
            self._write_only = None  # its message queue may be another
            return
        self.manage_session = bool(self.server_options.pop("manage_session", self.manage_session))
        dispatcher = Dispatcher(self, app, self._events, Options.of(self.server_options, app))
        self._latest = dispatcher
        self._dispatchers.add(dispatcher)
        app.extensions.setdefault(_DISPATCHERS, {})[self] = dispatcher
        app.extensions["socketio"] = self
        wrap(app, dispatcher.server.io)

    def _dispatcher(self) -> Dispatcher:
        """That of the event being handled, if it is ours; else that of the current app, or the one attached to last."""
        source = current_dispatcher()
        if isinstance(source, Dispatcher) and source.owner is self:
            return source
        dispatcher = self._latest
        if flask.has_app_context():
            dispatcher = flask.current_app.extensions.get(_DISPATCHERS, {}).get(self, dispatcher)
        if dispatcher is None:
            raise RuntimeError("this SocketIO has no app yet: call init_app(app) first")
        return dispatcher

    @property
    def server(self) -> PeerServer:
        """The server of the current app, by python-socketio's methods; ``server.io`` is the :class:`wsgi_sio.Server`.

        Without any app, but with a message queue, those of these methods that reach the servers of others.

        :raises RuntimeError: there is none before :meth:`init_app`.
        """
        if self._latest is None and self._write_only is None:
            queue = MessageQueue.of(self.server_options)
            if queue is not None:
                self._write_only = WriteOnlyServer(queue, self.server_options.get("json"))
        if self._latest is None and self._write_only is not None:
            return cast("PeerServer", self._write_only)
        return self._dispatcher().server

    @property
    def io(self) -> Server:
        """The :class:`wsgi_sio.Server` of the current app.

        :raises RuntimeError: there is none before :meth:`init_app`.
        """
        return self.server.io

    @property
    def async_mode(self) -> str:
        """``gevent`` where gevent has patched the standard library, else ``threading``."""
        return self.server.async_mode

    @property
    def wsgi_server(self) -> Any:
        """What :meth:`run` serves with at present, or None."""
        return self._runner.server

    # -- handlers -----------------------------------------------------------------------------------------------

    def on(self, message: str, namespace: str | None = None) -> Callable[[AnyHandler], AnyHandler]:
        """Decorator: call the function for event ``message`` with what the client sent.

        ``connect`` handlers may take the auth data (None when there is none), and refuse by returning False or raising
        :class:`ConnectionRefusedError`; ``disconnect`` handlers may take the reason.  What others return acknowledges:
        None no arguments, a tuple several, anything else one; :data:`~wsgi_sio.NO_ACK` leaves it unacknowledged.

        :param message: "*" for all that have no handler; the function then gets the event's name first.
        :param namespace: "*" for all namespaces in which nothing handles the event.
        :raises TypeError: the function is ``async def``.
        """

        def register(handler: AnyHandler) -> AnyHandler:
            self.on_event(message, handler, namespace)
            return handler

        return register

    def event(self, handler: Callable[..., Any] | None = None, namespace: str | None = None) -> Any:
        """Decorator: register the function for the event of its name; ``@socketio.event(namespace="/x")`` too."""
        if callable(handler):
            self.on_event(handler.__name__, handler, namespace)
            return handler
        where = handler if isinstance(handler, str) else namespace
        return lambda func: self.event(func, where)

    def on_event(self, message: str, handler: Callable[..., Any], namespace: str | None = None) -> None:
        """Register ``handler`` for event ``message``; see :meth:`on`."""
        self._events.add(message, namespace or "/", handler)
        self._attach(namespace or "/")

    def on_namespace(self, namespace_handler: Namespace) -> None:
        """Register a class-based namespace.

        :raises TypeError: a method of it that handles an event is ``async def``.
        :raises ValueError: it is none, or one for all namespaces.
        """
        if not isinstance(namespace_handler, Namespace):
            raise ValueError(f"Not a namespace instance: {namespace_handler!r}")
        if namespace_handler.namespace == "*":
            raise ValueError("a class-based namespace needs a name; for all there is @socketio.on('*', namespace='*')")
        refuse_async_methods(namespace_handler)
        namespace_handler.socketio = self
        self._events.classes[namespace_handler.namespace] = namespace_handler
        self._attach(namespace_handler.namespace)

    def on_error(self, namespace: str | None = None) -> Callable[[AnyErrorHandler], AnyErrorHandler]:
        """Decorator: call the function with what a handler of ``namespace`` raises.

        Its result takes the place of the handler's: it acknowledges and, for ``connect``, False refuses.
        """

        def register(handler: AnyErrorHandler) -> AnyErrorHandler:
            self._events.errors[namespace or "/"] = _checked(handler)
            return handler

        return register

    def on_error_default(self, exception_handler: AnyErrorHandler) -> AnyErrorHandler:
        """Decorator: likewise, for namespaces without a handler of their own."""
        self._events.errors[None] = _checked(exception_handler)
        return exception_handler

    def _attach(self, namespace: str) -> None:
        for dispatcher in list(self._dispatchers):
            dispatcher.attach(namespace)

    def run_method(self, handler: EventHandler, namespace: str, sid: str, *args: Any) -> Any:
        """Run a class-based namespace's method for the client ``sid``; None when it has gone."""
        dispatcher = self._dispatcher()
        socket = dispatcher.server.socket(sid, namespace)
        return None if socket is None else dispatcher.contexts.run(handler, socket, args)

    # -- sending from anywhere ----------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        to: Any = None,
        room: Any = None,
        include_self: bool = True,
        skip_sid: Any = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> int | None:
        """Send an event to everybody in ``namespace``, or in ``to``; works outside of handlers too.

        :param args: the arguments; a single tuple means several.
        :param to: a room or client, or a list, of which an empty one is nobody; ``room`` is the same.
        :param include_self: False leaves the client out whose event is being handled.
        :param skip_sid: one or several clients to leave out.
        :param callback: called with the acknowledgement of the one client that ``to`` names, or with the list of the
            answers that several have given within a minute; in a handler's request context when emitted in one.
        :param ignore_queue: only to clients of this process; means nothing without a message queue.
        :return: None; without an app: how many servers have it, 0 when it could not be published, too.
        :raises RuntimeError: a callback without an app.
        :raises LocalProtocolError: the event's name is reserved.
        :raises TypeError: an argument is not JSON and not bytes.
        :raises ValueError: there are more bytes values than ``max_attachments``.
        """
        environ = current_environ()
        current: Socket | None = environ.get(SOCKET_KEY)
        skipped = [*as_clients(skip_sid), *([current.id] if current is not None and not include_self else [])]
        if callback is not None and current is not None:
            callback = _in_context(callback, environ[DISPATCHER_KEY], current)
        data = args[0] if len(args) == 1 else args
        sender: PeerServer | WriteOnlyServer = self.server
        return sender.emit(event, data, either(to, room), None, skipped, namespace, callback, ignore_queue)

    def send(self, data: Any, json: bool = False, namespace: str | None = None, to: Any = None, **kwargs: Any) -> None:
        """Emit the event ``message`` (or ``json``); the other parameters are those of :meth:`emit`."""
        self.emit("json" if json else "message", data, namespace=namespace, to=to, **kwargs)

    def call(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        to: Any = None,
        room: Any = None,
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """Send an event to one client and block until it acknowledges; safe inside handlers.

        :param to: the client's session id, or a room with nobody else in it.
        :param timeout: seconds; None: 60.
        :return: None, the one value it acknowledged with, or a tuple of several.
        :raises AckTimeout: no acknowledgement came in time, or can come any more; it is a :class:`TimeoutError`.
        :raises ValueError: it is not one client that is asked.
        """
        data = args[0] if len(args) == 1 else args
        return self.server.call(event, data, either(to, room), namespace=namespace, timeout=timeout)

    def close_room(self, room: Any, namespace: str | None = None) -> None:
        """Make everybody leave ``room``."""
        self.server.close_room(room, namespace)

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, app: flask.Flask, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve ``app`` with werkzeug's development server, or gevent's where gevent has patched the standard library.

        Returns after :meth:`stop`, Ctrl-C or SIGTERM, when the clients have been told.

        :param host: address to listen on; None: 127.0.0.1.
        :param port: None: that of SERVER_NAME, or 5000.
        :param options: see :meth:`Runner.run`.
        """
        with app.app_context():
            if self._dispatcher().ended:  # by a run before; a server that has been closed stays so
                self.init_app(app)
            dispatcher = self._dispatcher()
        dispatcher.ended = self._runner.run(app, dispatcher.server.io, host, port, **options)

    def stop(self) -> None:
        """Make :meth:`run` return; callable from anywhere.

        :raises RuntimeError: it is not running.
        """
        self._runner.stop()

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run ``target(*args, **kwargs)`` in a thread (or greenlet) of its own; the result has ``join(timeout)``."""
        return self.server.start_background_task(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Sleep for ``seconds``."""
        time.sleep(seconds)

    def test_client(
        self,
        app: flask.Flask,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Any = None,
        auth: Any = None,
        flask_test_client: Any = None,
    ) -> SocketIOTestClient:
        """A client in memory, for tests; see :class:`SocketIOTestClient`."""
        from .test_client import SocketIOTestClient

        return SocketIOTestClient(app, self, namespace, query_string, headers, auth, flask_test_client)


def _in_context(callback: Callable[..., Any], dispatcher: Dispatcher, socket: Socket) -> Callable[..., Any]:
    """``callback``, in a request context like that of the handler which gives it."""
    handler = EventHandler("callback", callback)
    return lambda *args: dispatcher.contexts.run(handler, socket, args, message=None)


def _checked(handler: AnyErrorHandler) -> AnyErrorHandler:
    if not callable(handler):
        raise ValueError("exception_handler must be callable")
    refuse_async(handler, "the handler of errors")
    return handler
