"""Clients of Socket.IO v2, with the last of the unmodified JavaScript clients."""

from __future__ import annotations

import json
from collections.abc import Collection

import pytest

from tests.support.node import JS, run_node, start_node
from tests.support.npm import install
from tests.support.scenario import assert_clean
from tests.support.servers import SERVERS, start_server
from tests.support.world import one_world

POLLING_ONLY = {"waitress"}
MATRIX = [
    (kind, mode)
    for kind in SERVERS
    for mode in (("polling",) if kind in POLLING_ONLY else ("polling", "websocket", "upgrade"))
]

# The reference takes a CONNECT for a second one when it comes in the same TCP segment as the DISCONNECT before it.
STRICTER_THAN_THE_REFERENCE = {"leaving a namespace and coming back"}


def run_checks(url: str, mode: str, may_fail: Collection[str] = ()) -> None:
    """Run ``v2/scenario.js`` and assert that all its checks succeed, but those in ``may_fail``."""
    install(JS / "v2")
    checks = run_node("v2/scenario.js", url, mode, timeout=180)["checks"]
    failures = [check for check in checks if not check["ok"] and check["name"] not in may_fail]
    assert checks and not failures, "\n\n".join(f"{check['name']}\n{check['detail']}" for check in failures)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(("kind", "mode"), MATRIX)
def test_every_feature(kind: str, mode: str) -> None:
    options = json.dumps({"allow_eio3": True, "ping_timeout": 20})
    with start_server(kind, "tests.apps.main:app", env={"SIO_OPTIONS": options}) as server:
        run_checks(server.url, mode)
    assert_clean(server)


@one_world
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("mode", ["polling", "websocket", "upgrade"])
def test_the_scenario_against_the_reference(mode: str) -> None:
    """The scenario itself is right."""
    options = json.dumps({"allowEIO3": True, "pingTimeout": 20000})
    with start_node("reference_server.js", env={"SIO_OPTIONS": options}) as reference:
        run_checks(reference.next_line()["url"], mode, STRICTER_THAN_THE_REFERENCE)
