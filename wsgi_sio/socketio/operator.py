"""SocketOperator: an immutable description of how an event is for one socket; each step returns a new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .adapter import BroadcastOptions
from .broadcast import BroadcastOperator, Targets
from .sends import Sends

if TYPE_CHECKING:
    from .socket import Socket


class SocketOperator(Targets, Sends):
    """How to emit to one socket: what ``volatile``, ``compress`` and ``timeout`` of a socket return. Immutable."""

    __slots__ = ("_options", "_socket")

    def __init__(self, socket: Socket, options: BroadcastOptions) -> None:
        self._socket = socket
        self._options = options

    def _with(self, **changes: Any) -> SocketOperator:
        return SocketOperator(self._socket, replace(self._options, **changes))

    def _operator(self) -> BroadcastOperator:
        return BroadcastOperator(self._socket.nsp, replace(self._options, except_=frozenset([self._socket.id])))

    @property
    def broadcast(self) -> BroadcastOperator:
        """Everybody in the namespace but this client."""
        return self._operator()

    @property
    def volatile(self) -> SocketOperator:
        """See :attr:`Socket.volatile`."""
        return self._with(volatile=True)

    def compress(self, compress: bool) -> SocketOperator:
        """See :meth:`Socket.compress`."""
        return self._with(compress=compress)

    def timeout(self, seconds: float) -> SocketOperator:
        """See :meth:`Socket.timeout`."""
        return self._with(timeout=seconds)

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """See :meth:`Socket.emit`; after :meth:`timeout` the callback gets an error (or None) first."""
        return self._socket._emit(event, args, self._options, callback)

    def emit_with_ack(self, event: str, *args: Any) -> Any:
        """See :meth:`Socket.emit_with_ack`."""
        return self._socket.emit_with_ack(event, *args, timeout=self._options.timeout)
