"""What goes wrong, and when: a schedule out of the seed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tests.chaos.ledger import Ledger
from tests.chaos.relay import MOMENTS, Relay
from tests.chaos.setting import PING_INTERVAL, PING_TIMEOUT, ClientPlan
from tests.chaos.tasks import Tasks
from tests.support.freezing import freeze, thaw

_SILENCE = PING_INTERVAL + PING_TIMEOUT

# How often each one comes, for one client (in a second), and for all together.
PER_CLIENT = {
    "cut": 1 / 120,
    "trap": 1 / 60,
    "stall": 1 / 150,
    "slow": 1 / 150,
    "burst": 1 / 60,
    "leave": 1 / 180,
    "kill": 1 / 180,
}
PER_RUN = {"stop": 1 / 15, "storm": 1 / 60}
NAMES = (*PER_CLIENT, *PER_RUN)


class Stage(Protocol):
    """What is disturbed."""

    ledger: Ledger

    @property
    def worker_pid(self) -> int:
        """The server's process."""

    def order(self, plan: ClientPlan, name: str, *values: object) -> None:
        """Tell a client's process what to do with it."""

    def relay_of(self, plan: ClientPlan) -> Relay:
        """A client's way to the server."""

    def plans(self) -> Sequence[ClientPlan]:
        """The clients of now."""

    def renew(self, plan: ClientPlan) -> None:
        """Another client takes the place of this one, of which nothing more is asked."""


class Disturber:
    """Draws disturbances, one after the other, and carries them out beside each other.

    :ivar counts: what has happened so far.
    """

    def __init__(self, stage: Stage, rng: random.Random, without: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._stage = stage
        self._rng = rng
        self._without = without
        self._running = Tasks()
        self._busy: set[str] = set()  # keys of clients that have left, or are being killed
        self._stopped = False

    async def run(self, seconds: float) -> None:
        """Disturb for so long; returns when the last disturbance is over."""
        ends = time.monotonic() + seconds
        rates = {name: rate * len(self._stage.plans()) for name, rate in PER_CLIENT.items()} | PER_RUN
        rates = {name: rate for name, rate in rates.items() if name not in self._without}
        while rates and (left := ends - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._rng.expovariate(sum(rates.values()))))
            (name,) = self._rng.choices(list(rates), list(rates.values()))
            disturb: Callable[[ClientPlan], Awaitable[None]] = getattr(self, f"_{name}")
            candidates = [plan for plan in self._stage.plans() if plan.key not in self._busy]
            if candidates:
                self.counts[name] += 1
                self._running.start(disturb(self._rng.choice(candidates)))
        await self._running.join(timeout=None)

    # -- a client's connections ---------------------------------------------------------------------------------

    async def _cut(self, plan: ClientPlan) -> None:
        self._stage.ledger.disturbed(plan.key, "cut")
        self._stage.relay_of(plan).cut(reset=self._rng.random() < 0.5)

    async def _trap(self, plan: ClientPlan) -> None:
        """Cut at a bad moment, once there is one; the client has to connect anew for some of them."""
        relay = self._stage.relay_of(plan)
        moment = self._rng.choice(MOMENTS)
        relay.reset, relay.pieces = self._rng.random() < 0.5, self._rng.randint(1, 6)
        relay.trap = moment
        patience = 10.0
        self._stage.ledger.disturbed(plan.key, f"to be cut in {moment}", patience)
        if moment == "upgrade":
            relay.cut(relay.reset)
        await asyncio.sleep(patience)
        relay.trap = None

    async def _stall(self, plan: ClientPlan) -> None:
        """No byte passes for a while: shorter than anybody's patience, or longer."""
        relay = self._stage.relay_of(plan)
        seconds = self._rng.choice(
            (self._rng.uniform(0.2, PING_TIMEOUT / 2), self._rng.uniform(_SILENCE, 2 * _SILENCE))
        )
        self._stage.ledger.disturbed(plan.key, f"stalled for {seconds:.1f} s", seconds)
        relay.flowing.clear()
        await asyncio.sleep(seconds)
        relay.flowing.set()

    async def _slow(self, plan: ClientPlan) -> None:
        """The client reads slowly, and much is sent to it."""
        relay = self._stage.relay_of(plan)
        seconds = self._rng.uniform(2.0, 10.0)
        self._stage.ledger.disturbed(plan.key, f"slow for {seconds:.1f} s", seconds)
        relay.bandwidth = self._rng.choice((5_000.0, 50_000.0, 500_000.0))
        self._stage.order(plan, "burst", self._rng.randint(5, 30 if plan.retries else 80), "20000", 1)
        await asyncio.sleep(seconds)
        relay.bandwidth = None

    # -- what clients do ----------------------------------------------------------------------------------------

    async def _burst(self, plan: ClientPlan) -> None:
        """A flood of events, perhaps for a slow handler, perhaps more than a mailbox takes."""
        mode, size = self._rng.choice((("slow", 10), ("slow", 1000), ("fast", 1000), ("ask", 10), ("100", 10)))
        count = self._rng.randint(20, 60 if plan.retries else 300)  # with retries, each waits for the one before
        self._stage.ledger.note(plan.key, f"sends {count} events of {size} bytes at once, {mode}")
        self._stage.order(plan, "burst", count, mode, size)

    async def _leave(self, plan: ClientPlan) -> None:
        """Leave in good order, and come back."""
        self._busy.add(plan.key)
        self._stage.ledger.disturbed(plan.key, "told to leave")
        self._stage.order(plan, "leave")
        await asyncio.sleep(self._rng.uniform(2.5, 10.0))
        self._stage.order(plan, "come")
        self._busy.discard(plan.key)

    async def _kill(self, plan: ClientPlan) -> None:
        """The client is gone from one moment to the next, without a goodbye; another takes its place."""
        self._busy.add(plan.key)
        relay = self._stage.relay_of(plan)
        relay.refusing = True
        relay.cut(reset=self._rng.random() < 0.5)
        self._stage.ledger.forget(plan.key)
        self._stage.order(plan, "forget")
        await asyncio.sleep(3.0)
        relay.refusing = False
        self._stage.renew(plan)
        self._busy.discard(plan.key)

    # -- all of them --------------------------------------------------------------------------------------------

    async def _storm(self, _: ClientPlan) -> None:
        """All connections are cut at once."""
        reset = self._rng.random() < 0.5
        for plan in self._stage.plans():
            self._stage.ledger.disturbed(plan.key, "cut with all")
            self._stage.relay_of(plan).cut(reset)

    async def _stop(self, _: ClientPlan) -> None:
        """The server's process stands still: shorter than a ping's time-out, a bit longer, longer than clients wait."""
        if self._stopped:
            return
        self._stopped = True
        choices = ((0.2, PING_TIMEOUT / 2), (PING_TIMEOUT + 0.3, PING_TIMEOUT + 1.5), (_SILENCE, _SILENCE + 3))
        pid, seconds = self._stage.worker_pid, self._rng.uniform(*self._rng.choice(choices))
        for plan in self._stage.plans():
            self._stage.ledger.note(plan.key, f"the server stands still for {seconds:.1f} s")
        freeze(pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            thaw(pid)
        await asyncio.sleep(_SILENCE)
        self._stopped = False
