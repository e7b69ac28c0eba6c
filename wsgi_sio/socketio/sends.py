"""``send`` and ``write``: the event "message", for whatever can emit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Sends:
    """Both, by means of ``emit``."""

    __slots__ = ()

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        raise NotImplementedError

    def send(self, *args: Any) -> bool:
        """Emit the event "message"."""
        return self.emit("message", *args)

    def write(self, *args: Any) -> bool:
        """The same as :meth:`send`."""
        return self.emit("message", *args)
