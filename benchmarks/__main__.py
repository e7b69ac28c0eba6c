"""``python -m benchmarks``: measure, print the tables."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import measure, pages
from benchmarks.client import KINDS as CLIENTS
from benchmarks.facts import describe
from benchmarks.install import Cache
from benchmarks.plan import prepare, run_all
from benchmarks.report import Results, report
from benchmarks.scenarios import SCENARIOS, Scenario, Setting
from benchmarks.servers import KINDS, ROOT, ServerKind, with_compiled

_QUICK = 0.5  # seconds of each round


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 1 when anything was lost or went wrong."""
    options = build_parser().parse_args(arguments)
    scenarios = choose_scenarios(options.rows, options.clients)
    kinds = choose_servers(options.servers, options.compiled)
    if options.readme and options.quick:
        sys.exit("a first impression does not go into the README")
    setting = Setting(
        seconds=_QUICK if options.quick else options.seconds,
        rounds=1 if options.quick else options.rounds,
        cores=measure.choose_cores(),
        cache=Cache(options.cache),
    )
    servers = prepare(kinds, setting.cache)
    samples = run_all(scenarios, servers, setting)
    titles = {kind.name: kind.title for kind in kinds} | {client.name: client.title for client in CLIENTS}
    results = Results(titles, samples)
    facts = describe(servers, samples, setting)
    text = report(scenarios, results, facts)
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        data = {"facts": facts, "samples": [sample.as_json() for sample in samples]}
        options.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    failed = any(sample.faults or sample.error for sample in samples)
    if options.readme and not write_pages(results, facts, failed=failed):
        return 1
    return 1 if failed else 0


def write_pages(results: Results, facts: dict[str, str], *, failed: bool) -> bool:
    """Put the tables into the README and the documentation, unless something went wrong or no table is complete."""
    made = {} if failed else pages.sections(results, facts)
    for path in (pages.README, pages.PAGE):
        print(f"{path.name}: {', '.join(pages.write(made, path)) or 'nothing'} written", file=sys.stderr)
    return bool(made)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    names = ", ".join(kind.name for kind in KINDS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure wsgi_sio beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one round of half a second: a first impression")
    parser.add_argument("--servers", metavar="A,B", help=f"only these: {names}")
    rows = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument("--rows", metavar="X,Y", help=f"only these: {rows}; by default all but scale, which is heavy")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured in each round (default: %(default)s)")
    parser.add_argument("--clients", type=int, metavar="N", help="of the row scale, in place of 20,000")
    parser.add_argument(
        "--compiled", type=Path, metavar="PYTHON", help="an interpreter with gunicorn, gevent and the compiled wheel"
    )
    parser.add_argument("--readme", action="store_true", help="write the tables into the README and the documentation")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(os.environ.get("BENCH_HOME") or ROOT / ".benchmarks"),
        metavar="DIR",
        help="where peers are installed (default: $BENCH_HOME, or .benchmarks)",
    )
    return parser


def choose_servers(names: str | None, compiled: Path | None = None) -> list[ServerKind]:
    """Those named, all by default; exits for an unknown name."""
    known = {kind.name: kind for kind in (with_compiled(compiled) if compiled else KINDS)}
    return [known[name] for name in _checked(names, list(known))]


def choose_scenarios(names: str | None, clients: int | None = None) -> list[Scenario]:
    """Those named, by default all but that of very many clients; exits for an unknown name."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if clients is not None:
        known["scale"] = replace(known["scale"], clients=clients)
    return [known[name] for name in (_checked(names, list(known)) if names else known) if names or name != "scale"]


def _checked(names: str | None, known: list[str]) -> list[str]:
    chosen = names.split(",") if names else known
    unknown = [name for name in chosen if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server under test ends with us
    sys.exit(main())
