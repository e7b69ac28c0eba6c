"""``python -m wsgi_sio migrate PATH``: where code uses Flask-SocketIO or python-socketio, and what becomes of it.

``advice`` says what each name becomes, ``finder`` finds the names in a module's syntax tree, ``imports`` rewrites the
imports that need nothing else, and this module goes through the files.  Nothing is run or imported of what is read.
"""

from __future__ import annotations

import ast
import os
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from .advice import TEXT_ADVICE
from .finder import Finder, Use, instances
from .imports import apply_edits

__all__ = ["FileReport", "Use", "migrate"]

# What a file must speak of to be looked at more closely.
_MENTIONED = re.compile("(?i:socketio|engineio|eventlet|gevent-?websocket|simple-websocket|http-websockets)")
_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages"))
_TEXT_FILES = re.compile(
    # what is installed
    r"requirements.*\.(?:txt|in)|constraints.*\.txt|pyproject\.toml|setup\.cfg|tox\.ini|Pipfile|environment.*\.ya?ml"
    # what is run
    r"|Procfile.*|\.env.*|.*\.service|.*\.(?:sh|bash|zsh)|Makefile|supervisord?.*\.(?:conf|ini)|uwsgi.*\.ini"
    r"|(?:Docker|Container)file.*|.*\.[Dd]ockerfile|(?:.*[-_.])?compose(?:[-_.].*)?\.ya?ml"
)
_SHEBANG = re.compile(rb"#![^\n]*sh\b")


@dataclass(frozen=True)
class FileReport:
    """What was found in a file.

    :ivar uses: in the order of their lines.
    :ivar problem: why the file could not be read or written, if so.
    :ivar rewritten: whether it has been changed.
    """

    path: Path
    uses: tuple[Use, ...] = ()
    problem: str | None = None
    rewritten: bool = False


def migrate(root: Path, *, apply: bool = False) -> Iterator[FileReport]:
    """Look through ``root``, a file or a directory, and report each file that has something to tell.

    :param apply: rewrite the imports that need nothing else; a second time there is none left.
    :raises FileNotFoundError: there is no ``root``.
    """
    if not root.exists():
        raise FileNotFoundError(f"there is no {root}")
    files = list(_files(root))
    sources = (_Source.read(path, _MENTIONED) for path in files)
    shared = instances(source.tree for source in sources if source.tree is not None)
    relevant = re.compile("|".join([_MENTIONED.pattern, *map(re.escape, shared)]))
    for path in files:
        report = _report(path, _Source.read(path, relevant), shared, apply)
        if report.uses or report.problem:
            yield report


@dataclass(frozen=True)
class _Source:
    text: str = ""
    encoding: str = "utf-8"
    tree: ast.Module | None = None
    problem: str | None = None

    @classmethod
    def read(cls, path: Path, relevant: re.Pattern[str]) -> _Source:
        """Read a file; only one in which something relevant stands is parsed, or complained about."""
        try:
            data = path.read_bytes()
            if not relevant.search(data.decode("latin-1")):
                return cls()
            encoding = tokenize.detect_encoding(BytesIO(data).readline)[0]
            text = data.decode(encoding)  # with the line ends it has
            return cls(text, encoding, ast.parse(text) if path.suffix == ".py" else None)
        except (OSError, SyntaxError, ValueError, RecursionError) as error:
            return cls(problem=f"cannot be read, so it is left alone: {error}")


def _files(root: Path) -> Iterator[Path]:
    """The files to look at, sorted; a file that is named is always one."""
    if root.is_file():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _skip(Path(folder, name)))
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and _is_looked_at(path):
                yield path


def _is_looked_at(path: Path) -> bool:
    if path.suffix == ".py" or _TEXT_FILES.fullmatch(path.name):
        return True
    return not path.suffix and os.access(path, os.R_OK) and _is_shell_script(path)


def _is_shell_script(path: Path) -> bool:
    with path.open("rb") as file:
        return _SHEBANG.match(file.read(100)) is not None


def _skip(folder: Path) -> bool:
    return folder.name in _SKIPPED or folder.name.startswith(".") or (folder / "pyvenv.cfg").exists()


def _report(path: Path, source: _Source, shared: Mapping[str, str], apply: bool) -> FileReport:
    if source.problem is not None:
        return FileReport(path, problem=source.problem)
    uses = () if source.tree is None else Finder(source.text, source.tree, shared).uses
    if source.tree is None or path.name == "setup.py":
        uses += tuple(_uses_in_text(source.text))
    edits = [use.edit for use in uses if use.edit is not None]
    if not (apply and edits):
        return FileReport(path, uses)
    try:
        path.write_bytes(apply_edits(source.text, edits).encode(source.encoding))
    except OSError as error:
        return FileReport(path, uses, problem=f"cannot be written: {error}")
    return FileReport(path, uses, rewritten=True)


def _uses_in_text(text: str) -> Iterator[Use]:
    """Requirements and commands, by their looks."""
    anything = re.compile("|".join(f"({pattern})" for pattern, _ in TEXT_ADVICE), re.IGNORECASE)
    for number, line in enumerate(text.splitlines(), 1):
        for match in anything.finditer(line.partition("#")[0]):
            yield Use(number, match[0], TEXT_ADVICE[(match.lastindex or 1) - 1][1])
