"""Clients of Socket.IO v2, with the last of the unmodified JavaScript clients."""

from __future__ import annotations

import json

import pytest

from tests.support.node import JS, run_node
from tests.support.npm import install
from tests.support.scenario import assert_clean
from tests.support.servers import SERVERS, start_server

POLLING_ONLY = {"waitress"}
MATRIX = [
    (kind, mode)
    for kind in SERVERS
    for mode in (("polling",) if kind in POLLING_ONLY else ("polling", "websocket", "upgrade"))
]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(("kind", "mode"), MATRIX)
def test_every_feature(kind: str, mode: str) -> None:
    install(JS / "v2")
    options = json.dumps({"allow_eio3": True})
    with start_server(kind, "tests.apps.main:app", env={"SIO_OPTIONS": options}) as server:
        checks = run_node("v2/scenario.js", server.url, mode, timeout=180)["checks"]
        failures = [check for check in checks if not check["ok"]]
        assert checks and not failures, "\n\n".join(f"{check['name']}\n{check['detail']}" for check in failures)
    assert_clean(server)
