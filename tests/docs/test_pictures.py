"""The pictures in ``how_it_works.rst`` show the house as it is: the folders and their imports, and an event's way."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.house import PICTURE, WHAT, arrows, draw, floors, folders
from tests.docs.pages import DOCS, blocks
from tests.support.world import one_world
from tests.test_architecture import PACKAGE

WAY = next(block.text for block in blocks("how_it_works.rst") if block.name == "an-event")
STEPS = re.findall(r"([\w/]+\.py) +(\w+)\(\)", WAY)

pytestmark = one_world


def test_every_folder_and_every_import_is_in_the_picture() -> None:
    """Read out of the picture itself."""
    picture = PICTURE.read_text(encoding="utf-8")
    drawn = {tuple(line) for line in re.findall(r"<title>(\w+) imports from (\w+)</title>", picture)}
    assert drawn == arrows(), "python -m tests.docs.house draws it anew"
    named = re.findall(r'<tspan font-weight="bold">(\w+)</tspan>(?: <tspan[^>]*>([^<]*))?', picture)
    assert {name: inner.split(", ") if inner else [] for name, inner in named} == folders()


def test_all_arrows_go_down() -> None:
    order = floors()
    assert [line for line in arrows() if order.index(line[0]) >= order.index(line[1])] == []


def test_the_picture_is_what_the_command_draws() -> None:
    assert set(WHAT) == set(folders()), "tests/docs/house.py says what each folder is"
    assert PICTURE.read_text(encoding="utf-8") == draw(), "python -m tests.docs.house draws it anew"


@pytest.mark.parametrize(("path", "function"), STEPS)
def test_an_event_s_way_goes_by_functions_that_are_there(path: str, function: str) -> None:
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_an_event_s_way_is_drawn_from_end_to_end() -> None:
    assert len(STEPS) > 10 and "the application's handler" in WAY
    text = (DOCS / "how_it_works.rst").read_text(encoding="utf-8")
    assert "_static/house.svg" in text
