"""What waits to be published, in order and in bounds; a job sends it, so that nobody waits, whatever the bus does.

Each message is sent at most once: what may have arrived is never sent again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
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
        self._settling = False  # a timer is going to
        self._failures = 0
        self._last_put = 0.0
        self.closed = False
        self._idle = reactor.event()

    def put(self, item: Item) -> bool:
        """Send it at once, or when its turn comes; False: too much waits already, so it is lost."""
        size = len(item.payload) + len(item.channel)
        now = time.monotonic()
        with self._lock:
            burst, self._last_put = now - self._last_put < _BURST, now
            fits = not self.closed and self._size + size <= self._limit
            begins_to_overflow = not fits and not self.closed and not self._full
            if fits:
                self._items.append(item)
                self._size += size
            else:
                self._full = not self.closed
            start = fits and not self._running
            if start:
                self._running = True
        if start:
            self._start(burst)
        elif not fits:
            self._outage.lost(1)
            if begins_to_overflow:
                self._outage.failed("the outbox", f"{self._limit} bytes are waiting for it, which is all that may")
        return fits

    def _start(self, burst: bool) -> None:
        if self._failures or not self._sender.sends_now:
            self._reactor.submit(self._drain)
        elif not burst:
            self._send_now()
        elif self._reactor.one_thread:
            self._reactor.submit(self._drain)  # which comes behind the burst
        else:
            self._reactor.call_later(_GATHER, self._send_now)

    def _send_now(self) -> None:
        """Send what there is without blocking, as far as that goes."""
        with self._lock:
            batch = self._take_locked()
        begun = True  # as far as is known, should a signal handler raise here: it must not be sent twice
        try:
            begun = self._sender.send_now(batch)
        finally:
            with self._lock:
                if not begun:
                    self._items.extendleft(reversed(batch))
                    self._size += sum(len(item.payload) + len(item.channel) for item in batch)
                needs_job = not begun or self._sender.unfinished
                more = self._running = needs_job or bool(self._items)
                settles = not more and self._settles_locked()
            if needs_job:
                self._reactor.submit(self._drain)
            elif more:
                self._start(burst=True)
            else:
                self._rest(settles)

    def _rest(self, settles: bool) -> None:
        self._idle.set()
        if settles:
            self._reactor.call_later(_SETTLE, self._begin_to_settle)

    def _settles_locked(self) -> bool:
        """Whether a timer has to be set, by the caller, for what is not settled."""
        settles = not self._settling and self._sender.unsettled
        self._settling |= settles
        return settles

    def _take_locked(self) -> list[Item]:
        batch: list[Item] = []
        size = 0
        items = self._items
        while items and len(batch) < _BATCH and size < _BATCH_SIZE:
            item = items.popleft()
            size += len(item.payload) + len(item.channel)
            batch.append(item)
        self._size -= size
        return batch

    def _drain(self) -> None:
        """Send until there is nothing more, or until the bus fails: then again a little later."""
        try:
            while not self.closed:
                self._sender.connect()  # before anything is taken: what has never been sent is not lost
                with self._lock:
                    batch = self._take_locked()
                    relieved = self._full and self._size * 2 <= self._limit
                    if relieved:
                        self._full = False
                    done = not batch and not self._sender.unfinished
                    if done:
                        self._running = False
                    settles = done and self._settles_locked()
                if relieved:
                    self._outage.works("the outbox")
                if done:
                    self._works()
                    self._rest(settles)
                    return
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
        settled = self._sender.settled_now()  # as a rule, which spares the job
        with self._lock:
            more = self._running = not settled or bool(self._items)
        if more:
            self._reactor.submit(self._settle)
        else:
            self._idle.set()

    def _settle(self) -> None:
        try:
            self._sender.settle()
        except FAILURES as error:
            self._fails(error)
        else:
            self._drain()  # what has been put meanwhile

    def _works(self) -> None:
        if self._failures:
            self._failures = 0
            self._outage.works("publishing")

    def _fails(self, error: BaseException) -> None:
        if self.closed:
            return
        self._failures += 1
        self._outage.failed("publishing", error)
        self._reactor.call_later(wait_before(self._failures), lambda: self._reactor.submit(self._drain))

    def close(self) -> None:
        """Wait a moment until all is sent; what is not is lost."""
        may_wait, until = self._reactor.may_wait(), time.monotonic() + _LAST_WORDS
        with self._lock:
            waits = self._running and not self._failures and may_wait
            self._idle.clear()
            waits = waits and self._running
        if waits:
            self._reactor.wait(self._idle, _LAST_WORDS)  # which lets others work, for one of them has to send it
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
