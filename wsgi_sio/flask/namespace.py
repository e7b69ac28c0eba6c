"""Class-based namespaces."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..logtext import quote
from ..refuse_async import refuse_async
from .emit_parameters import either
from .handler_arguments import LIFE_CYCLE, EventHandler
from .request_context import current_dispatcher

if TYPE_CHECKING:
    from .extension import SocketIO

logger = logging.getLogger("wsgi_sio.flask")


class Namespace:
    """Handles each event of a namespace with its method ``on_<event>(*args)``; see :meth:`SocketIO.on_namespace`.

    A method ``error(exception)``, if there is one, gets what the others raise; its result acknowledges.

    :param namespace: its name, such as ``/chat``.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace or "/"
        self._socketio: SocketIO
        self._methods: dict[str, EventHandler] = {}

    @property
    def socketio(self) -> SocketIO:
        """The SocketIO it is registered with; of several, the one whose event is being handled, or else the last."""
        dispatcher = current_dispatcher()
        socketio: SocketIO
        socketio = dispatcher.owner if dispatcher is not None and dispatcher.has(self) else self._socketio
        return socketio

    @socketio.setter
    def socketio(self, socketio: SocketIO) -> None:
        self._socketio = socketio

    @property
    def server(self) -> Any:
        """``socketio.server``."""
        return self.socketio.server

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Run the method for ``event``; override it to dispatch in another way.

        :param args: the client's session id; then what the client sent. For ``connect``: the environ and the auth
            data; for ``disconnect``: the reason.
        """
        handler = self._methods.get(event)
        if handler is None:
            method = getattr(self, f"on_{event}", None)
            if method is None:
                if event not in LIFE_CYCLE and logger.isEnabledFor(logging.DEBUG):
                    logger.debug("nothing handles the event %s in %s", quote(event), type(self).__name__)
                return None
            handler = self._methods[event] = EventHandler(event, method)
        return self.socketio.run_method(handler, self.namespace, *args)

    def _named(self, namespace: str | None) -> str:
        return self.namespace if namespace is None else namespace

    # -- SocketIO's methods, for this namespace -----------------------------------------------------------------

    def emit(
        self,
        event: str,
        data: Any = None,
        room: Any = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        *,
        to: Any = None,
        skip_sid: Any = None,
    ) -> None:
        """See :meth:`SocketIO.emit`."""
        self.socketio.emit(
            event,
            data,
            namespace=self._named(namespace),
            to=either(to, room),
            include_self=include_self,
            skip_sid=skip_sid,
            callback=callback,
        )

    def send(
        self,
        data: Any,
        room: Any = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """See :meth:`SocketIO.send`."""
        self.socketio.send(
            data,
            namespace=self._named(namespace),
            to=either(kwargs.pop("to", None), room),
            include_self=include_self,
            callback=callback,
            **kwargs,
        )

    def call(self, event: str, *args: Any, namespace: str | None = None, **kwargs: Any) -> Any:
        """See :meth:`SocketIO.call`."""
        return self.socketio.call(event, *args, namespace=self._named(namespace), **kwargs)

    def close_room(self, room: Any, namespace: str | None = None) -> None:
        """See :meth:`SocketIO.close_room`."""
        self.socketio.close_room(room, self._named(namespace))

    # -- the server's methods, for this namespace ---------------------------------------------------------------

    def enter_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Put a client into ``room``."""
        self.server.enter_room(sid, room, self._named(namespace))

    def leave_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Take a client out of ``room``."""
        self.server.leave_room(sid, room, self._named(namespace))

    def rooms(self, sid: str, namespace: str | None = None) -> list[Any]:
        """The rooms of a client, its own among them."""
        rooms: list[Any] = self.server.rooms(sid, self._named(namespace))
        return rooms

    def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """Disconnect a client."""
        self.server.disconnect(sid, self._named(namespace))

    def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """What the application keeps about a client."""
        session: dict[str, Any] = self.server.get_session(sid, self._named(namespace))
        return session

    def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace what :meth:`get_session` gives."""
        self.server.save_session(sid, session, self._named(namespace))

    def session(self, sid: str, namespace: str | None = None) -> AbstractContextManager[dict[str, Any]]:
        """What :meth:`get_session` gives, for a ``with`` block."""
        session: AbstractContextManager[dict[str, Any]] = self.server.session(sid, self._named(namespace))
        return session


def refuse_async_methods(namespace: Namespace) -> None:
    """See that the methods of ``namespace`` can handle events; a function, since all names in it are the application's.

    :raises TypeError: one is ``async def``.
    """
    kind = type(namespace)
    for name in dir(kind):
        if name.startswith("on_") or name in ("error", "trigger_event"):
            refuse_async(getattr(kind, name), "a handler")
