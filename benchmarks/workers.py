"""``python -m benchmarks.workers``: what several workers cost beside one, and how evenly they work.

Two servers at a time, one worker and N, share a core and are loaded at once by one process on another core, so that
whatever disturbs the machine disturbs both alike: the ratios of their CPU times hold within a few per cent where
either figure alone would not.  After that each has all cores, those that the load generator leaves it, for a while.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import monotonic, process_time

from benchmarks import measure
from benchmarks.install import Cache, Unavailable
from benchmarks.limits import SPARE, allow_descriptors
from benchmarks.load import BroadcastLoad, EchoLoad, EventLoop, Load, WebSocketClient
from benchmarks.polling import PollingLoad
from benchmarks.servers import KINDS, Ready, RunningServer
from benchmarks.tables import format_figure, format_table

_WARMUP = 1.0  # seconds
_DRAIN = 20.0  # seconds for the last answers
_CONNECT = 30.0  # seconds for all polling clients, and for the workers to find each other

Begin = Callable[[EventLoop, int, ExitStack], Load]


@dataclass(frozen=True)
class Work:
    """A row: what the clients do, and with how many of them."""

    title: str
    begin: Begin


@dataclass(frozen=True)
class Row:
    """What came of a row.

    :ivar one: microseconds of CPU for each message, with one worker.
    :ivar several: likewise, of all workers together.
    :ivar ratios: of the two, round by round.
    :ivar busiest: CPU time of the busiest worker, of the idlest worker's.
    """

    one: float
    several: float
    ratios: list[float]
    busiest: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 1 when something was lost or cannot be measured here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description="Measure several workers.")
    parser.add_argument("--kind", choices=("gevent", "gthread"), default="gevent", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (default: %(default)s)")
    options = parser.parse_args(arguments)
    cores = measure.choose_cores()
    try:
        if cores is None or not measure.AVAILABLE:
            raise Unavailable("needs Linux and two cores")
        one = {kind.name: kind for kind in KINDS}[f"ours-{options.kind}"].prepare(Cache(Path()))
        servers = one, with_workers(one, options.workers)
        rows = [measure_pair(work, servers, cores, options.rounds, options.seconds) for work in WORKS]
        rates = [measure_rate(ready, options.seconds) for ready in servers]
    except Unavailable as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    print(f"### 1 worker and {options.workers}, gunicorn {options.kind}: CPU time on one core\n")
    heads = ["", "µs, 1 worker", f"µs, {options.workers} workers", "ratio (and range)", "busiest / idlest worker"]
    print(format_table(heads, [format_row(work, row) for work, row in zip(WORKS, rows, strict=True)]))
    print(f"\n### Echo on all {len(measure_cores())} cores, the load generator's included\n")
    print(format_table(["workers", "messages/s", "generator, % of a core"], [
        [str(count), format_figure(rate), format_figure(share * 100)]
        for count, (rate, share) in zip((1, options.workers), rates, strict=True)
    ]))  # fmt: skip
    print(f"\n* machine: {measure.machine()}\n* interpreter: {measure.interpreter()}")
    return 0


def format_row(work: Work, row: Row) -> list[str]:
    low, high = min(row.ratios), max(row.ratios)
    ratio = f"{median(row.ratios):.2f} ({low:.2f} to {high:.2f})"
    return [work.title, format_figure(row.one), format_figure(row.several), ratio, f"{row.busiest:.2f}"]


def with_workers(ready: Ready, count: int) -> Ready:
    """The same server, of so many workers; the last option counts."""

    def command(fd: int, websockets: int, pollers: int) -> list[str]:
        *options, app = ready.command(fd, websockets, pollers)
        return [*options, f"--workers={count}", app]

    return replace(ready, command=command)


# -- loads ------------------------------------------------------------------------------------------------------------


def _websockets(port: int, count: int, stack: ExitStack) -> list[WebSocketClient]:
    clients = []
    for _ in range(count):
        clients.append(WebSocketClient(port))
        stack.callback(clients[-1].close)
    return clients


def _echo(loop: EventLoop, port: int, stack: ExitStack) -> Load:
    return EchoLoad(loop, _websockets(port, 100, stack), depth=1)


def _broadcast(loop: EventLoop, port: int, stack: ExitStack) -> Load:
    return BroadcastLoad(loop, _websockets(port, 500, stack))


def _polling(loop: EventLoop, port: int, stack: ExitStack) -> Load:
    load = PollingLoad(loop, port, 50)
    stack.callback(load.close)
    if not loop.run(_CONNECT, until=load.connected):
        raise Unavailable(f"the clients could not connect within {_CONNECT:.0f} s")
    return load


WORKS = (
    Work("echo, 100 WebSockets", _echo),
    Work("broadcast to 500 WebSockets", _broadcast),
    Work("echo, 50 polling clients, whichever worker their requests come to", _polling),
)


# -- measuring --------------------------------------------------------------------------------------------------------


def measure_pair(work: Work, servers: tuple[Ready, Ready], cores: tuple[int, int], rounds: int, seconds: float) -> Row:
    """Load both servers at once.

    :raises Unavailable: they cannot be started, or something was lost.
    """
    allow_descriptors(2000 + SPARE)
    with ExitStack() as stack:
        running = [stack.enter_context(RunningServer(ready, cores[0])) for ready in servers]
        stack.enter_context(measure.pinned(cores[1]))
        for server in running:
            _acquaint(server)
        loop = EventLoop(busy=False)
        stack.callback(loop.close)
        loads = [work.begin(loop, server.port, stack) for server in running]
        for load in loads:
            load.begin()
        loop.run(_WARMUP)
        before = [_figures(server, load) for server, load in zip(running, loads, strict=True)]
        workers = _workers(running[1])
        used = [measure.cpu_seconds(pid) or 0.0 for pid in workers]
        each: list[list[float]] = [[], []]
        for _ in range(rounds):
            loop.run(seconds)
            after = [_figures(server, load) for server, load in zip(running, loads, strict=True)]
            for figures, (cpu, answered), (cpu_before, answered_before) in zip(each, after, before, strict=True):
                figures.append((cpu - cpu_before) * 1e6 / max(1, answered - answered_before))
            before = after
        busy = [(measure.cpu_seconds(pid) or 0.0) - so_far for pid, so_far in zip(workers, used, strict=True)]
        for load in loads:
            _finish(load, loop)
    ratios = [several / one for one, several in zip(*each, strict=True)]
    return Row(median(each[0]), median(each[1]), ratios, max(busy) / min(busy))


def measure_rate(ready: Ready, seconds: float) -> tuple[float, float]:
    """Echoes per second with nothing pinned, and how much of a core the load generator used (0 to 1)."""
    with ExitStack() as stack:
        server = stack.enter_context(RunningServer(ready, None))
        _acquaint(server)
        loop = EventLoop(busy=False)
        stack.callback(loop.close)
        load = _echo(loop, server.port, stack)
        load.begin()
        loop.run(_WARMUP)
        answered, used, began = load.tally.answered, process_time(), monotonic()
        loop.run(seconds)
        elapsed = monotonic() - began
        result = (load.tally.answered - answered) / elapsed, (process_time() - used) / elapsed
        _finish(load, loop)
    return result


def measure_cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def _figures(server: RunningServer, load: Load) -> tuple[float, int]:
    return measure.cpu_seconds(server.pid) or 0.0, load.tally.answered


def _workers(server: RunningServer) -> list[int]:
    return measure.process_tree(server.pid)[1:]


def _acquaint(server: RunningServer) -> None:
    """Have all workers know each other, as those of a server that has run for a while do."""
    deadline = monotonic() + _CONNECT
    tags: set[str] = set()
    while len(tags) < len(_workers(server)):
        if monotonic() > deadline:
            raise Unavailable(f"only {len(tags)} workers have got a client within {_CONNECT:.0f} s")
        with ExitStack() as stack:
            tags |= {client.sid[-4:] for client in _websockets(server.port, 20, stack)}


def _finish(load: Load, loop: EventLoop) -> None:
    load.stopping = True
    loop.run(_DRAIN, until=lambda: load.outstanding() == 0)
    faults = load.tally.faults + loop.dropped
    faults["lost"] = load.outstanding()
    if +faults:
        raise Unavailable(f"not everything was answered once: {dict(+faults)}")


if __name__ == "__main__":
    sys.exit(main())
