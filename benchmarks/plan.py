"""One run: the scenarios, each with the servers that it is measured with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.client import run_clients
from benchmarks.connecting import measure_connecting
from benchmarks.idle import measure_idle
from benchmarks.install import Cache, Unavailable
from benchmarks.rounds import run_alone
from benchmarks.scale import measure_scale
from benchmarks.scenarios import Sample, Scenario, Setting
from benchmarks.servers import Ready, ServerKind
from benchmarks.turns import run_turns

_RUN = {
    "connect": partial(run_alone, measure_connecting),
    "idle": partial(run_alone, measure_idle),
    "scale": partial(run_alone, measure_scale),
}

Servers = Mapping[ServerKind, "Ready | Unavailable"]


def prepare(kinds: Sequence[ServerKind], cache: Cache) -> Servers:
    """Each, or why it cannot be measured here."""
    servers: dict[ServerKind, Ready | Unavailable] = {}
    for kind in kinds:
        try:
            servers[kind] = kind.prepare(cache)
        except Unavailable as reason:
            print(f"skipped: {kind.title}: {reason}", file=sys.stderr)
            servers[kind] = reason
    return servers


def run_all(scenarios: Sequence[Scenario], servers: Servers, setting: Setting) -> list[Sample]:
    """All samples; each is told on the standard error as it comes."""
    samples: list[Sample] = []

    def note(sample: Sample) -> None:
        samples.append(sample)
        outcome = sample.error or sample.missing
        if not outcome:
            cpu = "" if sample.cpu_each is None else f"{sample.cpu_each:.1f} µs, "
            outcome = f"{cpu}{sample.rate:,.0f}/s {sample.faults or ''}"
        print(f"[{sample.round + 1}] {sample.scenario} {sample.server}: {outcome}", file=sys.stderr, flush=True)

    for scenario in scenarios:
        if scenario.kind == "client":
            run_clients(scenario, setting, note)
        else:
            run = _RUN.get(scenario.kind, run_turns)
            run(scenario, choose(scenario, servers, setting.cache, note), setting, note)
    return samples


def choose(scenario: Scenario, servers: Servers, cache: Cache, note: Callable[[Sample], None]) -> dict[str, Ready]:
    """The servers of a scenario, by name; ``note`` why others are not."""
    chosen = {}
    for kind, ready in servers.items():
        try:
            if isinstance(ready, Unavailable):
                raise ready
            if kind.most is not None and scenario.clients > kind.most:
                raise Unavailable(f"not with {scenario.clients:,} clients")
            chosen[kind.name] = _with_extra(ready, scenario, cache) if kind.ours else ready
        except Unavailable as reason:
            note(Sample(scenario.name, kind.name, 0, missing=str(reason)))
    return chosen


def _with_extra(ready: Ready, scenario: Scenario, cache: Cache) -> Ready:
    """With the JSON that the scenario asks for."""
    if not scenario.extra:
        return ready
    changes = {"PYTHONPATH": str(cache.fast())} if scenario.extra == "fast" else {"WSGI_SIO_FAST_JSON": "0"}
    return replace(ready, environment={**ready.environment, **changes})
