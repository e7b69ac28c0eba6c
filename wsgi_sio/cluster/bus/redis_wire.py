"""What all who speak to Redis by hand have in common: to pack commands, to take answers apart, a connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ...runtime import disown
from .redis_urls import descriptor_of


def pack(*parts: bytes) -> bytes:
    """A command as Redis reads it; the clients' own way takes several times as long."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


# How long a line may be that is neither text nor bytes of somebody else's.
_LONGEST_LINE = 65536


# How many bytes are read at a time: as a rule, and of one large message.
_CHUNK, _LARGE_CHUNK = 8192, 1_000_000


class AnswerReader:
    """Takes apart what Redis says (RESP 2), as it comes: bytes, numbers, None, lists, and lines as :class:`Line`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = 0  # bytes without which the first of what is kept is not whole
        self._head, self._pattern = b"?", b""  # how the messages of a pattern begin, those that come most

    @property
    def chunk(self) -> int:
        """How many bytes to read next: few, for all that comes of them, however many clients it is for, is done before
        anything else; but many if one message is known to be large."""
        missing = self._needed - self._size if self._pieces else 0
        return max(_CHUNK, min(missing, _LARGE_CHUNK))

    def feed(self, data: bytes) -> list[Any]:
        """What is complete now.

        :raises ValueError: this is not Redis's language.
        """
        if self._pieces:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return []
            data = b"".join(self._pieces)
            self._pieces = []
        found: list[Any] = []
        at, end, head = 0, len(data), self._head
        while at < end:
            if data.startswith(head, at):  # the same as below, in fewer steps
                sized = at + len(head)
                channel = data.find(b"\r\n", sized) + 2
                if channel > 1:
                    channel_end = channel + int(data[sized:channel])
                    payload = data.find(b"\r\n", channel_end + 3) + 2
                    if payload > 1:
                        payload_end = payload + int(data[channel_end + 3 : payload])
                        if payload_end + 2 <= end:
                            parts = [b"pmessage", self._pattern, data[channel:channel_end], data[payload:payload_end]]
                            found.append(parts)
                            at = payload_end + 2
                            continue
            try:
                value, at = _read_answer(data, at)
            except _Incomplete as incomplete:
                rest = data[at:]
                self._pieces, self._size, self._needed = [rest], len(rest), incomplete.until - at
                break
            found.append(value)
            if type(value) is list and value and value[0] == b"pmessage":
                self._pattern = value[1]
                head = self._head = b"*4\r\n$8\r\npmessage\r\n$%d\r\n%b\r\n$" % (len(value[1]), value[1])
        return found


class Line(bytes):
    """A status, or an error, with its sign."""


class _Incomplete(Exception):
    """More has to come, up to ``until`` at least."""

    def __init__(self, until: int) -> None:
        self.until = until


def _read_answer(data: bytes, at: int) -> tuple[Any, int]:
    """The answer at ``at``, and where the next one begins."""
    line_end = data.find(b"\r\n", at, at + _LONGEST_LINE)
    if line_end < 0:
        if len(data) - at >= _LONGEST_LINE:
            raise ValueError(f"a line without end: {data[at : at + 100]!r}")
        raise _Incomplete(len(data) + 1)
    sign, following = data[at], line_end + 2
    if sign == 36:  # "$"
        size = int(data[at + 1 : line_end])
        if size < 0:
            return None, following
        end = following + size
        if len(data) < end + 2:
            raise _Incomplete(end + 2)
        return data[following:end], end + 2
    if sign == 42:  # "*"
        values = []
        for _ in range(int(data[at + 1 : line_end])):
            value, following = _read_answer(data, following)
            values.append(value)
        return values, following
    if sign == 58:  # ":"
        return int(data[at + 1 : line_end]), following
    if sign in b"+-":
        return Line(data[at:line_end]), following
    raise ValueError(f"not an answer of Redis: {data[at:line_end][:100]!r}")


def is_quiet(connection: Any) -> bool:
    """Whether a connection that has been idle is still there, and says nothing that nobody has asked for."""
    try:
        return not connection.can_read(timeout=0)
    except Exception:  # of the client's package: it has ended
        return False


class OwnConnection:
    """A connection that one job at a time writes to.

    :param connect: gives a new one.
    :ivar trusted: for how long after an answer it is used without a look at it (seconds).
    """

    trusted = 0.0

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None
        self._answered = 0.0

    def connect(self) -> None:
        """Have one; nothing happens when there is.

        :raises Exception: Redis cannot be reached.
        """
        if self._connection is not None:
            if time.monotonic() - self._answered < self.trusted or is_quiet(self._connection):
                return
            self.disconnect()
        self._connection = self._connect()
        self._answered = time.monotonic()

    def disconnect(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""
        disown([descriptor_of(self._connection)])
        self._connection = None
