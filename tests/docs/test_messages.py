"""The page of messages: each warning, error and refusal of the package is on it, in the words of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import wsgi_sio
from tests.docs.pages import DOCS
from wsgi_sio.engineio.errors import EngineError

PACKAGE = Path(wsgi_sio.__file__).parent
TOOLS = {"demo", "migrate", "connect", "testing"}  # programs of their own, and what tests use
LOGGED = {"warning", "error", "exception", "critical", "log"}
REFUSED = {"EngineError", "report"}
REPORTS = PACKAGE / "engineio" / "log_messages.py"

_PLACEHOLDER = re.compile(r"%(?:\.\d+)?[sdrfgx]|\0")


def pieces(node: ast.AST) -> Iterator[str]:
    """The texts in an expression, with ``\\0`` where an f-string has a value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    else:
        for child in ast.iter_child_nodes(node):
            yield from pieces(child)


def distinctive(text: str) -> str:
    """The longest piece of a text that has no placeholder."""
    return max((" ".join(piece.split()) for piece in _PLACEHOLDER.split(text)), key=len)


def is_phrase(text: str) -> bool:
    return " " in distinctive(text)


def spoken(path: Path) -> Iterator[tuple[int, str]]:
    """What a module says: (line, text); a name stands for the texts that are assigned to it anywhere in the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls: list[ast.stmt | ast.expr]
    if path == REPORTS:
        calls = [node for node in ast.walk(tree) if isinstance(node, (ast.Return, ast.Assign, ast.AugAssign))]
    else:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and says(node)]
    assigned = [
        node for node in ast.walk(tree) if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call)
    ]
    for call in calls:
        names = {argument.id for argument in getattr(call, "args", ()) if isinstance(argument, ast.Name)}
        texts = [
            node.value for node in assigned if any(getattr(target, "id", None) in names for target in node.targets)
        ]
        for text in filter(is_phrase, chain.from_iterable(map(pieces, [call, *texts]))):
            yield call.lineno, distinctive(text)


def says(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in (LOGGED if getattr(call.func.value, "id", "") == "logger" else REFUSED)
    return getattr(call.func, "id", "") in REFUSED


MESSAGES = {
    f"{path.relative_to(PACKAGE).as_posix()}:{line}: {text}": text
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in TOOLS
    for line, text in spoken(path)
}
LITERALS = [
    " ".join(literal.split())
    for literal in re.findall(r"``(.+?)``", (DOCS / "messages.rst").read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize("text", MESSAGES.values(), ids=MESSAGES.keys())
def test_a_message_is_on_the_page(text: str) -> None:
    assert any(text in literal for literal in LITERALS)


@pytest.mark.parametrize("message", [EngineError(code, "").message for code in range(6)])
def test_the_answer_of_a_refused_request_is_on_the_page(message: str) -> None:
    assert message in LITERALS
