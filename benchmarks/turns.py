"""All servers of a scenario side by side, each loaded for a moment in its turn, over and over.

So whatever disturbs the machine disturbs all alike: their ratios, round by round, hold where no figure alone would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from benchmarks.install import Unavailable
from benchmarks.limits import SPARE, allow_descriptors
from benchmarks.load import EventLoop
from benchmarks.measure import pinned
from benchmarks.rounds import begin_load, check, drain, measured
from benchmarks.scenarios import Sample, Scenario, Setting
from benchmarks.servers import Ready, RunningServer

_WARMUP = 1.5  # of the seconds of a round: the same load, once, for compilers that compile what is hot
_RAMP = 0.1  # seconds of the load before each round, lest its beginning be measured


class Side:
    """One of the servers, with its clients; it leaves with ``stack``.

    :raises Unavailable: it does not start; or an OSError.
    """

    def __init__(self, name: str, scenario: Scenario, ready: Ready, setting: Setting, stack: ExitStack) -> None:
        self.name = name
        self._scenario = scenario
        self._seconds = setting.seconds
        demand = {"pollers" if scenario.kind == "polling" else "websockets": scenario.clients}
        self._server = stack.enter_context(RunningServer(ready, setting.cores and setting.cores[0], **demand))
        self.loop = EventLoop(busy=setting.cores is not None)
        stack.callback(self.loop.close)
        self._load = begin_load(scenario, self._server, self.loop, stack)
        self._work(_WARMUP * setting.seconds)
        drain(self._load, self.loop)

    def _work(self, seconds: float) -> None:
        self._load.stopping = False
        self._load.begin()
        self.loop.run(seconds)

    def turn(self, number: int) -> Sample:
        """Be loaded for a while; what goes wrong is the sample's ``error``."""
        sample = Sample(self._scenario.name, self.name, number)
        try:
            self._work(_RAMP)
            count = self._load.tally.answered
            with measured(sample, self._server):
                self.loop.run(self._seconds)
            sample.count = self._load.tally.answered - count
            drain(self._load, self.loop)
        except OSError as error:
            sample.error = str(error)
        return sample

    def finish(self, sample: Sample) -> None:
        """Note in its last sample what was wrong in all."""
        try:
            stats = check(sample, self._load, self._server, self.loop)
            if self._scenario.extra and stats.get("fast", wanted := self._scenario.extra == "fast") != wanted:
                sample.error = f"the extra fast is {'not ' * wanted}in use"
        except OSError as error:
            sample.error = sample.error or str(error)


def run_turns(
    scenario: Scenario, servers: Mapping[str, Ready], setting: Setting, note: Callable[[Sample], None]
) -> None:
    """Measure the servers, by name; ``note`` each round as it comes."""
    with ExitStack() as stack:
        stack.enter_context(pinned(setting.cores and setting.cores[1]))
        sides = []
        for name, ready in servers.items():
            try:
                # The server inherits the limit, for its own clients.
                allow_descriptors(scenario.clients * (len(servers) + 1) + SPARE)
                sides.append(Side(name, scenario, ready, setting, stack))
            except (Unavailable, OSError) as error:
                note(Sample(scenario.name, name, 0, error=str(error)))
            _attend(sides)
        last = setting.rounds_of(scenario) - 1
        for number in range(last + 1):
            for side in list(sides):
                sample = side.turn(number)
                if number == last or sample.error:
                    side.finish(sample)
                if sample.error:
                    sides.remove(side)
                note(sample)
                _attend(sides)


def _attend(sides: list[Side]) -> None:
    """See to the heartbeats of those whose turn it is not, and to keep-alives that have run out."""
    for side in sides:
        side.loop.poll()
