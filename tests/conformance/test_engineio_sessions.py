"""Handshake, heartbeat, close and upgrade: the cases that the official suites of both protocols have in common.

Each runs on the path of either suite. Titles in the docstrings are those of the Engine.IO v4 suite; the Socket.IO v5
suite says "should successfully open a session" and so on.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from websocket import WebSocketBadStatusException, WebSocketException

from tests.conformance.raw import Closed, Endpoint, WebSocket

PING_INTERVAL = 0.3
PING_TIMEOUT = 0.2
LATE = 1.0  # what a timer may be late by, on a machine that has other things to do


@pytest.fixture(params=["engine", "socketio"])
def endpoint(kind: str, request: pytest.FixtureRequest) -> Endpoint:
    """The endpoint of either suite."""
    found: Endpoint = request.getfixturevalue(request.param)
    return found


def assert_handshake(packet: str | bytes, upgrades: list[str]) -> None:
    """The packet is an `open` packet with exactly the five values of the protocol."""
    assert isinstance(packet, str) and packet.startswith("0")
    handshake: dict[str, Any] = json.loads(packet[1:])
    sid = handshake.pop("sid")
    assert isinstance(sid, str) and sid
    assert handshake == {"upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


def assert_in_use(endpoint: Endpoint, connection: WebSocket) -> None:
    """The application answers on this WebSocket."""
    if endpoint.path == "/engine.io":
        connection.send("4hello")
        assert connection.receive_skipping_pings() == "4hello"
    else:
        connection.send("40")
        assert str(connection.receive_skipping_pings()).startswith('40{"sid":')


def assert_never_opens(endpoint: Endpoint, query: str) -> None:
    """A WebSocket with this query is refused, or ended before it carries a message (as the reference does it)."""
    with pytest.raises((WebSocketBadStatusException, WebSocketException, Closed)):
        endpoint.websocket(query).receive()


def test_polling_handshake_describes_the_session(endpoint: Endpoint, upgrades: list[str]) -> None:
    """handshake > HTTP long-polling > successfully opens a session"""
    response = endpoint.request("GET", "EIO=4&transport=polling")
    assert response.status == 200
    assert_handshake(response.text, upgrades)


@pytest.mark.parametrize("query", ["transport=polling", "EIO=abc&transport=polling"])
def test_polling_handshake_needs_a_known_protocol_version(endpoint: Endpoint, query: str) -> None:
    """handshake > HTTP long-polling > fails with an invalid 'EIO' query parameter"""
    assert endpoint.request("GET", query).status == 400


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc"])
def test_polling_handshake_needs_a_known_transport(endpoint: Endpoint, query: str) -> None:
    """handshake > HTTP long-polling > fails with an invalid 'transport' query parameter"""
    assert endpoint.request("GET", query).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_polling_handshake_needs_the_get_method(endpoint: Endpoint, method: str) -> None:
    """handshake > HTTP long-polling > fails with an invalid request method"""
    assert endpoint.request(method, "EIO=4&transport=polling").status == 400


@pytest.mark.websocket
def test_websocket_handshake_describes_the_session(endpoint: Endpoint) -> None:
    """handshake > WebSocket > successfully opens a session"""
    assert_handshake(endpoint.websocket().receive(), [])


@pytest.mark.websocket
@pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket"])
def test_websocket_handshake_needs_a_known_protocol_version(endpoint: Endpoint, query: str) -> None:
    """handshake > WebSocket > fails with an invalid 'EIO' query parameter"""
    assert_never_opens(endpoint, query)


@pytest.mark.websocket
@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc"])
def test_websocket_handshake_needs_a_known_transport(endpoint: Endpoint, query: str) -> None:
    """handshake > WebSocket > fails with an invalid 'transport' query parameter"""
    assert_never_opens(endpoint, query)


def test_polling_heartbeat_goes_on_while_pings_are_answered(endpoint: Endpoint) -> None:
    """heartbeat > HTTP long-polling > sends ping/pong packets"""
    session = endpoint.open_polling()
    for _ in range(3):
        poll = session.get()
        assert (poll.status, poll.text) == (200, "2")
        assert session.post("3").status == 200


def test_polling_session_ends_when_no_ping_is_answered(endpoint: Endpoint) -> None:
    """heartbeat > HTTP long-polling > closes the session upon ping timeout"""
    session = endpoint.open_polling()
    time.sleep(PING_INTERVAL + PING_TIMEOUT + LATE)
    assert session.get().status == 400


@pytest.mark.websocket
def test_websocket_heartbeat_goes_on_while_pings_are_answered(endpoint: Endpoint) -> None:
    """heartbeat > WebSocket > sends ping/pong packets"""
    connection, _ = endpoint.open_websocket()
    for _ in range(3):
        assert connection.receive() == "2"
        connection.send("3")


@pytest.mark.websocket
def test_websocket_session_ends_when_no_ping_is_answered(endpoint: Endpoint) -> None:
    """heartbeat > WebSocket > closes the session upon ping timeout"""
    connection, _ = endpoint.open_websocket()
    connection.wait_closed()


def test_polling_client_closes_its_session(endpoint: Endpoint) -> None:
    """close > HTTP long-polling > forcefully closes the session"""
    session = endpoint.open_polling()
    poll = session.start_get()
    session.post("1")
    response = poll.response()
    assert (response.status, response.text) == (200, "6")
    assert session.get().status == 400


@pytest.mark.websocket
def test_websocket_client_closes_its_session(endpoint: Endpoint) -> None:
    """close > WebSocket > forcefully closes the session"""
    connection, _ = endpoint.open_websocket()
    connection.send("1")
    connection.wait_closed()


@pytest.mark.websocket
def test_session_upgrades_from_polling_to_websocket(endpoint: Endpoint) -> None:
    """upgrade > successfully upgrades from HTTP long-polling to WebSocket

    Once the probe is answered, a poll is released by a noop: the client can then switch without losing a packet.
    """
    session = endpoint.open_polling()
    connection = endpoint.websocket(session.upgrade_url())
    connection.send("2probe")
    assert connection.receive() == "3probe"
    poll = session.get()
    assert (poll.status, poll.text) == (200, "6")
    connection.send("5")
    assert_in_use(endpoint, connection)


@pytest.mark.websocket
def test_polling_is_refused_after_the_upgrade(endpoint: Endpoint) -> None:
    """upgrade > ignores HTTP requests with same sid after upgrade"""
    connection, session = endpoint.open_upgraded()
    assert_in_use(endpoint, connection)
    assert session.get().status == 400


@pytest.mark.websocket
def test_second_websocket_is_ended_after_the_upgrade(endpoint: Endpoint) -> None:
    """upgrade > ignores WebSocket connection with same sid after upgrade: it is accepted and closed, not refused"""
    connection, session = endpoint.open_upgraded()
    endpoint.websocket(session.upgrade_url()).wait_closed()
    assert_in_use(endpoint, connection)
