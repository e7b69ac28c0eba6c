"""Markdown tables out of samples: the median of all rounds, with the range where there were several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from benchmarks.scenarios import Sample, Scenario

_NOTHING = "-"


def report(
    scenarios: Sequence[Scenario], titles: Mapping[str, str], samples: Sequence[Sample], facts: Mapping[str, str]
) -> str:
    """The whole report.

    :param titles: of the servers by name, in the order of the rows.
    :param facts: what the figures depend on: machine, versions, how it was run.
    """
    parts = [summary(scenarios, titles, samples)]
    parts += [scenario_table(scenario, titles, samples) for scenario in scenarios]
    parts.append("\n".join(f"* {name}: {value}" for name, value in facts.items()))
    return "\n\n".join(parts) + "\n"


def summary(scenarios: Sequence[Scenario], titles: Mapping[str, str], samples: Sequence[Sample]) -> str:
    """The server's CPU time in one table."""
    rows = []
    for name, title in titles.items():
        cells = []
        for scenario in scenarios:
            mine = _select(samples, scenario, name)
            cells.append(_summarize(mine, lambda sample: sample.cpu_each) + ("" if _is_clean(mine) else " ✗"))
        rows.append([title, *cells])
    heads = [f"{scenario.name}, µs/{scenario.unit}" for scenario in scenarios]
    return "### CPU time of the server\n\n" + format_table(["", *heads], rows)


def scenario_table(scenario: Scenario, titles: Mapping[str, str], samples: Sequence[Sample]) -> str:
    """Everything about one scenario; a row with ✗ lost, doubled or garbled something."""
    idle = scenario.kind == "idle"
    columns: dict[str, Callable[[Sample], float | None]] = {
        f"CPU µs per {scenario.unit}": lambda sample: sample.cpu_each,
        f"{scenario.unit}s/s".replace("ys/s", "ies/s"): lambda sample: sample.rate,
    }
    if idle:
        columns["KB per connection"] = lambda sample: None if sample.memory is None else sample.memory / 1000
    else:
        columns["% of the core used"] = lambda sample: None if sample.busy is None else sample.busy * 100
    columns["threads"] = lambda sample: sample.threads
    rows = []
    for name, title in titles.items():
        mine = _select(samples, scenario, name)
        if mine:
            figures = [_summarize(mine, column) for column in columns.values()]
            rows.append([title, *figures, _verdict(mine)])
    return f"### {scenario.title}\n\n" + format_table(["", *columns, "all answered once"], rows)


def _select(samples: Iterable[Sample], scenario: Scenario, server: str) -> list[Sample]:
    return [sample for sample in samples if sample.scenario == scenario.name and sample.server == server]


def _is_clean(samples: Iterable[Sample]) -> bool:
    return not any(sample.faults or sample.error for sample in samples)


def _verdict(samples: Sequence[Sample]) -> str:
    faults: Counter[str] = Counter()
    for sample in samples:
        faults.update(sample.faults)
    problems = [f"{count} {name}" for name, count in faults.items()]
    problems += sorted({sample.error for sample in samples if sample.error})
    return "✗ " + "; ".join(problems).replace("\n", " ").replace("|", "/") if problems else "✓"


def _summarize(samples: Iterable[Sample], column: Callable[[Sample], float | None]) -> str:
    figures = [figure for sample in samples if not sample.error and (figure := column(sample)) is not None]
    if not figures:
        return _NOTHING
    low, high = format_figure(min(figures)), format_figure(max(figures))
    return format_figure(median(figures)) + (f" ({low} to {high})" if low != high else "")


def format_figure(figure: float) -> str:
    """Three digits, or all in front of the point."""
    return f"{figure:,.0f}" if abs(figure) >= 100 or figure == int(figure) else f"{figure:.1f}"


def format_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are figures."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
