"""What is asked of a bus, and how one lives: one a process, with an outbox, a reader and a publisher.

An outage makes nobody wait.  What is published goes into a bounded outbox (outbox.py); what is lost is counted, and
told in one line when the outage is over (outage.py).  What the readers are made with is in reader.py.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Protocol
from weakref import ref

from ...runtime import Rank, Reactor, make_lock, tell_in_child
from .outage import Outage
from .outbox import Item, Outbox

# Called with the channel and the payload, by the bus's one reader: it must not block.
OnMessage = Callable[[str, bytes], None]
# Likewise with several that have come together, in order: [(channel, payload)].
OnMessages = Callable[[Sequence[tuple[str, bytes]]], None]


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

    def subscribe(
        self,
        channels: Iterable[str],
        patterns: Iterable[str],
        on_message: OnMessage,
        on_messages: OnMessages | None = None,
    ) -> Subscription:
        """Hear what is published to ``channels`` and to those that match ``patterns`` (globs), in order.

        Returns at once; while the bus is away, it is subscribed as soon as it comes back.

        :param on_messages: called instead where several have come together, if this bus can tell.
        :raises ValueError: this bus has no patterns.
        """

    def count(self, channel: str) -> int | None:
        """How many listen to a channel by its name; None when that cannot be said.  Blocks for a bounded time."""

    def close(self) -> None:
        """Send what there is, for a moment, and let go."""


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
