"""The feature script against real servers: the reference on Node.js, ours, and python-socketio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.features import CHECKS, TIMEOUT, Session
from tests.support.inprocess import Background, eventually
from tests.support.node import start_node
from tests.support.servers import SERVERS, start_server

SERVER_KINDS = ("node", "wsgi_sio", "python-socketio")
MODES: dict[str, dict[str, Any]] = {
    "polling": {"transports": ["polling"]},
    "websocket": {"transports": ["websocket"]},
    "upgrade": {"transports": ["polling", "websocket"]},
}


@pytest.fixture(scope="module", params=SERVER_KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The server's kind and its URL."""
    kind = request.param
    if kind == "node":
        request.getfixturevalue("node_modules")
        with start_node("reference_server.js") as script:
            yield kind, script.next_line()["url"]
        return
    app = "tests.apps.main:app" if kind == "wsgi_sio" else "tests.client.servers.python_socketio:app"
    serve, options = (SERVERS[0], {}) if kind == "wsgi_sio" else ("gunicorn-gthread", {"threads": 64})
    with start_server(serve, app, options=options) as running:
        yield kind, running.url


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_feature(server: tuple[str, str], mode: str, check: Callable[[Session], None]) -> None:
    kind, url = server
    session = Session(url, ordered=kind != "python-socketio", **MODES[mode])
    try:
        check(session)
        wanted = "polling" if mode == "polling" else "websocket"
        for manager in [client.io for client in session.clients if client.connected]:
            eventually(lambda manager=manager: manager.transport_name == wanted, wanted, TIMEOUT)
    finally:
        for closing in [Background(client.io.close) for client in session.clients]:
            closing.result()
