"""Socket.IO in Flask, with the names, parameters and handler contract of Flask-SocketIO.

Each handler runs in a request context made from the environ of the client's handshake, so ``request``, ``session``,
``g``, ``current_app`` and the teardown functions work as in a view.  ``request`` also has ``sid``, ``namespace`` and
``event`` (``{"message": name, "args": arguments}``).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from io import BytesIO
from typing import Any, TypeVar

import flask
from flask.sessions import SessionMixin

from .exceptions import ConnectRefused, OutOfContext
from .runtime import Task, threads_are_greenlets
from .socketio.namespace import Namespace
from .socketio.server import Server
from .socketio.socket import Socket
from .wsgi import WSGIApp

__all__ = [
    "ConnectRefused",
    "SocketIO",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "rooms",
    "send",
]


AnyHandler = TypeVar("AnyHandler", bound=Callable[..., Any])
Rooms = str | Iterable[str] | None

_current: ContextVar[tuple[SocketIO, Socket]] = ContextVar("wsgi_sio.flask.current")

# How long a callback waits for the answers of several clients (seconds).
_ANSWERS_WITHIN = 60.0

# Where the session that handlers share lives in a connection's environ.
_SESSION_KEY = "wsgi_sio.flask.session"


class SocketIO:
    """Adds Socket.IO to a Flask app, now or with :meth:`init_app`.

    :param app: the app; its ``wsgi_app`` is wrapped, so ``flask run``, ``app.run`` and ``gunicorn module:app`` serve
    both.
    :param manage_session: give handlers a session of their own that begins as a copy of the one at the handshake and
        lasts as long as the connection; False opens Flask's own for every event, whose cookie cannot be changed any
        more.
    :param options: the options of :class:`wsgi_sio.Server`.
    """

    def __init__(self, app: flask.Flask | None = None, *, manage_session: bool = True, **options: Any) -> None:
        self._manage_session = manage_session
        self._options = options
        self._registrations: list[tuple[str, str, Callable[..., Any]]] = []
        self._error_handlers: dict[str | None, Callable[[Exception], Any]] = {}
        self._server: Server | None = None
        self._app: flask.Flask | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask, **options: Any) -> None:
        """Attach to ``app``; ``options`` add to those of the constructor."""
        self._app = app
        self._server = Server(**{**self._options, **options})
        for event, namespace, handler in self._registrations:
            self._attach(event, namespace, handler)
        app.extensions["socketio"] = self
        app.wsgi_app = WSGIApp(self._server, app.wsgi_app)  # type: ignore[method-assign]

    @property
    def server(self) -> Server:
        """The server behind it.

        :raises RuntimeError: there is none before :meth:`init_app`.
        """
        if self._server is None:
            raise RuntimeError("this SocketIO has no app yet: call init_app(app) first")
        return self._server

    # -- handlers -----------------------------------------------------------------------------------------------

    def on(self, message: str, namespace: str | None = None) -> Callable[[AnyHandler], AnyHandler]:
        """Decorator: call the function for event ``message`` with what the client sent.

        ``connect`` handlers may take the auth data, and refuse by returning False or raising
        :class:`ConnectRefused`; ``disconnect`` handlers may take the reason.  What others return acknowledges.
        """

        def register(handler: AnyHandler) -> AnyHandler:
            self.on_event(message, handler, namespace)
            return handler

        return register

    def event(self, handler: AnyHandler) -> AnyHandler:
        """Decorator: register the function for the event of its name."""
        self.on_event(handler.__name__, handler)
        return handler

    def on_event(self, message: str, handler: Callable[..., Any], namespace: str | None = None) -> None:
        """Register ``handler`` for event ``message``."""
        registration = (message, namespace or "/", handler)
        self._registrations.append(registration)
        if self._server is not None:
            self._attach(*registration)

    def on_error(self, namespace: str | None = None) -> Callable[[AnyHandler], AnyHandler]:
        """Decorator: call the function with what a handler of ``namespace`` raises; its result acknowledges."""

        def register(handler: AnyHandler) -> AnyHandler:
            self._error_handlers[namespace or "/"] = handler
            return handler

        return register

    def on_error_default(self, handler: AnyHandler) -> AnyHandler:
        """Decorator: likewise, for namespaces without a handler of their own."""
        self._error_handlers[None] = handler
        return handler

    def _attach(self, event: str, namespace: str, handler: Callable[..., Any]) -> None:
        @functools.wraps(handler)
        def in_context(socket: Socket, *args: Any) -> Any:
            return self._run(socket, event, handler, args)

        # The signature that the server checks calls against is the handler's own, behind the socket.
        own = inspect.signature(handler)
        first = inspect.Parameter("socket", inspect.Parameter.POSITIONAL_ONLY)
        signature = own.replace(parameters=[first, *own.parameters.values()])
        in_context.__signature__ = signature  # type: ignore[attr-defined]
        self.server.of(namespace).on(event, in_context)

    def _run(self, socket: Socket, event: str, handler: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        assert self._app is not None
        environ = socket.handshake.environ
        with self._app.request_context(_complete(environ)) as context:
            if self._manage_session:
                if _SESSION_KEY not in environ:
                    environ[_SESSION_KEY] = _ManagedSession(flask.session)
                context._session = environ[_SESSION_KEY]  # Flask has no public way to replace an opened session
            request: Any = context.request
            request.sid, request.namespace = socket.id, socket.nsp.name
            request.event = {"message": event, "args": args}
            token = _current.set((self, socket))
            try:
                return handler(*args)
            except ConnectRefused:
                raise
            except Exception as error:
                on_error = self._error_handlers.get(socket.nsp.name) or self._error_handlers.get(None)
                if on_error is None or event == "connect":
                    raise
                return on_error(error)
            finally:
                _current.reset(token)

    # -- sending from anywhere ----------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        *args: Any,
        namespace: str = "/",
        to: Rooms = None,
        room: Rooms = None,
        include_self: bool = True,
        skip_sid: Rooms = None,
        callback: Callable[..., Any] | None = None,
    ) -> None:
        """Send an event to everybody in ``namespace``, or in ``to``; works outside of handlers too.

        :param args: the arguments; a single tuple means several.
        :param include_self: False leaves the client out whose handler calls this.
        :param skip_sid: one or several clients to leave out.
        :param callback: called with the acknowledgement of the one client that ``to`` names, or with the list of the
            answers that several have given within a minute.
        """
        skipped = set(_several(skip_sid))
        if not include_self and (current := _current.get(None)) is not None:
            skipped.add(current[1].id)
        _emit(self.server.of(namespace), to if to is not None else room, skipped, event, _arguments(args), callback)

    def send(self, data: Any, json: bool = False, **kwargs: Any) -> None:
        """Send the event ``message`` (or ``json``); the other parameters are those of :meth:`emit`."""
        self.emit("json" if json else "message", data, **kwargs)

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Make everybody leave ``room``."""
        self.server.of(namespace).in_(room).sockets_leave(room)

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, app: flask.Flask, host: str = "127.0.0.1", port: int = 5000, **options: Any) -> None:
        """Serve ``app`` with the development server, or with gevent's where gevent has patched ``threading``.

        :param options: passed on to :func:`werkzeug.serving.run_simple`, such as ``use_reloader`` and ``ssl_context``;
            ``debug`` also sets ``app.debug``.
        """
        if "debug" in options:
            app.debug = bool(options.pop("debug"))
        if threads_are_greenlets():
            from gevent.pywsgi import WSGIServer

            WSGIServer((host, port), app).serve_forever()
        else:
            from werkzeug.serving import run_simple

            options.setdefault("use_reloader", app.debug)
            options.setdefault("use_debugger", app.debug)
            run_simple(host, port, app, threaded=True, **options)

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run ``target(*args, **kwargs)`` in a thread (or greenlet) of its own; the result has ``join(timeout)``."""
        return self.server.start_background_task(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Sleep for ``seconds``."""
        self.server.sleep(seconds)


class _ManagedSession(dict[str, Any], SessionMixin):
    """The session of a connection's handlers: a dict that lives as long as the connection."""


def _complete(environ: dict[str, Any]) -> dict[str, Any]:
    """A full WSGI environ from what was kept of the handshake's, whose body and error stream are gone."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **environ,
    }


def _several(rooms: Rooms) -> list[str]:
    return [] if rooms is None else [rooms] if isinstance(rooms, str) else list(rooms)


def _arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return args[0] if len(args) == 1 and isinstance(args[0], tuple) else args


def _emit(
    namespace: Namespace,
    rooms: Rooms,
    skipped: Iterable[str],
    event: str,
    args: tuple[Any, ...],
    callback: Callable[..., Any] | None,
) -> None:
    names = _several(rooms)
    target = namespace.to(names).except_(list(skipped))
    client = namespace.sockets.get(names[0]) if len(names) == 1 else None
    if callback is None:
        target.emit(event, *args)
    elif client is not None:
        client.emit(event, *args, callback=callback)
    else:
        target.timeout(_ANSWERS_WITHIN).emit(event, *args, callback=lambda error, answers: callback(answers))


# -- helpers for handlers ---------------------------------------------------------------------------------------------


def _handling(helper: str) -> tuple[SocketIO, Socket]:
    current = _current.get(None)
    if current is None:
        raise OutOfContext(
            f"{helper}() needs the client whose event is being handled, and there is none here;"
            f" outside of handlers use the SocketIO object: socketio.emit(..., to=sid_or_room)"
        )
    return current


def _socket(helper: str, sid: str | None, namespace: str | None) -> Socket | None:
    """The client meant: the current one unless another is named."""
    if sid is not None and namespace is not None and (current := _current.get(None)) is not None:
        return current[0].server.of(namespace).sockets.get(sid)
    socketio, socket = _handling(helper)
    if sid is None or sid == socket.id:
        return socket
    return socketio.server.of(namespace or socket.nsp.name).sockets.get(sid)


def emit(
    event: str,
    *args: Any,
    namespace: str | None = None,
    callback: Callable[..., Any] | None = None,
    broadcast: bool = False,
    to: Rooms = None,
    room: Rooms = None,
    include_self: bool = True,
    skip_sid: Rooms = None,
) -> None:
    """Answer the client whose event is being handled, or send to others.

    :param broadcast: to everybody in the namespace.
    :param to: to these rooms or clients instead; ``room`` is the same.
    :param callback: called with the client's acknowledgement; for several clients, see :meth:`SocketIO.emit`.
    :raises OutOfContext: no event is being handled.
    """
    socketio, socket = _handling("emit")
    rooms = to if to is not None else room
    if rooms is None and not broadcast:
        socket.emit(event, *_arguments(args), callback=callback)
        return
    skipped = {*_several(skip_sid), *([] if include_self else [socket.id])}
    name = namespace or socket.nsp.name
    _emit(socketio.server.of(name), rooms, skipped, event, _arguments(args), callback)
    # A client that is still being admitted gets no broadcasts, but those of its own connect handler it expects.
    admitting = not socket.connected and name == socket.nsp.name and socket.id not in skipped
    if admitting and (broadcast or socket.rooms & set(_several(rooms))):
        socket.emit(event, *_arguments(args))


def send(message: Any, json: bool = False, **kwargs: Any) -> None:
    """Like :func:`emit` with the event ``message`` (or ``json``)."""
    emit("json" if json else "message", message, **kwargs)


def join_room(room: str, sid: str | None = None, namespace: str | None = None) -> None:
    """Put the current client, or ``sid``, into ``room``."""
    socket = _socket("join_room", sid, namespace)
    if socket is not None:
        socket.join(room)


def leave_room(room: str, sid: str | None = None, namespace: str | None = None) -> None:
    """Take the current client, or ``sid``, out of ``room``."""
    socket = _socket("leave_room", sid, namespace)
    if socket is not None:
        socket.leave(room)


def close_room(room: str, namespace: str | None = None) -> None:
    """Make everybody leave ``room``."""
    socketio, socket = _handling("close_room")
    socketio.close_room(room, namespace or socket.nsp.name)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[str]:
    """The rooms of the current client, or of ``sid``, its own among them."""
    socket = _socket("rooms", sid, namespace)
    return [] if socket is None else list(socket.rooms)


def disconnect(sid: str | None = None, namespace: str | None = None) -> None:
    """Disconnect the current client, or ``sid``, from the namespace."""
    socket = _socket("disconnect", sid, namespace)
    if socket is not None:
        socket.disconnect()
