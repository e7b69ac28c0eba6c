"""The tables in the README and in the documentation, between comments that mark them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.report import (
    CLIENT_LINES,
    LINES,
    SCALE_LINES,
    Results,
    absolute_table,
    client_table,
    ratio_table,
    scale_table,
)
from benchmarks.servers import NODE, ROOT

README = ROOT / "README.rst"
PAGE = ROOT / "docs" / "benchmarks.rst"
_BEGIN, _END = ".. {} of python -m benchmarks --readme", ".. end of {}"
_WIDTH = 120


def sections(results: Results, facts: Mapping[str, str]) -> dict[str, str]:
    """The text of each section that this run has all figures of, by its name."""
    made = {}
    told = _wrap(tell(facts))
    run = {sample.scenario for sample in results.samples}
    if run >= {line.scenario for line in LINES} and {NODE, "ours-gevent"} <= results.measured(LINES).keys():
        made["figures"] = f"{told}\n\n{absolute_table(results).rst()}"
        made["ratios"] = ratio_table(results).rst()
    if run >= {line.scenario for line in CLIENT_LINES}:
        made["client"] = f"{told}\n\n{client_table(results).rst()}"
    if run >= {line.scenario for line in SCALE_LINES}:
        made["scale"] = f"{told}\n\n{scale_table(results).rst()}"
    return made


def tell(facts: Mapping[str, str]) -> str:
    """The machine, the build and the run in one sentence."""
    keys = ("machine", "interpreter", "build", "versions", "run")
    return "; ".join(facts[key] for key in keys) + "."


def _wrap(text: str) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def write(made: Mapping[str, str], path: Path) -> list[str]:
    """Replace the sections that ``path`` has; their names."""
    text = path.read_text(encoding="utf-8")
    replaced = []
    for name, new in made.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        pattern = rf"(?<={re.escape(begin)}\n\n).*?(?=\n\n{re.escape(end)}\n)"
        text, count = re.subn(pattern, partial(_text, new), text, flags=re.DOTALL)
        replaced += [name] * count
    path.write_text(text, encoding="utf-8")
    return replaced


def _text(new: str, _match: re.Match[str]) -> str:
    return new


def read(name: str, path: Path) -> str:
    """A section as it stands in ``path``."""
    begin, end = _BEGIN.format(name), _END.format(name)
    return path.read_text(encoding="utf-8").partition(f"{begin}\n\n")[2].partition(f"\n\n{end}\n")[0]
