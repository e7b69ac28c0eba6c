"""Drives one QUIC connection: whichever thread has something for it does it, one at a time.

A job (datagrams that came, bytes to send, a timer) is queued; whoever finds nobody at it runs all jobs, tells the user
what has happened, sends what is to be sent, and lets go. So there is no thread for a connection, an emit goes out at
once in the caller's thread, and nothing of aioquic is ever touched by two. Jobs must not block.

A datagram costs ten times what a message does. So only the first of what is written in a row goes out at once: the
others wait, for a millisecond at most, and share datagrams.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from ..runtime import Rank, Reactor, Timer, make_lock
from .connection import Address, Closed, Connected, Connection, Event, IdIssued, IdRetired

logger = logging.getLogger("wsgi_sio.webtransport")

# A timer that would be this much earlier is not worth another one (seconds).
_SLACK = 0.0005
# What is written within so long after something has been sent waits for more (seconds).
IN_A_ROW = 0.001


class User(Protocol):
    """Who uses the connection; called by whoever drives it, so it must not block."""

    def on_event(self, event: Event) -> None:
        """Take a Connected, Requested, Answered, Received, Ended or Closed."""

    def on_progress(self) -> None:
        """The peer may have acknowledged something."""


class Home(Protocol):
    """Whose socket the connection uses."""

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram, or lose it: QUIC sends again what is in it."""

    def flush_later(self, driver: Driver) -> None:
        """Call :meth:`Driver.flush` in :data:`IN_A_ROW` seconds."""

    def add_id(self, connection_id: bytes, driver: Driver) -> None: ...

    def remove_id(self, connection_id: bytes) -> None: ...

    def connected(self, driver: Driver) -> None:
        """The handshake is complete."""

    def gone(self, driver: Driver) -> None:
        """There is no connection any more."""

    @property
    def unread(self) -> bool:
        """Whether datagrams wait to be read, for whomever."""


class _Nobody:
    """Used a connection that is over."""

    def on_event(self, event: Event) -> None:
        """Nobody hears of it."""

    def on_progress(self) -> None:
        """Nobody waits for it."""


_NOBODY = _Nobody()


class Driver:
    """See the module's text.

    :ivar user: who uses the connection.
    :ivar address: where the last datagram came from.
    """

    __slots__ = (
        "_armed_for",
        "_connection",
        "_driven",
        "_flushed",
        "_hasty",
        "_home",
        "_jobs",
        "_late",
        "_lock",
        "_progress",
        "_reactor",
        "_timer",
        "address",
        "user",
    )

    def __init__(self, connection: Connection, reactor: Reactor, home: Home, address: Address) -> None:
        self.user: User
        self.address = address
        self._connection = connection
        self._reactor = reactor
        self._home = home
        self._lock = make_lock(Rank.LEAF)
        self._jobs: deque[Callable[[], object]] = deque()
        self._driven = False
        self._hasty = True  # something else than writing has been done
        self._progress = False  # the peer has been heard
        self._flushed = 0.0
        self._late = False  # somebody will flush
        self._timer: Timer | None = None
        self._armed_for: float | None = None

    @property
    def connection(self) -> Connection:
        """To be touched by jobs only."""
        return self._connection

    @property
    def unread(self) -> bool:
        """Whether something has come, or may have, that the user does not know yet."""
        return bool(self._jobs) or self._driven or self._home.unread

    def post(self, job: Callable[[], object], *, hasty: bool = True) -> None:
        """Have ``job`` run: here and now, or by whoever drives the connection at present.

        :param hasty: send at once what it has to be sent; else that may wait for more.
        """
        with self._lock:
            self._jobs.append(job)
            self._hasty |= hasty
            if self._driven:
                return
            self._driven = True
        self._drive()

    def receive(self, datagrams: list[tuple[bytes, Address]]) -> None:
        """Take what has come."""
        self.post(lambda: self._receive(datagrams))

    def flush(self) -> None:
        """Send what has waited for more."""
        self._late = False
        self.post(_nothing)

    def hang_up(self, reason: str = "") -> None:
        """End the connection, whatever it is doing."""
        self.post(lambda: self._connection.close(reason))

    def give_up(self, reason: str) -> None:
        """Be over, without a word to the peer."""
        self.post(lambda: self._give_up(reason))

    def send_now(self) -> None:
        """For a job: send what is to be sent so far."""
        self._hasty = True
        self._flush()

    # -- driving ------------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        jobs = self._jobs
        try:
            while True:
                while jobs:
                    self._run(jobs.popleft())
                self._run(self._flush)
                with self._lock:
                    if not jobs:
                        self._driven = False
                        return
        except BaseException:  # a signal's: it is the program's, and the connection remains
            with self._lock:
                self._driven = False
            raise

    def _run(self, job: Callable[[], object]) -> None:
        try:
            job()
            if self._connection.has_news:
                for event in self._connection.events():
                    self._tell(event)
            if self._progress:
                self._progress = False
                self.user.on_progress()
        except Exception:
            logger.exception("a connection of WebTransport has failed, and is given up")
            self._give_up("an error")

    def _give_up(self, reason: str) -> None:
        if not self._connection.is_over:
            self._connection.give_up()
            self._tell(Closed(reason))

    def _receive(self, datagrams: list[tuple[bytes, Address]]) -> None:
        now = monotonic()
        connection = self._connection
        for data, address in datagrams:
            connection.receive(data, address, now)
        self._progress = True
        self.address = datagrams[-1][1]

    def _tell(self, event: Event) -> None:
        if isinstance(event, IdIssued):
            self._home.add_id(event.connection_id, self)
        elif isinstance(event, IdRetired):
            self._home.remove_id(event.connection_id)
        elif isinstance(event, Connected):
            self._home.connected(self)
            self.user.on_event(event)
        else:
            if isinstance(event, Closed):
                self._stop_timer()
                self._home.gone(self)
            self.user.on_event(event)
            if isinstance(event, Closed):
                self.user = _NOBODY

    def _flush(self) -> None:
        connection = self._connection
        if connection.is_over:
            return
        now = monotonic()
        if not self._hasty and now < self._flushed + IN_A_ROW:
            if not self._late:
                self._late = True
                self._home.flush_later(self)
            return
        self._hasty = False
        for data, address in connection.datagrams(now):
            self._flushed = now
            self._home.send(data, address)
        deadline = connection.deadline
        if deadline is not None and (self._armed_for is None or deadline < self._armed_for - _SLACK):
            self._stop_timer()
            self._armed_for = deadline
            self._timer = self._reactor.call_later(max(0.0, deadline - now), self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = None

    def _on_timer(self) -> None:
        self.post(self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        """The timer may be one of a deadline that has moved on, as each datagram moves it; then it is set anew."""
        self._armed_for = None
        now = monotonic() + _SLACK
        deadline = self._connection.deadline
        if deadline is not None and deadline <= now and not self._connection.is_over:
            self._connection.handle_timer(now)


def _nothing() -> None:
    """The job of who only wants things sent."""
