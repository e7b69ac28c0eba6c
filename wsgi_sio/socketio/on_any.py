"""Listeners to everything that comes from a client, or goes to it: for logs, metrics and admin pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..refuse_async import refuse_async
from ..runtime import FAILURES

logger = logging.getLogger("wsgi_sio.socketio")

AnyListener = Callable[..., object]


class ListensToAny:
    """The ``on_any`` family of a socket."""

    __slots__ = ("_incoming", "_outgoing")

    def __init__(self) -> None:
        self._incoming: tuple[AnyListener, ...] = ()
        self._outgoing: tuple[AnyListener, ...] = ()

    def on_any(self, listener: AnyListener) -> AnyListener:
        """Call ``listener(event, *args)`` for each event of this client, before its handlers."""
        self._incoming = (*self._incoming, _checked(listener))
        return listener

    def prepend_any(self, listener: AnyListener) -> AnyListener:
        """Like :meth:`on_any`, in front of the others."""
        self._incoming = (_checked(listener), *self._incoming)
        return listener

    def off_any(self, listener: AnyListener | None = None) -> None:
        """Forget a listener of :meth:`on_any`, or all."""
        self._incoming = _without(self._incoming, listener)

    @property
    def listeners_any(self) -> tuple[AnyListener, ...]:
        """What was registered with :meth:`on_any`, in the order of calling."""
        return self._incoming

    def on_any_outgoing(self, listener: AnyListener) -> AnyListener:
        """Call ``listener(event, *args)`` for each event sent to this client, broadcasts included, volatile ones even
        when they are then dropped; it runs in the thread that emits, and for what other servers emit
        in one that reads, or sends, for all: it must not wait."""
        self._outgoing = (*self._outgoing, _checked(listener))
        return listener

    def prepend_any_outgoing(self, listener: AnyListener) -> AnyListener:
        """Like :meth:`on_any_outgoing`, in front of the others."""
        self._outgoing = (_checked(listener), *self._outgoing)
        return listener

    def off_any_outgoing(self, listener: AnyListener | None = None) -> None:
        """Forget a listener of :meth:`on_any_outgoing`, or all."""
        self._outgoing = _without(self._outgoing, listener)

    @property
    def listeners_any_outgoing(self) -> tuple[AnyListener, ...]:
        """What was registered with :meth:`on_any_outgoing`, in the order of calling."""
        return self._outgoing

    def _tell(self, listeners: tuple[AnyListener, ...], data: list[Any]) -> None:
        for listener in listeners:
            try:
                listener(*data)
            except FAILURES:
                logger.exception("a listener to everything failed for %r", self)


def _checked(listener: AnyListener) -> AnyListener:
    refuse_async(listener, "a listener to everything")
    return listener


def _without(listeners: tuple[AnyListener, ...], listener: AnyListener | None) -> tuple[AnyListener, ...]:
    return () if listener is None else tuple(other for other in listeners if other != listener)
