"""Every feature with the unmodified JavaScript client and its msgpack parser."""

from __future__ import annotations

import pytest

from tests.support.node import JS, run_node
from tests.support.npm import install
from tests.support.scenario import assert_clean
from tests.support.servers import start_server
from tests.support.world import WORLD

KIND = {"threads": "gunicorn-gthread", "gevent": "gunicorn-gevent"}[WORLD]
UNFIT = {
    "messages: no arguments, one, several of every JSON type",  # notepack.io 2 writes 1e21 as another number
    "acks: an ack that comes twice or too late is ignored",  # it writes JSON to the wire by hand
}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("mode", ["polling", "websocket", "upgrade"])
def test_every_feature(mode: str) -> None:
    install(JS / "msgpack")
    with start_server(KIND, "tests.apps.msgpack_parser:app") as server:
        checks = run_node("msgpack/scenario.js", server.url, mode, timeout=150)["checks"]
        failures = [check for check in checks if not check["ok"] and check["name"] not in UNFIT]
        assert checks and not failures, "\n\n".join(f"{check['name']}\n{check['detail']}" for check in failures)
    assert_clean(server)
