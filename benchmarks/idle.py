"""Connecting, and the memory of those who only are there; a fresh server for each round."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.limits import SPARE, allow_descriptors
from benchmarks.load import EchoLoad, EventLoop, WebSocketClient
from benchmarks.measure import memory_bytes, pinned
from benchmarks.rounds import check, connect, difference, drain, measured
from benchmarks.scenarios import Sample, Scenario, Setting
from benchmarks.servers import Ready, RunningServer

SETTLE = 1.0  # seconds before an idle server's memory is measured
_AT_ONCE = 100  # clients that connect before the others' heartbeats are looked at
_PREWARM = 20  # connections before the memory's baseline, so that it holds what is loaded once


def measure_idle(sample: Sample, scenario: Scenario, ready: Ready, setting: Setting) -> None:
    """Clients that connect, and then say nothing, until each is asked once."""
    server_core, own_core = setting.cores or (None, None)
    allow_descriptors(scenario.clients + SPARE)
    with ExitStack() as stack:
        server = stack.enter_context(RunningServer(ready, server_core, websockets=scenario.clients))
        stack.enter_context(pinned(own_core))
        loop = EventLoop(busy=setting.cores is not None)
        stack.callback(loop.close)
        memory = warm(server, loop)
        load = EchoLoad(loop, [], depth=1)
        with measured(sample, server):
            for number in range(scenario.clients):
                load.add(connect(server, 1, stack)[0])
                if number % _AT_ONCE == 0:
                    loop.poll()
        sample.count = scenario.clients
        loop.run(SETTLE)
        growth = difference(memory_bytes(server.pid), memory)
        sample.memory = None if growth is None else growth / scenario.clients
        load.begin()  # at the end every client must still get an answer
        drain(load, loop)
        check(sample, load, server, loop)


def warm(server: RunningServer, loop: EventLoop) -> int | None:
    """Have a server load what it loads once; its memory then."""
    for _ in range(_PREWARM):
        WebSocketClient(server.port).close()
    loop.run(SETTLE)
    return memory_bytes(server.pid)
