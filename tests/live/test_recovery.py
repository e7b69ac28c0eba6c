"""The JavaScript client gets back what it lost with its connection, from every WSGI server in every transport mode."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.node import run_node
from tests.support.scenario import assert_clean
from tests.support.servers import SERVERS, start_server
from tests.support.world import WORLD

POLLING_ONLY = {"waitress"}
MATRIX = [
    pytest.param(kind, mode, marks=() if kind == SERVERS[0] else pytest.mark.slow)
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


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("mode", ["polling", pytest.param("websocket", marks=pytest.mark.slow)])
def test_a_client_that_comes_back_at_another_worker_misses_nothing(mode: str, tmp_path: Path) -> None:
    """Whichever worker gets its new connection: it loses it again and again, until all three have had it, if they will
    (a worker that never gets a request is none of the siblings)."""
    worker = "gunicorn-gevent" if WORLD == "gevent" else "gunicorn-gthread"
    with start_server(
        worker, "tests.apps.wandering:app", {"RUNTIME_DIRECTORY": str(tmp_path)}, {"workers": 3}
    ) as server:
        result = run_node("wandering.js", server.url, mode, "3")
        assert_clean(server)
    first, *later = result["connections"]
    assert not first["recovered"]
    assert all(connection["recovered"] and connection["id"] == first["id"] for connection in later)
    assert [connection["count"] for connection in later] == list(range(2, len(later) + 2))
    shouts = result["shouts"]
    assert any(one["pid"] != other["pid"] for one, other in pairwise(result["connections"])), "it never moved"
    assert len({pid for pid, _ in shouts}) >= 2
    for worker_pid in {pid for pid, _ in shouts}:
        numbers = [number for pid, number in shouts if pid == worker_pid]
        assert numbers == list(range(len(numbers)))
