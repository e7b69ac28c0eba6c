"""``python -m benchmarks``: measure, print the tables."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import measure
from benchmarks.install import Cache, Unavailable
from benchmarks.report import report
from benchmarks.scenarios import SCENARIOS, Sample, Scenario, Setting, run_round
from benchmarks.servers import KINDS, ROOT, Ready, ServerKind
from wsgi_sio import __version__
from wsgi_sio.compiled import is_compiled
from wsgi_sio.socketio.jsoncodec import LIBRARIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 1 when anything was lost or could not be measured."""
    options = build_parser().parse_args(arguments)
    scenarios = choose_scenarios(options.scenarios, options.full)
    setting = Setting(
        seconds=1.0 if options.quick else options.seconds,
        warmup=0.5 if options.quick else 1.0,
        cores=measure.choose_cores(),
    )
    servers = prepare(choose_servers(options.servers), Cache(options.cache))
    rounds = 1 if options.quick else options.reps
    samples = run_all(scenarios, servers, rounds, setting)
    facts = describe(servers, samples, rounds, setting)
    text = report(scenarios, {kind.name: kind.title for kind in servers}, samples, facts)
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        results = {"facts": facts, "samples": [sample.as_json() for sample in samples]}
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 1 if any(sample.faults or sample.error for sample in samples) else 0


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    names = ", ".join(kind.name for kind in KINDS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure wsgi_sio beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one round of one second: a first impression")
    parser.add_argument("--full", action="store_true", help="the scenarios that take long, too")
    parser.add_argument("--servers", metavar="A,B", help=f"only these: {names}")
    scenario_names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument("--scenarios", metavar="X,Y", help=f"only these: {scenario_names}")
    parser.add_argument("--reps", type=int, default=3, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in each round (default: %(default)s)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".benchmarks", metavar="DIR", help="where peers are installed"
    )
    return parser


def choose_servers(names: str | None) -> list[ServerKind]:
    """Those named, all by default; exits for an unknown name."""
    known = {kind.name: kind for kind in KINDS}
    return [known[name] for name in _checked(names, list(known))]


def choose_scenarios(names: str | None, full: bool) -> list[Scenario]:
    """Those named, by default all but the long ones; exits for an unknown name."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    default = [name for name in known if full or name != "idle-5000"]
    return [known[name] for name in (_checked(names, list(known)) if names else default)]


def _checked(names: str | None, known: list[str]) -> list[str]:
    chosen = names.split(",") if names else known
    unknown = [name for name in chosen if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


def prepare(kinds: Sequence[ServerKind], cache: Cache) -> dict[ServerKind, Ready]:
    """Those that can be measured here; says why the others cannot."""
    servers = {}
    for kind in kinds:
        try:
            servers[kind] = kind.prepare(cache)
        except Unavailable as reason:
            print(f"skipped: {kind.title}: {reason}", file=sys.stderr)
    return servers


def run_all(
    scenarios: Sequence[Scenario], servers: dict[ServerKind, Ready], rounds: int, setting: Setting
) -> list[Sample]:
    """Round by round, so that a disturbance of the machine hits all servers alike."""
    samples = []
    for number in range(rounds):
        for scenario in scenarios:
            for kind, ready in servers.items():
                sample = Sample(scenario.name, kind.name, number)
                run_round(sample, scenario, ready, setting)
                samples.append(sample)
                outcome = sample.error or f"{sample.rate:,.0f}/s {sample.faults or ''}"
                print(f"[{number + 1}/{rounds}] {scenario.name} {kind.name}: {outcome}", file=sys.stderr, flush=True)
    return samples


def describe(
    servers: dict[ServerKind, Ready], samples: Sequence[Sample], rounds: int, setting: Setting
) -> dict[str, str]:
    """What the figures depend on."""
    versions = {"wsgi_sio": __version__}
    for ready in servers.values():
        versions.update(ready.versions)
    pinning = "the server on one core, the clients on another" if setting.cores else "nothing is pinned to a core"
    how_often = "one round" if rounds == 1 else f"median of {rounds} rounds (and range)"
    facts = {
        "machine": measure.machine(),
        "interpreter": measure.interpreter(),
        "build": describe_build(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "run": f"{how_often}, {setting.seconds:g} s each; one process a server; {pinning}",
        "rates": "the server's own limit only where it used nearly all of its core",
        "gthread": "8 threads; python-socketio also one for each client",
    }
    foreign = [sample.foreign / sample.seconds for sample in samples if sample.foreign is not None]
    if foreign:
        facts["other processes"] = f"used {median(foreign):.0%} of one core in the median, {max(foreign):.0%} at worst"
    if not measure.AVAILABLE:
        facts["not measured"] = "CPU time and memory, which need Linux"
    return facts


def describe_build() -> str:
    """Which wsgi_sio it is."""
    return (
        f"{'compiled' if is_compiled() else 'pure Python'}, JSON by {' and '.join(LIBRARIES) or 'the standard library'}"
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server under test ends with us
    sys.exit(main())
