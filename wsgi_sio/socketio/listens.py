"""The decorators shared by everything that handlers can be attached to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from .handlers import Handler, HandlerTable

AnyHandler = TypeVar("AnyHandler", bound=Callable[..., Any])


class Listens:
    """``on``, ``once``, ``off`` and ``event`` for whatever has a table of handlers."""

    __slots__ = ()

    _handlers: HandlerTable

    @overload
    def on(self, event: str, handler: AnyHandler, *, concurrent: bool = False) -> AnyHandler: ...

    @overload
    def on(self, event: str, *, concurrent: bool = False) -> Callable[[AnyHandler], AnyHandler]: ...

    def on(self, event: str, handler: Any = None, *, concurrent: bool = False) -> Any:
        """Call ``handler`` for ``event``; without a handler, a decorator.

        What it returns acknowledges the event: None sends no arguments, a tuple several, anything else one.
        :data:`~wsgi_sio.NO_ACK` leaves it unacknowledged, unless another handler of it returns something.

        :param concurrent: let it run beside the client's other events; by default a client's events run one at a
            time, in their order.
        :raises TypeError: the handler cannot be called, or is ``async def``.
        """
        return self._register(event, handler, concurrent=concurrent)

    @overload
    def once(self, event: str, handler: AnyHandler) -> AnyHandler: ...

    @overload
    def once(self, event: str) -> Callable[[AnyHandler], AnyHandler]: ...

    def once(self, event: str, handler: Any = None) -> Any:
        """Like :meth:`on`, for the next time only."""
        return self._register(event, handler, once=True)

    def event(self, handler: AnyHandler) -> AnyHandler:
        """Decorator: register the function for the event of its name."""
        self._register(handler.__name__, handler)
        return handler

    def off(self, event: str | None = None, handler: Callable[..., Any] | None = None) -> None:
        """Forget ``handler``, or all handlers of ``event``, or all."""
        self._handlers.remove(event, handler)

    def _register(self, event: str, handler: Any, **options: bool) -> Any:
        if handler is None:
            return lambda func: self._register(event, func, **options)
        if not callable(handler):
            raise TypeError(f"a handler of {event!r} must be callable, not {type(handler).__name__}")
        self._handlers.add(Handler(event, handler, run=self._handlers.frame(handler), **options))
        return handler
