"""How a server ends: at once, or by draining, so that its clients do not all come back at the same time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..engineio import EngineServer
from ..runtime import Event, Reactor
from .adapter import AdaptedNamespace
from .interfaces import ConnectionInterface

_SHUTTING_DOWN = "server shutting down"
# How long what was sent last may take to arrive (seconds).
_LAST_WORDS = 2.0


class _Emits(Protocol):
    def emit(self, event: str, *args: Any) -> bool: ...


class EndingNamespace(AdaptedNamespace, Protocol):
    """A namespace, as far as it ends here.

    :ivar clients: how many are in it, or on their way in or out; guarded by the server.
    """

    clients: int

    @property
    def local(self) -> _Emits: ...


class Shutdown:
    """``drain`` and ``close`` of a server.

    :ivar _deserted: set when the last client has left, while somebody waits for that.
    """

    engine: EngineServer
    _lock: AbstractContextManager[Any]
    _namespaces: Mapping[str, EndingNamespace]
    _deserted: Event | None

    @property
    def reactor(self) -> Reactor:
        raise NotImplementedError

    def drain(self, seconds: float = 5.0, *, notice: Sequence[Any] | None = None, grace: float = 5.0) -> bool:
        """Close, but spread the end of the connections over ``seconds``, so that not all clients come back at once.

        New sessions are refused with 503 meanwhile (let the load balancer know first); handlers see "server shutting
        down", clients reconnect, to another process. Blocks until it is done; :mod:`wsgi_sio.gunicorn` calls it when
        a worker is told to stop.

        :param notice: an event with its arguments that all clients get before: ``("restarting", {"in": 5})``.
        :param grace: seconds for the last handlers of ``disconnect``, after that.
        :return: whether all handlers have run.
        """
        self.engine.refuse_new_sessions()
        began = time.monotonic()
        deserted = self._watch_for_the_last()
        if notice is not None:
            for namespace in list(self._namespaces.values()):
                namespace.local.emit(*notice)
        connections = self._connections()
        for number, connection in enumerate(connections):
            due = began + seconds * number / max(1, len(connections) - 1)
            if connection.session.open and not deserted.wait(max(0.0, due - time.monotonic())):
                connection.close(_SHUTTING_DOWN)
        self._end_connections()
        until = time.monotonic() + grace
        complete = deserted.wait(grace)
        self.close()
        self.engine.wait_for_last_words(min(_LAST_WORDS, max(0.0, until - time.monotonic())))
        return complete

    def close(self) -> None:
        """Stop serving: handlers see "server shutting down", clients lose their connection and will reconnect.

        New sessions are answered 503 from now on, or go to siblings; the WSGI server itself goes on.
        """
        self._end_connections()
        for namespace in list(self._namespaces.values()):
            namespace.adapter.close()

    def _connections(self) -> list[ConnectionInterface]:
        namespaces = list(self._namespaces.values())
        return list({socket.conn for namespace in namespaces for socket in list(namespace.sockets.values())})

    def _end_connections(self) -> None:
        for connection in self._connections():
            connection.close(_SHUTTING_DOWN)
        self.engine.close()

    def _watch_for_the_last(self) -> Event:
        """An event that is set when no client is in a namespace, or on its way in or out."""
        deserted = self._deserted = self._deserted or self.reactor.event()
        self._tell_if_deserted(deserted)
        return deserted

    def _tell_if_deserted(self, deserted: Event) -> None:
        with self._lock:
            empty = not any(namespace.clients for namespace in self._namespaces.values())
        if empty:
            deserted.set()
