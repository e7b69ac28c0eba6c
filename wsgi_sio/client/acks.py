"""The acknowledgements that a socket waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..exceptions import AckTimeout
from ..runtime import Rank, Timer, make_lock
from ..runtime.shared_reactor import SharedReactor
from ..socketio.acks import BlockingAck, Waiter


class FallibleWaiter(Waiter, Protocol):
    """A waiter that can be told why there will be no answer."""

    def fail(self, error: Exception) -> None:
        """There will be no answer. Called at most once, instead of the others: must not block."""


class Expected:
    """One wait for an acknowledgement: who waits, and what limits it."""

    __slots__ = ("timer", "waiter")

    def __init__(self, waiter: FallibleWaiter) -> None:
        self.waiter = waiter
        self.timer: Timer | None = None


class PendingAcks:
    """Waiters by the id of their acknowledgement; each is told once how it ends.

    :ivar on_expired: called with the id when a time-out is over, before its waiter is told.
    """

    __slots__ = ("_expected", "_lock", "_reactor", "on_expired")

    def __init__(self, reactor: SharedReactor) -> None:
        self.on_expired: Callable[[int], None] | None = None
        self._reactor = reactor
        self._lock = make_lock(Rank.LEAF)
        self._expected: dict[int, Expected] = {}

    def __contains__(self, ack_id: int) -> bool:
        return ack_id in self._expected

    def expect(self, ack_id: int, waiter: FallibleWaiter, timeout: float | None) -> None:
        """Give the acknowledgement to ``waiter``, unless ``timeout`` seconds are over before it comes."""
        expected = Expected(waiter)
        with self._lock:
            self._expected[ack_id] = expected
        if timeout is None:
            return
        timer = self._reactor.expire_after(timeout, lambda: self._time_out(ack_id, expected))
        with self._lock:
            waiting = self._expected.get(ack_id) is expected
            if waiting:
                expected.timer = timer
        if not waiting:
            timer.cancel()

    def answer(self, ack_id: int, args: list[Any]) -> None:
        """The acknowledgement has come; one that nobody waits for (any more) is ignored."""
        waiter = self.forget(ack_id)
        if waiter is not None:
            waiter.answer(args)

    def fail(self, ack_id: int, error: Exception) -> None:
        """It will not come."""
        waiter = self.forget(ack_id)
        if waiter is not None:
            waiter.fail(error)

    def lose(self, buffered: set[int | None]) -> None:
        """The connection is lost, and with it all acknowledgements but those of events that are still to be sent."""
        for ack_id in [known for known in list(self._expected) if known not in buffered]:
            waiter = self.forget(ack_id)
            if waiter is not None:
                waiter.lost()

    def release_blocked(self, error: Exception) -> list[int]:
        """Let callers that are blocked have ``error``; the ids they waited for."""
        known = list(self._expected.items())
        blocked = [ack_id for ack_id, expected in known if isinstance(expected.waiter, BlockingAck)]
        for ack_id in blocked:
            self.fail(ack_id, error)
        return blocked

    def forget(self, ack_id: int) -> FallibleWaiter | None:
        """Expect it no more; who waited for it."""
        with self._lock:
            expected = self._expected.pop(ack_id, None)
        if expected is None:
            return None
        if expected.timer is not None:
            expected.timer.cancel()
        return expected.waiter

    def _time_out(self, ack_id: int, expected: Expected) -> None:
        with self._lock:  # an event that has been sent again meanwhile is expected anew
            current = self._expected.get(ack_id) is expected
            if current:
                del self._expected[ack_id]
        if not current:
            return
        if self.on_expired is not None:
            self.on_expired(ack_id)
        expected.waiter.fail(AckTimeout())
