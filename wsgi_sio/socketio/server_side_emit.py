"""Events between the servers of a cluster: what Socket.IO calls ``serverSideEmit``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..exceptions import LocalProtocolError
from ..logtext import quote
from ..runtime import FAILURES
from .acks import as_job, gather
from .adapter import AdaptedNamespace
from .handlers import NO_ACK, HandlerTable, call
from .listens import Listens

if TYPE_CHECKING:
    from .interfaces import ServerInterface

logger = logging.getLogger("wsgi_sio.socketio")

# They are each server's own events, so no other may cause them.
RESERVED = frozenset(("connect", "connection", "new_namespace"))


class ServerSideHandlers(Listens):
    """The handlers of what other servers emit to a namespace of this one."""

    def __init__(self, server: ServerInterface) -> None:
        self._handlers = HandlerTable(server.as_handler)

    def after_fork(self) -> None:
        """In a forked child: see :class:`HandlerTable`."""
        self._handlers.after_fork()

    def run(self, data: list[Any]) -> Any:
        """Run the handlers of ``data``, an event's name and arguments.

        :return: their answer; None when there is none, or one fails (which is logged), since somebody waits for it.
        """
        event, *args = data
        try:
            answer = call(self._handlers, self._handlers.find(event), event, tuple(args), "another server", own=0)
        except FAILURES:
            logger.exception("a handler of %s from another server failed", quote(event))
            return None
        return None if answer is NO_ACK else answer


class ServerSideNamespace(AdaptedNamespace, Protocol):
    """What stands for a namespace."""

    @property
    def server_side_handlers(self) -> ServerSideHandlers: ...


class ServerSide:
    """``server_side_emit`` and its listeners, for whatever stands for a namespace."""

    __slots__ = ()

    def _own_namespace(self) -> ServerSideNamespace:
        raise NotImplementedError

    def on_server_side(self, event: str, handler: Any = None) -> Any:
        """Call ``handler(*args)`` when another server of the cluster emits ``event`` to this one; or a decorator.

        What it returns answers a :meth:`server_side_emit_with_ack`.

        :raises TypeError: the handler is not callable.
        """
        return self._own_namespace().server_side_handlers.on(event, handler)

    def server_side_emit(
        self, event: str, *args: Any, callback: Callable[[Exception | None, list[Any]], Any] | None = None
    ) -> bool:
        """Send an event to the other servers of the cluster: not to this one, and not to clients.

        :param callback: called with (error or None, the answers) once all have answered, or took too long.
        :return: True.
        :raises LocalProtocolError: the event's name is reserved.
        """
        namespace = self._own_namespace()
        check_server_side_event(event)
        done = None if callback is None else as_job(namespace.server.submit, callback)
        namespace.adapter.server_side_emit([event, *args], done)
        return True

    def server_side_emit_with_ack(self, event: str, *args: Any) -> list[Any]:
        """Likewise, and block until all have answered.

        :return: the answers, in order of arrival.
        :raises LocalProtocolError: the event's name is reserved.
        :raises AckTimeout: not all have answered within the adapter's time; its ``responses`` are those that came.
        """
        namespace = self._own_namespace()
        check_server_side_event(event)
        data = [event, *args]
        return gather(namespace.server.reactor, lambda done: namespace.adapter.server_side_emit(data, done))


def check_server_side_event(event: str) -> None:
    """Refuse the names of what only a server tells itself.

    :raises LocalProtocolError: ``event`` is reserved.
    """
    if event in RESERVED:
        raise LocalProtocolError(f"{event!r} is a reserved event name")
