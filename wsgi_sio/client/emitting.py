"""The ways to emit: plainly, volatile, with a time-out, uncompressed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..engineio.packet import Packet as EnginePacket

if TYPE_CHECKING:
    from .sending import Sender


@dataclass(frozen=True, slots=True)
class EmitOptions:
    """How an event is sent.

    :ivar timeout: seconds to wait for its acknowledgement; None for the socket's ``ack_timeout``.
    """

    volatile: bool = False
    compress: bool = True
    timeout: float | None = None


PLAIN = EmitOptions()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An encoded event.

    :ivar data: its name and arguments, for the listeners.
    :ivar ack_id: the acknowledgement it asks for.
    """

    data: list[Any]
    batch: list[EnginePacket]
    ack_id: int | None


class Emits:
    """What a socket and an :class:`EmitOperator` have in common."""

    __slots__ = ()

    def _target(self) -> tuple[Sender, EmitOptions]:
        raise NotImplementedError

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event, from any thread, without waiting; while disconnected, keep it for the next connection.

        :param args: JSON values and bytes, nested as you like.
        :param callback: called with the server's acknowledgement, in order with its events. After :meth:`timeout`,
            and where the socket has an ``ack_timeout`` or ``retries``, with an error (or None) in front.
        :return: False when it has been dropped: it is volatile and cannot go out now, or the buffer is full.
        :raises LocalProtocolError: the event's name is reserved, its packet is larger than the server takes, or the
            server is so slow that ``max_outbox`` bytes wait for it.
        :raises Disconnected: the buffer is full, and its policy is to raise.
        :raises TypeError: an argument is not JSON and not bytes.
        :raises ValueError: there are more bytes values than ``max_attachments``.
        """
        sender, options = self._target()
        return sender.emit(event, args, options, callback)

    def emit_with_ack(self, event: str, *args: Any, timeout: float | None = None) -> Any:
        """Send an event and block until the server acknowledges it; safe inside any handler.

        :param timeout: how many seconds to wait in all; None for as long as the connection lasts. :meth:`timeout` and
            ``ack_timeout`` are for each attempt, if there are ``retries``; otherwise they are the same as this.
        :return: None, the one argument, or a tuple of several.
        :raises AckTimeout: none came in time; if the event was still waiting to be sent, it will not be.
        :raises Disconnected: the connection was lost before; or, without any time-out, there is none and none to come.
        :raises LocalProtocolError: see :meth:`emit`.
        """
        sender, options = self._target()
        return sender.call(event, args, options, timeout)

    def send(self, *args: Any) -> bool:
        """Emit the event "message"."""
        return self.emit("message", *args)

    @property
    def volatile(self) -> EmitOperator:
        """Emit only if it can go out now: not while disconnected, nor behind what is still being sent."""
        return self._with(volatile=True)

    def compress(self, compress: bool) -> EmitOperator:
        """Whether the transport may compress the event."""
        return self._with(compress=compress)

    def timeout(self, seconds: float) -> EmitOperator:
        """How long to wait for an acknowledgement; the callback then gets an error (or None) first."""
        return self._with(timeout=seconds)

    def _with(self, **changes: Any) -> EmitOperator:
        sender, options = self._target()
        return EmitOperator(sender, replace(options, **changes))


class EmitOperator(Emits):
    """What sends for a socket, and how; immutable."""

    __slots__ = ("_options", "_sender")

    def __init__(self, sender: Sender, options: EmitOptions) -> None:
        self._sender = sender
        self._options = options

    def _target(self) -> tuple[Sender, EmitOptions]:
        return self._sender, self._options
