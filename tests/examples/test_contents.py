"""What the examples say and know, without a browser."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest

from tests.examples.conftest import EXAMPLES

FOLDERS = sorted({program.parent.name for program in EXAMPLES.glob("*/*.py")})


@pytest.mark.parametrize("name", FOLDERS)
def test_the_readme_has_a_command_that_exists_for_each_example(name: str) -> None:
    commands = [line for line in (EXAMPLES / "README.rst").read_text().splitlines() if f"examples/{name}/" in line]
    assert len(commands) == 1
    program = commands[0].split("``")[1].split()[1]
    assert (EXAMPLES.parent / program).is_file()


def frame(page: str) -> list[str]:
    """The lines around what is a page's own: up to its heading and the state of its connection, and behind its main."""
    head, _, rest = page.partition("<h1>")
    state = re.findall(r"\n( *<span id=\"connection\" [^>]*>)", rest)
    own = re.sub(r"<title>.*</title>|/static/\w+\.(?:css|js)", "OWN", head)
    own = own.replace('  <link rel="stylesheet" href="OWN">\n', "")  # one needs no style sheet
    return [*own.splitlines(), *state, *rest.partition("</main>")[2].splitlines()]


def test_the_pages_have_one_base() -> None:
    """Each is whole, to be copied without a template engine; what they have in common is changed in all, or in none."""
    frames = {path.parent.name: frame(path.read_text(encoding="utf-8")) for path in EXAMPLES.glob("*/page.html")}
    assert len(frames) > 6
    assert {name: lines for name, lines in frames.items() if lines != frames["dashboard"]} == {}


def head(page: str) -> list[str]:
    """The lines up to a page's heading, without what a template engine puts there, nor what is the page's own."""
    page = re.sub(r"{% load static %}|\n  {% block scripts %}.*|\n  <script .*", "", page.partition("<h1>")[0])
    page = re.sub(r"{% static '([^']*)' %}|{{ url_for\('static', filename='([^']*)'\) }}", r"/\1\2", page)
    return re.sub(r"<title>.*</title>|\n  <link rel=\"stylesheet\" href=\"/(?!shared/).*", "", page).splitlines()


@pytest.mark.parametrize(
    "base", ["flask_with_login/templates/base.html", "django_polls/polls/templates/polls/base.html"]
)
def test_the_templates_begin_as_the_pages_do(base: str) -> None:
    page = EXAMPLES / "dashboard" / "page.html"
    assert head((EXAMPLES / base).read_text(encoding="utf-8")) == head(page.read_text(encoding="utf-8"))


def new_game() -> Any:
    spec = importlib.util.spec_from_file_location("connect_four_game", EXAMPLES / "connect_four" / "game.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Game()


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ("0616263", [[0, 0], [0, 1], [0, 2], [0, 3]]),
        ("0101010", [[0, 0], [1, 0], [2, 0], [3, 0]]),
        ("01122323363", [[0, 0], [1, 1], [2, 2], [3, 3]]),
        ("65544343303", [[0, 6], [1, 5], [2, 4], [3, 3]]),
    ],
    ids=["across", "up", "aslant to the right", "aslant to the left"],
)
def test_four_in_a_line_win_at_connect_four(columns: str, line: list[list[int]]) -> None:
    game = new_game()
    for column in columns[:-1]:
        assert game.drop(int(column))
        assert game.state()["winner"] is None
    assert game.drop(int(columns[-1]))
    state = game.state()
    assert (state["winner"], state["turn"], sorted(state["line"])) == ("red", None, line)
    assert not game.drop(0)


def test_connect_four_ends_in_a_draw_when_the_board_is_full() -> None:
    game = new_game()
    for column in [*(0, 1) * 3, *(1, 0) * 3, *(2, 3) * 3, *(3, 2) * 3, *(4, 5) * 3, *(5, 4) * 3, *(6,) * 6]:
        assert game.drop(column), column
    state = game.state()
    assert (state["winner"], state["turn"], state["line"]) == (None, None, [])
    game.begin()
    assert game.turn == "yellow"


def test_connect_four_takes_no_disc_where_there_is_no_place() -> None:
    game = new_game()
    for _ in range(6):
        assert game.drop(3)
    assert [game.drop(column) for column in (3, -1, 7, "1", None, 1.0)] == [False] * 6
