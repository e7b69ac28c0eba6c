"""The half of a Kombu bus that listens: one connection, one queue, one thread or greenlet that does all with both.

A connection of py-amqp's is for one thread at a time, so that what others want of it waits for the reader, whom a
message to its own queue wakes.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from secrets import token_hex
from typing import Any, Final

from ...runtime import FAILURES, Reactor
from .bus import OnMessage
from .kombu_urls import TIMEOUT
from .kombu_wire import EXCHANGE, Address, abandon, address_of, close, declare_counter, declare_exchange
from .outage import Outage
from .reader import ChannelReader, ReaderSubscription

logger = logging.getLogger("wsgi_sio.bus")

# For how long one look at the connection lasts (seconds).
_LOOK: Final = 1.0
# After how many looks at nothing the broker is asked whether it lives, and how long it may take to say so (seconds).
# Looks are counted, not seconds, lest it be blamed for a time in which this process stood still.
_ASK: Final = 2
_ANSWER: Final = 4.0
# How often the broker is told that this process lives (seconds), who drops it after 20 s at most.
_SIGN: Final = 3.0
HEARTBEAT: Final = 10
# How often the publishing connection is used, lest it be dropped (seconds).
_USE: Final = 15.0
# How many messages a greenlet reads before others have their turn.
_TURN: Final = 50
# How many bytes may wait in the broker for a process that does not read them; more, and the oldest are lost.
_BACKLOG: Final = 64_000_000


# The channel of each address.
KombuSubscription = ReaderSubscription[dict[Address, str]]


class KombuReader(ChannelReader["_Listening", Address, dict[Address, str]]):
    """See the module's text.

    :param connect: gives a new connection; blocks for a bounded time.
    :param exchanges: the channels that are exchanges of their own.
    :param use_publisher: has the publishing connection send something to the queue named by :attr:`queue`.
    :ivar queue: of this process, "" while there is none.
    """

    def __init__(
        self,
        reactor: Reactor,
        connect: Callable[[], Any],
        outage: Outage,
        exchanges: Collection[str],
        use_publisher: Callable[[], None],
    ) -> None:
        super().__init__(reactor, self._listen, outage)
        self.queue = ""
        self.ended = reactor.event()
        self._connect_to_broker = connect
        self._exchanges = exchanges
        self._use_publisher = use_publisher
        self._wishes: deque[tuple[bool, Address]] = deque()  # to hear it, or to hear it no more; guarded by the lock
        self._connection: Any = None

    # -- subscriptions, from any thread -------------------------------------------------------------------------

    def add(self, channels: Iterable[str], on_message: OnMessage) -> KombuSubscription:
        """Hear ``channels``."""
        return self._add({address_of(channel, self._exchanges): channel for channel in channels}, on_message)

    def _wanted_locked(self, names: dict[Address, str]) -> None:
        self._wishes.extend((True, name) for name in names)

    def _unwanted_locked(self, names: list[Address]) -> None:
        self._wishes.extend((False, name) for name in names)  # at the next look is soon enough

    def _hurry(self) -> None:
        if self.queue:
            self._use_publisher()

    def close(self) -> None:
        """Who closes wakes the reader."""
        super().close()
        if not self._running:
            self.ended.set()

    def abandon(self) -> None:
        super().abandon()
        self._wishes.clear()
        abandon(self._connection)

    # -- the thread or greenlet ---------------------------------------------------------------------------------

    def _run(self) -> None:
        super()._run()
        self.ended.set()

    def _listen(self) -> _Listening:
        connection = self._connection = self._connect_to_broker()
        try:
            return _Listening(connection, self._take)
        except BaseException:
            self._connection = None
            close(connection)
            raise

    def _begin(self, connection: _Listening) -> None:
        with self._lock:
            self._wishes.clear()
            self._wishes.extend((True, name) for name in self._table)
            self._forget_confirmations_locked()
            self.queue = connection.queue
        self._grant_wishes(connection)

    def _end(self, connection: _Listening) -> None:
        self.queue = ""
        self._connection = None
        close(connection.connection)

    def _read(self, connection: _Listening) -> None:
        quiet, taken = 0, 0
        shown = used = time.monotonic()
        while not self.closed:
            if self._wishes:
                self._grant_wishes(connection)
            try:
                connection.look()
            except TimeoutError:  # half a message is kept until the rest comes
                quiet, taken = quiet + 1, 0
            else:
                quiet, taken = 0, taken + 1
                if taken % _TURN:
                    continue
                time.sleep(0)  # a greenlet that always finds something to read keeps the others from running
            if quiet >= _ASK:
                connection.ask()
                quiet = 0
            now = time.monotonic()
            if now - shown >= _SIGN:
                shown = now
                connection.connection.send_heartbeat()
            if now - used >= _USE:
                used = now
                self._use_publisher()

    def _grant_wishes(self, listening: _Listening) -> None:
        while self._wishes and not self.closed:
            wanted, name = self._wishes.popleft()
            if not wanted:
                if name not in self._table:
                    listening.forget(name)
                continue
            listening.hear(name)
            with self._lock:
                ready = self._confirm_locked(name)
            for event in ready:
                event.set()

    def _take(self, message: Any) -> None:
        exchange, key = message.delivery_info["exchange"], message.delivery_info["routing_key"]
        name = Address(exchange, key if exchange == EXCHANGE else "")
        body = message.body
        payload = body.encode() if isinstance(body, str) else bytes(body)
        for subscription in self._table.get(name, ()):
            try:
                subscription.on_message(subscription.names[name], payload)
            except FAILURES as error:
                self._junk(error)


class _Listening:
    """A connection that hears addresses by a queue of its own; for the reader alone.

    :ivar queue: its name.
    """

    def __init__(self, connection: Any, take: Callable[[Any], None]) -> None:
        self.connection = connection
        self.queue = f"wsgi_sio.{token_hex(8)}"
        self._heard: dict[Address, str] = {}  # and the tag of the consumer that is counted
        self._side = connection.channel()
        self._channel = channel = connection.channel()
        channel.auto_decode = False
        arguments = {"x-max-length-bytes": _BACKLOG, "x-queue-type": "classic"}
        channel.queue_declare(self.queue, exclusive=True, auto_delete=True, arguments=arguments)
        channel.basic_consume(self.queue, no_ack=True, callback=take)
        connection.sock.settimeout(_LOOK)

    def look(self) -> None:
        """Read one message.

        :raises TimeoutError: there is none.
        """
        self.connection.drain_events()

    def ask(self) -> None:
        """See that the broker answers, and has the queue.

        :raises Exception: it does not.
        """
        self.connection.sock.settimeout(_ANSWER)
        self._side.queue_declare(self.queue, passive=True)
        self.connection.sock.settimeout(_LOOK)

    def hear(self, name: Address) -> None:
        """Have what is sent there put into the queue; nothing happens the second time."""
        if name in self._heard:
            return
        self.connection.sock.settimeout(TIMEOUT)
        declare_exchange(self._side, name.exchange)
        self._channel.queue_bind(self.queue, name.exchange, name.key)
        self._heard[name] = ""
        if name.counter is not None:
            declare_counter(self._side, name.counter)
            self._heard[name] = self._channel.basic_consume(name.counter, no_ack=True, callback=_ignore)
        self.connection.sock.settimeout(_LOOK)

    def forget(self, name: Address) -> None:
        """The mirror image."""
        tag = self._heard.pop(name, None)
        if tag is None:
            return
        self.connection.sock.settimeout(TIMEOUT)
        self._channel.queue_unbind(self.queue, name.exchange, name.key)
        if tag:
            self._channel.basic_cancel(tag)
        self.connection.sock.settimeout(_LOOK)


def _ignore(message: Any) -> None:
    """Nobody publishes to what is only counted."""
