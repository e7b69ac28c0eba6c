"""Very many clients of one server: connecting, being there, a broadcast to all; then a restart, and all come back.

Meanwhile one more client asks all the time: the longest that it had to wait is what any other would have had to.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from time import monotonic

from benchmarks.crowd import Crowd
from benchmarks.idle import SETTLE, warm
from benchmarks.install import Unavailable
from benchmarks.limits import SPARE, allow_descriptors, most_clients
from benchmarks.load import EventLoop
from benchmarks.measure import AVAILABLE, memory_bytes, pinned
from benchmarks.probe import Probe
from benchmarks.rounds import difference, measured
from benchmarks.scenarios import Sample, Scenario, Setting
from benchmarks.servers import Ready, RunningServer

_CONNECT = 300.0  # seconds for all to be connected
_DELIVER = 30.0  # seconds for a broadcast
_BROADCASTS = 3
_FILLER = b"." * 64


def measure_scale(sample: Sample, scenario: Scenario, ready: Ready, setting: Setting) -> None:
    """Very many clients, who hear broadcasts, and come back after a restart; stalls, as a probe sees them."""
    if not AVAILABLE:
        raise Unavailable("needs Linux")
    most = most_clients()
    count = scenario.clients if most is None else min(scenario.clients, most)
    if count < scenario.clients:
        print(f"{count:,} clients in place of {scenario.clients:,}: ulimit -Hn is too low", file=sys.stderr)
    allow_descriptors(count + SPARE)
    server_core, own_core = setting.cores or (None, None)
    with ExitStack() as stack:
        stack.enter_context(pinned(own_core))
        with RunningServer(ready, server_core, websockets=count) as server:
            crowd = Crowd(server.port, count)
            stack.callback(crowd.close)
            _measure_there(sample, crowd, server)
            crowd.returning = True
            restarted = monotonic()
        with RunningServer(ready, server_core, websockets=count, port=server.port) as server:
            _measure_back(sample, crowd, server, restarted)


def _measure_there(sample: Sample, crowd: Crowd, server: RunningServer) -> None:
    """Connecting, memory, broadcasts."""
    loop = EventLoop(busy=False)
    memory = warm(server, loop)
    loop.close()
    figures = sample.figures
    with Probe(server.port) as probe:
        with measured(sample, server):
            if not crowd.connect(_CONNECT):
                raise Unavailable(f"only {crowd.up:,} are connected after {_CONNECT:.0f} s: {dict(crowd.events)}")
        sample.count = crowd.count
        figures["stall while they connect, ms"] = probe.lap() * 1000
        crowd.run(SETTLE)
        growth = difference(memory_bytes(server.pid), memory)
        sample.memory = None if growth is None else growth / crowd.count
        probe.lap()
        took = []
        for number in range(1, _BROADCASTS + 1):
            began = monotonic()
            crowd.publish(_FILLER)
            if not crowd.run(_DELIVER, until=lambda due=number * crowd.count: crowd.heard >= due):  # type: ignore[misc]
                sample.faults["deliveries missing"] = number * crowd.count - crowd.heard
                break
            took.append((monotonic() - began) * 1000)
        figures["stall in a broadcast, ms"] = probe.lap() * 1000
        if took:
            figures["broadcast to all, ms"] = max(took)
    if crowd.events:
        sample.faults |= crowd.events


def _measure_back(sample: Sample, crowd: Crowd, server: RunningServer, restarted: float) -> None:
    """All come back to the new server, each when the delay of its own is over, which begins only now."""
    crowd.events.clear()

    def all_back() -> bool:
        return crowd.events["lost"] >= crowd.count and crowd.up == crowd.count

    with Probe(server.port) as probe:
        if not crowd.run(_CONNECT, until=all_back):
            raise Unavailable(f"only {crowd.up:,} are back after {_CONNECT:.0f} s: {dict(crowd.events)}")
        sample.figures["all back, s"] = monotonic() - restarted
        sample.figures["stall while they come back, ms"] = probe.lap() * 1000
    in_vain = {name: count for name, count in crowd.events.items() if name != "lost"}
    sample.figures["attempts in vain"] = sum(in_vain.values())
    if in_vain:
        print(f"{sample.server}: {in_vain}", file=sys.stderr)
