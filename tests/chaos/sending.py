"""What the numbered events of both directions are made of, and which of a client's have not been sent yet."""

from __future__ import annotations

from typing import Any


def fill(number: int, size: int, binary: bool) -> str | bytes:
    """The payload that goes with a number."""
    return bytes([number % 256]) * size if binary else chr(ord("a") + number % 26) * size


def is_whole(payload: Any, number: int, size: int) -> bool:
    """Whether a payload is the one that was sent with this number."""
    return bool(payload == fill(number, size, isinstance(payload, bytes)))


class Numbers:
    """A client's numbers, and from which on none can have been lost with an old connection. Guarded by its owner.

    That is the first one emitted while disconnected, if one has been emitted over the connection before that; else
    nobody knows what was flushed into that connection and lost with it, and only numbers not given out yet count.
    """

    def __init__(self) -> None:
        self.next = 0
        self._offline: int | None = None
        self._seen_online = False

    def take(self, online: bool) -> int:
        """A number for an event that is emitted now."""
        number, self.next = self.next, self.next + 1
        if online:
            self._seen_online = True
            self._offline = None
        elif self._seen_online and self._offline is None:
            self._offline = number
        return number

    def unsent(self) -> int:
        """Asked once for each connection, while it is made."""
        offline, self._offline = self._offline, None
        self._seen_online = False
        return self.next if offline is None else offline
