"""The client's rows of ``python -m benchmarks``; ``python -m benchmarks.client`` has all that can be measured of it,
its CPU time and memory, beside python-socketio's client.

Both talk to the same kind of server (wsgi_sio's), each run has a fresh one, and the runs of all clients alternate, so
that a disturbance of the machine hits them alike.  The client is a process of its own, which measures itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from statistics import median

from benchmarks import measure
from benchmarks.apps.measured_client import DEPTH, FLOOD, IDLE, Figures
from benchmarks.install import Unavailable, own_versions
from benchmarks.scenarios import Sample, Scenario, Setting
from benchmarks.servers import ROOT, Ready, RunningServer, gunicorn_command
from benchmarks.tables import format_figure, format_table

TRANSPORTS = ("websocket", "polling")
# What our client may use at most of what python-socketio's does, for each echo.
DEMAND = 0.4
_TIMEOUT = 90.0  # seconds for one run


@dataclass(frozen=True)
class Kind:
    """A row of the tables.

    :ivar library: ``ours`` or ``pysio``.
    :ivar world: ``threads`` or ``gevent``.
    """

    title: str
    library: str
    world: str

    @property
    def name(self) -> str:
        return f"client-{self.library}-{self.world}"


KINDS = (
    Kind("wsgi_sio, threads", "ours", "threads"),
    Kind("wsgi_sio, gevent", "ours", "gevent"),
    Kind("python-socketio, threads", "pysio", "threads"),
    Kind("python-socketio, gevent", "pysio", "gevent"),
)

SCENARIOS = {
    "calls": "an echo, waited for",
    "callbacks": f"an echo, {DEPTH} in flight",
    "received": f"an event received, of {FLOOD:,}",
}

# By kind, scenario and transport: the figures of each round.
Results = dict[tuple[Kind, str, str], list[Figures]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 when our client cannot be measured, or the demand is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description="Measure the client.")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured in each round (default: %(default)s)")
    parser.add_argument("--worlds", metavar="A,B", default="threads,gevent", help="default: %(default)s")
    parser.add_argument("--no-idle", action="store_true", help="CPU time only")
    options = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if kind.world in options.worlds.split(",")]
    results: Results = {}
    failed = False
    try:
        versions = _versions()
    except Unavailable as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    for number in range(options.rounds):
        for kind, scenario, transport in _plan(kinds, idle=not options.no_idle):
            print(f"[{number + 1}/{options.rounds}] {scenario} {transport} {kind.title}", file=sys.stderr)
            try:
                figures = run(kind, scenario, transport, options.seconds)
            except Unavailable as reason:
                print(f"error: {reason}", file=sys.stderr)
                failed |= kind.library == "ours"
            else:
                results.setdefault((kind, scenario, transport), []).append(figures)
    ratios = echo_ratios(results)
    print(report(kinds, results, ratios))
    print(f"* machine: {measure.machine()}\n* interpreter: {measure.interpreter()}\n* versions: {versions}")
    print(f"* median of {options.rounds} rounds; the server on one core, the client on another, where there are two")
    return 1 if failed or any(ratio > DEMAND for ratio in ratios.values()) else 0


def _plan(kinds: Sequence[Kind], *, idle: bool) -> Iterator[tuple[Kind, str, str]]:
    """The runs of one round."""
    for transport in TRANSPORTS:
        for scenario in [*SCENARIOS, *(["idle", "idle-shared"] if idle else [])]:
            for kind in kinds:
                if scenario != "idle-shared" or kind.library == "ours":
                    yield kind, scenario, transport


# -- the rows of python -m benchmarks ---------------------------------------------------------------------------------

_ROWS = {1: "calls", DEPTH: "callbacks"}


def run_clients(scenario: Scenario, setting: Setting, note: Callable[[Sample], None]) -> None:
    """Measure all kinds, over WebSocket; ``note`` each round as it comes."""
    interpreters = {"ours": sys.executable}
    try:
        interpreters["pysio"] = str(setting.cache.python_socketio()[0])
    except Unavailable as reason:
        for kind in KINDS:
            if kind.library == "pysio":
                note(Sample(scenario.name, kind.name, 0, missing=str(reason)))
    for number in range(setting.rounds_of(scenario)):
        for kind in KINDS:
            if kind.library in interpreters:
                sample = Sample(scenario.name, kind.name, number, seconds=setting.seconds)
                python = interpreters[kind.library]
                try:
                    figures = run(kind, _ROWS[scenario.depth], "websocket", setting.seconds, python=python)
                except (Unavailable, OSError) as error:
                    sample.error = str(error)
                else:
                    sample.count = round(figures["rate"] * setting.seconds)
                    sample.cpu = figures["us"] * sample.count / 1e6
                note(sample)


# -- one run ----------------------------------------------------------------------------------------------------------


def run(kind: Kind, scenario: str, transport: str, seconds: float, *, python: str = sys.executable) -> Figures:
    """One run against a fresh server.

    :param python: which has the client's library.
    :raises Unavailable: it did not end as it should; with the last lines it wrote.
    """
    server_core, client_core = measure.choose_cores() or (None, None)
    ready = Ready(partial(_server_command, kind), {})
    with RunningServer(ready, server_core) as server, measure.pinned(client_core):
        child = [kind.library, kind.world, scenario, transport, str(server.port), str(seconds)]
        try:
            done = subprocess.run(
                [python, "-m", "benchmarks.apps.measured_client", *child],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{kind.title}, {scenario} over {transport} hangs") from None
    if done.returncode:
        raise Unavailable(f"{kind.title}, {scenario} over {transport} failed: {done.stderr[-1000:]}")
    figures: Figures = json.loads(done.stdout)
    return figures


def _server_command(kind: Kind, fd: int, websockets: int, pollers: int) -> list[str]:
    options = ["-k", "gthread", "--threads=8"]
    return gunicorn_command(sys.executable, "benchmarks.apps.peer_of_clients:app", options, fd)


def _versions() -> str:
    try:
        names = ("python-socketio", "python-engineio", "websocket-client", "requests")
        versions = {"wsgi_sio": metadata.version("wsgi_sio"), **{name: metadata.version(name) for name in names}}
    except metadata.PackageNotFoundError as missing:
        raise Unavailable(f"{missing.name} is not installed: pip install 'wsgi_sio[dev]'") from missing
    versions |= own_versions()
    return ", ".join(f"{name} {version}" for name, version in versions.items())


# -- the tables -------------------------------------------------------------------------------------------------------


def echo_ratios(results: Results) -> dict[str, float]:
    """Our CPU time for each echo to python-socketio's, both with threads, by what was measured."""
    ours, peer = KINDS[0], KINDS[2]
    return {
        f"{SCENARIOS[scenario]}, {transport}": _median(rounds, "us") / _median(results[peer, scenario, transport], "us")
        for (kind, scenario, transport), rounds in results.items()
        if kind == ours and scenario in ("calls", "callbacks") and (peer, scenario, transport) in results
    }


def report(kinds: Sequence[Kind], results: Results, ratios: Mapping[str, float]) -> str:
    """All tables."""
    parts = []
    for transport in TRANSPORTS:
        heads = ["", *(f"{title}, µs" for title in SCENARIOS.values())]
        rows = [
            [kind.title, *(_cell(results.get((kind, scenario, transport)), "us") for scenario in SCENARIOS)]
            for kind in kinds
        ]
        parts.append(f"### CPU time of the client over {transport}\n\n{format_table(heads, rows)}")
    idle = {"idle": "", "idle-shared": ", one reactor for all"}
    rows = [
        [f"{kind.title}, {transport}{how}", *(_cell(results[kind, scenario, transport], unit) for unit in _IDLE_UNITS)]
        for transport in TRANSPORTS
        for kind in kinds
        for scenario, how in idle.items()
        if (kind, scenario, transport) in results
    ]
    if rows:
        parts.append(f"### {IDLE} idle clients, for each\n\n{format_table(['', 'KB', 'threads'], rows)}")
    lines = [f"* {what}: {ratio:.2f}" for what, ratio in ratios.items()]
    parts.append(f"### wsgi_sio to python-socketio, CPU time with threads (at most {DEMAND})\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


_IDLE_UNITS = ("KB", "threads")


def _median(rounds: Sequence[Figures], name: str) -> float:
    return median(figures[name] for figures in rounds)


def _cell(rounds: Sequence[Figures] | None, name: str) -> str:
    return "-" if not rounds else format_figure(_median(rounds, name))


if __name__ == "__main__":
    sys.exit(main())
