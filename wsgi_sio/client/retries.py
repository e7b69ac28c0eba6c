"""Events that are sent again until the server acknowledges them (the option ``retries``)."""

from __future__ import annotations

import logging
from typing import Any

from ..exceptions import Disconnected, LocalProtocolError
from ..runtime import Rank, make_lock
from ..socketio.acks import BlockingAck
from .acks import FallibleWaiter
from .send_buffer import DROPPED, BoundedBuffer, Outgoing, SendBuffer

logger = logging.getLogger("wsgi_sio.client")


class RetryQueue:
    """At least once and in order: one event is in flight, the others wait until it is acknowledged or given up.

    An attempt ends when its time-out is over or the connection is lost; after ``retries`` more attempts than the first,
    the event is given up and its callback told why.  Without a time-out, losing the connection does not count, and the
    event is sent again for as long as it takes.  Getting no event twice is the server's business.
    """

    __slots__ = ("_entries", "_lock", "_retries", "_send_buffer")

    def __init__(self, send_buffer: SendBuffer, retries: int, entries: BoundedBuffer[Entry]) -> None:
        self._send_buffer = send_buffer
        self._retries = retries
        self._entries = entries
        self._lock = make_lock(Rank.SESSION)

    def add(self, item: Outgoing, timeout: float | None, waiter: FallibleWaiter | None) -> bool:
        """Send ``item`` when its turn comes.

        :param timeout: how many seconds each attempt has.
        :param waiter: told the outcome.
        :return: False when it was dropped instead.
        :raises Disconnected: too many wait already.
        """
        entry = Entry(self, item, timeout, waiter)
        with self._lock:
            dropped = self._entries.add(entry, pinned=1)
        if dropped is not None:
            dropped.give_up(Disconnected(DROPPED))
        self.drain()
        return dropped is not entry

    def drain(self) -> None:
        """Send the first event, if the socket can, unless it is in flight already."""
        while self._send_buffer.ready:
            with self._lock:
                entry = self._entries.head()
                if entry is None or entry.pending:
                    return
                entry.pending = True
                entry.tries += 1
            try:
                if self._send_buffer.send_now(entry.item, entry, entry.timeout):
                    return
                self.interrupted(entry)
            except LocalProtocolError as error:
                logger.error("%r cannot be sent: %s", entry.item.data[0], error)
                self.give_up(entry, error)

    def interrupted(self, entry: Entry) -> None:
        """The connection was lost under an attempt that has no time-out of its own: it does not count."""
        with self._lock:
            entry.pending = False
            entry.tries -= 1

    def failed(self, entry: Entry, error: Exception) -> None:
        """An attempt has failed."""
        with self._lock:
            entry.pending = False
            last = entry.tries > self._retries
        if last:
            self.give_up(entry, error)
        self.drain()

    def give_up(self, entry: Entry, error: Exception) -> None:
        """Do not send the first event again."""
        if self.finish(entry):
            entry.give_up(error)

    def finish(self, entry: Entry) -> bool:
        """Take the first event out; False when that has been done."""
        with self._lock:
            if self._entries.head() is not entry:
                return False
            self._entries.drop_head()
            return True

    def withdraw(self, waiter: FallibleWaiter) -> None:
        """Who waits for the outcome does so no more: do not send that event (again)."""
        with self._lock:
            self._entries.discard(lambda entry: entry.waiter is waiter)
        self.drain()

    def release_blocked(self, error: Exception) -> None:
        """Forget the events for which a caller is blocked, and let it have ``error``."""
        with self._lock:
            blocked = [entry for entry in self._entries if isinstance(entry.waiter, BlockingAck)]
            self._entries.discard(blocked.__contains__)
        for entry in blocked:
            entry.give_up(error)


class Entry:
    """One event of a queue; to the socket, who waits for each attempt's acknowledgement."""

    __slots__ = ("_queue", "item", "pending", "timeout", "tries", "waiter")

    def __init__(self, queue: RetryQueue, item: Outgoing, timeout: float | None, waiter: FallibleWaiter | None) -> None:
        self._queue = queue
        self.item = item
        self.timeout = timeout
        self.waiter = waiter
        self.tries = 0
        self.pending = False

    def answer(self, args: list[Any]) -> None:
        if self._queue.finish(self):
            if self.waiter is not None:
                self.waiter.answer(args)
            self._queue.drain()

    def lost(self) -> None:
        if self.timeout is None:
            self._queue.interrupted(self)
            self._queue.drain()
        else:
            self.fail(Disconnected("the connection was lost before the server acknowledged"))

    def fail(self, error: Exception) -> None:
        self._queue.failed(self, error)

    def give_up(self, error: Exception) -> None:
        """Tell who waits for the outcome."""
        if self.waiter is not None:
            self.waiter.fail(error)
