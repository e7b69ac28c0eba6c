"""What all who write to Redis by hand have in common: how a command is packed, and a connection of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ...runtime import disown
from .redis_urls import descriptor_of


def pack(*parts: bytes) -> bytes:
    """A command as Redis reads it; the clients' own way takes several times as long."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


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
