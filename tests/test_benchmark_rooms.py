"""What rooms cost grows with their number and their size in proportion, no faster; ``python -m benchmarks.rooms``."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from benchmarks.install import Unavailable
from benchmarks.rooms import Figures, growth, main, measure_members, measure_rooms
from tests.support.require import require
from tests.support.world import one_world

SMALL, LARGE = 1000, 10000
LIMIT = 3.0  # quadratic would be 10


@one_world
@pytest.mark.slow
def test_the_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sizes", "10,30"]) == 0
    output = capsys.readouterr().out
    assert output.count("| 30 |") == 2
    assert "connect | join | leave | thrown out | vanished" in output


@one_world
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("measure", [measure_members, measure_rooms])
def test_the_cost_of_one_operation_stays_about_the_same(measure: Callable[[int], Figures]) -> None:
    """From 1000 to 10,000 members of a room, and rooms of a client: joining, leaving, going, all at once too.

    Without the garbage collector, of which a short measurement has one full run or none.
    """
    gc.disable()
    try:
        rows = {size: measure(size) for size in (SMALL, LARGE)}
        if excessive(rows):  # once more, lest a disturbance of the machine fail us
            rows = {size: measure(size) for size in (SMALL, LARGE)}
    except Unavailable as reason:
        require(False, str(reason))
    finally:
        gc.enable()
    assert not excessive(rows), rows


def excessive(rows: dict[int, Figures]) -> list[str]:
    """The operations whose cost has grown too much."""
    return [name for name in rows[SMALL] if growth(rows, name) >= LIMIT]
