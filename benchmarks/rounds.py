"""Rounds of one server under a load: begin, measure, and at the end hold what came against what was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import monotonic, process_time

from benchmarks.install import Unavailable
from benchmarks.load import BroadcastLoad, EchoLoad, EventLoop, Load, WebSocketClient
from benchmarks.measure import cpu_seconds, machine_cpu_seconds, thread_count
from benchmarks.polling import PollingLoad
from benchmarks.scenarios import Sample, Scenario, Setting
from benchmarks.servers import Ready, RunningServer

_DRAIN = 20.0  # seconds for the last answers
_CONNECT = 30.0  # seconds for all polling clients


Measure = Callable[[Sample, Scenario, Ready, Setting], None]


def run_alone(
    measure: Measure, scenario: Scenario, servers: Mapping[str, Ready], setting: Setting, note: Callable[[Sample], None]
) -> None:
    """Measure the servers, by name, each started for its round; ``note`` each round as it comes."""
    for number in range(setting.rounds_of(scenario)):
        for name, ready in servers.items():
            sample = Sample(scenario.name, name, number)
            try:
                measure(sample, scenario, ready, setting)
            except (Unavailable, OSError) as error:
                sample.error = str(error)
            note(sample)


@contextmanager
def measured(sample: Sample, server: RunningServer) -> Iterator[None]:
    """Note in ``sample`` how long the block takes, and who uses how much CPU time meanwhile."""
    started, cpu, everybody, own = monotonic(), cpu_seconds(server.pid), machine_cpu_seconds(), process_time()
    yield
    sample.seconds = monotonic() - started
    sample.cpu = difference(cpu_seconds(server.pid), cpu)
    total = difference(machine_cpu_seconds(), everybody)
    if total is not None and sample.cpu is not None:
        sample.foreign = max(0.0, total - sample.cpu - (process_time() - own))
    sample.threads = thread_count(server.pid)


def difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def connect(server: RunningServer, count: int, stack: ExitStack) -> list[WebSocketClient]:
    """So many clients, which ``stack`` closes."""
    clients = []
    for _ in range(count):
        clients.append(WebSocketClient(server.port))
        stack.callback(clients[-1].close)
    return clients


def begin_load(scenario: Scenario, server: RunningServer, loop: EventLoop, stack: ExitStack) -> Load:
    """The scenario's clients, connected.

    :raises Unavailable: they could not connect; or an OSError.
    """
    if scenario.kind == "polling":
        polling = PollingLoad(loop, server.port, scenario.clients)
        stack.callback(polling.close)
        if not loop.run(_CONNECT, until=polling.connected):
            raise Unavailable(f"the clients could not connect within {_CONNECT:.0f} s")
        return polling
    clients = connect(server, scenario.clients, stack)
    if scenario.kind == "broadcast":
        return BroadcastLoad(loop, clients)
    return EchoLoad(loop, clients, scenario.depth, scenario.data)


def drain(load: Load, loop: EventLoop) -> None:
    """Let the last answers come."""
    load.stopping = True
    loop.run(_DRAIN, until=lambda: load.outstanding() == 0)


def check(sample: Sample, load: Load, server: RunningServer, loop: EventLoop) -> dict[str, int]:
    """Note what the clients missed, of what they sent and of what the server counted; it has been drained.

    :return: what the server says of itself.
    """
    faults = load.tally.faults + loop.dropped
    faults["lost"] = load.outstanding()
    stats: dict[str, int] = json.loads(server.ask(b"stats"))[0]
    handled = stats[load.event]
    faults["requests that the server handled twice"] = handled - load.tally.sent
    faults["requests that the server missed"] = load.tally.sent - handled
    sample.faults = dict(+faults)  # only what is above zero
    return stats
