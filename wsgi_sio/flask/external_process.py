"""SocketIO(message_queue=...) without an app: a process that serves nobody emits to the clients of those that do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

from ..emitter import Emitter
from ..exceptions import NotPublished
from ..runtime import threads_are_greenlets
from .emit_parameters import as_arguments, as_clients, either
from .message_queue import MessageQueue

logger = logging.getLogger("wsgi_sio.flask")

_NO_SERVER = "this SocketIO has no app: it only emits, and there are no acknowledgements"


class WriteOnlyServer:
    """``socketio.server`` where there is no app: python-socketio's methods, as its write-only manager has them.

    What cannot be published is lost, as with that: an error in the log says so, once until it works again. It is tried
    for two seconds at most. :class:`wsgi_sio.Emitter` raises instead.
    """

    def __init__(self, queue: MessageQueue, json: Any = None) -> None:
        self._queue = queue
        self._json = json
        self._emitter: Emitter | None = None
        self._lost = 0

    def _of(self, namespace: str | None) -> Emitter:
        if self._emitter is None:
            self._emitter = self._queue.emitter(self._json)
        return self._emitter.of(namespace or "/")

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> int:
        """Send an event to everybody in ``namespace``, or in the room (or rooms) ``to``.

        :return: how many servers have it; 0 when it could not be published, too.
        :raises RuntimeError: there is a callback.
        :raises LocalProtocolError: the event's name is reserved.
        :raises TypeError: an argument cannot be written.
        """
        if callback is not None:
            raise RuntimeError(_NO_SERVER)
        target, emitter = either(to, room), self._of(namespace).except_(as_clients(skip_sid))
        emitter = emitter if target is None else emitter.to(target)
        return self._try(lambda: emitter.emit(event, *as_arguments(data)))

    def send(self, data: Any, to: Any = None, **kwargs: Any) -> int:
        """Send the event ``message``; see :meth:`emit`."""
        return self.emit("message", data, to, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Nobody can answer.

        :raises RuntimeError: always.
        """
        raise RuntimeError(_NO_SERVER)

    def enter_room(self, sid: str, room: Any, namespace: str | None = None) -> int:
        """Put a client into ``room``."""
        return self._try(lambda: self._of(namespace).to(sid).sockets_join([room]))

    def leave_room(self, sid: str, room: Any, namespace: str | None = None) -> int:
        """Take a client out of ``room``."""
        return self._try(lambda: self._of(namespace).to(sid).sockets_leave([room]))

    def close_room(self, room: Any, namespace: str | None = None) -> int:
        """Make everybody leave ``room``."""
        return self._try(lambda: self._of(namespace).to([room]).sockets_leave([room]))

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> int:
        """Disconnect a client from the namespace."""
        return self._try(lambda: self._of(namespace).to(sid).disconnect_sockets())

    def _try(self, publish: Callable[[], int]) -> int:
        try:
            heard = publish()
        except NotPublished as error:
            self._lost += 1
            level = logging.ERROR if self._lost == 1 else logging.DEBUG
            logger.log(level, "what is emitted is lost until the message queue can be reached: %s", error)
            return 0
        lost, self._lost = self._lost, 0
        if lost:
            logger.warning("the message queue can be reached again; %d were not published, or nobody knows", lost)
        return heard

    @property
    def async_mode(self) -> str:
        """``gevent`` where gevent has patched the standard library, else ``threading``."""
        return "gevent" if threads_are_greenlets() else "threading"

    @property
    def io(self) -> NoReturn:
        """There is no server.

        :raises RuntimeError: always.
        """
        raise RuntimeError(f"{_NO_SERVER}; with one: init_app(app)")
