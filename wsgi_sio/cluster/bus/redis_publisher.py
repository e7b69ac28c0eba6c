"""The half of a Redis bus that publishes: messages are packed by hand, as many as there are go out in one write.

Redis answers each, in order, which tells how many have arrived.  Nobody waits for that: the answers are taken with the
next write, or a little later (:meth:`PubSubPublisher.settle`), and only a bounded number may be missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from .outbox import Item, Sender
from .redis_urls import set_timeout, socket_of, write_to
from .redis_wire import AnswerReader, OwnConnection, pack

# For how long after an answer a connection is taken for alive without a look at it (seconds).
_FRESH = 0.5
# How many messages may lack an answer before the next ones wait for it: what is in doubt when Redis dies.
_MOST_UNANSWERED = 500
_CHUNK = 65536


class Publisher(OwnConnection, Sender):
    """The connection that an outbox is sent on."""


class PubSubPublisher(Publisher):
    """See the module's text.

    :param verb: PUBLISH or SPUBLISH.
    :param lost: told how many messages of earlier batches nobody knows the fate of.
    :param deferring: False: it waits for all answers (TLS has no look without waiting).
    """

    trusted = _FRESH

    def __init__(
        self, connect: Callable[[], Any], verb: bytes, lost: Callable[[int], None], *, deferring: bool
    ) -> None:
        super().__init__(connect)
        self._verb = verb
        self._lost = lost
        self._defers = deferring
        self._unanswered = 0
        self._answers = AnswerReader()
        self._glance: Any = None  # the same connection, for reading without waiting

    @property
    def unsettled(self) -> bool:
        return self._unanswered > 0

    def connect(self) -> None:
        if self._connection is not None and self._unanswered:
            self._settle(self._look)
            return
        super().connect()
        if self._defers and self._glance is None:
            self._glance = socket_of(self._connection).dup()
            self._glance.settimeout(0.0)

    def send(self, batch: Sequence[Item]) -> tuple[int, Exception | None]:
        packed = [pack(self._verb, channel.encode("utf-8", "surrogatepass"), payload) for channel, payload in batch]
        self._unanswered += len(batch)
        try:
            write_to(self._connection, b"".join(packed))
            self._wait_for_answers(_MOST_UNANSWERED if self._defers else 0)
        except Exception as error:
            in_doubt = min(self._unanswered, len(batch))
            self._lost(self._unanswered - in_doubt)  # of earlier batches
            self.disconnect()  # whatever it still answers is not for what comes next
            return len(batch) - in_doubt, error
        return len(batch), None

    def settle(self, patience: float | None = None) -> None:
        self._settle(lambda: self._wait_for_all(patience))

    def _settle(self, take_answers: Callable[[], None]) -> None:
        try:
            take_answers()
        except Exception:
            self._lost(self._unanswered)
            self.disconnect()
            raise

    def _wait_for_answers(self, most: int) -> None:
        """Wait as long as more than ``most`` are missing."""
        while self._unanswered > most:
            self._take(socket_of(self._connection).recv(_CHUNK))

    def _wait_for_all(self, patience: float | None) -> None:
        if patience is not None:
            set_timeout(self._connection, patience)
        self._wait_for_answers(0)

    def _look(self) -> None:
        """Take the answers that have come."""
        try:
            data = self._glance.recv(_CHUNK)
        except BlockingIOError:
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionError("the connection has ended")
        for answer in self._answers.feed(data):
            if type(answer) is not int:
                raise ConnectionError(f"Redis answers {answer!r}")
            self._unanswered -= 1
        self._answered = time.monotonic()

    def disconnect(self) -> None:
        super().disconnect()
        self._forget()

    def abandon(self) -> None:
        super().abandon()
        self._forget()

    def _forget(self) -> None:
        self._unanswered = 0
        self._answers = AnswerReader()
        glance, self._glance = self._glance, None
        if glance is not None:
            glance.close()
