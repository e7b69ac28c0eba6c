"""Connection state recovery and the MessagePack parser against real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.features import TIMEOUT, Session, call
from tests.support.inprocess import eventually
from tests.support.node import start_node
from tests.support.servers import SERVERS, start_server
from wsgi_sio.socketio import packet_msgpack

OPTIONS = {"node": '{"connectionStateRecovery": {}}', "wsgi_sio": '{"connection_state_recovery": true}'}


@pytest.fixture(scope="module", params=list(OPTIONS))
def recovering(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that keeps the state of lost clients."""
    env = {"SIO_OPTIONS": OPTIONS[request.param]}
    if request.param == "node":
        request.getfixturevalue("node_modules")
        with start_node("reference_server.js", env=env) as script:
            yield script.next_line()["url"]
        return
    with start_server(SERVERS[0], "tests.apps.main:app", env) as running:
        yield running.url


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_what_was_missed_is_caught_up_on(recovering: str, transport: str) -> None:
    """The same id, every event once and in order, also those of a handler that does not know of offsets."""
    session = Session(recovering, ordered=True, transports=[transport])
    away = session.client(reconnection_delay=0.3, randomization_factor=0)
    seen: list[int] = []

    @away.on("published")
    def published(number: int) -> None:
        seen.append(number)

    away.connect(timeout=TIMEOUT)
    other = session.connect()
    try:
        for number in range(3):
            call(other, "publish", "server", [], number)
        eventually(lambda: seen == [0, 1, 2], "the first events", TIMEOUT)
        for first in (3, 6):
            sid = away.id
            away.emit("drop connection")
            eventually(lambda: not away.connected, "the loss", TIMEOUT)
            for number in range(first, first + 3):
                call(other, "publish", "server", [], number)
            eventually(lambda: away.connected, "the next connection", TIMEOUT)
            assert away.recovered and away.id == sid
            eventually(lambda last=first + 2: last in seen, "what was missed", TIMEOUT)
        assert seen == list(range(9))
        assert call(away, "echo", 1) == 1
    finally:
        for client in session.clients:
            client.io.close()


def test_another_parser_at_both_ends() -> None:
    with start_server(SERVERS[0], "tests.client.servers.msgpack:app") as server:
        session = Session(server.url, ordered=True, parser=packet_msgpack)
        client = session.connect()
        try:
            for value in (1, "text", None, b"bytes", {"deep": [b"x", {"y": 1.5}]}):
                assert call(client, "echo", value) == value
        finally:
            client.io.close()
