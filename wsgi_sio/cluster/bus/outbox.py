"""What waits to be published, in order and in bounds; a job sends it, so that nobody waits, whatever the bus does.

Each message is sent at most once: what may have arrived is never sent again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ...runtime import FAILURES, Rank, Reactor, make_lock
from .outage import Outage, wait_before

logger = logging.getLogger("wsgi_sio.bus")

# How many bytes may wait for a bus that is slow or away.
MAX_OUTBOX = 16_000_000
# How many messages, or bytes, are sent before it is asked whether they have arrived.
_BATCH, _BATCH_SIZE = 500, 256_000
# How long the end of a process, or of a bus, waits for what is in the outbox (seconds).
_LAST_WORDS = 2.0
# How soon after it was sent the last of what is sent has to be settled (seconds).
_SETTLE = 0.1
# What comes so soon after another may be one of many, which had better leave together (seconds).
_BURST = 0.00025
# For how long those are gathered where a job would be another thread's, which runs before the burst is over (seconds).
_GATHER = 0.001


class Item(NamedTuple):
    """What waits in an outbox."""

    channel: str
    payload: bytes


def _size_of(item: Item) -> int:
    return len(item.payload) + len(item.channel)


class Sender(Protocol):
    """How an outbox sends; called by one job at a time, which it may block for a bounded time.

    What ends with ``now`` blocks nobody: whoever publishes, or a timer, calls it while no job is at it.
    """

    def connect(self) -> None:
        """Be ready to send; nothing happens when it is.

        :raises Exception: the bus cannot be reached.
        """

    def send(self, batch: Sequence[Item]) -> tuple[int, Exception | None]:
        """Send them in order: how many have arrived, as far as is known, and what went wrong with the rest."""

    @property
    def sends_now(self) -> bool:
        """Whether :meth:`send_now` is worth a call."""
        return False

    def send_now(self, batch: Sequence[Item]) -> bool:
        """Send them without blocking, or begin to, if that can be: then :attr:`unfinished` tells that a job has to see
        to the rest.  False: nothing of them has been sent."""
        return False

    @property
    def unfinished(self) -> bool:
        """Whether the end of what was begun has still to be sent by :meth:`connect` and :meth:`send`."""
        return False

    @property
    def unsettled(self) -> bool:
        """Whether the bus has still to say that all of them have arrived; :meth:`settle` is to be called soon."""
        return False

    def settled_now(self) -> bool:
        """Look, without waiting, whether it has; False: only :meth:`settle` can tell."""
        return False

    def settle(self, patience: float | None = None) -> None:
        """Wait, for a bounded time, until it has.

        :param patience: how long, in seconds; after that nothing more can be sent.
        :raises Exception: it has not; what that means for what was sent has been told.
        """
        return


class Outbox:
    """What waits to be published, in order.

    Whoever sends has claimed that (``_running``): who publishes, if nothing waits and it can be sent without blocking;
    for what comes in bursts, in threads, a timer; else a job.

    :param limit: bytes that may wait; what comes then is lost.
    """

    def __init__(self, reactor: Reactor, sender: Sender, outage: Outage, limit: int = MAX_OUTBOX) -> None:
        self._reactor = reactor
        self._sender = sender
        self._outage = outage
        self._limit = limit
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._items: deque[Item] = deque()
        self._size = 0
        self._full = False
        self._running = False
        self._claimant: Item | None = None  # what was put by who sends, until that is handed over or done
        self._scheduled = False  # a job or a timer is going to take over
        self._settling = False  # a timer is going to
        self._failures = 0
        self._last_put = 0.0
        self.closed = False
        self._idle = reactor.event()
        self._awaited = False  # close() waits for that: else it is not set, which a signal handler might not survive

    def put(self, item: Item) -> bool:
        """Send it at once, or when its turn comes; False: too much waits already, so it is lost."""
        size = len(item.payload) + len(item.channel)
        now = time.monotonic()
        start = False
        try:
            with self._lock:
                burst, self._last_put = now - self._last_put < _BURST, now
                fits = not self.closed and self._size + size <= self._limit
                begins_to_overflow = not fits and not self.closed and not self._full
                start = fits and not self._running
                if start:
                    self._running, self._claimant = True, item
                if fits:
                    self._size += size
                    self._items.append(item)
                else:
                    self._full = not self.closed
            if start:
                self._start(burst)
        except BaseException:
            self._hand_over(item, start)
            raise
        if not fits:
            self._outage.lost(1)
            if begins_to_overflow:
                self._outage.failed("the outbox", f"{self._limit} bytes are waiting for it, which is all that may")
        return fits

    def _hand_over(self, item: Item, started: bool) -> None:
        """A signal handler has raised, anywhere: have a job see to what is left; one too many finds nothing to do."""
        if self._claimant is item:
            self._schedule(self._drain)
        elif started and self._scheduled:  # though perhaps it has not come to that
            self._reactor.submit(self._drain)
        self._settling = False  # likewise

    def _schedule(self, job: Callable[[], None]) -> None:
        self._claimant, self._scheduled = None, True
        self._reactor.submit(job)

    def _take_over(self) -> bool:
        """Whether there is something to take over; called by a job or a timer."""
        with self._lock:
            scheduled, self._scheduled = self._scheduled, False
        return scheduled

    def _start(self, burst: bool) -> None:
        if self._failures or self._full or not self._sender.sends_now:
            self._schedule(self._drain)
        elif not burst:
            self._send_now()
        elif self._reactor.one_thread:
            self._schedule(self._drain)  # which comes behind the burst
        else:
            self._claimant, self._scheduled = None, True
            self._reactor.call_later(_GATHER, self._send_gathered)

    def _send_gathered(self) -> None:
        if self._take_over():
            self._send_now()

    def _send_now(self) -> None:
        """Send what there is without blocking, as far as that goes."""
        batch: list[Item] = []
        needs_job, done = True, False  # as it is should a signal handler raise
        settles = awaited = False
        try:
            with self._lock:
                self._take_locked(batch)
            begun = self._sender.send_now(batch)
            with self._lock:
                if not begun:
                    self._items.extendleft(reversed(batch))
                    self._size += sum(map(_size_of, batch))
                batch = []
                unfinished = not begun or self._full or self._sender.unfinished
                # No call from here to the end of the claim: what a signal handler puts must find one who sends it.
                done = not unfinished and not self._items
                if done:
                    self._running, self._claimant = False, None
                needs_job = unfinished
                if done:
                    settles, awaited = self._rest_locked()
        except BaseException:
            with self._lock:
                self._size = sum(map(_size_of, self._items))
            if not self._sender.unfinished:
                self._outage.lost(len(batch))  # or nobody knows: it must not be sent twice
            raise
        finally:
            if needs_job:
                self._schedule(self._drain)
        if done:
            self._rest(settles, awaited)
        elif not needs_job:
            self._start(burst=True)

    def _rest_locked(self) -> tuple[bool, bool]:
        """What :meth:`_rest` has to do now that nobody sends."""
        settles = not self._settling and self._sender.unsettled
        self._settling |= settles
        awaited, self._awaited = self._awaited, False
        return settles, awaited

    def _rest(self, settles: bool, awaited: bool) -> None:
        if awaited:
            self._idle.set()
        if settles:
            self._reactor.call_later(_SETTLE, self._begin_to_settle)

    def _take_locked(self, batch: list[Item]) -> None:
        size = 0
        items = self._items
        while items and len(batch) < _BATCH and size < _BATCH_SIZE:
            item = items.popleft()
            batch.append(item)
            size += len(item.payload) + len(item.channel)
        self._size -= size

    def _drain(self) -> None:
        if self._take_over():
            self._send_all()

    def _send_all(self) -> None:
        """Send until there is nothing more, or until the bus fails: then again a little later."""
        try:
            while not self.closed:
                self._sender.connect()  # before anything is taken: what has never been sent is not lost
                batch: list[Item] = []
                with self._lock:
                    self._take_locked(batch)
                    relieved = self._full and self._size * 2 <= self._limit
                    if relieved:
                        self._full = False
                    unfinished = bool(batch) or self._sender.unfinished
                    done = not unfinished and not self._items  # no call from here on, see above
                    if done:
                        self._running = False
                    settles, awaited = self._rest_locked() if done else (False, False)
                if relieved:
                    self._outage.works("the outbox")
                if done:
                    self._works()
                    self._rest(settles, awaited)
                    return
                if not unfinished:
                    continue
                sent, error = self._sender.send(batch)
                if error is not None:
                    self._outage.lost(len(batch) - sent)
                    raise error
                if self._failures:
                    self._sender.settle()  # that it can be written to does not mean that it works
                self._works()
        except FAILURES as error:
            self._fails(error)

    def _begin_to_settle(self) -> None:
        with self._lock:
            self._settling = False
            start = not self._running and not self.closed  # else whoever sends sees to it
            if start:
                self._running = True
        if not start:
            return
        settled = settles = awaited = False
        try:
            settled = self._sender.settled_now()  # as a rule, which spares the job
        finally:
            with self._lock:
                done = settled and not self._items  # no call from here on, see above
                if done:
                    self._running = False
                    settles, awaited = self._rest_locked()
            if not done:
                self._schedule(self._settle)
        self._rest(settles, awaited)

    def _settle(self) -> None:
        if not self._take_over():
            return
        try:
            self._sender.settle()
        except FAILURES as error:
            self._fails(error)
        else:
            self._send_all()  # what has been put meanwhile

    def _works(self) -> None:
        if self._failures:
            self._failures = 0
            self._outage.works("publishing")

    def _fails(self, error: BaseException) -> None:
        if self.closed:
            return
        self._failures += 1
        self._outage.failed("publishing", error)
        self._scheduled = True
        self._reactor.call_later(wait_before(self._failures), lambda: self._reactor.submit(self._drain))

    def close(self) -> None:
        """Wait a moment until all is sent; what is not is lost."""
        may_wait, until = self._reactor.may_wait(), time.monotonic() + _LAST_WORDS
        waits = may_wait and not self.closed
        while waits and (left_to_wait := until - time.monotonic()) > 0:
            with self._lock:
                self._idle.clear()
                waits = self._awaited = self._running and not self._failures
            if waits:
                self._reactor.wait(self._idle, left_to_wait)  # which lets others work, for one of them has to send it
        with self._lock:
            self.closed = True
            left = len(self._items)
            self._items.clear()
            settles = may_wait and not self._running and self._sender.unsettled
            self._running |= settles
        if settles:  # for the end of the connection might undo what has not been read at its other end
            try:
                self._sender.settle(max(_SETTLE, until - time.monotonic()))
            except FAILURES as error:
                self._outage.failed("publishing", error)
        if left:
            self._outage.lost(left)
            logger.warning("%d messages to other servers could not be sent before the end", left)

    def abandon(self) -> None:
        """Forget all, in a forked child."""
        self.closed = True
        self._lock = make_lock(Rank.LEAF)
        self._items.clear()
