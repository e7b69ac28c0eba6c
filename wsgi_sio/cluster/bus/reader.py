"""What the readers of all buses are made with: one connection, and one thread or greenlet that reads it, for ever.

:class:`Reader` connects, reads and begins again; :class:`ChannelReader` knows who hears what beside that.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

from ...runtime import FAILURES, Event, Rank, Reactor, make_lock
from .bus import OnMessage, OnMessages, Subscription
from .outage import Outage, wait_before

logger = logging.getLogger("wsgi_sio.bus")

Connection = TypeVar("Connection")
Name = TypeVar("Name")
Names = TypeVar("Names", bound=Collection[Any])


class Reader(ABC, Generic[Connection]):
    """Whoever reads it runs :meth:`_run`.

    :param connect: gives a new connection; blocks for a bounded time.
    :param part: what it does, for :class:`Outage`.
    """

    def __init__(
        self, reactor: Reactor, connect: Callable[[], Connection], outage: Outage, part: str = "listening"
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._outage = outage
        self._part = part
        self._wake = reactor.event()
        self._lock = make_lock(Rank.ADAPTER)
        self._junk_seen = False
        self.closed = False

    def close(self) -> None:
        """Read no more, and end the connection, in a moment."""
        self.closed = True
        self._wake.set()

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's, and if its reader is here (a greenlet), it ends."""
        self.closed = True
        self._lock = make_lock(Rank.ADAPTER)

    def _run(self) -> None:
        """The thread or greenlet: connect, read, and begin again, until it is closed."""
        failures = 0
        while not self.closed:
            connection = None
            try:
                connection = self._connect()
                self._begin(connection)
                self._outage.works(self._part)
                failures = 0
                self._read(connection)
            except FAILURES as error:
                if not self.closed:
                    failures += 1
                    self._outage.failed(self._part, error)
            finally:
                if connection is not None:
                    self._end(connection)
            if not self.closed and self._wake.wait(wait_before(failures)):
                self._wake.clear()

    @abstractmethod
    def _begin(self, connection: Connection) -> None:
        """The connection is new; all that has to be said on it."""

    @abstractmethod
    def _read(self, connection: Connection) -> None:
        """Read until it is closed.

        :raises Exception: the connection has ended.
        """

    @abstractmethod
    def _end(self, connection: Connection) -> None:
        """End the connection."""

    def _junk(self, error: BaseException, what: str = "bus") -> None:
        """A listener has failed, or does not understand what it has been given."""
        level, self._junk_seen = logging.DEBUG if self._junk_seen else logging.ERROR, True
        logger.log(level, "a listener to a %s failed (told once)", what, exc_info=error)


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
        on_messages: OnMessages | None = None,
    ) -> None:
        self.names = names
        self.on_message = on_message
        self.on_messages = on_messages
        self.missing = set(names)
        self.ready = reactor.event()
        self._reactor = reactor
        self._remove = remove

    def wait_subscribed(self, timeout: float) -> bool:
        return self._reactor.wait(self.ready, timeout)

    def close(self) -> None:
        self._remove(self)


class ChannelReader(Reader[Connection], Generic[Connection, Name, Names]):
    """A reader with the subscriptions, which may come from any thread; the first one starts it."""

    def __init__(self, reactor: Reactor, connect: Callable[[], Connection], outage: Outage) -> None:
        super().__init__(reactor, connect, outage)
        # Its values are replaced, never changed.
        self._table: dict[Name, tuple[ReaderSubscription[Names], ...]] = {}
        self._running = False

    def _add(
        self, names: Names, on_message: OnMessage, on_messages: OnMessages | None = None
    ) -> ReaderSubscription[Names]:
        """Hear ``names``."""
        subscription = ReaderSubscription(names, on_message, self._reactor, self.remove, on_messages)
        with self._lock:
            if self.closed:
                return subscription
            for name in names:
                self._table[name] = (*self._table.get(name, ()), subscription)
            self._wanted_locked(names)
            start, self._running = not self._running, True
        if not start:
            self._hurry()
            return subscription
        try:
            self._reactor.spawn(self._run)
        except RuntimeError:  # no thread is to be had; the next one may be luckier
            self._running = False
            self.remove(subscription)
            raise
        return subscription

    def remove(self, subscription: ReaderSubscription[Names]) -> None:
        """Hear the names of ``subscription`` for it no more."""
        with self._lock:
            gone = []
            for name in subscription.names:
                left = tuple(one for one in self._table.get(name, ()) if one is not subscription)
                if left:
                    self._table[name] = left
                elif self._table.pop(name, None) is not None:
                    gone.append(name)
            self._unwanted_locked(gone)

    @abstractmethod
    def _wanted_locked(self, names: Names) -> None:
        """Somebody wants to hear ``names``, and to know when that is confirmed."""

    @abstractmethod
    def _unwanted_locked(self, names: list[Name]) -> None:
        """Nobody wants to hear ``names`` any more."""

    def _hurry(self) -> None:
        """What is wanted now need not wait for the reader's next look, if that can be helped."""

    def _forget_confirmations_locked(self) -> None:
        """The connection is new: nothing is confirmed on it."""
        for subscriptions in self._table.values():
            for subscription in subscriptions:
                subscription.missing = set(subscription.names)
                subscription.ready.clear()

    def _confirm_locked(self, name: Name) -> list[Event]:
        """It is heard from now on; what is to be set for those that wait for it, without the lock."""
        subscriptions = self._table.get(name, ())
        for subscription in subscriptions:
            subscription.missing.discard(name)
        return [subscription.ready for subscription in subscriptions if not subscription.missing]

    def close(self) -> None:
        with self._lock:
            self.closed = True
            self._table = {}
        self._wake.set()

    def abandon(self) -> None:
        super().abandon()
        self._table = {}
