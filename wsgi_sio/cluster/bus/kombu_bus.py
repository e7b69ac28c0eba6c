"""KombuBus: RabbitMQ, by the package kombu; what channels are there is told in kombu_wire.py.

Three connections at most: one listens (kombu_reader.py), one publishes, and one counts when somebody asks.  As many
messages as there are go out one behind the other; the broker's confirmations come afterwards, and tell which have
arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from functools import partial

from ...runtime import Reactor
from .bus import ConnectedBus, OnMessage, OnMessages, SharedBus
from .kombu_reader import HEARTBEAT, KombuReader, KombuSubscription
from .kombu_urls import TIMEOUT, KombuUrl
from .kombu_wire import NOWHERE, Address, Link, abandon, address_of, close
from .outage import Outage
from .outbox import MAX_OUTBOX, Item, Outbox, Sender

# After how many seconds, twice, the broker gives up a publisher from whom nothing comes.
_PUBLISHER_HEARTBEAT = 40
# How long the end of a process waits for the reader to say goodbye (seconds).
_GOODBYE = 1.0
# The channel of the reader's own queue.
_OWN = ""


def kombu_bus(url: str, *, exchanges: Iterable[str] = (), max_outbox: int = MAX_OUTBOX) -> SharedBus:
    """The bus at ``url``, one a process, for all namespaces of a server.

    :param exchanges: the channels that are fanout exchanges of their own, as the old servers' are.
    :raises ValueError: the URL is not understood; see :mod:`kombu_urls`.
    """
    parsed, own = KombuUrl.parse(url), frozenset(exchanges)
    return SharedBus(lambda reactor: KombuBus(reactor, parsed, exchanges=own, max_outbox=max_outbox))


class KombuBus(ConnectedBus):
    """See the module's text.

    :param exchanges: the channels that are fanout exchanges of their own; who listens to these cannot be counted.
    :param max_outbox: bytes that may wait to be published.
    """

    def __init__(
        self,
        reactor: Reactor,
        url: KombuUrl | str,
        *,
        exchanges: Collection[str] = (),
        max_outbox: int = MAX_OUTBOX,
    ) -> None:
        self.url = url = KombuUrl.parse(url) if isinstance(url, str) else url
        url.require_client()
        self._exchanges = exchanges
        outage = Outage(reactor, url.shown)
        connect = partial(url.connect, "listener", heartbeat=HEARTBEAT)
        self._reader = KombuReader(reactor, connect, outage, exchanges, self._use_publisher)
        self._publisher = _Publisher(url, exchanges, self._reader)
        self._counting: deque[Link] = deque()
        super().__init__(outage, Outbox(reactor, self._publisher, outage, max_outbox), self._reader, self._publisher)

    def _use_publisher(self) -> None:
        self._outbox.put(Item(_OWN, b""))

    def subscribe(
        self,
        channels: Iterable[str],
        patterns: Iterable[str],
        on_message: OnMessage,
        on_messages: OnMessages | None = None,
    ) -> KombuSubscription:
        if list(patterns):
            raise ValueError("RabbitMQ's channels have no patterns here")
        return self._reader.add(channels, on_message)

    def count(self, channel: str) -> int | None:
        address = address_of(channel, self._exchanges)
        if self.outage.lasts or self._closed or address.counter is None:
            return None
        link = None
        try:
            link = self._idle_link() or Link(self.url.connect("counter"), self._exchanges, TIMEOUT)
            found = link.count(address)
        except Exception:  # of py-amqp; the reader tells of an outage
            if link is not None:
                close(link.connection)
            return None
        self._counting.append(link)
        return found

    def _idle_link(self) -> Link | None:
        while self._counting:
            try:
                link = self._counting.popleft()
            except IndexError:  # another thread was faster
                return None
            if link.is_alive:
                return link
            close(link.connection)
        return None

    def _let_go(self) -> None:
        self._reader.close()
        if self._reader.queue:
            self._use_publisher()  # which wakes it
        self._outbox.close()
        self._publisher.disconnect()
        while self._counting:
            close(self._counting.popleft().connection)

    def wait_closed(self) -> None:
        """Wait a moment for the reader, lest the broker's log complain of a connection that has just vanished."""
        if not self.outage.lasts:
            self._reader.ended.wait(_GOODBYE)

    def after_fork(self) -> None:
        super().after_fork()
        for link in self._counting:
            abandon(link.connection)


class _Publisher(Sender):
    """The connection that an outbox is sent on."""

    def __init__(self, url: KombuUrl, exchanges: Collection[str], reader: KombuReader) -> None:
        self._url = url
        self._exchanges = exchanges
        self._reader = reader
        self._link: Link | None = None

    def connect(self) -> None:
        if self._link is not None:
            if self._link.is_alive:
                return
            self.disconnect()
        blocked: list[object] = []
        connection = self._url.connect("publisher", heartbeat=_PUBLISHER_HEARTBEAT, on_blocked=blocked.append)
        try:
            self._link = Link(connection, self._exchanges, TIMEOUT)
            self._link.publish(Address("", NOWHERE), b"")  # a broker that takes nothing is not to have the first batch
            self._link.settle()
        except BaseException:
            self._link = None
            close(connection)
            if blocked:
                raise OSError("it takes nothing because of an alarm: no memory, or no room on the disk") from None
            raise

    def send(self, batch: Sequence[Item]) -> tuple[int, Exception | None]:
        link, failure = self._link, None
        assert link is not None
        numbers: list[int] = []
        try:
            for channel, payload in batch:
                numbers.append(link.publish(self._address(channel), payload))
            link.settle()
        except Exception as error:  # of py-amqp
            failure = error
            self.disconnect()  # whatever it still confirms is not for what comes next
        arrived = sum(map(link.has_arrived, numbers))
        own = sum(channel == _OWN for channel, _ in batch)  # nobody's loss
        return (len(batch), None) if failure is None else (min(len(batch), arrived + own), failure)

    def _address(self, channel: str) -> Address:
        return address_of(channel, self._exchanges) if channel != _OWN else Address("", self._reader.queue or NOWHERE)

    def disconnect(self) -> None:
        """End the connection."""
        link, self._link = self._link, None
        if link is not None:
            close(link.connection)

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""
        if self._link is not None:
            abandon(self._link.connection)
        self._link = None
