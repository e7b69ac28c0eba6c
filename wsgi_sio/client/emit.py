"""Emitting: the ways to do it (plainly, volatile, with a time-out, uncompressed), and the one way out of a socket.

``emit()`` -> :class:`Sender` encodes -> the :class:`.SendBuffer` gives it to the connection, or keeps it until there is
one.  With the option ``retries`` the :class:`.RetryQueue` stands before that; :class:`.PendingAcks` holds who waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from ..engineio.packet import Packet as EnginePacket
from ..exceptions import Disconnected
from ..runtime import SerialQueue
from ..runtime.shared_reactor import SharedReactor
from ..socketio.acks import BlockingAck, CallbackAck
from ..socketio.handlers import check_event
from ..socketio.packet import EVENT, Packet
from .acks import FallibleWaiter, PendingAcks
from .connection import Connection
from .options import ClientOptions
from .retries import RetryQueue
from .send_buffer import BoundedBuffer, Outgoing, SendBuffer

Encode = Callable[[Packet, bool], list[EnginePacket]]


@dataclass(frozen=True, slots=True)
class EmitOptions:
    """How an event is sent.

    :ivar timeout: seconds to wait for its acknowledgement; None for the socket's ``ack_timeout``.
    """

    volatile: bool = False
    compress: bool = True
    timeout: float | None = None


PLAIN = EmitOptions()


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


class Sender:
    """Takes events from any thread, and brings them to the connection, to the buffer, or into the queue of retries.

    :param encode: makes of a packet, to be compressed or not, what the engine is to send.
    :param mailbox: where callbacks run.
    :param notify: told of each event that goes out, with its name and arguments.
    :param hopeless: whether there is no connection, and none to come by itself.
    """

    def __init__(
        self,
        nsp: str,
        options: ClientOptions,
        encode: Encode,
        reactor: SharedReactor,
        mailbox: SerialQueue,
        notify: Callable[[list[Any]], None],
        hopeless: Callable[[], bool],
        *,
        retries: int | None,
        ack_timeout: float | None,
    ) -> None:
        bounds = (options.max_send_buffer, options.send_buffer_policy)
        self._nsp = nsp
        self._encode = encode
        self._reactor = reactor
        self._mailbox = mailbox
        self._hopeless = hopeless
        self._ack_timeout = ack_timeout
        self._ack_ids = count()
        self._acks = PendingAcks(reactor)
        self._send_buffer = SendBuffer(
            self._acks, BoundedBuffer(*bounds), notify, lambda data: mailbox.put(notify, data)
        )
        self._queue = RetryQueue(self._send_buffer, retries, BoundedBuffer(*bounds)) if retries else None

    def emit(
        self, event: str, args: tuple[Any, ...], options: EmitOptions, callback: Callable[..., Any] | None
    ) -> bool:
        """See :meth:`Emits.emit`."""
        waiter, timeout = None, self._timeout(options)
        if callback is not None:
            with_error = timeout is not None or self._queue_for(options) is not None
            waiter = CallbackAck(callback, self._mailbox.put, with_error)
        return self._send(event, args, options, waiter, timeout)[0]

    def call(self, event: str, args: tuple[Any, ...], options: EmitOptions, timeout: float | None) -> Any:
        """See :meth:`Emits.emit_with_ack`."""
        with self._reactor as reactor:
            waiter, queue, each = BlockingAck(reactor), self._queue_for(options), self._timeout(options)
            sent, ack_id = self._send(event, args, options, waiter, None if queue is None else each)
            try:
                if options.volatile and not sent:
                    raise Disconnected("a volatile event could not go out")
                limit = each if timeout is None and queue is None else timeout
                if limit is None and self._hopeless():
                    raise Disconnected("not connected, and nobody is connecting: the answer would never come")
                return waiter.wait(limit)
            finally:
                if queue is not None:
                    queue.withdraw(waiter)
                elif ack_id is not None and self._acks.forget(ack_id) is not None:
                    self._send_buffer.discard(ack_id)

    def acknowledged(self, ack_id: int, args: list[Any]) -> None:
        """The server has acknowledged an event."""
        self._acks.answer(ack_id, args)

    def open(self, connection: Connection) -> None:
        """The socket is in the namespace: what waits goes out."""
        self._send_buffer.open(connection)
        if self._queue is not None:
            self._queue.drain()

    def close(self, connection: Connection) -> None:
        """It is in the namespace no more: events wait again, and acknowledgements are lost."""
        self._send_buffer.close(connection)

    def release_blocked(self, error: Exception) -> None:
        """Nobody is going to connect: callers that are blocked get ``error``, other events go on waiting."""
        for ack_id in self._acks.release_blocked(error):
            self._send_buffer.discard(ack_id)
        if self._queue is not None:
            self._queue.release_blocked(error)

    def _timeout(self, options: EmitOptions) -> float | None:
        return self._ack_timeout if options.timeout is None else options.timeout

    def _queue_for(self, options: EmitOptions) -> RetryQueue | None:
        return None if options.volatile else self._queue

    def _send(
        self,
        event: str,
        args: tuple[Any, ...],
        options: EmitOptions,
        waiter: FallibleWaiter | None,
        timeout: float | None,
    ) -> tuple[bool, int | None]:
        """Encode an event and send it its own way; False if it was dropped, and its acknowledgement's id."""
        check_event(event)
        queue = self._queue_for(options)
        ack_id = None if queue is None and waiter is None else next(self._ack_ids)
        data = [event, *args]
        item = Outgoing(data, self._encode(Packet(EVENT, self._nsp, data, ack_id), options.compress), ack_id)
        if queue is not None:
            return queue.add(item, timeout, waiter), ack_id
        if waiter is None or ack_id is None:
            return self._send_buffer.send(item, volatile=options.volatile), None
        self._acks.expect(ack_id, waiter, timeout)
        try:
            return self._send_buffer.send(item, volatile=options.volatile), ack_id
        except BaseException:
            self._acks.forget(ack_id)
            raise
