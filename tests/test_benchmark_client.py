"""The client's benchmark measures what it says, and judges by it; nothing is asserted about speed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from benchmarks.client import KINDS, SCENARIOS, TRANSPORTS, Results, echo_ratios, report, run
from benchmarks.install import Unavailable
from tests.support.require import require
from tests.support.world import one_world


@one_world
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_every_client_can_be_measured(kind: object) -> None:
    require(find_spec("gunicorn"), "gunicorn")
    require(find_spec("gevent"), "gevent")
    require(find_spec("socketio"), "python-socketio")
    figures = run(kind, "callbacks", "websocket", 0.1)  # type: ignore[arg-type]
    assert figures["us"] > 0 and figures["rate"] > 0


@one_world
@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", ["calls", "callbacks", "received"])
def test_every_scenario_of_cpu_time(scenario: str, transport: str) -> None:
    for kind in (KINDS[0], KINDS[2]):
        assert run(kind, scenario, transport, 0.2)["us"] > 0


@one_world
@pytest.mark.slow
def test_idle_clients_can_share_their_threads() -> None:
    own = run(KINDS[0], "idle", "websocket", 0.0)
    shared = run(KINDS[0], "idle-shared", "websocket", 0.0)
    assert own["KB"] > 0 and own["threads"] >= 1 and shared["threads"] < 0.1


def test_a_client_that_fails_is_told() -> None:
    with pytest.raises(Unavailable, match="KeyError: 'nothing'"):
        run(KINDS[0], "nothing", "websocket", 0.1)


def test_the_ratios_are_of_the_medians() -> None:
    results: Results = {
        (kind, scenario, transport): [{"us": factor * us} for us in (1.0, 30.0, 2.0)]
        for scenario in SCENARIOS
        for transport in TRANSPORTS
        for kind, factor in ((KINDS[0], 1), (KINDS[2], 4))
    }
    ratios = echo_ratios(results)
    assert set(ratios.values()) == {0.25} and len(ratios) == 4
    text = report([KINDS[0], KINDS[2]], results, ratios)
    assert "| python-socketio, threads | 8 | 8 | 8 |" in text and text.count(": 0.25") == 4
