"""Outbox: a socket's events go straight to the connection while there is one, and wait in order while there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..exceptions import Disconnected, LocalProtocolError
from ..runtime import Rank, make_lock
from .acks import FallibleWaiter, PendingAcks
from .buffer import DROPPED, Buffer
from .emitting import Outgoing
from .link import Link

logger = logging.getLogger("wsgi_sio.client")


class Outbox:
    """See the module's text; callable from any thread, and never waits.

    :param acks: those of events that are dropped are told so here.
    :param notify: told of each event that goes out, with its name and arguments.
    :param notify_later: the same on a worker, for events that had to wait.
    """

    __slots__ = ("_acks", "_buffer", "_flushing", "_joined", "_link", "_lock", "_notify", "_notify_later")

    def __init__(
        self,
        acks: PendingAcks,
        buffer: Buffer[Outgoing],
        notify: Callable[[list[Any]], None],
        notify_later: Callable[[list[Any]], None],
    ) -> None:
        self._acks = acks
        acks.on_expired = self.discard
        self._buffer = buffer
        self._notify = notify
        self._notify_later = notify_later
        self._lock = make_lock(Rank.SESSION)
        self._joined: Link | None = None  # where we are in the namespace
        self._link: Link | None = None  # the same, once nothing waits any more
        self._flushing = False

    @property
    def ready(self) -> bool:
        """Whether events go straight out."""
        return self._link is not None

    def send(self, item: Outgoing, *, volatile: bool = False) -> bool:
        """Send an event, or keep it for the next connection; False when it is dropped.

        :raises LocalProtocolError: it is larger than the server takes, or too much waits for a server that is slower.
        :raises Disconnected: the buffer is full, and its policy is to raise.
        """
        while True:
            link = self._link
            if link is not None:
                self._notify(item.data)
                if link.send(item.batch, volatile=volatile, bounded=True):
                    return True
            if volatile:
                return False
            with self._lock:
                gone = self._link is link
                if gone:
                    self._link = None  # the manager will hear of it
                    dropped = self._keep_locked(item)
            if gone:
                if dropped is not None and dropped.ack_id is not None:
                    self._acks.fail(dropped.ack_id, Disconnected(DROPPED))
                return dropped is not item

    def send_now(self, item: Outgoing, waiter: FallibleWaiter, timeout: float | None) -> bool:
        """Send an event and expect its acknowledgement; False, without telling ``waiter``, when that is impossible.

        :raises LocalProtocolError: it is larger than the server takes.
        """
        link = self._link
        if link is None or item.ack_id is None:
            return False
        self._acks.expect(item.ack_id, waiter, timeout)
        self._notify(item.data)
        try:
            sent = link.send(item.batch)
        except LocalProtocolError:
            self._acks.forget(item.ack_id)
            raise
        if not sent:
            with self._lock:
                if self._link is link:
                    self._link = None
            if self._acks.forget(item.ack_id) is not None:
                return False
        return True

    def open(self, link: Link) -> None:
        """We are in the namespace: send what waits, then let events go straight to ``link``."""
        with self._lock:
            self._joined = link
            flushing, self._flushing = self._flushing, True
        if not flushing:  # who is still about it over the last link will go on over this one
            self._empty()

    def _empty(self) -> None:
        while True:
            with self._lock:
                link = self._joined
                items = [] if link is None else self._buffer.take_all()
                if link is None or not items:
                    self._link = link
                    self._flushing = False
                    return
            left = self._flush(link, items)
            if left:
                with self._lock:
                    # Those whose callers have been told of the loss meanwhile must not go out after all.
                    self._buffer.put_back(item for item in left if item.ack_id is None or item.ack_id in self._acks)
                    if self._joined is link:  # the manager will hear of it
                        self._flushing = False
                        return

    def close(self, link: Link) -> None:
        """``link`` is over: events wait, and the acknowledgements of those that have gone out are lost."""
        with self._lock:
            if self._joined is not link:
                return
            self._joined = self._link = None
            buffered = {item.ack_id for item in self._buffer}
        self._acks.lose(buffered)

    def discard(self, ack_id: int) -> None:
        """Forget the waiting event that asks for this acknowledgement, if there is one."""
        with self._lock:
            self._buffer.discard(lambda item: item.ack_id == ack_id)

    def _keep_locked(self, item: Outgoing) -> Outgoing | None:
        """Have ``item`` wait; what is dropped for it."""
        if item.ack_id is not None and item.ack_id not in self._acks:
            return item  # the connection was lost under it, and its caller knows
        return self._buffer.add(item)

    def _flush(self, link: Link, items: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Send in order; what could not be sent, because the connection is over again."""
        for number, item in enumerate(items):
            try:
                if not link.send(item.batch):
                    return items[number:]
            except LocalProtocolError as error:
                logger.error("%r, which waited for the connection, cannot be sent: %s", item.data[0], error)
                if item.ack_id is not None:
                    self._acks.fail(item.ack_id, error)
            else:
                self._notify_later(item.data)
        return ()
