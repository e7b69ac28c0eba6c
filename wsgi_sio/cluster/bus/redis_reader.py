"""The half of a Redis bus that listens: one connection.

A thread or greenlet connects, watches that the server lives, and begins again when it does not.  It reads as well, but
for gevent, whose hub does that at half the cost.  ``redis-py``'s own PubSub is not used: its ``listen()`` gives up for
good after some seconds of outage, and its ``get_message()`` costs as much again as reading the message.  What comes is
taken apart by redis_wire.py, many messages at a time: the client's own way reads each value by a call of its own.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Any

from ...runtime import FAILURES, Reactor, disown
from .bus import OnMessage, OnMessages
from .outage import Outage
from .reader import ChannelReader, ReaderSubscription
from .redis_urls import cut, descriptor_of, set_timeout, socket_of, write_to
from .redis_watch import ConnectionWatch
from .redis_wire import AnswerReader, Line, pack

logger = logging.getLogger("wsgi_sio.bus")

# What a subscription is for: the kind of its messages, and a name, as Redis writes both.
Name = tuple[bytes, bytes]
CHANNEL, PATTERN, SHARD = b"message", b"pmessage", b"smessage"
_SUBSCRIBE = {CHANNEL: b"SUBSCRIBE", PATTERN: b"PSUBSCRIBE", SHARD: b"SSUBSCRIBE"}
_UNSUBSCRIBE = {CHANNEL: b"UNSUBSCRIBE", PATTERN: b"PUNSUBSCRIBE", SHARD: b"SUNSUBSCRIBE"}
_CONFIRMED = {b"subscribe": CHANNEL, b"psubscribe": PATTERN, b"ssubscribe": SHARD}

# For how long one look at the connection lasts; with TLS it is the reader who has to write as well, so it looks more
# often (seconds).
_LOOK, _SHORT_LOOK = 1.0, 0.1
# After how many seconds of silence the server is asked whether it lives, and after how many it is taken for dead.
# Looks are counted, not seconds, lest it be blamed for a time in which this process stood still.
_ASK, _DEAD = 2.0, 6.0
# How many names go into one command.
_NAMES = 500


RedisSubscription = ReaderSubscription[frozenset[Name]]


class RedisReader(ChannelReader[Any, Name, frozenset[Name]]):
    """See the module's text.

    :param connect: gives a new connection that has answered; blocks for a bounded time.
    :param writes_aside: whether others may write while the reader reads (not with TLS).
    """

    def __init__(
        self,
        reactor: Reactor,
        connect: Callable[[], Any],
        outage: Outage,
        *,
        writes_aside: bool,
    ) -> None:
        super().__init__(reactor, connect, outage)
        self._writes_aside = writes_aside
        self._watches = writes_aside and reactor.one_thread
        # All guarded by the lock.
        self._asked: Counter[Name] = Counter()  # how many confirmations are to come on this connection
        self._commands: deque[bytes] = deque()  # for this connection
        self._writing: Any = None  # the connection that somebody is writing to
        self._connection: Any = None

    # -- subscriptions, from any thread -------------------------------------------------------------------------

    def add(
        self, names: frozenset[Name], on_message: OnMessage, on_messages: OnMessages | None = None
    ) -> RedisSubscription:
        """Hear ``names``."""
        return self._add(names, on_message, on_messages)

    def remove(self, subscription: RedisSubscription) -> None:
        super().remove(subscription)
        self._hurry()

    def _wanted_locked(self, names: frozenset[Name]) -> None:
        # All of them, even those that others have: the confirmation is what makes it ready.
        self._subscribe_locked(names)

    def _unwanted_locked(self, names: list[Name]) -> None:
        self._command_locked(_UNSUBSCRIBE, names)

    def _subscribe_locked(self, names: Collection[Name]) -> None:
        if self._connection is not None:  # else the next one gets them all
            self._asked.update(names)
            self._command_locked(_SUBSCRIBE, names)

    def _command_locked(self, verbs: dict[bytes, bytes], names: Collection[Name]) -> None:
        if self._connection is None:
            return
        for kind, verb in verbs.items():
            mine = [name for each, name in names if each == kind]
            for start in range(0, len(mine), _NAMES):
                self._commands.append(pack(verb, *mine[start : start + _NAMES]))

    def close(self) -> None:
        super().close()
        with self._lock:
            if self._connection is not None:
                self._commands.append(pack(b"QUIT"))  # the server ends it, which wakes the reader
        self._hurry()

    def abandon(self) -> None:
        super().abandon()
        self._commands.clear()
        disown([descriptor_of(self._connection)])

    # -- writing ------------------------------------------------------------------------------------------------

    def _hurry(self) -> None:
        if self._writes_aside and self._commands:
            self._reactor.submit(self._write)

    def _write(self) -> None:
        """Send the commands that wait, one thread at a time.

        Never by the client's own way: that makes a connection anew which its reader has ended, and nobody reads.
        """
        with self._lock:
            if self._writing is not None or self._connection is None:
                return
            connection = self._writing = self._connection
        while True:
            with self._lock:
                ended = self._connection is not connection
                command = None if ended or not self._commands else self._commands.popleft()
                if command is None:
                    self._writing = None
                    break
            try:
                write_to(connection, command)
            except OSError as error:
                logger.debug("a command to Redis failed, which its reader will notice: %r", error)
                cut(connection)
        if ended:
            connection.disconnect()  # which its reader has left to us
            self._write()

    # -- reading ------------------------------------------------------------------------------------------------

    def _begin(self, connection: Any) -> None:
        """All that is subscribed to is, on a new connection."""
        with self._lock:
            self._connection = connection
            self._forget_confirmations_locked()
            self._subscribe_locked(self._table.keys())
        self._write()

    def _end(self, connection: Any) -> None:
        """Nobody writes to it any more; who is about to will end it."""
        with self._lock:
            self._connection = None
            self._commands.clear()
            self._asked.clear()
            writing = self._writing is connection
        if writing:
            cut(connection)
        else:
            connection.disconnect()

    def _read(self, connection: Any) -> None:
        """Until the connection ends, or this reader is closed.

        :raises Exception: it has ended.
        """
        look = _LOOK if self._writes_aside else _SHORT_LOOK
        set_timeout(connection, look)
        if not self._watches:
            self._read_and_write(connection, look)
            return
        watch = ConnectionWatch(socket_of(connection), self._take_all, self._wake)
        quiet = 0.0
        try:
            watch.start(self._reactor)
            while not self.closed:
                if self._wake.wait(_LOOK):
                    self._wake.clear()  # first: what sets it once more comes after what is looked at now
                    if watch.failure is not None:
                        raise watch.failure
                else:
                    quiet = 0.0 if watch.has_heard() else quiet + _LOOK
                    self._look_after(quiet, _LOOK)
        finally:
            watch.close()

    def _read_and_write(self, connection: Any, look: float) -> None:
        """Wait for what comes; with TLS others cannot write meanwhile."""
        sock, answers = socket_of(connection), AnswerReader()
        quiet = 0.0
        while not self.closed:
            try:
                data = sock.recv(answers.chunk)
            except TimeoutError:
                quiet += look
            else:
                if not data:
                    raise ConnectionError("the connection has ended")
                quiet = 0.0
                self._take_all(answers.feed(data))
                if self._reactor.one_thread:
                    time.sleep(0)  # for others to run, should there always be something to read
            self._look_after(quiet, look)
            if not self._writes_aside and self._commands:
                self._write()

    def _look_after(self, quiet: float, look: float) -> None:
        """Ask a server that has said nothing for ``quiet`` seconds whether it lives; once in the ``look`` after that.

        :raises TimeoutError: it has had the time to say so.
        """
        if quiet >= _DEAD:
            raise TimeoutError(f"it has not answered for {_DEAD:g} s")
        if _ASK <= quiet < _ASK + look:
            with self._lock:
                self._commands.append(pack(b"PING"))
            self._write()

    def _take_all(self, responses: list[Any]) -> None:
        """Give them to who listens; what comes together for one listener is given together."""
        gathered: list[tuple[RedisSubscription, list[tuple[str, bytes]]]] = []
        refused: Line | None = None
        for response in responses:
            if type(response) is not list or len(response) < 3:
                if isinstance(response, Line) and response.startswith(b"-"):
                    refused = response
                    break
                continue  # the answer to a PING
            kind = response[0]
            if kind in _CONFIRMED:
                self._confirm((_CONFIRMED[kind], response[1]))
                continue
            for subscription in self._table.get((kind, response[1]), ()):
                heard = response[-2].decode("utf-8", "replace"), response[-1]
                if gathered and _have_one_listener(gathered[-1][0], subscription):
                    gathered[-1][1].append(heard)
                else:
                    gathered.append((subscription, [heard]))
        for subscription, together in gathered:
            self._give(subscription, together)
        if refused is not None:
            raise ConnectionError(f"Redis refuses a command: {refused!r}")

    def _give(self, subscription: RedisSubscription, together: list[tuple[str, bytes]]) -> None:
        on_messages = subscription.on_messages
        try:
            if on_messages is not None and len(together) > 1:
                on_messages(together)
                return
        except FAILURES as error:
            self._junk(error)
            return
        for channel, payload in together:
            try:
                subscription.on_message(channel, payload)
            except FAILURES as error:
                self._junk(error)

    def _confirm(self, name: Name) -> None:
        with self._lock:
            self._asked[name] -= 1
            if self._asked[name] > 0:
                return  # it has been given up meanwhile, and asked for again
            del self._asked[name]
            ready = self._confirm_locked(name)
        for event in ready:
            event.set()


def _have_one_listener(one: RedisSubscription, other: RedisSubscription) -> bool:
    return one is other or (one.on_messages is not None and one.on_messages == other.on_messages)
