"""Which handler an event has: of its namespace or of any ("*"), a function or a class-based namespace's method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .handler_arguments import LIFE_CYCLE, EventHandler
from .handler_errors import ErrorHandler

ANY = "*"


class NamespaceClass(Protocol):
    """A class-based namespace, as far as events are concerned."""

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Handle an event of the client whose session id is the first argument."""


class HandlerRegistry:
    """What a SocketIO has been given to handle events with, whatever app they come through.

    One handler for each event of a namespace: a second one takes its place, as a reloaded module's should.

    :ivar classes: the class-based namespaces by name.
    :ivar errors: the handlers of errors by namespace; None for the default.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, dict[str, EventHandler]] = {}
        self.classes: dict[str, NamespaceClass] = {}
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

    def error_handler(self, namespace: str) -> ErrorHandler | None:
        """What takes the errors of ``namespace``: its class's own method, else its handler, else the default one."""
        of_class: ErrorHandler | None = getattr(self.classes.get(namespace), "error", None)
        handlers = (of_class, self.errors.get(namespace), self.errors.get(None))
        return next((handler for handler in handlers if handler is not None), None)
