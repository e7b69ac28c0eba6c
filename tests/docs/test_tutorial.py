"""The tutorial does what it says: each file is written, each command run, in the order of the page."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.docs.terminal import ROOT, Terminals
from tests.support.require import require
from tests.support.world import one_world

pytestmark = one_world

TUTORIAL = list(blocks("tutorial.rst"))
SECTIONS = list(dict.fromkeys(block.section for block in TUTORIAL if block.kind == "" and block.language == "console"))
HERE = Path(__file__).resolve().parent


@pytest.fixture
def terminals(tmp_path: Path, node_modules: Path) -> Iterator[Terminals]:
    """An empty directory, in which npm has installed the browser's client."""
    (tmp_path / "node_modules").symlink_to(node_modules)
    with Terminals(tmp_path) as terminals:
        yield terminals


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section(terminals: Terminals, section: str) -> None:
    """Of the sections before, the files are there, and the server that was started last is running."""
    first = next(number for number, block in enumerate(TUTORIAL) if block.section == section)
    here = [block for block in TUTORIAL if block.section == section]
    running = [block for block in TUTORIAL[:first] if block.kind == "server"]
    for block in TUTORIAL[:first]:
        if block.caption:
            terminals.follow(block)
    if running and not any(block.kind == "server" for block in here):
        terminals.follow(running[-1])
    for block in here:
        terminals.follow(block)


def test_the_sections_that_print_something() -> None:
    assert len(SECTIONS) == 5


@pytest.mark.slow
def test_its_page_in_two_tabs_of_a_browser(terminals: Terminals) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
    driver = ROOT / "tests" / "browser" / "node_modules" / "playwright-core"
    require(browser and driver.is_dir(), "Chromium, and playwright-core, which tests/browser installs")
    for block in TUTORIAL:
        if block.caption in ("chat.py", "page.html"):
            terminals.follow(block)
    terminals.serve("python chat.py")
    command = ["node", "two_tabs.mjs", terminals.url, browser]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ann": ["1 in the lobby", "Bob is here", "Bob: hello", "Bob has gone"],
        "bob": ["2 in the lobby", "Bob: hello"],
        "nobody": ["refused: Tell me your name."],
    }
