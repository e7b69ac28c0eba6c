"""What is installed: the extras that the pages name, what they bring, and the command."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from importlib import metadata

import pytest

from tests.docs.pages import DOCS, PAGES
from tests.support.require import require
from tests.support.world import one_world
from wsgi_sio import __version__
from wsgi_sio.__main__ import build_parser, main

pytestmark = one_world

CONFIG = ConfigParser()
CONFIG.read(DOCS.parent / "setup.cfg", encoding="utf-8")
EXTRAS = {
    name: {re.split(r"[ =<>~!\[]", line)[0] for line in lines.splitlines() if line and not line.startswith("#")}
    for name, lines in CONFIG["options.extras_require"].items()
}


@pytest.mark.parametrize("page", PAGES)
def test_the_extras_that_a_page_names_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = {name for extras in re.findall(r"(?:wsgi-sio|[ '`]\.)\[([\w,-]+)\]", text) for name in extras.split(",")}
    assert named <= EXTRAS.keys()


@pytest.mark.parametrize(
    "page", ["flask", "django", "gunicorn", "python_client", "testing", "from_flask_socketio", "from_python_socketio"]
)
def test_a_guide_begins_with_how_to_install(page: str) -> None:
    beginning = (DOCS / f"{page}.rst").read_text(encoding="utf-8")[:600]
    assert "pip install 'wsgi-sio[" in beginning


def test_the_gunicorn_extra_brings_what_its_gevent_worker_imports() -> None:
    """Together with the extra gevent."""
    try:
        required = metadata.requires("gunicorn") or []
    except metadata.PackageNotFoundError:
        required = []
    require(required, "gunicorn")
    needed = {re.split(r"[ =<>~!;\[]", line)[0] for line in required if re.search(r"extra == ['\"]gevent", line)}
    assert needed and needed <= EXTRAS["gunicorn"] | EXTRAS["gevent"]
    assert EXTRAS["gunicorn"] < EXTRAS["gunicorn-fast"] and EXTRAS["gunicorn"] < EXTRAS["dev"]


def test_the_command_is_the_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is called by the name that it has been started by."""
    [script] = [line for line in CONFIG["options.entry_points"]["console_scripts"].splitlines() if line]
    assert script == "wsgi-sio = wsgi_sio.__main__:main"
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/wsgi-sio", "--version"])
    assert build_parser().prog == "wsgi-sio"
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out == f"wsgi_sio {__version__}\n"
    done = subprocess.run(
        [sys.executable, "-m", "wsgi_sio", "connect", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("usage: python -m wsgi_sio connect")
