"""From an event of a client to the application's handler for it."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import flask

from ..exceptions import ConnectRefused
from ..logtext import quote
from ..server import Server
from ..socketio.handlers import NO_ACK
from ..socketio.namespace import Namespace as CoreNamespace
from ..socketio.socket import Socket
from .disconnect_reason import DisconnectReason
from .external_process import WriteOnlyServer
from .handler_arguments import LIFE_CYCLE
from .handler_registry import ANY, HandlerRegistry
from .options import Options
from .request_context import DISPATCHING, RequestContexts
from .server import PeerServer

logger = logging.getLogger("wsgi_sio.flask")


class Owner(Protocol):
    """The SocketIO, as far as its events are concerned."""

    manage_session: bool


class Dispatcher:
    """Brings the events of one app's server to the handlers.

    :ivar owner: whose handlers they are.
    :ivar app: the app whose clients they are for.
    :ivar server: the app's server.
    :ivar contexts: what runs handlers.
    :ivar ended: whether it has been closed.
    """

    def __init__(self, owner: Owner, app: flask.Flask, events: HandlerRegistry, options: Options) -> None:
        elsewhere = None if options.queue is None else WriteOnlyServer(options.queue, options.server.get("json"))
        self.server = PeerServer(Server(**options.server), elsewhere)
        self.ended = False
        self.owner = owner
        self.app = app
        self._events = events
        self.contexts = RequestContexts(self, events.error_handler)
        self._open = options.namespaces
        self._always_connect = options.always_connect
        self.attach("/")
        for name in events.namespaces() | (set() if options.namespaces == ANY else set(options.namespaces)):
            self.attach(name)
        if options.namespaces == ANY:
            self._listen(self.server.io.of(lambda name, auth: True))

    def attach(self, name: str) -> None:
        """Let clients join the namespace ``name``."""
        if name != ANY and self.server.namespace(name) is None:
            self._listen(self.server.io.of(name))

    def has(self, namespace: Any) -> bool:
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
            return self.contexts.run(handler, socket, (event, *args) if handler.event == ANY else args)
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
