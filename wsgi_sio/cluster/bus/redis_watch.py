"""A connection to Redis that the reactor reads: no thread or greenlet waits for it, which is what waking up costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...runtime import FAILURES, Event, Reactor, Watch, Watched
from .redis_wire import AnswerReader


class ConnectionWatch(Watched):
    """Reads on a descriptor of its own, so that whoever ends the connection needs no leave of the reactor.

    :param sock: the connection's.
    :param take: given what has come, taken apart; must not block. What it raises ends the reading.
    :param wake: set when that has ended.
    :ivar failure: why it has.
    """

    def __init__(self, sock: Any, take: Callable[[list[Any]], None], wake: Event) -> None:
        self._sock = sock.dup()
        self._sock.settimeout(0.0)
        self._take = take
        self._wake = wake
        self._answers = AnswerReader()
        self._heard = False
        self._watch: Watch | None = None
        self.failure: BaseException | None = None

    def start(self, reactor: Reactor) -> None:
        """Begin to read.

        :raises OSError: the system cannot watch more.
        """
        self._watch = reactor.watch(self, reading=False)
        self._watch.resume()

    def fileno(self) -> int:
        return int(self._sock.fileno())

    def on_readable(self) -> None:
        try:
            data = self._sock.recv(self._answers.chunk)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        try:
            if not data:
                raise ConnectionError("the connection has ended")
            self._heard = True
            self._take(self._answers.feed(data))
        except FAILURES as error:
            self._fail(error)

    def on_writable(self) -> None:
        """Nobody writes here."""

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        if self._watch is not None:
            self._watch.pause()  # or it would be told for ever
        self._wake.set()

    def has_heard(self) -> bool:
        """Whether anything has come since this was asked last, or what has is being taken."""
        heard, self._heard = self._heard or (self._watch is not None and self._watch.reading), False
        return heard

    def close(self) -> None:
        """Read no more."""
        if self._watch is None:
            self._sock.close()
        else:
            self._watch.close(self._sock.close)
