"""RedisStreams: a Redis bus that has streams as well, and keys that outlive a process.

Whatever is written goes out through the one outbox, packed, in order with what is published; a command may have
somebody who is told of its answer.  Each stream is read by one thread or greenlet a process, from where it ended when
the process first looked: then on, entry by entry, also over an outage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ...runtime import FAILURES, Rank, Reactor, disown, make_lock
from .bus import MAX_OUTBOX, Item, Outage, Outbox, SharedBus, wait_before
from .redis_bus import RedisBus
from .redis_urls import RedisUrl, descriptor_of

logger = logging.getLogger("wsgi_sio.bus")

# The fields of an entry.
Fields = Mapping[bytes, bytes]
# Called with the id of an entry, its position and its fields, by the stream's one reader: it must not block.
OnEntry = Callable[[str, int, Fields], None]
# Told the answer to a command, by a job that must not be held up: a value, an Unanswered, or an error of Redis's own.
Done = Callable[[Any], None]

# How long a read waits for entries (milliseconds), which is also how long the end of a reader may take.
_BLOCK = 1000
# How many entries are asked for at a time where all of a range are wanted.
_PAGE = 1000
# Redis compares numbers of 64 bits, two for each id.
_HALF: Final = 64
_MASK: Final = (1 << _HALF) - 1


class Unanswered(Exception):
    """What became of a command is not known.

    :ivar sent: whether it may have been carried out.
    """

    def __init__(self, reason: object, *, sent: bool) -> None:
        super().__init__(str(reason))
        self.sent = sent


def position_of(entry_id: str) -> int:
    """Where an id (``milliseconds-number``) stands in its stream: greater ones are later.

    :raises ValueError: it is none.
    """
    milliseconds, dash, number = entry_id.partition("-")
    if not (dash and milliseconds.isascii() and number.isascii() and milliseconds.isdigit() and number.isdigit()):
        raise ValueError("not the id of an entry")
    if len(milliseconds) > 20 or len(number) > 20:
        raise ValueError("not the id of an entry")
    return int(milliseconds) << _HALF | int(number) & _MASK


def id_at(position: int) -> str:
    """The mirror image."""
    return f"{position >> _HALF}-{position & _MASK}"


def pack(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


class Command(Item):
    """A command in the outbox.

    :ivar done: told of the answer; None: nobody is.
    """

    done: Done | None = None


class _Writer:
    """The connection that writes; see :class:`~.bus.Sender`.

    :param connect: gives a new connection.
    :param prepare: called with it before anything is sent.
    """

    def __init__(self, connect: Callable[[], Any], prepare: Callable[[Any], None]) -> None:
        self._connect = connect
        self._prepare = prepare
        self._connection: Any = None

    def connect(self) -> None:
        connection = self._connection
        if connection is not None:
            try:
                if not connection.can_read(timeout=0):
                    self._prepare(connection)
                    return
            except Exception:  # it has ended
                logger.debug("the connection that writes has ended", exc_info=True)
            self.disconnect()
        self._connection = self._connect()
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

    def disconnect(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""
        disown([descriptor_of(self._connection)])
        self._connection = None


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


class StreamReader:
    """The one reader of a stream in this process.

    :param stream: its key.
    :param topic: the field that tells whom an entry is for.
    :param count: how many entries are read at most at a time.
    :ivar position: up to which all entries have been given to their listeners.
    :ivar placed: set once it is known where the stream ended when this process first looked.
    """

    def __init__(
        self, reactor: Reactor, connect: Callable[[], Any], outage: Outage, stream: bytes, topic: bytes, count: int
    ) -> None:
        self.stream = stream
        self.position = 0
        self.placed = reactor.event()
        self._connect = connect
        self._outage = outage
        self._topic = topic
        self._count = b"%d" % count
        self._listeners: dict[bytes, OnEntry] = {}
        self._lock = make_lock(Rank.ADAPTER)
        self._wake = reactor.event()
        self._connection: Any = None
        self._junk_seen = False
        self.closed = False
        reactor.spawn(self._run)

    def listen(self, topic: bytes, on_entry: OnEntry) -> None:
        """Give the entries for ``topic`` to ``on_entry``."""
        self._listeners[topic] = on_entry

    def forget(self, topic: bytes, on_entry: OnEntry) -> None:
        """The mirror image."""
        if self._listeners.get(topic) == on_entry:
            del self._listeners[topic]

    def close(self) -> None:
        """Read no more, in a moment."""
        self.closed = True
        self._wake.set()

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's."""
        self.closed = True
        self._listeners = {}
        self._lock = make_lock(Rank.ADAPTER)
        disown([descriptor_of(self._connection)])

    def find_place(self, connection: Any) -> None:
        """Find out where the stream ends, if that is not known yet.

        :raises Exception: it cannot be told.
        """
        if self.placed.is_set():
            return
        last = self._last(connection)
        with self._lock:
            if not self.placed.is_set():
                self.position = last
                self.placed.set()

    def _last(self, connection: Any) -> int:
        found = ask(connection, b"XREVRANGE", self.stream, b"+", b"-", b"COUNT", b"1")
        return position_of(found[0][0].decode()) if found else 0

    def _run(self) -> None:
        """The thread or greenlet: connect, read, and begin again, until it is closed."""
        failures, part = 0, f"reading {self.stream.decode(errors='replace')}"
        while not self.closed:
            connection = None
            try:
                self._connection = connection = self._connect()
                self.find_place(connection)
                self._look_back(connection)
                self._outage.works(part)
                failures = 0
                while not self.closed:
                    self._read(connection)
            except FAILURES as error:
                if not self.closed:
                    failures += 1
                    self._outage.failed(part, error)
            finally:
                self._connection = None
                if connection is not None:
                    connection.disconnect()
            if not self.closed:
                self._wake.wait(wait_before(failures))

    def _look_back(self, connection: Any) -> None:
        """The stream may be another one since the last connection: shorter, or trimmed beyond where we were."""
        last = self._last(connection)
        if last < self.position:
            logger.warning(
                "the stream %s has been emptied, or another server answers: it is read from its beginning",
                self.stream.decode(errors="replace"),
            )
            self.position = 0
        elif last > self.position > 0:
            first = ask(connection, b"XRANGE", self.stream, b"-", b"+", b"COUNT", b"1")
            if first and position_of(first[0][0].decode()) > self.position:
                logger.error(
                    "the stream %s has been trimmed while it was not read: events may be missing",
                    self.stream.decode(errors="replace"),
                )

    def _read(self, connection: Any) -> None:
        after = id_at(self.position).encode()
        parts = (b"XREAD", b"COUNT", self._count, b"BLOCK", b"%d" % _BLOCK, b"STREAMS", self.stream, after)
        answer = ask(connection, *parts)
        for _, entries in answer or ():
            for entry_id, values in entries:
                if self.closed:
                    return
                self._take(entry_id.decode(), values)

    def _take(self, entry_id: str, values: Any) -> None:
        position = position_of(entry_id)
        try:
            fields = dict(zip(values[::2], values[1::2], strict=True)) if values else {}  # None: deleted meanwhile
            listener = self._listeners.get(fields.get(self._topic, b""))
            if listener is not None:
                listener(entry_id, position, fields)
        except FAILURES as error:
            level, self._junk_seen = logging.DEBUG if self._junk_seen else logging.ERROR, True
            logger.log(level, "a listener to a stream failed (told once)", exc_info=error)
        self.position = position


def ask(connection: Any, *parts: bytes) -> Any:
    """Send a command on a connection of the caller's own, and wait for the answer.

    :raises Exception: Redis refuses it, or cannot be reached.
    """
    connection.send_packed_command([pack(*parts)], check_health=False)
    return connection.read_response()


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
        self._publisher = _Writer(self._connect, self._find_places)  # type: ignore[assignment]
        self._outbox = Outbox(reactor, self._publisher, self.outage, max_outbox)

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
