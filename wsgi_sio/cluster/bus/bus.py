"""What is asked of a bus, what the buses of all kinds have in common, and one bus a process."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Collection, Hashable, Iterable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar
from weakref import ref

from ...runtime import Rank, Reactor, make_lock, tell_in_child
from .publish_outbox import Item, Outbox

# Called with the channel and the payload, by the bus's one reader: it must not block.
OnMessage = Callable[[str, bytes], None]

Names = TypeVar("Names", bound=Collection[Any])


class Subscription(Protocol):
    """What :meth:`Bus.subscribe` gives."""

    def wait_subscribed(self, timeout: float) -> bool:
        """Block up to ``timeout`` seconds until the bus has confirmed it; whether it has."""

    def close(self) -> None:
        """Hear nothing more."""


class ReaderSubscription(Subscription, Generic[Names]):
    """A subscription at a bus that has one reader.

    :ivar names: what is heard, as the reader names it.
    :ivar missing: those of them that the bus has not confirmed; guarded by the reader.
    :ivar ready: set when there is none.
    :param remove: has the reader forget it.
    """

    def __init__(
        self,
        names: Names,
        on_message: OnMessage,
        reactor: Reactor,
        remove: Callable[[ReaderSubscription[Names]], None],
    ) -> None:
        self.names = names
        self.on_message = on_message
        self.missing = set(names)
        self.ready = reactor.event()
        self._reactor = reactor
        self._remove = remove

    def wait_subscribed(self, timeout: float) -> bool:
        return self._reactor.wait(self.ready, timeout)

    def close(self) -> None:
        self._remove(self)


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


class Part(Protocol):
    """What a bus is made of."""

    def close(self) -> None:
        """End it."""

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""


class ProcessBus(Bus):
    """A bus that ends with its process, and is not a forked child's.

    What is in its outbox is sent at the end, for a moment, by whoever ends it.
    """

    def __init__(self, outbox: Outbox, reader: Part, publisher: Part) -> None:
        self._outbox = outbox
        self._reader = reader
        self._publisher = publisher
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
        self._end()

    def _end(self) -> None:
        self._outbox.close()
        self._reader.close()
        self._publisher.close()

    def close_at_exit(self) -> None:
        """The process ends."""
        self.close()

    def after_fork(self) -> None:
        """See :class:`Forkable`: the child makes a bus of its own."""
        self._closed = True
        for part in (self._outbox, self._reader, self._publisher):
            part.abandon()


def _close_at_exit(found: Callable[[], ProcessBus | None]) -> None:
    bus = found()
    if bus is not None:
        bus.close_at_exit()


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
