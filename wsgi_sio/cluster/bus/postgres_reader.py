"""The half of a Postgres bus that listens: one connection, and one thread or greenlet that reads it.

Rows that belong to what is heard are read on the same connection before anything later is given to anybody, so that all
is in the order in which it was published.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...runtime import FAILURES, Reactor
from .bus import OnMessage
from .outage import Outage
from .postgres_urls import quoted
from .reader import ChannelReader, ReaderSubscription

if TYPE_CHECKING:
    from .postgres_connection import PostgresConnection

logger = logging.getLogger("wsgi_sio.bus")

# For how long one look at the connection lasts, and after how many seconds of silence the server is asked whether it
# lives.  Nothing else wakes the reader, so a new subscription takes up to a look.
_LOOK, _ASK = 0.05, 2.0
# How many messages a greenlet reads before others have their turn.
_TURN = 50
# How often a message is given to its listener when the connection ends over it.
_TRIES = 2

Heard = deque[tuple[str, bytes]]


PostgresSubscription = ReaderSubscription[frozenset[str]]


class PostgresReader(ChannelReader["PostgresConnection", str, frozenset[str]]):
    """See the module's text.

    :param connect: gives a new connection, whose notifications go where it is told; blocks for a bounded time.
    """

    def __init__(self, reactor: Reactor, connect: Callable[[Heard], PostgresConnection], outage: Outage) -> None:
        self._heard: Heard = deque()  # what has come and not been given to anybody yet, over reconnections as well
        super().__init__(reactor, partial(connect, self._heard), outage)
        self._changed: set[str] = set()  # guarded by the lock
        self._left: list[PostgresSubscription] | None = None  # who is to be given the first of what has been heard
        self._tries = 0
        self._connection: PostgresConnection | None = None

    # -- subscriptions, from any thread -------------------------------------------------------------------------

    def add(self, channels: frozenset[str], on_message: OnMessage) -> PostgresSubscription:
        """Hear ``channels``."""
        return self._add(channels, on_message)

    def _wanted_locked(self, names: frozenset[str]) -> None:
        self._changed |= names

    def _unwanted_locked(self, names: list[str]) -> None:
        self._changed.update(names)

    def abandon(self) -> None:
        super().abandon()
        self._heard.clear()
        if self._connection is not None:
            self._connection.abandon()

    # -- reading ------------------------------------------------------------------------------------------------

    def run(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a statement finds; for listeners, while they are given a message.

        :raises Refused: the server does not like it.
        :raises ConnectionError: the connection has ended; the message is given to the listener again.
        """
        from .postgres_connection import Refused

        connection = self._connection
        if connection is None:
            raise ConnectionError("there is no connection")
        try:
            return connection.run(statement, parameters)
        except Refused:
            raise
        except Exception as error:
            raise ConnectionError(str(error)) from error

    def _begin(self, connection: PostgresConnection) -> None:
        """On a new connection: all channels, and what had come on the one before."""
        self._connection = connection
        with self._lock:
            self._forget_confirmations_locked()
            self._changed = set(self._table)
        self._listen(connection)
        self._deliver()

    def _end(self, connection: PostgresConnection) -> None:
        self._connection = None
        connection.close()

    def _listen(self, connection: PostgresConnection) -> None:
        """Tell the server what has changed, and those who wait for it."""
        with self._lock:
            changed, self._changed = self._changed, set()
            wanted = {channel for channel in changed if channel in self._table}
            mine = {one for channel in wanted for one in self._table[channel]}
        if not changed:
            return
        verbs = [f"{'LISTEN' if channel in wanted else 'UNLISTEN'} {quoted(channel)}" for channel in sorted(changed)]
        connection.run("; ".join(verbs))
        with self._lock:
            for subscription in mine:
                subscription.missing -= wanted
            ready = [subscription.ready for subscription in mine if not subscription.missing]
        for event in ready:
            event.set()

    def _read(self, connection: PostgresConnection) -> None:
        quiet = 0.0
        while not self.closed:
            if self._changed:
                self._listen(connection)
            connection.look(_LOOK)
            if self._heard:
                quiet = 0.0
                self._deliver()
            else:
                quiet += _LOOK
            if quiet >= _ASK:
                connection.run("SELECT 1")
                quiet = 0.0

    def _deliver(self) -> None:
        """Give what has been heard to its listeners; what they have had is forgotten, whatever they made of it."""
        taken, heard = 0, self._heard
        while heard and not self.closed:
            channel, payload = heard[0]
            if self._left is None:
                self._left = list(self._table.get(channel, ()))
            while self._left:
                self._give(self._left[0], channel, payload)
                self._left.pop(0)
                self._tries = 0
            self._left = None
            heard.popleft()
            taken += 1
            if not taken % _TURN:
                time.sleep(0)  # a greenlet that always finds something to read keeps the others from running

    def _give(self, subscription: PostgresSubscription, channel: str, payload: bytes) -> None:
        try:
            subscription.on_message(channel, payload)
        except FAILURES as error:
            self._tries += 1
            if isinstance(error, ConnectionError) and self._tries < _TRIES:
                raise
            self._junk(error)
