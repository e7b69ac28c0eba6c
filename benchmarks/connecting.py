"""Connecting, many at once, as after a restart; a fresh server for each round."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.crowd import Crowd
from benchmarks.idle import warm
from benchmarks.install import Unavailable
from benchmarks.limits import SPARE, allow_descriptors
from benchmarks.load import EventLoop
from benchmarks.measure import pinned
from benchmarks.rounds import measured
from benchmarks.scenarios import Sample, Scenario, Setting
from benchmarks.servers import Ready, RunningServer

_CONNECT = 60.0  # seconds for all to be connected


def measure_connecting(sample: Sample, scenario: Scenario, ready: Ready, setting: Setting) -> None:
    """Clients that come as fast as the server lets them in, ``scenario.depth`` of them at once."""
    server_core, own_core = setting.cores or (None, None)
    allow_descriptors(scenario.clients + SPARE)
    with ExitStack() as stack:
        server = stack.enter_context(RunningServer(ready, server_core, websockets=scenario.clients))
        stack.enter_context(pinned(own_core))
        loop = EventLoop(busy=False)
        stack.callback(loop.close)
        warm(server, loop)
        crowd = Crowd(server.port, scenario.clients, ahead=scenario.depth, busy=setting.cores is not None)
        stack.callback(crowd.close)
        with measured(sample, server):
            if not crowd.connect(_CONNECT):
                raise Unavailable(f"only {crowd.up:,} are connected after {_CONNECT:.0f} s: {dict(crowd.events)}")
        sample.count = scenario.clients
        sample.faults |= crowd.events
