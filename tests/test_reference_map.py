"""docs/reference_tests.rst: each test of the reference has one of ours, or a reason why it cannot have one."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.world import one_world

pytestmark = one_world

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference_tests.rst"

# How many tests the files of the reference have.
COUNTS = {
    "socket.io/test/close.ts": 8,
    "socket.io/test/connection-state-recovery.ts": 7,
    "socket.io/test/handshake.ts": 4,
    "socket.io/test/messaging-many.ts": 20,
    "socket.io/test/middleware.ts": 10,
    "socket.io/test/namespaces.ts": 42,
    "socket.io/test/server-attachment.ts": 22,
    "socket.io/test/socket-middleware.ts": 2,
    "socket.io/test/socket-timeout.ts": 5,
    "socket.io/test/socket.io.test-d.ts": 22,
    "socket.io/test/socket.ts": 62,
    "socket.io/test/utility-methods.ts": 9,
    "socket.io/test/uws.ts": 22,
    "socket.io/test/v2-compatibility.ts": 3,
    "socket.io-adapter/test/index.ts": 21,
    "socket.io-adapter/test/cluster-adapter.ts": 27,
}

_TITLE = re.compile(r"^(socket\.io\S*/test/\S+\.ts)\n-+\n", re.MULTILINE)
_ROW = re.compile(r"^   \* - (.+(?:\n       .+)*)\n     - (.+(?:\n       .+)*)$", re.MULTILINE)
_TEST = re.compile(r"``(tests/\S+?\.py)::(\w+)``")
_REASON = "Cannot apply: "


@dataclass(frozen=True)
class Row:
    """One test of the reference: what it asserts, and our tests or the reason."""

    behaviour: str
    answer: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        return _TEST.findall(self.answer)


def read_page() -> dict[str, list[Row]]:
    """The rows of the page by the file of the reference; the heading of a table is none."""
    _, *parts = _TITLE.split(PAGE.read_text(encoding="utf-8"))
    tables = {}
    for file, part in zip(parts[::2], parts[1::2], strict=True):
        rows = [Row(*(" ".join(cell.split()) for cell in cells)) for cells in _ROW.findall(part)]
        assert len(rows) == part.count("* - "), f"a row of {file} is malformed"
        tables[file] = rows[1:]
    return tables


def functions(path: Path) -> set[str]:
    """The test functions of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_page_has_each_file_of_the_reference() -> None:
    assert list(read_page()) == list(COUNTS)


@pytest.mark.parametrize("file", COUNTS)
def test_each_of_its_tests_has_a_row(file: str) -> None:
    assert len(read_page()[file]) >= COUNTS[file]


@pytest.mark.parametrize("file", COUNTS)
def test_each_row_names_tests_that_exist_or_a_reason(file: str) -> None:
    problems = []
    for row in read_page()[file]:
        if not row.tests and not row.answer.startswith(_REASON):
            problems.append(f"{row.behaviour}: neither a test nor a reason")
        for path, name in row.tests:
            if not (ROOT / path).is_file() or name not in functions(ROOT / path):
                problems.append(f"{row.behaviour}: there is no {path}::{name}")
    assert problems == []
