"""docs/from_node.rst names nothing that is not there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_public_names import METHODS
from wsgi_sio import BroadcastOperator, Server, Socket
from wsgi_sio.adapters import Adapter
from wsgi_sio.engineio import EngineConfig
from wsgi_sio.socketio.remote_socket import RemoteSocket

PAGE = Path(__file__).resolve().parents[1] / "docs" / "from_node.rst"
LITERAL = re.compile(r"``(.+?)``")
NAMES = re.compile(r"(?<![\w./])(io|socket|namespace)\.(\w+)")


def ours(title: str) -> list[str]:
    """The literals in our column of a section's table."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n{title}\n", 1)[1]
    rule, table = re.split(r"^(=+  =+)$", section, maxsplit=1, flags=re.MULTILINE)[1:]
    column = rule.index("  ") + 2
    rows = table.split(rule)[1].splitlines()
    return [literal for row in rows for literal in LITERAL.findall(row[column:])]


def members(literals: list[str]) -> list[str]:
    """The names that literals such as ``.emit("x")`` and ``join`` begin with."""
    return [match[1] for literal in literals if (match := re.match(r"\.?([a-z]\w+)", literal))]


def test_options() -> None:
    known = {*inspect.signature(Server).parameters, *EngineConfig.names()}
    named = {literal.partition("=")[0] for literal in ours("Options of the server") if "=" in literal}
    assert named <= known
    assert known - {"engine_options"} <= named, "an option is not on the page"


def test_names_after_a_dot() -> None:
    """Whatever is said to be at ``io``, ``socket`` or ``namespace`` in our column is there."""
    titles = re.findall(r"^(.+)\n-+$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    text = " ".join(literal for title in titles[:-1] for literal in ours(title))
    kinds: dict[str, Any] = {"io": Server(), "namespace": Server().sockets, "socket": Socket}
    absent = {(owner, name) for owner, name in NAMES.findall(text) if not hasattr(kinds[owner], name)}
    assert absent == set()


@pytest.mark.parametrize(
    ("title", "kind"),
    [("BroadcastOperator", BroadcastOperator), ("RemoteSocket", RemoteSocket), ("Adapter", Adapter)],
    ids=["operator", "remote socket", "adapter"],
)
def test_names_of_a_class(title: str, kind: type) -> None:
    absent = {name for name in members(ours(title)) if not hasattr(kind, name)}
    assert absent <= {"environ", "io", "namespace", "wsgi_sio"}


@pytest.mark.parametrize("kind", METHODS)
def test_each_public_method_is_on_the_page(kind: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in METHODS[kind].split() if not re.search(rf"\b{name}\b", text)] == []
