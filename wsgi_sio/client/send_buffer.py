"""The send buffer: a socket's events go straight to the connection while there is one, else they wait, in order."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..engineio.packet import Packet as EnginePacket
from ..exceptions import Disconnected, LocalProtocolError
from ..runtime import Rank, make_lock
from .acks import FallibleWaiter, PendingAcks
from .connection import Connection

logger = logging.getLogger("wsgi_sio.client")

Item = TypeVar("Item")

# Why an event fails that the policy drops.
DROPPED = "dropped from the full send buffer"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An encoded event.

    :ivar data: its name and arguments, for the listeners.
    :ivar ack_id: the acknowledgement it asks for.
    """

    data: list[Any]
    batch: list[EnginePacket]
    ack_id: int | None


class SendBuffer:
    """Takes a socket's events; callable from any thread, and never waits.

    :param acks: those of events that are dropped are told so here.
    :param notify: told of each event that goes out, with its name and arguments.
    :param notify_later: the same on a worker, for events that had to wait.
    """

    __slots__ = ("_acks", "_buffer", "_connection", "_flushing", "_joined", "_lock", "_notify", "_notify_later")

    def __init__(
        self,
        acks: PendingAcks,
        buffer: BoundedBuffer[Outgoing],
        notify: Callable[[list[Any]], None],
        notify_later: Callable[[list[Any]], None],
    ) -> None:
        self._acks = acks
        acks.on_expired = self.discard
        self._buffer = buffer
        self._notify = notify
        self._notify_later = notify_later
        self._lock = make_lock(Rank.SESSION)
        self._joined: Connection | None = None  # where we are in the namespace
        self._connection: Connection | None = None  # the same, once nothing waits any more
        self._flushing = False

    @property
    def ready(self) -> bool:
        """Whether events go straight out."""
        return self._connection is not None

    def send(self, item: Outgoing, *, volatile: bool = False) -> bool:
        """Send an event, or keep it for the next connection; False when it is dropped.

        :raises LocalProtocolError: it is larger than the server takes, or too much waits for a server that is slower.
        :raises Disconnected: the buffer is full, and its policy is to raise.
        """
        while True:
            connection = self._connection
            if connection is not None:
                self._notify(item.data)
                if connection.send(item.batch, volatile=volatile, bounded=True):
                    return True
            if volatile:
                return False
            with self._lock:
                gone = self._connection is connection
                if gone:
                    self._connection = None  # the manager will hear of it
                    dropped = self._keep_locked(item)
            if gone:
                if dropped is not None and dropped.ack_id is not None:
                    self._acks.fail(dropped.ack_id, Disconnected(DROPPED))
                return dropped is not item

    def send_now(self, item: Outgoing, waiter: FallibleWaiter, timeout: float | None) -> bool:
        """Send an event and expect its acknowledgement; False, without telling ``waiter``, when that is impossible.

        :raises LocalProtocolError: it is larger than the server takes.
        """
        connection = self._connection
        if connection is None or item.ack_id is None:
            return False
        self._acks.expect(item.ack_id, waiter, timeout)
        self._notify(item.data)
        try:
            sent = connection.send(item.batch)
        except LocalProtocolError:
            self._acks.forget(item.ack_id)
            raise
        if not sent:
            with self._lock:
                if self._connection is connection:
                    self._connection = None
            if self._acks.forget(item.ack_id) is not None:
                return False
        return True

    def open(self, connection: Connection) -> None:
        """We are in the namespace: send what waits, then let events go straight to ``connection``."""
        with self._lock:
            self._joined = connection
            flushing, self._flushing = self._flushing, True
        if not flushing:  # who is still about it over the last connection will go on over this one
            self._empty()

    def _empty(self) -> None:
        while True:
            with self._lock:
                connection = self._joined
                items = [] if connection is None else self._buffer.take_all()
                if connection is None or not items:
                    self._connection = connection
                    self._flushing = False
                    return
            left = self._flush(connection, items)
            if left:
                with self._lock:
                    # Those whose callers have been told of the loss meanwhile must not go out after all.
                    self._buffer.put_back(item for item in left if item.ack_id is None or item.ack_id in self._acks)
                    if self._joined is connection:  # the manager will hear of it
                        self._flushing = False
                        return

    def close(self, connection: Connection) -> None:
        """``connection`` is over: events wait, and the acknowledgements of those that have gone out are lost."""
        with self._lock:
            if self._joined is not connection:
                return
            self._joined = self._connection = None
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

    def _flush(self, connection: Connection, items: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Send in order; what could not be sent, because the connection is over again."""
        for number, item in enumerate(items):
            try:
                if not connection.send(item.batch):
                    return items[number:]
            except LocalProtocolError as error:
                logger.error("%r, which waited for the connection, cannot be sent: %s", item.data[0], error)
                if item.ack_id is not None:
                    self._acks.fail(item.ack_id, error)
            else:
                self._notify_later(item.data)
        return ()


class BoundedBuffer(Generic[Item]):
    """A queue with a policy for when it is full. Not locked: that is its owner's business.

    :param limit: how many items may wait; None for any number.
    :param policy: ``raise``, ``drop_oldest`` or ``drop_newest``.
    """

    __slots__ = ("_items", "_limit", "_policy")

    def __init__(self, limit: int | None, policy: str) -> None:
        self._limit = limit
        self._policy = policy
        self._items: deque[Item] = deque()

    def add(self, item: Item, *, pinned: int = 0) -> Item | None:
        """Append ``item``.

        :param pinned: how many of the oldest items must not be dropped.
        :return: what the policy drops for it, perhaps ``item`` itself.
        :raises Disconnected: the buffer is full, and its policy is to raise.
        """
        if self._limit is None or len(self._items) < self._limit:
            self._items.append(item)
            return None
        if self._policy == "raise":
            raise Disconnected(f"not connected, and max_send_buffer={self._limit} events wait already")
        if self._policy == "drop_newest" or pinned >= len(self._items):
            return item
        oldest = self._items[pinned]
        del self._items[pinned]
        self._items.append(item)
        return oldest

    def put_back(self, items: Iterable[Item]) -> None:
        """Return what :meth:`take_all` gave, in front of what has come since; no policy applies."""
        self._items.extendleft(reversed(list(items)))

    def take_all(self) -> list[Item]:
        """Empty it."""
        items = list(self._items)
        self._items.clear()
        return items

    def discard(self, unwanted: Callable[[Item], bool]) -> None:
        """Forget the items for which ``unwanted`` is true."""
        if any(map(unwanted, self._items)):
            self._items = deque(item for item in self._items if not unwanted(item))

    def head(self) -> Item | None:
        """The oldest item, left in its place."""
        return self._items[0] if self._items else None

    def drop_head(self) -> None:
        """Forget the oldest item."""
        self._items.popleft()

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
