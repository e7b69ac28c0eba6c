"""Two minutes of chaos, and what the command line makes of its arguments and of a failure."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from tests.chaos.__main__ import read_setting, repeat, report
from tests.chaos.run import Run
from tests.chaos.setting import Setting, plan_client
from tests.support.servers import ROOT
from tests.support.world import WORLD

MINUTES = 2.0
# For two cores, which the server, two processes of clients and the relays share.
CLIENTS = 50


@pytest.mark.slow
@pytest.mark.crowd
@pytest.mark.timeout(Setting(minutes=MINUTES).limit + 60)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("server", ["gevent" if WORLD == "gevent" else "gthread"])
def test_two_minutes_of_chaos(server: str) -> None:
    """Everything that a run promises; in a process of its own, since a run is asyncio's."""
    setting = Setting(minutes=MINUTES, server=server, clients=CLIENTS, seed=1)
    result = subprocess.run([sys.executable, *repeat(setting).split()[1:]], check=False, cwd=ROOT)
    assert result.returncode == 0, "what was broken is told in the output"


def test_a_command_line_and_how_to_repeat_it() -> None:
    setting = read_setting(["--minutes", "0.5", "--clients", "10", "--seed", "3", "--without", "stop,storm"])
    assert setting == Setting(0.5, "gevent", 10, 3, ("stop", "storm"))
    assert read_setting(repeat(setting).split()[3:]) == setting
    assert read_setting(repeat(read_setting([])).split()[3:]).without == ()


@pytest.mark.parametrize("arguments", [["--without", "rain"], ["--minutes", "0"], ["--clients", "1"]])
def test_a_command_line_that_makes_no_sense(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        read_setting(arguments)


def test_clients_are_the_same_for_the_same_seed_and_of_every_kind() -> None:
    def plans(seed: int) -> list[str]:
        return [str(plan_client(Setting(seed=seed), number, 0, 80)) for number in range(60)]

    assert plans(1) == plans(1) != plans(2)
    kinds = Counter(title.partition(" ")[2] for title in plans(1))
    assert len(kinds) == 12  # ours and npm's, by three kinds of transports, with and without retries


def test_a_failure_names_the_seed_the_violations_and_how_to_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(Setting(seed=77, without=("stop",)), lambda text: None)
    assert report(run) == 0
    run.ledger.blame("order", "client 3.0: room 7 came again, after 7")
    run.problems.append("9 descriptors")
    run.log = "the last line"
    assert report(run) == 1
    written = capsys.readouterr().out
    for part in ("order 1", "room 7 came again", "9 descriptors", "the last line", "--seed 77 --without stop"):
        assert part in written
