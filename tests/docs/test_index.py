"""The landing page: code that works, the install line of the README, a picture that is there."""

from __future__ import annotations

import re
from typing import Any

from tests.docs.pages import DOCS, README, blocks
from wsgi_sio.testing import TestClient

TEXT = (DOCS / "index.rst").read_text(encoding="utf-8")


def test_the_example() -> None:
    (example,) = [block for block in blocks("index.rst") if block.language == "python"]
    names: dict[str, Any] = {}
    exec(compile(example.text, "index.rst", "exec"), names)
    with TestClient(names["app"]) as ann, TestClient(names["app"]) as bob:
        ann.connect()
        bob.connect()
        assert ann.call("say", "hello") == "delivered"
        assert [(event.name, event.args) for event in bob.received()] == [("said", ["hello"])]


def test_it_installs_as_the_readme_does() -> None:
    (console,) = [block for block in blocks("index.rst") if block.language == "console"]
    assert console.text.strip() in (DOCS / README).read_text(encoding="utf-8")


def test_its_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"^\.\. image:: (\S+)$", TEXT, re.MULTILINE)
    assert pictures and all((DOCS / picture).stat().st_size < 100_000 for picture in pictures)
