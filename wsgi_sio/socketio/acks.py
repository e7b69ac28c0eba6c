"""Acknowledgements this side waits for: one per event to one client, or a collection for a broadcast."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Union

from ..exceptions import AckTimeout, Disconnected
from ..refuse_async import refuse_async
from ..runtime import Event, Rank, Reactor, Timer, make_lock, wait_patiently

# How long a server's ``emit_with_ack`` to one client waits, unless told otherwise (seconds).
ACK_TIMEOUT = 60.0

_LOST = "the other side has gone before it acknowledged"


class Waiter(Protocol):
    """What a socket keeps for each acknowledgement it expects."""

    def answer(self, args: list[Any]) -> None:
        """The other side has acknowledged with ``args``. Called at most once, on an I/O thread: must not block."""

    def lost(self) -> None:
        """The other side has gone. Likewise."""


# Told (error or None, answers) once.
Done = Callable[[Union[Exception, None], list[Any]], None]


def gather(reactor: Reactor, start: Callable[[Done], None]) -> list[Any]:
    """Block until what ``start`` has been given is called.

    :return: the answers.
    :raises Exception: the error instead.
    """
    finished = reactor.event()
    outcome: list[tuple[Exception | None, list[Any]]] = []

    def done(error: Exception | None, answers: list[Any]) -> None:
        outcome.append((error, answers))
        finished.set()

    start(done)
    reactor.wait(finished)
    error, answers = outcome.pop()
    if error is not None:
        try:
            raise error
        finally:
            del error  # whose traceback has this frame
    return answers


def as_job(submit: Callable[[Callable[[], Any]], None], callback: Callable[..., Any]) -> Done:
    """Have the application's ``callback`` run on a worker, by ``submit``.

    :raises TypeError: it is ``async def``.
    """
    refuse_async(callback, "the callback")
    return lambda error, answers: submit(partial(callback, error, answers))


def unpack(args: list[Any]) -> Any:
    """The mirror image of what a handler returns: no arguments are None, one is itself, several are a tuple."""
    return None if not args else args[0] if len(args) == 1 else tuple(args)


class BlockingAck:
    """For ``emit_with_ack``: a thread or greenlet sleeps until the answer comes."""

    __slots__ = ("_args", "_error", "_event", "_reactor")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._event: Event = reactor.event()
        self._args: list[Any] = []
        self._error: Exception | None = None

    def answer(self, args: list[Any]) -> None:
        self._args = args
        self._event.set()

    def lost(self) -> None:
        self.fail(Disconnected(_LOST))

    def fail(self, error: Exception) -> None:
        """There will be no answer: :meth:`wait` raises ``error``."""
        self._error = error
        self._event.set()

    def wait(self, timeout: float | None) -> Any:
        """Block for up to ``timeout`` seconds (None: as long as the other side is connected).

        :raises AckTimeout: the time is over.
        :raises Disconnected: the other side has gone.
        """
        if not wait_patiently(partial(self._reactor.wait, self._event), timeout):
            raise AckTimeout()
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error  # whose traceback has this frame: no circle is left
        return unpack(self._args)


class CallbackAck:
    """For ``emit(..., callback=)``: the callback runs as a job, in order with the client's events.

    :param run: queues a job.
    :param with_error: whether the callback takes an error (or None) first, as after ``timeout()``.
    :raises TypeError: the callback is ``async def``.
    """

    __slots__ = ("_callback", "_run", "_with_error", "timer")

    def __init__(self, callback: Callable[..., Any], run: Callable[..., None], with_error: bool) -> None:
        refuse_async(callback, "the callback")
        self._callback = callback
        self._run = run
        self._with_error = with_error
        self.timer: Timer | None = None

    def answer(self, args: list[Any]) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self._run(self._callback, *([None, *args] if self._with_error else args))

    def lost(self) -> None:
        self.fail(Disconnected(_LOST))

    def timed_out(self) -> None:
        """The time is over."""
        self.fail(AckTimeout())

    def fail(self, error: Exception) -> None:
        """There will be no answer; without ``with_error`` there is nobody to tell."""
        if self.timer is not None:
            self.timer.cancel()
        if self._with_error:
            self._run(self._callback, error)


class BroadcastAcks:
    """Collects the first argument of each client's answer, in order of arrival.

    A client that leaves does not answer: only the time-out completes the collection then.

    :param done: called once with (error or None, responses), perhaps on an I/O thread.
    """

    __slots__ = ("_clients", "_done", "_finished", "_lock", "_responses", "_servers")

    def __init__(self, done: Done) -> None:
        self._done = done
        self._servers = 0
        self._clients = 0
        self._responses: list[Any] = []
        self._finished = False
        self._lock = make_lock(Rank.LEAF)

    def await_servers(self, count: int) -> None:
        """So many servers are going to ask their clients, and to report with :meth:`server_asked`."""
        with self._lock:
            self._servers += count

    def server_asked(self, clients: int) -> None:
        """One of them has asked so many clients."""
        self._change(-1, clients)

    def server_gone(self, clients: int) -> None:
        """One of them has gone, and with it so many clients that have been asked: they will not answer."""
        self._change(0, -clients)

    def _change(self, servers: int, clients: int) -> None:
        with self._lock:
            self._servers += servers
            self._clients += clients
            complete = self._complete_locked()
        if complete:
            self._done(None, self._responses)

    def answer(self, args: list[Any]) -> None:
        with self._lock:
            if self._finished:
                return  # too late: the responses have been given away
            self._responses.append(args[0] if args else None)
            complete = self._complete_locked()
        if complete:
            self._done(None, self._responses)

    def lost(self) -> None:
        """See the class: nothing changes."""

    def timed_out(self) -> None:
        """Complete with what there is."""
        with self._lock:
            finished, self._finished = self._finished, True
            responses = list(self._responses)
        if not finished:
            self._done(AckTimeout(responses=responses), responses)

    def _complete_locked(self) -> bool:
        complete = not self._finished and self._servers == 0 and len(self._responses) == self._clients
        self._finished |= complete
        return complete
