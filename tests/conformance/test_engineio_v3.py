"""The official Engine.IO v3 suite, against a server that lets protocol 3 in (``allow_eio3``)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websocket import WebSocketBadStatusException, WebSocketException

from tests.conformance.raw import Closed, Endpoint, Exchange, Response, WebSocket
from tests.support.servers import start_server

pytestmark = pytest.mark.differs("the reference server beside the tests does not let protocol 3 in")

PING_INTERVAL = 0.3
PING_TIMEOUT = 0.2
LATE = 1.0  # what a timer may be late by, on a machine that has other things to do

# A message "hello" and the bytes 1, 2, 3, 4.
TEXT_PAYLOAD = "6:4hello10:b4AQIDBA=="
BINARY_PAYLOAD = bytes([0, 6, 255, *b"4hello", 1, 5, 255, 4, 1, 2, 3, 4])


class PollingSession:
    """A session of protocol 3 over long-polling."""

    def __init__(self, endpoint: Endpoint, binary: bool = False) -> None:
        query = "EIO=3&transport=polling"
        self.opened = endpoint.request("GET", query if binary else f"{query}&b64=1")
        assert self.opened.status == 200
        length, _, packet = self.opened.text.partition(":")
        assert int(length) == len(packet)
        self.handshake = handshake_of(packet)
        self.upgrade_url = f"EIO=3&transport=websocket&sid={self.handshake['sid']}"
        self._query = f"{query}&sid={self.handshake['sid']}"
        self._endpoint = endpoint

    def get(self) -> Response:
        return self._endpoint.request("GET", self._query)

    def start_get(self) -> Exchange:
        """Send a poll whose response can be read later."""
        return self._endpoint.start("GET", self._query)

    def post(self, body: str | bytes) -> Response:
        kind = "text/plain;charset=UTF-8" if isinstance(body, str) else "application/octet-stream"
        return self._endpoint.request("POST", self._query, body, {"Content-Type": kind})


def handshake_of(packet: str | bytes) -> dict[str, Any]:
    """The values of an `open` packet."""
    assert isinstance(packet, str) and packet.startswith("0")
    handshake: dict[str, Any] = json.loads(packet[1:])
    return handshake


@pytest.fixture(scope="module")
def server_url(kind: str) -> Iterator[str]:
    with start_server(kind, "tests.apps.protocol_engineio_v3:app") as server:
        yield server.url
        assert server.problems() == []


@pytest.fixture
def endpoint(server_url: str) -> Iterator[Endpoint]:
    endpoint = Endpoint(server_url, "/engine.io")
    yield endpoint
    endpoint.hang_up()


@pytest.fixture
def connection(endpoint: Endpoint) -> WebSocket:
    """A WebSocket whose handshake has been read."""
    connection = endpoint.websocket("EIO=3&transport=websocket")
    handshake_of(connection.receive())
    return connection


def upgraded(endpoint: Endpoint) -> tuple[WebSocket, PollingSession]:
    """A session that has gone from polling to WebSocket."""
    session = PollingSession(endpoint)
    connection = endpoint.websocket(session.upgrade_url)
    connection.send("2probe")
    assert connection.receive() == "3probe"
    connection.send("5")
    return connection, session


def assert_in_use(connection: WebSocket) -> None:
    """The application answers on this WebSocket."""
    connection.send("4hello")
    assert connection.receive() == "4hello"


def test_polling_handshake_describes_the_session(endpoint: Endpoint, upgrades: list[str]) -> None:
    """handshake > HTTP long-polling > successfully opens a session"""
    handshake = PollingSession(endpoint).handshake
    assert isinstance(handshake.pop("sid"), str)
    assert handshake == {"upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


@pytest.mark.parametrize("query", ["EIO=3", "EIO=3&transport=abc"])
def test_polling_handshake_needs_a_known_transport(endpoint: Endpoint, query: str) -> None:
    """handshake > HTTP long-polling > fails with an invalid 'transport' query parameter"""
    assert endpoint.request("GET", query).status == 400


def test_polling_handshake_needs_the_get_method(endpoint: Endpoint) -> None:
    """handshake > HTTP long-polling > fails with an invalid request method"""
    assert endpoint.request("POST", "EIO=3&transport=polling").status == 400


@pytest.mark.websocket
def test_websocket_handshake_describes_the_session(endpoint: Endpoint) -> None:
    """handshake > WebSocket > successfully opens a session"""
    handshake = handshake_of(endpoint.websocket("EIO=3&transport=websocket").receive())
    assert isinstance(handshake.pop("sid"), str)
    assert handshake == {"upgrades": [], "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


@pytest.mark.websocket
@pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket"])
def test_unknown_versions_are_taken_for_3(endpoint: Endpoint, query: str) -> None:
    """handshake > WebSocket > fails with an invalid 'EIO' query parameter: by its title; the reference lets them in"""
    handshake_of(endpoint.websocket(query).receive())


@pytest.mark.websocket
@pytest.mark.parametrize("query", ["EIO=3", "EIO=3&transport=abc"])
def test_websocket_handshake_needs_a_known_transport(endpoint: Endpoint, query: str) -> None:
    """handshake > WebSocket > fails with an invalid 'transport' query parameter"""
    with pytest.raises((WebSocketBadStatusException, WebSocketException, Closed)):
        endpoint.websocket(query).receive()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("6:4hello", id="one plain text packet"),
        pytest.param("6:4test16:4test26:4test3", id="several plain text packets"),
        pytest.param(TEXT_PAYLOAD, id="plain text and binary packets (base64 encoded)"),
        pytest.param("4:4€😀", id="lengths in UTF-16 code units"),
    ],
)
def test_polling_carries_text_payload_both_ways(endpoint: Endpoint, payload: str) -> None:
    """message > HTTP long-polling > sends and receives a payload containing ..."""
    session = PollingSession(endpoint)
    push = session.post(payload)
    assert (push.status, push.text) == (200, "ok")
    poll = session.get()
    assert (poll.status, poll.text) == (200, payload)


@pytest.mark.parametrize("payload", [TEXT_PAYLOAD, BINARY_PAYLOAD])
def test_polling_answers_in_binary_to_those_who_take_it(endpoint: Endpoint, payload: str | bytes) -> None:
    """message > HTTP long-polling > sends and receives a payload containing plain text and binary packets (binary)"""
    session = PollingSession(endpoint, binary=True)
    assert session.post(payload).text == "ok"
    poll = session.get()
    assert (poll.status, poll.body, poll.headers["Content-Type"]) == (200, BINARY_PAYLOAD, "application/octet-stream")


def test_polling_session_ends_upon_invalid_packet(endpoint: Endpoint) -> None:
    """message > HTTP long-polling > closes the session upon invalid packet format"""
    session = PollingSession(endpoint)
    assert session.post("abc").status in (200, 400)
    assert session.get().status == 400


def test_polling_session_ends_upon_parallel_polls(endpoint: Endpoint) -> None:
    """message > HTTP long-polling > closes the session upon duplicate poll requests (skipped by the suite)"""
    session = PollingSession(endpoint)
    first = session.start_get()
    time.sleep(0.05)  # so that it comes second
    assert session.get().status in (400, 500)
    response = first.response()
    assert (response.status, response.text) == (200, "1:1")
    assert session.get().status == 400


@pytest.mark.websocket
@pytest.mark.parametrize(
    "message", [pytest.param("4hello", id="plain text"), pytest.param(bytes([4, 1, 2, 3, 4]), id="binary")]
)
def test_websocket_carries_packet_both_ways(connection: WebSocket, message: str | bytes) -> None:
    """message > WebSocket > sends and receives a plain text packet / a binary packet"""
    connection.send(message)
    assert connection.receive() == message


@pytest.mark.websocket
def test_websocket_session_ends_upon_invalid_packet(connection: WebSocket) -> None:
    """message > WebSocket > closes the session upon invalid packet format"""
    connection.send("abc")
    connection.wait_closed()


def test_polling_pings_are_answered(endpoint: Endpoint) -> None:
    """heartbeat > HTTP long-polling > sends ping/pong packets"""
    session = PollingSession(endpoint)
    for _ in range(3):
        assert session.post("1:2").status == 200
        poll = session.get()
        assert (poll.status, poll.text) == (200, "1:3")


def test_polling_session_ends_without_pings(endpoint: Endpoint) -> None:
    """heartbeat > HTTP long-polling > closes the session upon ping timeout"""
    session = PollingSession(endpoint)
    time.sleep(PING_INTERVAL + PING_TIMEOUT + LATE)
    assert session.post("1:2").status == 400


@pytest.mark.websocket
def test_websocket_pings_are_answered(connection: WebSocket) -> None:
    """heartbeat > WebSocket > sends ping/pong packets: over more time than a silent client has"""
    for _ in range(4):
        with pytest.raises(TimeoutError):
            connection.receive(PING_INTERVAL / 2)
        connection.send("2")
        assert connection.receive() == "3"


@pytest.mark.websocket
def test_websocket_session_ends_without_pings(connection: WebSocket) -> None:
    """heartbeat > WebSocket > closes the session upon ping timeout"""
    connection.wait_closed()


def test_polling_client_closes_its_session(endpoint: Endpoint) -> None:
    """close > HTTP long-polling > forcefully closes the session"""
    session = PollingSession(endpoint)
    poll = session.start_get()
    session.post("1:1")
    response = poll.response()
    assert (response.status, response.text) == (200, "1:6")
    assert session.get().status == 400


@pytest.mark.websocket
def test_websocket_client_closes_its_session(connection: WebSocket) -> None:
    """close > WebSocket > forcefully closes the session"""
    connection.send("1")
    connection.wait_closed()


@pytest.mark.websocket
def test_session_upgrades_from_polling_to_websocket(endpoint: Endpoint) -> None:
    """upgrade > successfully upgrades from HTTP long-polling to WebSocket"""
    session = PollingSession(endpoint)
    connection = endpoint.websocket(session.upgrade_url)
    connection.send("2probe")
    assert connection.receive() == "3probe"
    poll = session.get()
    assert (poll.status, poll.text) == (200, "1:6")
    connection.send("5")
    assert_in_use(connection)


@pytest.mark.websocket
def test_polling_is_refused_after_the_upgrade(endpoint: Endpoint) -> None:
    """upgrade > ignores HTTP requests with same sid after upgrade"""
    connection, session = upgraded(endpoint)
    assert_in_use(connection)
    assert session.get().status == 400


@pytest.mark.websocket
def test_second_websocket_is_ended_after_the_upgrade(endpoint: Endpoint) -> None:
    """upgrade > ignores WebSocket connection with same sid after upgrade"""
    connection, session = upgraded(endpoint)
    assert_in_use(connection)
    endpoint.websocket(session.upgrade_url).wait_closed()
    assert_in_use(connection)
