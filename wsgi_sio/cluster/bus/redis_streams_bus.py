"""RedisStreams: a Redis bus that has streams as well, and keys that outlive a process.

Whatever is written goes out through the one outbox, packed, in order with what is published; a command may have
somebody who is told of its answer.  Each stream is read by one thread or greenlet a process, from where it ended when
the process first looked: then on, entry by entry, also over an outage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ...runtime import FAILURES, Rank, Reactor, make_lock
from .bus import SharedBus
from .outage import Outage
from .outbox import MAX_OUTBOX, Item
from .redis_bus import RedisBus
from .redis_publisher import Publisher
from .redis_stream_reader import Fields, OnEntry, StreamReader, id_at, position_of
from .redis_urls import RedisUrl
from .redis_wire import pack

logger = logging.getLogger("wsgi_sio.bus")

# Told the answer to a command, by a job that must not be held up: a value, an Unanswered, or an error of Redis's own.
Done = Callable[[Any], None]

# How many entries are asked for at a time where all of a range are wanted.
_PAGE = 1000


class Unanswered(Exception):
    """What became of a command is not known.

    :ivar sent: whether it may have been carried out.
    """

    def __init__(self, reason: object, *, sent: bool) -> None:
        super().__init__(str(reason))
        self.sent = sent


class Command(Item):
    """A command in the outbox.

    :ivar done: told of the answer; None: nobody is.
    """

    done: Done | None = None


class _Writer(Publisher):
    """It sends commands of all kinds.

    :param prepare: called with the connection before anything is sent.
    """

    def __init__(self, connect: Callable[[], Any], prepare: Callable[[Any], None]) -> None:
        super().__init__(connect)
        self._prepare = prepare

    def connect(self) -> None:
        super().connect()
        self._prepare(self._connection)

    def send(self, batch: Sequence[Item]) -> tuple[int, Exception | None]:
        connection, arrived = self._connection, 0
        try:
            connection.send_packed_command([b"".join(map(_packed, batch))], check_health=False)
            for item in batch:
                answer = _read(connection)
                arrived += 1
                _tell(item, answer)
        except Exception as error:  # of the client's package
            self.disconnect()  # whatever it still answers is not for what comes next
            for item in batch[arrived:]:
                _tell(item, Unanswered(error, sent=True))
            return arrived, error
        return arrived, None


def _packed(item: Item) -> bytes:
    return item.payload if isinstance(item, Command) else pack(b"PUBLISH", item.channel.encode(), item.payload)


def _read(connection: Any) -> Any:
    """An answer; an error that Redis answers with is one as well.

    :raises Exception: the connection has ended.
    """
    try:
        return connection.read_response(disconnect_on_error=False)
    except Exception as error:
        if any(kind.__name__ == "ResponseError" for kind in type(error).__mro__):  # of one package or the other
            return error
        raise


def _tell(item: Item, answer: Any) -> None:
    done = item.done if isinstance(item, Command) else None
    if done is None:
        if isinstance(answer, Exception) and not isinstance(answer, Unanswered):
            logger.error("Redis refuses a command: %s", answer)
        return
    try:
        done(answer)
    except FAILURES:
        logger.exception("what waits for an answer of Redis failed")


class RedisStreams(RedisBus):
    """See the module's text; what it has beside publish, subscribe and count."""

    def __init__(
        self, reactor: Reactor, url: RedisUrl, *, topic: bytes, read_count: int, max_outbox: int = MAX_OUTBOX
    ) -> None:
        super().__init__(reactor, url, max_outbox=max_outbox)
        self._reactor = reactor
        self._topic = topic
        self._read_count = read_count
        self._readers: dict[bytes, StreamReader] = {}
        self._readers_lock = make_lock(Rank.ADAPTER)

    def _make_publisher(self, outage: Outage) -> Publisher:
        return _Writer(self._connect, self._find_places)

    def _find_places(self, connection: Any) -> None:
        for reader in list(self._readers.values()):
            reader.find_place(connection)  # before anything is appended, lest it should not be read here

    def listen(self, stream: bytes, topic: bytes, on_entry: OnEntry) -> StreamReader:
        """Give the entries of ``stream`` for ``topic`` to ``on_entry``, from now on."""
        with self._readers_lock:
            reader = self._readers.get(stream)
        if reader is None:
            made = StreamReader(self._reactor, self._connect, self.outage, stream, self._topic, self._read_count)
            with self._readers_lock:
                reader = self._readers.setdefault(stream, made)
            if reader is not made:
                made.close()
        reader.listen(topic, on_entry)
        if self._closed:  # meanwhile, and perhaps before this reader was there
            reader.close()
        return reader

    def post(self, *parts: bytes, done: Done | None = None) -> None:
        """Send a command when its turn comes.  Neither blocks nor raises.

        :param done: told the answer once.
        """
        command = Command("", pack(*parts))
        command.done = done
        if not self._outbox.put(command) and done is not None:
            done(Unanswered("too much waits for Redis", sent=False))

    def call(self, *commands: Sequence[bytes], timeout: float = 2.0) -> list[Any]:
        """Send commands behind what has been posted, and block until they are answered: their answers.

        :raises OSError: they are not, in that time; or Redis is away.
        """
        if self.outage.lasts:
            raise ConnectionError("Redis is away")
        answers: dict[int, Any] = {}
        complete = self._reactor.event()

        def take(number: int, answer: Any) -> None:
            answers[number] = answer
            if len(answers) == len(commands):
                complete.set()

        for number, parts in enumerate(commands):
            self.post(*parts, done=partial(take, number))
        if not self._reactor.wait(complete, timeout):
            raise TimeoutError("Redis has not answered in time")
        for answer in answers.values():
            if isinstance(answer, Exception):
                raise ConnectionError(str(answer)) from answer
        return [answers[number] for number in range(len(commands))]

    def range(self, stream: bytes, after: int, until: int) -> Iterator[tuple[str, int, Fields]]:
        """The entries of a stream behind the position ``after``, up to ``until``: ids, positions, fields.  Blocks.

        :raises OSError: Redis does not answer.
        """
        end = id_at(until).encode()
        while after < until:
            (page,) = self.call((b"XRANGE", stream, id_at(after + 1).encode(), end, b"COUNT", b"%d" % _PAGE))
            for raw_id, values in page:
                entry_id = raw_id.decode()
                after = position_of(entry_id)
                yield entry_id, after, dict(zip(values[::2], values[1::2], strict=True))
            if len(page) < _PAGE:
                return

    def close(self) -> None:
        super().close()
        for reader in list(self._readers.values()):
            reader.close()

    def after_fork(self) -> None:
        super().after_fork()
        self._readers_lock = make_lock(Rank.ADAPTER)
        for reader in self._readers.values():
            reader.abandon()


def redis_streams(url: str, *, topic: bytes, read_count: int, max_outbox: int = MAX_OUTBOX) -> SharedBus:
    """The bus with streams at ``url``, one a process.

    :raises ValueError: the URL is not understood, or is a cluster's.
    """
    parsed = RedisUrl.parse(url)
    if parsed.variant == "cluster":
        raise ValueError("streams on a Redis Cluster are not supported: use one server, or Sentinel")
    return SharedBus(
        lambda reactor: RedisStreams(reactor, parsed, topic=topic, read_count=read_count, max_outbox=max_outbox)
    )
