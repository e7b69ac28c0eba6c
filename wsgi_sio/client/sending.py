"""Sender: everything that a socket sends, and the acknowledgements that it waits for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from ..exceptions import Disconnected
from ..runtime import SerialQueue
from ..socketio.acks import BlockingAck, CallbackAck
from ..socketio.handlers import check_event
from ..socketio.packet import EVENT, Packet
from .acks import FallibleWaiter, PendingAcks
from .buffer import Buffer
from .emitting import EmitOptions, Outgoing
from .link import Link
from .outbox import Outbox
from .retries import RetryQueue

if TYPE_CHECKING:
    from .manager import Manager


class Sender:
    """Takes events from any thread, and brings them to the connection, to the buffer, or into the queue of retries.

    :param mailbox: where callbacks run.
    :param notify: told of each event that goes out, with its name and arguments.
    :param hopeless: whether there is no connection, and none to come by itself.
    """

    def __init__(
        self,
        manager: Manager,
        nsp: str,
        mailbox: SerialQueue,
        notify: Callable[[list[Any]], None],
        hopeless: Callable[[], bool],
        *,
        retries: int | None,
        ack_timeout: float | None,
    ) -> None:
        bounds = (manager.options.max_send_buffer, manager.options.send_buffer_policy)
        self._manager = manager
        self._nsp = nsp
        self._mailbox = mailbox
        self._hopeless = hopeless
        self._ack_timeout = ack_timeout
        self._ack_ids = count()
        self._acks = PendingAcks(manager.lease)
        self._outbox = Outbox(self._acks, Buffer(*bounds), notify, lambda data: mailbox.put(notify, data))
        self._queue = RetryQueue(self._outbox, retries, Buffer(*bounds)) if retries else None

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
        with self._manager.lease as reactor:
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
                    self._outbox.discard(ack_id)

    def acknowledged(self, ack_id: int, args: list[Any]) -> None:
        """The server has acknowledged an event."""
        self._acks.answer(ack_id, args)

    def open(self, link: Link) -> None:
        """The socket is in the namespace: what waits goes out."""
        self._outbox.open(link)
        if self._queue is not None:
            self._queue.drain()

    def close(self, link: Link) -> None:
        """It is in the namespace no more: events wait again, and acknowledgements are lost."""
        self._outbox.close(link)

    def release_blocked(self, error: Exception) -> None:
        """Nobody is going to connect: callers that are blocked get ``error``, other events go on waiting."""
        for ack_id in self._acks.release_blocked(error):
            self._outbox.discard(ack_id)
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
        item = Outgoing(data, self._manager.encode(Packet(EVENT, self._nsp, data, ack_id), options.compress), ack_id)
        if queue is not None:
            return queue.add(item, timeout, waiter), ack_id
        if waiter is None or ack_id is None:
            return self._outbox.send(item, volatile=options.volatile), None
        self._acks.expect(ack_id, waiter, timeout)
        try:
            return self._outbox.send(item, volatile=options.volatile), ack_id
        except BaseException:
            self._acks.forget(ack_id)
            raise
