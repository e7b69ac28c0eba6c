"""The imports of Flask-SocketIO, which become those of wsgi_sio.flask by another module name and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .advice import FLASK_NAMES

OLD, NEW = "flask_socketio", "wsgi_sio.flask"

# Where the package keeps its public names; importing them from there works as well.
_MODULES = frozenset((OLD, f"{OLD}.namespace", f"{OLD}.test_client"))
_FROM = re.compile(r"from(?:\s|\\\r?\n)+(?P<module>[\w.]+)(?=\s|\\)")


@dataclass(frozen=True, order=True)
class Edit:
    """Replace the characters from ``start`` up to ``end`` by ``text``."""

    start: int
    end: int
    text: str


def apply_edits(source: str, edits: Iterable[Edit]) -> str:
    """``source`` with all edits made."""
    for edit in sorted(edits, reverse=True):
        source = source[: edit.start] + edit.text + source[edit.end :]
    return source


class Lines:
    """Where the lines of a source begin, as the parser counts them."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", source))]

    def offset(self, line: int, column: int) -> int:
        """The offset in characters of a position of the syntax tree, whose columns are bytes of UTF-8."""
        start = self._starts[line - 1]
        end = self._starts[line] if line < len(self._starts) else len(self._source)
        return start + len(self._source[start:end].encode()[:column].decode())


def edit_from(node: ast.ImportFrom, source: str, lines: Lines) -> Edit | None:
    """The edit for ``from flask_socketio import ...``; None when it imports what wsgi_sio.flask does not have."""
    if node.module not in _MODULES or node.level or not {alias.name for alias in node.names} <= FLASK_NAMES:
        return None
    match = _FROM.match(source, lines.offset(node.lineno, node.col_offset))
    if match is None or match["module"] != node.module:
        return None
    return Edit(*match.span("module"), NEW)


def edit_import(alias: ast.alias, source: str, lines: Lines) -> Edit | None:
    """The edit for ``import flask_socketio``, alone or among others, with or without ``as``; its name stays."""
    start = lines.offset(alias.lineno, alias.col_offset)
    if alias.name != OLD or not source.startswith(OLD, start):
        return None
    return Edit(start, start + len(OLD), NEW if alias.asname else f"{NEW} as {OLD}")
