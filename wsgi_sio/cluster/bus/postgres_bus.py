"""PostgresBus: NOTIFY and LISTEN of Postgres, and a table for what does not fit into a notification.

Two connections: one listens (postgres_reader.py), one publishes.  Many messages go out in one transaction; large ones
in one each, a row and the notification that names it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...logtext import one_line
from ...runtime import Rank, Reactor, make_lock
from .bus import ConnectedBus, OnMessage, OnMessages, SharedBus
from .outage import Outage
from .outbox import MAX_OUTBOX, Item, Outbox, Sender
from .postgres_reader import Heard, PostgresReader, PostgresSubscription
from .postgres_urls import MAX_NAME, check_table, check_url, shown

if TYPE_CHECKING:
    from .postgres_connection import PostgresConnection

logger = logging.getLogger("wsgi_sio.bus")

# For how long after an answer a connection is taken for alive without a look at it (seconds).
_FRESH = 0.5

# Told of what the server refuses, by a job; see :class:`Refused`.
OnRefusal = Callable[[Exception], None]

NOTIFY = "SELECT pg_notify(channel, payload) FROM unnest(%s::text[], %s::text[]) AS item (channel, payload)"
NOTIFY_ROW = (
    "WITH made AS (INSERT INTO {table} (payload) VALUES (%b) RETURNING id)"
    " SELECT pg_notify(%s, %s::text || id::text || %s::text) FROM made"
)
FIND_ROW = "SELECT payload FROM {table} WHERE id = %s"
CLEAN = "DELETE FROM {table} WHERE created_at < now() - %s * interval '1 second'"
# As the package of Node's has its users make it.
MAKE_TABLE = (
    "CREATE TABLE IF NOT EXISTS {table} (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)"
)


def postgres_bus(
    url: str,
    *,
    table: str,
    cleanup_interval: float,
    on_refusal: OnRefusal | None = None,
    max_outbox: int = MAX_OUTBOX,
) -> SharedBus:
    """The bus at ``url``, one a process, for all namespaces of a server; see :class:`PostgresBus`.

    :raises ValueError: the URL or the table's name is not understood.
    :raises ImportError: psycopg is missing.
    """
    check_url(url)
    check_table(table)
    return SharedBus(
        lambda reactor: PostgresBus(
            reactor,
            url,
            table=table,
            cleanup_interval=cleanup_interval,
            on_refusal=on_refusal,
            max_outbox=max_outbox,
        )
    )


class RowItem(Item):
    """What goes into a row, of which the notification says ``before``, the row's number, ``after``."""

    before: str
    after: str


class PostgresBus(ConnectedBus):
    """See the module's text.

    :param table: for rows; made when it is missing, if the server lets us.
    :param cleanup_interval: seconds after which a row may be deleted, and how often that is done.
    :param on_refusal: told of what the server refuses; None: the log is, once until it takes something again.
    :param max_outbox: bytes that may wait to be published.
    """

    def __init__(
        self,
        reactor: Reactor,
        url: str,
        *,
        table: str = "socket_io_attachments",
        cleanup_interval: float = 30.0,
        on_refusal: OnRefusal | None = None,
        max_outbox: int = MAX_OUTBOX,
    ) -> None:
        self.url = url
        outage = Outage(reactor, shown(url))
        self._find_row = FIND_ROW.format(table=table)
        self._reader = PostgresReader(reactor, self._connect, outage)
        self._publisher = _Publisher(self._connect, outage, table, cleanup_interval, on_refusal)
        super().__init__(outage, Outbox(reactor, self._publisher, outage, max_outbox), self._reader, self._publisher)

    def _connect(self, heard: Heard | None = None) -> PostgresConnection:
        from .postgres_connection import PostgresConnection  # here, since it has to be imported after monkey patching

        return PostgresConnection(self.url, heard)

    def publish(self, channel: str, payload: bytes) -> None:
        """See :meth:`Bus.publish`; it is UTF-8, of up to 7999 bytes."""
        self._outbox.put(Item(channel, payload))

    def publish_row(self, channel: str, payload: bytes, before: str, after: str) -> None:
        """Put ``payload`` into a row, and publish ``before``, the row's number and ``after``.  As :meth:`publish`."""
        item = RowItem(channel, payload)
        item.before, item.after = before, after
        self._outbox.put(item)

    def row(self, number: int) -> bytes | None:
        """What is in that row; None: there is none (any more).  For listeners, while they are given a message.

        :raises ConnectionError: the connection has ended; let it pass, and the message will come again.
        :raises Exception: the server refuses it.
        """
        found = self._reader.run(self._find_row, (number,))
        return bytes(found[0][0]) if found and found[0][0] is not None else None

    def subscribe(
        self,
        channels: Iterable[str],
        patterns: Iterable[str],
        on_message: OnMessage,
        on_messages: OnMessages | None = None,
    ) -> PostgresSubscription:
        """See :meth:`Bus.subscribe`.

        :raises ValueError: there are patterns, or a name is too long for a channel.
        """
        names = frozenset(channels)
        if list(patterns):
            raise ValueError("Postgres has no patterns")
        for name in names:
            if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
                raise ValueError(f"the name of a channel may have {MAX_NAME} bytes, which {name!r} has not")
        return self._reader.add(names, on_message)

    def count(self, channel: str) -> int | None:
        """It cannot be said."""
        return None

    def _let_go(self) -> None:
        self._outbox.close()
        self._reader.close()
        self._publisher.close()


class _Publisher(Sender):
    """The connection that an outbox is sent on."""

    def __init__(
        self,
        connect: Callable[[], PostgresConnection],
        outage: Outage,
        table: str,
        cleanup_interval: float,
        on_refusal: OnRefusal | None,
    ) -> None:
        self._connect = connect
        self._outage = outage
        self._table = table
        self._notify_row = NOTIFY_ROW.format(table=table)
        self._clean = CLEAN.format(table=table)
        self._cleanup_interval = cleanup_interval
        self._on_refusal = on_refusal
        self._connection: PostgresConnection | None = None
        self._answered = 0.0
        self._cleaned = time.monotonic()
        self._refused: set[str] = set()  # the statements whose refusal has been told
        self._lock = make_lock(Rank.LEAF)  # guards the next two: whoever uses the connection ends it, nobody beside it
        self._busy = False
        self._closed = False

    def connect(self) -> None:
        with self._using():
            self._have_connection()

    def _have_connection(self) -> None:
        connection = self._connection
        if connection is not None:
            if time.monotonic() - self._answered < _FRESH or connection.is_alive():
                return
            self._disconnect()
        connection = self._connect()
        try:
            # What is lost in a crash of the server's is lost to its listeners anyhow: no waiting for the disk.
            connection.run("SET synchronous_commit TO off")
            self._see_to_the_table(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._answered = time.monotonic()

    def _see_to_the_table(self, connection: PostgresConnection) -> None:
        """Have the table, or say what is missing before it is needed."""
        from .postgres_connection import Refused

        if connection.run("SELECT to_regclass(%s)", (self._table,)) != [(None,)]:
            return
        statement = MAKE_TABLE.format(table=self._table)
        try:
            connection.run(statement)
        except Refused as refusal:
            if connection.run("SELECT to_regclass(%s)", (self._table,)) == [(None,)]:  # else another was faster
                self._tell(
                    statement, f"what is large, or has bytes, has no table, nor may it be made ({statement})", refusal
                )

    def send(self, batch: Sequence[Item]) -> tuple[int, Exception | None]:
        done = 0
        try:
            with self._using():
                connection = self._connection
                if connection is None:
                    raise ConnectionError("the bus is closed")
                for chunk in chunks(batch):
                    self._send(connection, chunk)
                    done += len(chunk)
                    self._answered = time.monotonic()
                if self._answered - self._cleaned >= self._cleanup_interval:
                    self._cleaned = self._answered
                    self._run(connection, self._clean, (self._cleanup_interval,), 0)
        except Exception as error:  # of psycopg's, which only its own file may name
            self._disconnect()
            return done, error
        return done, None

    def _send(self, connection: PostgresConnection, chunk: list[Item]) -> None:
        """Send what may go in one transaction; what is refused is told, and lost."""
        first, count = chunk[0], len(chunk)
        if isinstance(first, RowItem):
            self._run(connection, self._notify_row, (first.payload, first.channel, first.before, first.after), count)
            return
        parameters = [item.channel for item in chunk], [item.payload.decode() for item in chunk]
        # Of many, one may be to blame: then each has to be sent alone.
        if not self._run(connection, NOTIFY, parameters, 1 if count == 1 else None):
            for item in chunk if count > 1 else ():
                self._send(connection, [item])

    def _run(
        self, connection: PostgresConnection, statement: str, parameters: tuple[object, ...], lost: int | None
    ) -> bool:
        """Run a statement; False: it is refused.

        :param lost: how many messages are lost then; None: that is not the last word, so nothing is told.
        """
        from .postgres_connection import Refused

        try:
            connection.run(statement, parameters)
        except Refused as refusal:
            if lost is not None:
                self._outage.lost(lost)
                self._tell(statement, "Postgres refuses a statement (told once until it takes it)", refusal)
            return False
        self._refused.discard(statement)
        return True

    def _tell(self, statement: str, what: str, refusal: Exception) -> None:
        if self._on_refusal is not None:
            self._on_refusal(refusal)
            return
        level = logging.DEBUG if statement in self._refused else logging.ERROR
        self._refused.add(statement)
        logger.log(level, "%s: %s", what, one_line(str(refusal).partition("\n")[0]))

    # -- its end ------------------------------------------------------------------------------------------------

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise ConnectionError("the bus is closed")
            self._busy = True
        try:
            yield
        finally:
            with self._lock:
                self._busy = False
                ends = self._closed
            if ends:
                self._disconnect()

    def close(self) -> None:
        """End the connection, as soon as nobody uses it."""
        with self._lock:
            self._closed = True
            idle = not self._busy
        if idle:
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""
        self._lock = make_lock(Rank.LEAF)
        if self._connection is not None:
            self._connection.abandon()
        self._connection = None


def chunks(batch: Sequence[Item]) -> Iterator[list[Item]]:
    """What may go in one transaction each, in order.

    A row does alone; and of what is the same twice in one transaction, Postgres delivers one.
    """
    chunk: list[Item] = []
    seen: set[Item] = set()
    for item in batch:
        alone = isinstance(item, RowItem)
        if chunk and (alone or item in seen):
            yield chunk
            chunk, seen = [], set()
        if alone:
            yield [item]
        else:
            chunk.append(item)
            seen.add(item)
    if chunk:
        yield chunk
