"""Acknowledgements across the bridge to old servers, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...runtime import Rank, make_lock
from ...socketio.adapter import AckCollector
from .flask_socketio_messages import Callback


class AnswerOnce:
    """Sends the first acknowledgement to the old process that wants it: more would be unknown there."""

    __slots__ = ("_callback", "_lock", "_tell")

    def __init__(self, tell: Callable[[Callback, list[Any]], None], callback: Callback) -> None:
        self._tell = tell
        self._lock = make_lock(Rank.LEAF)  # guards the next one
        self._callback: Callback | None = callback

    def answer(self, args: list[Any]) -> None:
        with self._lock:
            callback, self._callback = self._callback, None
        if callback is not None:
            self._tell(callback, args)

    def await_servers(self, count: int) -> None:
        """It knows that."""

    def server_asked(self, clients: int) -> None:
        """Likewise."""

    def server_gone(self, clients: int) -> None:
        """Likewise."""

    def lost(self) -> None:
        """There will be no answer, which nobody there is told."""


class WithOldServers:
    """Collects acknowledgements of our clients; when nobody of them is asked, that of an old server's client counts.

    Old servers do not say whether they have the client, so they are waited for, by the time-out, only then.
    """

    __slots__ = ("_acks", "_clients", "_lock", "_servers", "_settled")

    def __init__(self, acks: AckCollector) -> None:
        self._acks = acks
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._servers = 0
        self._clients = 0
        self._settled = False
        acks.await_servers(1)  # the old ones

    def await_servers(self, count: int) -> None:
        with self._lock:
            self._servers += count
        self._acks.await_servers(count)

    def server_asked(self, clients: int) -> None:
        with self._lock:
            self._servers -= 1
            self._clients += clients
            settles = not self._settled and self._servers == 0 and self._clients > 0
            self._settled |= settles
        self._acks.server_asked(clients)
        if settles:
            self._acks.server_asked(0)

    def server_gone(self, clients: int) -> None:
        self._acks.server_gone(clients)

    def answer(self, args: list[Any]) -> None:
        self._acks.answer(args)

    def lost(self) -> None:
        self._acks.lost()

    def answer_of_old(self, args: list[Any]) -> None:
        """The client is an old server's."""
        with self._lock:
            settles, self._settled = not self._settled, True
        if settles:
            self._acks.server_asked(1)
            self._acks.answer(args)
