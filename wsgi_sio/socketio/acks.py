"""Acknowledgements this side waits for: one per event to one client, or a collection for a broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..exceptions import AckTimeout, Disconnected
from ..runtime import Event, Rank, Reactor, Timer, make_lock


class Waiter(Protocol):
    """What a socket keeps for each acknowledgement it expects."""

    def answer(self, args: list[Any]) -> None:
        """The client has acknowledged with ``args``. Called at most once, on an I/O thread: must not block."""

    def lost(self) -> None:
        """The client has left. Likewise."""


def unpack(args: list[Any]) -> Any:
    """The mirror image of what a handler returns: no arguments are None, one is itself, several are a tuple."""
    return None if not args else args[0] if len(args) == 1 else tuple(args)


class BlockingAck:
    """For ``emit_with_ack``: a thread or greenlet sleeps until the answer comes."""

    __slots__ = ("_args", "_event", "_lost")

    def __init__(self, reactor: Reactor) -> None:
        self._event: Event = reactor.event()
        self._args: list[Any] = []
        self._lost = False

    def answer(self, args: list[Any]) -> None:
        self._args = args
        self._event.set()

    def lost(self) -> None:
        self._lost = True
        self._event.set()

    def wait(self, timeout: float | None) -> Any:
        """Block for up to ``timeout`` seconds (None: as long as the client is connected).

        :raises AckTimeout: the time is over.
        :raises Disconnected: the client left.
        """
        if not self._event.wait(timeout):
            raise AckTimeout()
        if self._lost:
            raise Disconnected("the client left before it acknowledged")
        return unpack(self._args)


class CallbackAck:
    """For ``emit(..., callback=)``: the callback runs as a job, in order with the client's events.

    :param run: queues a job.
    :param with_error: whether the callback takes an error (or None) first, as after ``timeout()``.
    """

    __slots__ = ("_callback", "_run", "_with_error", "timer")

    def __init__(self, callback: Callable[..., Any], run: Callable[..., None], with_error: bool) -> None:
        self._callback = callback
        self._run = run
        self._with_error = with_error
        self.timer: Timer | None = None

    def answer(self, args: list[Any]) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self._run(self._callback, *([None, *args] if self._with_error else args))

    def lost(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self._with_error:
            self._run(self._callback, Disconnected("the client left before it acknowledged"))

    def timed_out(self) -> None:
        """The time is over; without ``with_error`` there is nobody to tell."""
        if self._with_error:
            self._run(self._callback, AckTimeout())


class BroadcastAcks:
    """Collects the first argument of each client's answer, in order of arrival.

    A client that leaves does not answer: only the time-out completes the collection then.

    :param done: called once with (error or None, responses), perhaps on an I/O thread.
    """

    __slots__ = ("_done", "_expected", "_finished", "_lock", "_responses")

    def __init__(self, done: Callable[[AckTimeout | None, list[Any]], None]) -> None:
        self._done = done
        self._expected: int | None = None
        self._responses: list[Any] = []
        self._finished = False
        self._lock = make_lock(Rank.LEAF)

    def expect(self, count: int) -> None:
        """Tell how many clients were asked, once that is known."""
        self._finish(lambda: setattr(self, "_expected", count))

    def answer(self, args: list[Any]) -> None:
        self._finish(lambda: self._responses.append(args[0] if args else None))

    def lost(self) -> None:
        """See the class: nothing changes."""

    def timed_out(self) -> None:
        """Complete with what there is."""
        with self._lock:
            finished, self._finished = self._finished, True
            responses = list(self._responses)
        if not finished:
            self._done(AckTimeout(responses=responses), responses)

    def _finish(self, change: Callable[[], None]) -> None:
        with self._lock:
            change()
            complete = not self._finished and len(self._responses) == self._expected
            if complete:
                self._finished = True
        if complete:
            self._done(None, self._responses)
