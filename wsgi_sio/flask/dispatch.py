"""From an event to the application's handler for it, in a request context; and what becomes of its result."""

from __future__ import annotations

import builtins
import logging
import sys
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import flask
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ..exceptions import ConnectRefused
from ..logtext import quote
from ..runtime import FAILURES
from ..server import Server
from ..socketio.handlers import NO_ACK
from ..socketio.namespace import Namespace as CoreNamespace
from ..socketio.socket import Socket
from ..socketio.tester import tell_tester
from . import sessions
from .current import DISPATCHER_KEY, DISPATCHING, SOCKET_KEY
from .errors import DisconnectReason
from .handlers import LIFE_CYCLE, EventHandler, WrongArguments
from .namespace import Namespace
from .options import Options
from .server import PeerServer
from .write_only import WriteOnlyServer

if TYPE_CHECKING:
    from .extension import SocketIO

logger = logging.getLogger("wsgi_sio.flask")

ErrorHandler = Callable[[Any], Any]

ANY = "*"


class Events:
    """What a SocketIO has been given to handle events with, whatever app they come through.

    One handler for each event of a namespace: a second one takes its place, as a reloaded module's should.

    :ivar classes: the class-based namespaces by name.
    :ivar errors: the handlers of errors by namespace; None for the default.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, dict[str, EventHandler]] = {}
        self.classes: dict[str, Namespace] = {}
        self.errors: dict[str | None, ErrorHandler] = {}

    def add(self, event: str, namespace: str, func: Callable[..., Any]) -> None:
        """Handle ``event`` with ``func``; "*" stands for any event, or any namespace."""
        self._handlers.setdefault(namespace, {})[event] = EventHandler(event, func)

    def namespaces(self) -> set[str]:
        """The namespaces that have handlers."""
        return {*self._handlers, *self.classes} - {ANY}

    def find(self, namespace: str, event: str) -> EventHandler | None:
        """The handler, the nearest first: of this event, of any; then the same of those for any namespace."""
        for scope in (namespace, ANY):
            table = self._handlers.get(scope)
            if table is not None:
                handler = table.get(event) if event != ANY else None
                if handler is None and event not in LIFE_CYCLE:
                    handler = table.get(ANY)
                if handler is not None:
                    return handler
        return None


class Dispatcher:
    """Brings the events of one app's server to the handlers.

    :ivar owner: whose handlers they are.
    :ivar app: the app whose clients they are for.
    :ivar server: the app's server.
    :ivar ended: whether it has been closed.
    """

    def __init__(self, owner: SocketIO, app: flask.Flask, events: Events, options: Options) -> None:
        elsewhere = None if options.queue is None else WriteOnlyServer(options.queue, options.server.get("json"))
        self.server = PeerServer(Server(**options.server), elsewhere)
        self.ended = False
        self.owner = owner
        self.app = app
        self._events = events
        self._open = options.namespaces
        self._always_connect = options.always_connect
        self._own_sessions = sessions.OwnSessions()
        self.attach("/")
        for name in events.namespaces() | (set() if options.namespaces == ANY else set(options.namespaces)):
            self.attach(name)
        if options.namespaces == ANY:
            self._listen(self.server.io.of(lambda name, auth: True))

    def attach(self, name: str) -> None:
        """Let clients join the namespace ``name``."""
        if name != ANY and self.server.namespace(name) is None:
            self._listen(self.server.io.of(name))

    def has(self, namespace: Namespace) -> bool:
        """Whether the class-based ``namespace`` gets its events from here, perhaps from elsewhere too."""
        return self._events.classes.get(namespace.namespace) is namespace

    def _listen(self, namespace: CoreNamespace) -> None:
        self.server.add_namespace(namespace)
        namespace.on("connection" if self._always_connect else "connect", self._connect)
        namespace.on("connection", self.server.admitted)
        namespace.on("disconnecting", self._disconnect)  # while its rooms are still known
        namespace.on(ANY, self._event)

    # -- what the server tells (in the client's mailbox) ----------------------------------------------------------

    def _connect(self, socket: Socket) -> None:
        self.server.admit(socket)
        try:
            self._ask_to_connect(socket)
        except BaseException as error:
            self.server.admitted(socket)
            if not self._always_connect or not isinstance(error, ConnectRefused):
                raise
            socket.disconnect()

    def _ask_to_connect(self, socket: Socket) -> None:
        name = socket.nsp.name
        if self._open != ANY and name not in self._open and name not in self._events.namespaces():
            raise ConnectRefused("Invalid namespace")  # "/" is always there, but may not be meant to be
        handshake = socket.handshake
        if self._dispatch(socket, "connect", (handshake.environ, handshake.auth or None)) is False:
            raise ConnectRefused()

    def _disconnect(self, socket: Socket, reason: str) -> None:
        self._dispatch(socket, "disconnect", (DisconnectReason.of(reason),))

    def _event(self, socket: Socket, event: str, *args: Any) -> Any:
        return self._dispatch(socket, event, args)

    def _dispatch(self, socket: Socket, event: str, args: tuple[Any, ...]) -> Any:
        handler = self._events.find(socket.nsp.name, event)
        if handler is not None:
            return self.run(handler, socket, (event, *args) if handler.event == ANY else args)
        namespace = self._events.classes.get(socket.nsp.name)
        if namespace is None:
            if event not in LIFE_CYCLE and logger.isEnabledFor(logging.DEBUG):
                logger.debug("nothing handles the event %s of %r", quote(event), socket)
            return NO_ACK
        token = DISPATCHING.set(self)
        try:
            return namespace.trigger_event(event, socket.id, *args)
        finally:
            DISPATCHING.reset(token)

    # -- running a handler --------------------------------------------------------------------------------------

    def run(self, handler: EventHandler, socket: Socket, args: tuple[Any, ...], message: str | None = ANY) -> Any:
        """Run ``handler`` in a request context of ``socket``.

        :param args: the event's; a ``connect`` handler is not given the first, which is the environ.
        :param message: the event's name for ``request.event``; "*" takes the handler's.
        :return: what acknowledges the event.
        """
        kept = socket.handshake.environ
        context = self.app.request_context(self._complete(kept, socket))
        managed = self.owner.manage_session
        if managed:
            sessions.restore(context, kept)
        with context:
            if managed:
                sessions.fork(context, kept)
            request: Any = flask.request
            request.sid, request.namespace = socket.id, socket.nsp.name
            request.event = {"message": handler.event if message == ANY else message, "args": args}
            given = args[1:] if handler.event == "connect" else args
            result = self._guarded(handler, socket, given)
            if not managed:
                self._own_sessions.save(self.app)
            return result

    def _complete(self, kept: dict[str, Any], socket: Socket) -> dict[str, Any]:
        """A full WSGI environ from what was kept of the handshake's, whose body and error stream are gone."""
        return {
            "wsgi.version": (1, 0),
            "wsgi.input": BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **kept,
            "flask.app": self.app,
            SOCKET_KEY: socket,
            DISPATCHER_KEY: self,
        }

    def _guarded(self, handler: EventHandler, socket: Socket, args: tuple[Any, ...]) -> Any:
        try:
            result = handler(args, f"client {socket.conn.log_id(socket)}")
            if isinstance(result, Response):  # such as the redirection of login_required
                raise HTTPException(response=result)
            return result
        except ConnectRefused:
            raise
        except FAILURES as error:
            try:
                on_error = self._error_handler(socket.nsp.name)
                if on_error is not None:
                    return on_error(error)
            except FAILURES as another:
                _note(socket, another)
                raise
            if handler.event == "connect" and _is_refusal(error):
                raise ConnectRefused("Connection refused by server") from error
            _note(socket, error)
            if isinstance(error, (HTTPException, WrongArguments)):
                return _refuse(handler, error)
            raise

    def _error_handler(self, namespace: str) -> ErrorHandler | None:
        of_class: ErrorHandler | None = getattr(self._events.classes.get(namespace), "error", None)
        handlers = (of_class, self._events.errors.get(namespace), self._events.errors.get(None))
        return next((handler for handler in handlers if handler is not None), None)


def _is_refusal(error: BaseException) -> bool:
    """Whether it is Python's ConnectionRefusedError, raised to refuse: the system raises it too, of other servers."""
    return isinstance(error, builtins.ConnectionRefusedError) and error.errno is None


def _refuse(handler: EventHandler, error: HTTPException | WrongArguments) -> Any:
    """What a handler that said no by an HTTP error, or could not be called, means to the client."""
    if isinstance(error, WrongArguments):
        status, text = "Internal Server Error", str(error)
    else:
        status = error.get_response().status
        text = f"handler {handler.where()} of {handler.event!r} answered {status}"
    logger.log(logging.DEBUG if handler.told else logging.WARNING, "%s", text)
    handler.told = True
    if handler.event == "connect":
        raise ConnectRefused(status)
    return NO_ACK


def _note(socket: Socket, error: BaseException) -> None:
    """Let a test client raise what its event has led to; a response that was returned is not an error."""
    if getattr(error, "response", None) is None:
        tell_tester(socket.handshake.environ, error)
