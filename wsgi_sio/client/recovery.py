"""Connection state recovery, the client's side: what it has to know to be given its old self back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Recovery:
    """Remembers the private id (``pid``) that the server gave, and the offset of the last event it sent.

    Any event that ends with a string may end with an offset: the protocol does not tell them apart, so a volatile
    event with a string at its end costs the recovery, with the reference as well.
    """

    __slots__ = ("_offset", "_pid")

    def __init__(self) -> None:
        self._pid: str | None = None
        self._offset: str | None = None

    def credentials(self, auth: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """What to send with CONNECT: the application's ``auth``, and what we remember."""
        if self._pid is None:
            return auth
        offset = {} if self._offset is None else {"offset": self._offset}
        return {"pid": self._pid, **offset, **(auth or {})}

    def connected(self, pid: str | None) -> bool:
        """The server has let us in under ``pid``: whether that is our old self."""
        recovered = pid is not None and pid == self._pid
        self._pid = pid
        return recovered

    def received(self, args: list[Any]) -> int:
        """Note the offset of an event; how many of its last ``args`` (with its name in front) may be one."""
        if self._pid is None or len(args) < 2 or type(args[-1]) is not str:
            return 0
        self._offset = args[-1]
        return 1
