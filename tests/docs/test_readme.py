"""The README's example works, and what it points to is there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.docs.pages import DOCS, README, blocks
from wsgi_sio import ConnectRefused
from wsgi_sio.testing import TestClient

TEXT = (DOCS / README).read_text(encoding="utf-8")


def test_the_example() -> None:
    (example,) = [block for block in blocks(README) if block.language == "python"]
    names: dict[str, Any] = {}
    exec(compile(example.text, README, "exec"), names)
    with TestClient(names["app"]) as ann, TestClient(names["app"]) as bob:
        with pytest.raises(ConnectRefused, match="a name, please"):
            ann.connect(auth={})
        ann.connect(auth={"name": "Ann"})
        bob.connect(auth={"name": "Bob"})
        assert ann.call("say", "hello") == "delivered"
        assert [(event.name, event.args) for event in bob.received()] == [("said", ["Ann", "hello"])]
    assert len([line for line in example.text.splitlines() if line]) <= 15


def test_the_files_it_points_to() -> None:
    named = re.findall(r"``((?:docs|examples)/[\w.]*|[A-Z]+\.rst)``", TEXT)
    assert len(named) >= 5
    assert [name for name in named if name != "docs/_build" and not (DOCS.parent / name).exists()] == []
