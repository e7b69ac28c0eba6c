"""``CONTRIBUTING.rst``: its files are there, what runs cheaply runs, the rest is spelt as the programs have it."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys

import pytest

from benchmarks.__main__ import build_parser, choose_scenarios, choose_servers
from tests.docs.pages import DOCS, blocks
from tests.docs.terminal import ROOT
from tests.support.world import one_world

PAGE = "../CONTRIBUTING.rst"
TEXT = (DOCS / PAGE).read_text(encoding="utf-8")
BLOCKS = list(blocks(PAGE))
CONSOLES = [block for block in BLOCKS if block.language == "console"]
COMMANDS = [command for block in CONSOLES for command, _ in block.commands()]
TRIED = [command for block in CONSOLES if block.kind == "here" for command, _ in block.commands()]

pytestmark = one_world


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"``([\w.]+/[\w./]*|\w+\.(?:rst|cfg|py))``", TEXT)) - {".benchmarks/", "__init__.py"}
    assert len(named) > 25
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_names_in_those_files_are_there() -> None:
    """Such as a table that is to get a line."""
    for name, path in re.findall(r"``([A-Z_a-z]+)``\s+(?:of|in)\s+``([\w/]+\.py)``", TEXT):
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), f"{name} in {path}"


@pytest.mark.parametrize("command", TRIED)
def test_a_command_has_something_to_run(command: str) -> None:
    """The tests are there, by name, and whether they pass is for others to see; for the rest there is a module."""
    arguments = shlex.split(command)
    setting, _, value = arguments[0].partition("=")
    if value:
        assert setting in (ROOT / "wsgi_sio/runtime/locks.py").read_text(encoding="utf-8")
        del arguments[0]
    python, dash_m, module, *rest = arguments
    assert (python, dash_m) == ("python", "-m") and importlib.util.find_spec(module) is not None
    if module in ("pytest", "tests.run_gevent"):
        file, *chosen = rest
        names = re.findall(r"^def (test_\w+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert [name for name in names if not chosen or chosen[1] in name] and chosen[:1] in ([], ["-k"])


def test_its_python_runs() -> None:
    (block,) = [block for block in BLOCKS if block.language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_what_is_measured_exists() -> None:
    for command in COMMANDS:
        if command.startswith("python -m benchmarks --quick"):
            options = build_parser().parse_args(shlex.split(command)[3:])
            assert choose_servers(options.servers) and choose_scenarios(options.rows)
            return
    raise AssertionError("no command measures")


def test_the_checks_are_those_of_tox() -> None:
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    checks = [command for command in COMMANDS if command.startswith(("ruff", "mypy", "sphinx"))]
    assert len(checks) == 5 and [check for check in checks if check not in tox] == []
