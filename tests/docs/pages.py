"""The pages of ``docs/``: their code blocks, as a reader would copy them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
README = "../README.rst"
PAGES = [
    README,
    *sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.rst") if "_build" not in path.parts),
]

_DIRECTIVE = re.compile(r"( *)\.\. code-block:: *(\w*)")
_UNDERLINE = re.compile(r"-{4,}|={4,}")
_OPTION = re.compile(r" +:([\w-]+): *(.*)")


@dataclass(frozen=True)
class Block:
    """A code block.

    :ivar section: the heading that it stands under.
    :ivar line: where its text begins.
    :ivar caption: the name of the file that it is, "" for a fragment.
    :ivar kind: its ``:class:``, which says what the tests do with it.
    :ivar name: its ``:name:``, by which a test finds it.
    """

    page: str
    section: str
    line: int
    language: str
    caption: str
    kind: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[tuple[str, str]]:
        """Of a ``console`` block: each command, and what it prints."""
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            else:
                command, output = found.pop()
                found.append((command, f"{output}{line}\n"))
        return found


def blocks(page: str) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    number = 0
    section = ""
    while number < len(lines):
        if _UNDERLINE.fullmatch(lines[number]):
            section = lines[number - 1]
        directive = _DIRECTIVE.fullmatch(lines[number])
        number += 1
        if directive is None:
            continue
        options: dict[str, str] = {}
        while number < len(lines) and (option := _OPTION.fullmatch(lines[number])):
            options[option[1]] = option[2]
            number += 1
        while number < len(lines) and not lines[number].strip():
            number += 1
        first = number
        margin = len(lines[first]) - len(lines[first].lstrip())
        assert margin > len(directive[1]), f"{page}:{first}: an empty code block"
        while number < len(lines) and (not lines[number].strip() or lines[number].startswith(" " * margin)):
            number += 1
        text = "\n".join(line[margin:] for line in lines[first:number]).rstrip() + "\n"
        caption, kind, name = (options.get(option, "") for option in ("caption", "class", "name"))
        yield Block(page, section, first + 1, directive[2], caption, kind, name, text)


def files(page: str) -> dict[str, str]:
    """The files that a page asks its reader to make."""
    return {block.caption: block.text for block in blocks(page) if block.caption}
