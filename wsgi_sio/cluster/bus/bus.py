"""What is asked of a bus, and what all buses are made with: the outbox, the report of an outage, one bus a process.
(What their readers are made with is in reader.py.)

An outage makes nobody wait.  What is published goes into an outbox that is bounded in bytes, and a job sends it, in
order, each message at most once: what may have arrived is never sent again.  What is lost is counted, and told in one
line when the outage is over.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol
from weakref import ref

from ...logtext import one_line
from ...runtime import FAILURES, Rank, Reactor, make_lock, tell_in_child

logger = logging.getLogger("wsgi_sio.bus")

# Called with the channel and the payload, by the bus's one reader: it must not block.
OnMessage = Callable[[str, bytes], None]

# How many bytes may wait for a bus that is slow or away.
MAX_OUTBOX = 16_000_000
# How many messages, or bytes, are sent before it is asked whether they have arrived.
_BATCH, _BATCH_SIZE = 500, 256_000
# The waits between attempts to reach a bus again, in seconds: the first, and the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 3.0
# For how long a bus works again before that is believed (seconds), so that a flickering one is told of once.
_STEADY = 1.0
# How long the end of a process, or of a bus, waits for what is in the outbox (seconds).
_LAST_WORDS = 2.0


class Subscription(Protocol):
    """What :meth:`Bus.subscribe` gives."""

    def wait_subscribed(self, timeout: float) -> bool:
        """Block up to ``timeout`` seconds until the bus has confirmed it; whether it has."""

    def close(self) -> None:
        """Hear nothing more."""


class Bus(Protocol):
    """Channels that several processes share."""

    def publish(self, channel: str, payload: bytes) -> None:
        """Send ``payload`` to all who listen, this process as well.  Neither blocks nor raises for an outage."""

    def subscribe(self, channels: Iterable[str], patterns: Iterable[str], on_message: OnMessage) -> Subscription:
        """Hear what is published to ``channels`` and to those that match ``patterns`` (globs), in order.

        Returns at once; while the bus is away, it is subscribed as soon as it comes back.

        :raises ValueError: this bus has no patterns.
        """

    def count(self, channel: str) -> int | None:
        """How many listen to a channel by its name; None when that cannot be said.  Blocks for a bounded time."""

    def close(self) -> None:
        """Send what there is, for a moment, and let go."""


class Item(NamedTuple):
    """What waits in an outbox."""

    channel: str
    payload: bytes


class Sender(Protocol):
    """How an outbox sends; called by one job at a time, which it may block for a bounded time."""

    def connect(self) -> None:
        """Be ready to send; nothing happens when it is.

        :raises Exception: the bus cannot be reached.
        """

    def send(self, batch: Sequence[Item]) -> tuple[int, Exception | None]:
        """Send them in order: how many have arrived for certain, and what went wrong with the rest."""


class Outage:
    """Tells when a bus does not work, once, and when it does again, with what was lost meanwhile.

    :param where: the bus, as the log may show it.
    """

    def __init__(self, reactor: Reactor, where: str) -> None:
        self._reactor = reactor
        self._where = where
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._failing: set[str] = set()
        self._since: float | None = None
        self._turns = 0  # how often something has begun or ceased to work
        self._lost = 0
        self.total_lost = 0

    @property
    def lasts(self) -> bool:
        """Whether something does not work just now."""
        return bool(self._failing)

    def failed(self, part: str, error: object) -> None:
        """A part (the publisher, the reader...) does not work."""
        with self._lock:
            self._turns += 1
            self._failing.add(part)
            begins = self._since is None
            if begins:
                self._since = time.monotonic()
        if begins:
            logger.warning(
                "%s does not work (%s): until it does, clients of other servers get nothing from this one, or late",
                self._where,
                one_line(f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)),
            )

    def works(self, part: str) -> None:
        """It works again."""
        with self._lock:
            if part not in self._failing:
                return
            self._failing.discard(part)
            self._turns += 1
            turn, over = self._turns, not self._failing
        if over:
            self._reactor.call_later(_STEADY, lambda: self._end(turn))

    def lost(self, count: int) -> None:
        """So many messages have been lost, or nobody knows whether they arrived."""
        with self._lock:
            self._lost += count
            self.total_lost += count

    def _end(self, turn: int) -> None:
        with self._lock:
            if turn != self._turns or self._since is None:
                return  # it has failed again
            seconds, self._since = time.monotonic() - _STEADY - self._since, None
            lost, self._lost = self._lost, 0
        logger.warning(
            "%s works again after %.1f s: %s that this server published then",
            self._where,
            max(0.0, seconds),
            f"{lost} messages were lost (or nobody knows) of those" if lost else "nothing was lost",
        )


class Outbox:
    """What waits to be published, in order; a job sends it, so that nobody waits.

    :param limit: bytes that may wait; what comes then is lost.
    """

    def __init__(self, reactor: Reactor, sender: Sender, outage: Outage, limit: int = MAX_OUTBOX) -> None:
        self._reactor = reactor
        self._sender = sender
        self._outage = outage
        self._limit = limit
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._items: deque[Item] = deque()
        self._size = 0
        self._full = False
        self._running = False
        self._failures = 0
        self.closed = False
        self._idle = reactor.event()

    def put(self, item: Item) -> bool:
        """Send it when its turn comes; False: too much waits already, so it is lost."""
        size = len(item.payload) + len(item.channel)
        with self._lock:
            fits = not self.closed and self._size + size <= self._limit
            begins_to_overflow = not fits and not self.closed and not self._full
            if fits:
                self._items.append(item)
                self._size += size
            else:
                self._full = not self.closed
            start = fits and not self._running
            if start:
                self._running = True
        if start:
            self._reactor.submit(self._drain)
        elif not fits:
            self._outage.lost(1)
            if begins_to_overflow:
                self._outage.failed("the outbox", f"{self._limit} bytes are waiting for it, which is all that may")
        return fits

    def _take_locked(self) -> list[Item]:
        batch: list[Item] = []
        size = 0
        items = self._items
        while items and len(batch) < _BATCH and size < _BATCH_SIZE:
            item = items.popleft()
            size += len(item.payload) + len(item.channel)
            batch.append(item)
        self._size -= size
        return batch

    def _drain(self) -> None:
        """Send until there is nothing more, or until the bus fails: then again a little later."""
        try:
            while not self.closed:
                self._sender.connect()  # before anything is taken: what has never been sent is not lost
                with self._lock:
                    batch = self._take_locked()
                    relieved = self._full and self._size * 2 <= self._limit
                    if relieved:
                        self._full = False
                    if not batch:
                        self._running = False
                if relieved:
                    self._outage.works("the outbox")
                if not batch:
                    self._works()
                    self._idle.set()
                    return
                sent, error = self._sender.send(batch)
                if error is not None:
                    self._outage.lost(len(batch) - sent)
                    raise error
                self._works()
        except FAILURES as error:
            self._fails(error)

    def _works(self) -> None:
        if self._failures:
            self._failures = 0
            self._outage.works("publishing")

    def _fails(self, error: BaseException) -> None:
        if self.closed:
            return
        self._failures += 1
        self._outage.failed("publishing", error)
        self._reactor.call_later(wait_before(self._failures), lambda: self._reactor.submit(self._drain))

    def close(self) -> None:
        """Wait a moment until all is sent; what is not is lost."""
        with self._lock:
            waits = self._running and not self._failures and self._reactor.may_wait()
            self._idle.clear()
            waits = waits and self._running
        if waits:
            self._reactor.wait(self._idle, _LAST_WORDS)  # which lets others work, for one of them has to send it
        with self._lock:
            self.closed = True
            left = len(self._items)
            self._items.clear()
        if left:
            self._outage.lost(left)
            logger.warning("%d messages to other servers could not be sent before the end", left)

    def abandon(self) -> None:
        """Forget all, in a forked child."""
        self.closed = True
        self._lock = make_lock(Rank.LEAF)
        self._items.clear()


def wait_before(attempt: int) -> float:
    """Seconds to wait before a bus is tried again, after ``attempt`` failures; not the same for all who do."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(attempt, 20)) * random.uniform(0.5, 1.0)


class Part(Protocol):
    """A reader, or a publisher, of a :class:`ConnectedBus`."""

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""


class ConnectedBus(Bus):
    """A bus with an outbox, a reader and a publisher, which end with their process.

    :ivar outage: whether it works.
    """

    def __init__(self, outage: Outage, outbox: Outbox, reader: Part, publisher: Part) -> None:
        self.outage = outage
        self._outbox = outbox
        self._parts = (reader, publisher)
        self._pid = os.getpid()
        self._closed = False
        tell_in_child(self)
        self._at_exit = partial(_close_at_exit, ref(self))
        atexit.register(self._at_exit)

    def publish(self, channel: str, payload: bytes) -> None:
        self._outbox.put(Item(channel, payload))

    def close(self) -> None:
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        self._let_go()

    def _let_go(self) -> None:
        """See :meth:`close`, the first time."""
        raise NotImplementedError

    def wait_closed(self) -> None:
        """Wait a moment until a bus that has been closed has said goodbye."""

    def after_fork(self) -> None:
        """See :class:`Forkable`: the child makes a bus of its own."""
        self._closed = True
        self._outbox.abandon()
        for part in self._parts:
            part.abandon()


def _close_at_exit(found: Callable[[], ConnectedBus | None]) -> None:
    bus = found()
    if bus is not None:
        bus.close()
        bus.wait_closed()


class SharedBus:
    """One bus a process for all namespaces, from the first that joins to the last that leaves.

    :param make: makes it, without waiting for anything.
    """

    def __init__(self, make: Callable[[Reactor], Bus]) -> None:
        self._make = make
        self._lock = make_lock(Rank.ADAPTER)  # guards the rest
        self._users: set[Hashable] = set()
        self._bus: Bus | None = None
        self._pid = 0
        tell_in_child(self)

    def after_fork(self) -> None:
        """See :class:`Forkable`: another thread may have held the lock."""
        self._lock = make_lock(Rank.ADAPTER)

    def join(self, reactor: Reactor, user: Hashable) -> Bus:
        """The bus of this process, which ``user`` uses until it leaves."""
        made: Bus | None = None
        while True:
            with self._lock:
                if self._pid != os.getpid():
                    self._bus, self._users, self._pid = None, set(), os.getpid()
                if self._bus is None:
                    self._bus = made
                if self._bus is not None:
                    self._users.add(user)
                    bus = self._bus
                    break
            made = self._make(reactor)
        if made is not None and bus is not made:
            made.close()
        return bus

    def leave(self, user: Hashable) -> None:
        """``user`` does not use it any more."""
        with self._lock:
            if self._pid != os.getpid() or user not in self._users:
                return
            self._users.discard(user)
            bus = None
            if not self._users:
                bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()
