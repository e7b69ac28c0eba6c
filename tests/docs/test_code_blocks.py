"""The code of all pages compiles, what is marked as running runs, and pages with commands are followed to the end."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, Block, blocks
from tests.docs.terminal import ROOT, Terminals
from tests.support.require import require
from tests.support.world import one_world

pytestmark = one_world

BLOCKS = [block for page in PAGES for block in blocks(page)]
FOLLOWED = sorted(
    {block.page for block in BLOCKS if block.language == "console" and block.kind != "setup"} - {"tutorial.rst"}
)


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_every_block_names_a_language_that_somebody_checks_or_that_needs_no_check() -> None:
    known = {"python", "javascript", "html", "console", "text", "nginx", "ini"}
    assert [str(block) for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", [block for block in of("python") if block.kind == "runs"], ids=str)
def test_what_is_marked_as_running_runs(block: Block) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", of("javascript"), ids=str)
def test_javascript_compiles(block: Block, tmp_path: Path) -> None:
    require(shutil.which("node"), "Node.js")
    script = tmp_path / "block.mjs"
    script.write_text(block.text, encoding="utf-8")
    done = subprocess.run(["node", "--check", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    with Terminals(tmp_path) as terminals:
        for block in blocks(page):
            terminals.follow(block)
