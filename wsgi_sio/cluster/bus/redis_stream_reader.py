"""StreamReader: the one thread or greenlet of a process that reads a stream of Redis; where entries stand in it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from ...runtime import FAILURES, Reactor, disown
from .outage import Outage
from .reader import Reader
from .redis_urls import descriptor_of
from .redis_wire import pack

logger = logging.getLogger("wsgi_sio.bus")

# The fields of an entry.
Fields = Mapping[bytes, bytes]
# Called with the id of an entry, its position and its fields, by the stream's one reader: it must not block.
OnEntry = Callable[[str, int, Fields], None]

# How long a read waits for entries (milliseconds), which is also how long the end of a reader may take.
_BLOCK = 1000
# How many of the entries that were read last are known again, should the stream have lost its end.
_KNOWN = 1000
# Redis compares numbers of 64 bits, two for each id.
_HALF: Final = 64
_MASK: Final = (1 << _HALF) - 1


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


class StreamReader(Reader[Any]):
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
        super().__init__(reactor, connect, outage, f"reading {stream.decode(errors='replace')}")
        self.stream = stream
        self.position = 0
        self.placed = reactor.event()
        self._topic = topic
        self._count = b"%d" % count
        self._listeners: dict[bytes, OnEntry] = {}
        self._known: deque[int] = deque(maxlen=_KNOWN)
        self._connection: Any = None
        self._running = False

    def listen(self, topic: bytes, on_entry: OnEntry) -> None:
        """Give the entries for ``topic`` to ``on_entry``; the first time, begin to read.

        :raises RuntimeError: no thread is to be had.
        """
        with self._lock:
            self._listeners[topic] = on_entry
            start, self._running = not self._running, True
        if start:
            try:
                self._reactor.spawn(self._run)
            except RuntimeError:  # the next one may be luckier
                self._running = False
                self.forget(topic, on_entry)
                raise

    def forget(self, topic: bytes, on_entry: OnEntry) -> None:
        """The mirror image."""
        if self._listeners.get(topic) == on_entry:
            del self._listeners[topic]

    def abandon(self) -> None:
        super().abandon()
        self._listeners = {}
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

    def _begin(self, connection: Any) -> None:
        self._connection = connection
        self.find_place(connection)
        self._look_back(connection)

    def _end(self, connection: Any) -> None:
        self._connection = None
        connection.disconnect()

    def _look_back(self, connection: Any) -> None:
        """The stream may be another one since the last connection: shorter, or trimmed beyond where we were."""
        last = self._last(connection)
        if last < self.position:
            self.position = place = self._newest_known(connection)
            logger.warning(
                "the stream %s has lost its end, or another server answers: it is read %s",
                self.stream.decode(errors="replace"),
                "from the last entry that is known" if place else "from its beginning",
            )
        elif last > self.position > 0:
            first = ask(connection, b"XRANGE", self.stream, b"-", b"+", b"COUNT", b"1")
            if first and position_of(first[0][0].decode()) > self.position:
                logger.error(
                    "the stream %s has been trimmed while it was not read: events may be missing",
                    self.stream.decode(errors="replace"),
                )

    def _newest_known(self, connection: Any) -> int:
        """The last entry of the stream that has been read: a replica that took over may lack what came after it."""
        known = set(self._known)
        newest = ask(connection, b"XREVRANGE", self.stream, b"+", b"-", b"COUNT", b"%d" % _KNOWN)
        positions = (position_of(entry_id.decode()) for entry_id, _ in newest)
        return next((position for position in positions if position in known), 0)

    def _read(self, connection: Any) -> None:
        while not self.closed:
            self._read_on(connection)

    def _read_on(self, connection: Any) -> None:
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
            self._junk(error, "stream")
        self.position = position
        self._known.append(position)


def ask(connection: Any, *parts: bytes) -> Any:
    """Send a command on a connection of the caller's own, and wait for the answer.

    :raises Exception: Redis refuses it, or cannot be reached.
    """
    connection.send_packed_command([pack(*parts)], check_health=False)
    return connection.read_response()
