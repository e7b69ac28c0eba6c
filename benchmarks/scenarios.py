"""What is measured, and how one round of it goes."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from time import monotonic, process_time
from typing import Any, Literal, Protocol

from benchmarks.install import Unavailable
from benchmarks.load import BroadcastLoad, EchoLoad, EventLoop, Tally, WebSocketClient
from benchmarks.measure import cpu_seconds, machine_cpu_seconds, memory_bytes, pinned, thread_count
from benchmarks.polling import PollingLoad
from benchmarks.servers import Ready, RunningServer

_DRAIN = 20.0  # seconds for the last answers
_CONNECT = 30.0  # seconds for all polling clients
_SETTLE = 1.0  # seconds before an idle server's memory is measured
_PREWARM = 20  # connections before the memory's baseline, so that it holds what is loaded once
_SPARE_DESCRIPTORS = 200


@dataclass(frozen=True)
class Scenario:
    """One table.

    :ivar unit: what is counted.
    :ivar depth: messages that each client keeps in flight.
    """

    name: str
    kind: Literal["echo", "broadcast", "idle", "polling"]
    title: str
    unit: str
    clients: int
    depth: int = 1


SCENARIOS = (
    Scenario("echo", "echo", "Echo: 100 WebSockets, one message in flight each", "message", 100),
    Scenario("echo-8", "echo", "Echo: 100 WebSockets, eight messages in flight each", "message", 100, 8),
    Scenario("broadcast", "broadcast", "Broadcast to 500 WebSockets", "delivery", 500),
    Scenario("polling", "polling", "Echo: 50 clients over HTTP long-polling", "message", 50),
    Scenario("idle", "idle", "1000 idle WebSockets", "connection", 1000),
    Scenario("idle-5000", "idle", "5000 idle WebSockets", "connection", 5000),
)


@dataclass(frozen=True)
class Setting:
    """How all rounds are run.

    :ivar seconds: of measuring, after ``warmup`` seconds of the same load.
    :ivar cores: the server's and the load generator's; None leaves both to the system.
    """

    seconds: float
    warmup: float
    cores: tuple[int, int] | None


@dataclass
class Sample:
    """One round.

    :ivar count: messages, deliveries or connections within ``seconds``.
    :ivar cpu: seconds that the server used meanwhile; None where that cannot be told.
    :ivar foreign: seconds that other processes used meanwhile: well above zero, the rate is worth little.
    :ivar memory: bytes per connection, of an idle server.
    :ivar faults: how often what should not happen did, by name.
    :ivar error: why there are no figures; else empty.
    """

    scenario: str
    server: str
    round: int
    count: int = 0
    seconds: float = 0.0
    cpu: float | None = None
    foreign: float | None = None
    memory: float | None = None
    threads: int | None = None
    faults: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def rate(self) -> float:
        """Messages, deliveries or connections per second."""
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def cpu_each(self) -> float | None:
        """The server's CPU time per message, delivery or connection, in microseconds."""
        return self.cpu * 1e6 / self.count if self.cpu is not None and self.count else None

    @property
    def busy(self) -> float | None:
        """How much of its core the server used, 0 to 1; well below 1 the load generator, or waiting, set the rate."""
        return self.cpu / self.seconds if self.cpu is not None and self.seconds else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rate": self.rate, "cpu_us_each": self.cpu_each}


class Load(Protocol):
    """Clients at work; see load.py and polling.py."""

    event: str
    tally: Tally
    stopping: bool

    def begin(self) -> None: ...

    def outstanding(self) -> int: ...


def run_round(sample: Sample, scenario: Scenario, ready: Ready, setting: Setting) -> None:
    """Start a fresh server, measure, fill in ``sample``; what goes wrong becomes its ``error``."""
    server_core, own_core = setting.cores or (None, None)
    polling = scenario.kind == "polling"
    demand = {"pollers" if polling else "websockets": scenario.clients}
    try:
        allow_descriptors(scenario.clients * 2 + _SPARE_DESCRIPTORS)
        with RunningServer(ready, server_core, **demand) as server, pinned(own_core):
            _run_scenario(sample, scenario, server, setting)
    except (Unavailable, OSError) as error:
        sample.error = str(error)


def _run_scenario(sample: Sample, scenario: Scenario, server: RunningServer, setting: Setting) -> None:
    with ExitStack() as stack:
        loop = EventLoop(busy=setting.cores is not None)
        stack.callback(loop.close)
        if scenario.kind == "idle":
            _measure_idle(sample, scenario, server, loop, stack)
            return
        load: Load
        if scenario.kind == "polling":
            polling = PollingLoad(loop, server.port, scenario.clients)
            stack.callback(polling.close)
            if not loop.run(_CONNECT, until=polling.connected):
                raise Unavailable(f"the clients could not connect within {_CONNECT:.0f} s")
            load = polling
        else:
            clients = _connect(server, scenario.clients, stack)
            load = EchoLoad(loop, clients, scenario.depth) if scenario.kind == "echo" else BroadcastLoad(loop, clients)
        _measure_load(sample, load, server, loop, setting)


def _measure_load(sample: Sample, load: Load, server: RunningServer, loop: EventLoop, setting: Setting) -> None:
    load.begin()
    loop.run(setting.warmup)
    count = load.tally.answered
    with _measured(sample, server):
        loop.run(setting.seconds)
    sample.count = load.tally.answered - count
    sample.threads = thread_count(server.pid)
    _finish(sample, load, server, loop)


def _measure_idle(sample: Sample, scenario: Scenario, server: RunningServer, loop: EventLoop, stack: ExitStack) -> None:
    """Memory and connecting; at the end every client must still get an answer."""
    for _ in range(_PREWARM):
        WebSocketClient(server.port).close()
    loop.run(_SETTLE)
    memory = memory_bytes(server.pid)
    with _measured(sample, server):
        clients = _connect(server, scenario.clients, stack)
    sample.count = len(clients)
    load = EchoLoad(loop, clients, depth=1)
    loop.run(_SETTLE)
    growth = _difference(memory_bytes(server.pid), memory)
    sample.memory = None if growth is None else growth / len(clients)
    sample.threads = thread_count(server.pid)
    load.stopping = True
    load.begin()
    _finish(sample, load, server, loop)


@contextmanager
def _measured(sample: Sample, server: RunningServer) -> Iterator[None]:
    """Note in ``sample`` how long the block takes, and who uses how much CPU time meanwhile."""
    started, cpu, everybody, own = monotonic(), cpu_seconds(server.pid), machine_cpu_seconds(), process_time()
    yield
    sample.seconds = monotonic() - started
    sample.cpu = _difference(cpu_seconds(server.pid), cpu)
    total = _difference(machine_cpu_seconds(), everybody)
    if total is not None and sample.cpu is not None:
        sample.foreign = max(0.0, total - sample.cpu - (process_time() - own))


def _connect(server: RunningServer, count: int, stack: ExitStack) -> list[WebSocketClient]:
    clients = []
    for _ in range(count):
        clients.append(WebSocketClient(server.port))
        stack.callback(clients[-1].close)
    return clients


def _finish(sample: Sample, load: Load, server: RunningServer, loop: EventLoop) -> None:
    """Let the last answers come, then hold what the clients saw against what they sent and what the server counted."""
    load.stopping = True
    loop.run(_DRAIN, until=lambda: load.outstanding() == 0)
    faults = load.tally.faults + loop.dropped
    faults["lost"] = load.outstanding()
    handled: int = json.loads(server.ask(b"stats"))[0][load.event]
    faults["requests that the server handled twice"] = handled - load.tally.sent
    faults["requests that the server missed"] = load.tally.sent - handled
    sample.faults = dict(+faults)  # only what is above zero


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def allow_descriptors(needed: int) -> None:
    """Raise this process's limit of open files, which the server inherits.

    :raises Unavailable: the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Unavailable(f"needs {needed} open files, the system allows {hard} (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
