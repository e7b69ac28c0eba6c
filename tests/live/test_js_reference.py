"""The scenario itself is right: it succeeds against the reference implementation on Node.js."""

from __future__ import annotations

import pytest

from tests.support.node import start_node
from tests.support.scenario import run_scenario
from tests.support.world import one_world

# The reference drops an event when the DISCONNECT packet reaches it in the same TCP segment; wsgi_sio must not.
STRICTER_THAN_THE_REFERENCE = {"leaving: the client's last events come before its disconnection"}


@one_world
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("mode", ["polling", "websocket", "upgrade"])
def test_scenario_against_the_reference(mode: str) -> None:
    with start_node("reference_server.js") as reference:
        run_scenario(reference.next_line()["url"], mode, may_fail=STRICTER_THAN_THE_REFERENCE)


@one_world
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("node_modules")
def test_fallback_mode_against_a_reference_without_websocket() -> None:
    """What waitress gets is right as well: the same on a reference that has only polling."""
    with start_node("reference_server.js", env={"SIO_OPTIONS": '{"transports": ["polling"]}'}) as reference:
        run_scenario(reference.next_line()["url"], "fallback", may_fail=STRICTER_THAN_THE_REFERENCE)
