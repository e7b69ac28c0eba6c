"""Every feature, on every WSGI server, in every transport mode, with the unmodified JavaScript client."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.node import start_node
from tests.support.scenario import assert_clean, assert_settles, run_scenario
from tests.support.servers import SERVERS, start_server
from tests.support.world import WORLD

POLLING_ONLY = {"waitress"}
MATRIX: list[tuple[str, str, dict[str, Any]]] = [
    (kind, mode, {})
    for kind in SERVERS
    for mode in (("polling", "fallback") if kind in POLLING_ONLY else ("polling", "websocket", "upgrade"))
]
if WORLD == "gevent":  # without an access log polling connections are kept
    MATRIX += [("gunicorn-gevent", mode, {"access_logfile": None}) for mode in ("polling", "upgrade")]
REQUEST_POOL = {"gunicorn-gthread": 16}  # threads that the WSGI server starts when needed and then keeps
SPARE_THREADS = 4  # the runtime's own pool keeps a few


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(("kind", "mode", "options"), MATRIX)
def test_every_feature(kind: str, mode: str, options: dict[str, Any]) -> None:
    """All checks succeed, nothing is logged as an error, and the server is as small afterwards as before."""
    with start_server(kind, "tests.apps.main:app", options=options) as server:
        run_scenario(server.url, mode, "acks: what a handler returns")
        sockets, files, threads = server.socket_count(), server.fd_count(), server.thread_count()
        run_scenario(server.url, mode)
        assert_settles(server.socket_count, sockets, "sockets open")
        assert_settles(server.fd_count, files, "file descriptors open")
        assert_settles(server.thread_count, threads + REQUEST_POOL.get(kind, 0) + SPARE_THREADS, "threads")
        assert_clean(server)
    assert_clean(server)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("kind", [kind for kind in SERVERS if kind not in POLLING_ONLY])
def test_a_client_returns_after_a_restart(kind: str) -> None:
    """The client reconnects by itself to a new server process on the same port, as after a deployment."""
    with start_server(kind, "tests.apps.main:app") as server, start_node("survivor.js", server.url) as survivor:
        assert survivor.next_line() == {"event": "connect", "echo": [1]}
        server.stop()
        assert survivor.next_line()["event"] == "disconnect"
        with start_server(kind, "tests.apps.main:app", port=server.port) as successor:
            assert survivor.next_line() == {"event": "connect", "echo": [1]}
            assert_clean(successor)
