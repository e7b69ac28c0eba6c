"""The JavaScript client gets back what it lost with its connection, from every WSGI server in every transport mode."""

from __future__ import annotations

import pytest

from tests.support.node import run_node
from tests.support.scenario import assert_clean
from tests.support.servers import SERVERS, start_server

POLLING_ONLY = {"waitress"}
MATRIX = [
    (kind, mode)
    for kind in SERVERS
    for mode in (("polling",) if kind in POLLING_ONLY else ("polling", "websocket", "upgrade"))
]


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(("kind", "mode"), MATRIX)
def test_a_client_recovers_twice_and_misses_nothing(kind: str, mode: str) -> None:
    with start_server(kind, "tests.apps.recovering:app") as server:
        first, second, third = run_node("recovery.js", server.url, mode)
        assert_clean(server)
    assert not first["recovered"] and first["count"] == 1 and first["events"] == []
    missed = [entry for number in range(3) for entry in (["missed", number, True], ["missed too", number, False])]
    for number, connection in ((2, second), (3, third)):
        assert connection["recovered"] and connection["id"] == first["id"]
        assert connection["count"] == number and connection["events"] == missed
