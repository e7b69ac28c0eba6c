"""The half of a Redis bus that publishes: messages are packed by hand, as many as there are go out in one write.

Who publishes writes at once, if that makes nobody wait: to wake up another thread costs more.  Redis answers each
message, in order, which tells how many have arrived.  Nobody waits for that: the answers are taken with one of the next
writes, or a little later (:meth:`PubSubPublisher.settle`), and only a bounded number may be missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from .outbox import Item, Sender
from .redis_urls import set_timeout, socket_of, write_to
from .redis_wire import AnswerReader, OwnConnection

# For how long after an answer a connection is taken for alive without a look at it (seconds).
_FRESH = 0.5
# How many messages may lack an answer before the next ones wait for it: what is in doubt when Redis dies.
_MOST_UNANSWERED = 500
# After how long who publishes looks for answers (seconds).
_LOOK = 0.005
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
        self._verb = b"*3\r\n$%d\r\n%b\r\n" % (len(verb), verb)  # how all its commands begin
        self._lost = lost
        self._defers = deferring
        self._unanswered = 0
        self._answers = AnswerReader()
        self._glance: Any = None  # the same connection, for reading and writing without waiting
        self._looked = 0.0
        self._writing = False  # who publishes; still so if a signal handler has raised then
        self._failure: Exception | None = None  # why a job has to make another connection
        self._unsent = b""  # the end of what could not be written without waiting

    @property
    def unsettled(self) -> bool:
        return self._unanswered > 0

    @property
    def sends_now(self) -> bool:
        return self._glance is not None

    def send_now(self, batch: Sequence[Item]) -> bool:
        glance = self._glance
        if glance is None or self._unanswered + len(batch) > _MOST_UNANSWERED or not self._look_now():
            return False
        data, count = self._pack(batch), len(batch)
        self._writing = True  # no call between the two: a signal handler may raise
        self._unanswered += count
        try:
            self._unsent = data[glance.send(data) :]
        except OSError as error:
            self._unanswered -= count
            self._writing = False
            if not isinstance(error, BlockingIOError):
                self._failure = error
            return False
        self._writing = False
        return True

    def _pack(self, batch: Sequence[Item]) -> bytes:
        commands = []
        for channel, payload in batch:
            name = channel.encode("utf-8", "surrogatepass")
            commands.append(b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (self._verb, len(name), name, len(payload), payload))
        return b"".join(commands)

    def _look_now(self) -> bool:
        """Take the answers that have come, if that has not been done just now; whether the connection works."""
        now = time.monotonic()
        if now - self._looked > _LOOK:
            self._looked = now
            try:
                self._look()
            except Exception as error:
                self._failure = error
                return False
            except BaseException:  # of a signal handler: nobody knows which answers have been counted
                self._failure = ConnectionError("the reading of answers was interrupted")
                raise
        return True

    @property
    def unfinished(self) -> bool:
        return self._writing or len(self._unsent) > 0

    def connect(self) -> None:
        if self._connection is not None and self._unanswered:
            self._settle(self._look)
            return
        if self._failure is not None:
            self.disconnect()  # nothing is lost by that
        super().connect()
        if self._defers and self._glance is None:
            self._glance = socket_of(self._connection).dup()
            self._glance.settimeout(0.0)

    def send(self, batch: Sequence[Item]) -> tuple[int, Exception | None]:
        self._unanswered += len(batch)
        try:
            write_to(self._connection, self._unsent + self._pack(batch))
            self._unsent = b""
            self._wait_for_answers(_MOST_UNANSWERED if self._defers else 0)
        except Exception as error:
            in_doubt = min(self._unanswered, len(batch))
            self._lost(self._unanswered - in_doubt)  # of earlier batches
            self.disconnect()  # whatever it still answers is not for what comes next
            return len(batch) - in_doubt, error
        return len(batch), None

    def settled_now(self) -> bool:
        if self._glance is None or self.unfinished or self._failure is not None:
            return False
        self._looked = 0.0
        return self._look_now() and not self._unanswered

    def settle(self, patience: float | None = None) -> None:
        self._settle(lambda: self._wait_for_all(patience))

    def _settle(self, take_answers: Callable[[], None]) -> None:
        try:
            if self._failure is not None and self._unanswered:
                raise self._failure
            if self._writing:
                raise ConnectionError("the sending of a message was interrupted")
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
        self._unsent, self._writing, self._failure = b"", False, None
        self._answers = AnswerReader()
        glance, self._glance = self._glance, None
        if glance is not None:
            glance.close()
