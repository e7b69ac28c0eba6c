"""Tables as text: Markdown for the terminal, reStructuredText for the pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Table:
    """A table.

    :ivar heads: of the columns, the first of which is text.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        return f"### {self.title}\n\n{format_table(self.heads, self.rows)}"

    def rst(self) -> str:
        """A simple table; a head is set one word to a line, so that columns are as narrow as their figures."""
        heads = [self.heads[0] or "\\", *self.heads[1:]]
        words = [[head] if number == 0 else head.split() for number, head in enumerate(heads)]
        depth = max(map(len, words))
        head_lines = [[column[line] if line < len(column) else "" for column in words] for line in range(depth)]
        widths = [max(map(len, column)) for column in zip(*head_lines, *self.rows, strict=True)]
        rule = "  ".join("=" * width for width in widths)
        lines = [_rst_line(cells, widths) for cells in (*head_lines, *self.rows)]
        return "\n".join([rule, *lines[:depth], rule, *lines[depth:], rule])


def parse_rst(text: str) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of a table that :meth:`Table.rst` has made."""
    rule, *lines = text.splitlines()
    at = [0]
    for width in rule.split("  "):
        at.append(at[-1] + len(width) + 2)
    cells = [[line[begin:end].strip() for begin, end in pairwise(at)] for line in lines]
    depth = lines.index(rule)
    heads = [" ".join(filter(None, words)) for words in zip(*cells[:depth], strict=True)]
    return ["" if heads[0] == "\\" else heads[0], *heads[1:]], cells[depth + 1 : -1]


def _rst_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def format_figure(figure: float) -> str:
    """Three digits, or all in front of the point."""
    return f"{figure:,.0f}" if abs(figure) >= 100 or figure == int(figure) else f"{figure:.1f}"


def format_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are figures."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
