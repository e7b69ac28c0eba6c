"""The benchmark of several workers: all rows are there, and everything was answered once; no word about speed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from benchmarks import measure
from benchmarks.workers import WORKS, main
from tests.support.require import require
from tests.support.world import WORLD


@pytest.mark.slow
@pytest.mark.crowd
@pytest.mark.timeout(240)
def test_two_workers_beside_one(capsys: pytest.CaptureFixture[str]) -> None:
    kind = "gevent" if WORLD == "gevent" else "gthread"
    require(find_spec("gunicorn"), "gunicorn")
    require(kind != "gevent" or find_spec("gevent"), "gevent")
    require(measure.AVAILABLE and measure.choose_cores(), "two cores, and Linux")
    assert main(["--kind", kind, "--rounds", "2", "--seconds", "0.3"]) == 0
    told = capsys.readouterr().out
    for work in WORKS:
        (row,) = [line for line in told.splitlines() if line.startswith(f"| {work.title} |")]
        assert all(float(cell.split()[0].replace(",", "")) > 0 for cell in row.split("|")[2:-1])
    assert "| 1 | " in told and "| 2 | " in told
