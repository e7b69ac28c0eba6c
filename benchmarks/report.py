"""Tables out of samples: the median of all rounds, and ratios with the lowest and the highest of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.scenarios import Sample, Scenario
from benchmarks.servers import NODE
from benchmarks.tables import Table, format_figure

_NOTHING = "–"  # a hyphen would begin a list in reStructuredText
_WRONG = "✗"
Figure = Callable[[Sample], "float | None"]


@dataclass(frozen=True)
class Line:
    """A row of a table.

    :ivar figure: of a sample of the scenario.
    """

    title: str
    scenario: str
    figure: Figure


def _cpu(sample: Sample) -> float | None:
    return sample.cpu_each


def _kilobytes(sample: Sample) -> float | None:
    return None if sample.memory is None else sample.memory / 1000


def _named(name: str) -> Figure:
    return lambda sample: sample.figures.get(name)


LINES = (
    Line("Echo, 100 WebSockets, µs", "echo", _cpu),
    Line("The same, 8 in flight each", "echo-8", _cpu),
    Line("Echo over long-polling, 50 clients, µs", "polling", _cpu),
    Line("Broadcast to 500, each delivery, µs", "broadcast", _cpu),
    Line("Echo of 10 KB of JSON, µs", "json", _cpu),
    Line("The same with ``wsgi-sio[fast]``", "json-fast", _cpu),
    Line("Connecting 1,000, 50 at once, µs", "connect", _cpu),
    Line("Connecting 4,000, one by one, µs", "idle", _cpu),
    Line("Idle WebSocket of 4,000, KB", "idle", _kilobytes),
)
CLIENT_LINES = (
    Line("Echo, each waited for, µs", "client", _cpu),
    Line("Echo, 8 in flight, µs", "client-8", _cpu),
)
_SCALE_FIGURES = (
    "stall while they connect, ms",
    "broadcast to all, ms",
    "stall in a broadcast, ms",
    "all back, s",
    "stall while they come back, ms",
    "attempts in vain",
)
SCALE_LINES = (
    Line("clients", "scale", lambda sample: sample.count),
    Line("connecting, µs of CPU each", "scale", _cpu),
    Line("memory of each, KB", "scale", _kilobytes),
    *(Line(name, "scale", _named(name)) for name in _SCALE_FIGURES),
)
_CLIENT_PAIRS = {"client-ours-threads": "client-pysio-threads", "client-ours-gevent": "client-pysio-gevent"}


class Results:
    """All samples of a run.

    :param titles: of what was measured, by name, in the order of the columns.
    """

    def __init__(self, titles: Mapping[str, str], samples: Sequence[Sample]) -> None:
        self.titles = titles
        self.samples = samples

    def select(self, scenario: str, server: str) -> list[Sample]:
        return [sample for sample in self.samples if (sample.scenario, sample.server) == (scenario, server)]

    def measured(self, lines: Iterable[Line]) -> dict[str, str]:
        """The titles of those who have figures in these lines."""
        scenarios = {line.scenario for line in lines}
        there = {sample.server for sample in self.samples if sample.scenario in scenarios and not sample.missing}
        return {name: title for name, title in self.titles.items() if name in there}

    def lines(self, lines: Iterable[Line]) -> list[Line]:
        """Those whose scenario was run."""
        run = {sample.scenario for sample in self.samples}
        return [line for line in lines if line.scenario in run]

    def middle(self, line: Line, server: str) -> str:
        """The median of a row and a column."""
        mine = self.select(line.scenario, server)
        figures = _figures(mine, line.figure)
        text = format_figure(median(figures)) if figures else _NOTHING
        return text if _is_clean(mine) else f"{text} {_WRONG}"

    def ratios(self, line: Line, server: str, peer: str) -> list[float]:
        """Of the two, round by round."""
        each = [
            {
                sample.round: figure
                for sample in self.select(line.scenario, name)
                if (figure := _figure(sample, line.figure))
            }
            for name in (server, peer)
        ]
        return [figure / each[1][number] for number, figure in each[0].items() if number in each[1]]

    def ratio(self, line: Line, server: str, peer: str) -> str:
        """The median of the ratios, and their range."""
        ratios = self.ratios(line, server, peer)
        if not ratios:
            return _NOTHING
        return f"{_format_ratio(median(ratios))} ({_format_ratio(min(ratios))}–{_format_ratio(max(ratios))})"

    def notes(self) -> list[str]:
        """What was not measured, or went wrong, and why."""
        notes: dict[str, None] = {}
        for sample in self.samples:
            title = self.titles.get(sample.server, sample.server)
            if sample.missing:
                notes[f"not measured: {title}, {sample.scenario}: {sample.missing}"] = None
            if sample.error or sample.faults:
                notes[f"{title}, {sample.scenario}: {_verdict([sample])}"] = None
        return list(notes)


def absolute_table(results: Results) -> Table:
    """CPU time and memory of every server."""
    servers = results.measured(LINES)
    rows = [[line.title, *(results.middle(line, name) for name in servers)] for line in results.lines(LINES)]
    return Table("CPU time of the server's core, and memory", ["", *servers.values()], rows)


def ratio_table(results: Results) -> Table:
    """The same, of Node's."""
    servers = {name: title for name, title in results.measured(LINES).items() if name != NODE}
    rows = [[line.title, *(results.ratio(line, name, NODE) for name in servers)] for line in results.lines(LINES)]
    return Table("Of Node's in the same round: median (lowest–highest)", ["", *servers.values()], rows)


def client_table(results: Results) -> Table:
    """The client's rows."""
    servers = results.measured(CLIENT_LINES)
    pairs = {mine: theirs for mine, theirs in _CLIENT_PAIRS.items() if mine in servers and theirs in servers}
    rows = [
        [
            line.title,
            *(results.middle(line, name) for name in servers),
            *(results.ratio(line, mine, theirs) for mine, theirs in pairs.items()),
        ]
        for line in results.lines(CLIENT_LINES)
    ]
    of_theirs = [f"{mine.rpartition('-')[2]}, of python-socketio's" for mine in pairs]
    return Table("CPU time of the client", ["", *servers.values(), *of_theirs], rows)


def scale_table(results: Results) -> Table:
    """Very many clients."""
    servers = results.measured(SCALE_LINES)
    rows = [[line.title, *(results.middle(line, name) for name in servers)] for line in results.lines(SCALE_LINES)]
    return Table("Very many WebSockets", ["", *servers.values()], rows)


def report(scenarios: Sequence[Scenario], results: Results, facts: Mapping[str, str]) -> str:
    """The whole report, as Markdown.

    :param facts: what the figures depend on: machine, versions, how it was run.
    """
    made = [absolute_table(results), ratio_table(results), client_table(results), scale_table(results)]
    parts = [table.markdown() for table in made if table.rows and len(table.heads) > 1]
    parts += [scenario_table(scenario, results).markdown() for scenario in scenarios]
    lines = [*results.notes(), *(f"{name}: {value}" for name, value in facts.items())]
    parts.append("\n".join(f"* {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def scenario_table(scenario: Scenario, results: Results) -> Table:
    """Everything about one scenario; a row with ✗ lost, doubled or garbled something."""
    columns: dict[str, Figure] = {
        f"CPU µs per {scenario.unit}": _cpu,
        f"{scenario.unit}s/s".replace("ys/s", "ies/s"): lambda sample: sample.rate,
    }
    if scenario.unit == "connection":
        columns["KB per connection"] = _kilobytes
    else:
        columns["% of the core used"] = lambda sample: None if sample.busy is None else sample.busy * 100
    columns["threads"] = lambda sample: sample.threads
    rows = []
    for name, title in results.titles.items():
        mine = results.select(scenario.name, name)
        if mine:
            figures = [_summarize(mine, column) for column in columns.values()]
            rows.append([title, *figures, _verdict(mine)])
    return Table(scenario.title, ["", *columns, "all answered once"], rows)


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else format_figure(ratio)


def _is_clean(samples: Iterable[Sample]) -> bool:
    return not any(sample.faults or sample.error for sample in samples)


def _verdict(samples: Sequence[Sample]) -> str:
    faults: Counter[str] = Counter()
    for sample in samples:
        faults.update(sample.faults)
    problems = [f"{count} {name}" for name, count in faults.items()]
    problems += sorted({sample.error for sample in samples if sample.error})
    if problems:
        return f"{_WRONG} " + _one_line("; ".join(problems))
    missing = {sample.missing for sample in samples if sample.missing}
    return _one_line(f"not measured: {'; '.join(sorted(missing))}") if missing else "✓"


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("|", "/")


def _figure(sample: Sample, figure: Figure) -> float | None:
    return None if sample.error or sample.missing else figure(sample)


def _figures(samples: Iterable[Sample], figure: Figure) -> list[float]:
    return [value for sample in samples if (value := _figure(sample, figure)) is not None]


def _summarize(samples: Iterable[Sample], column: Figure) -> str:
    figures = _figures(samples, column)
    if not figures:
        return _NOTHING
    low, high = format_figure(min(figures)), format_figure(max(figures))
    return format_figure(median(figures)) + (f" ({low} to {high})" if low != high else "")
