"""Messages both ways: the cases that only the official Engine.IO v4 suite has, and what it takes for granted."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection

import pytest

from tests.conformance.raw import Endpoint

IN_PARALLEL = 0.05  # seconds after which a server has surely begun with a request


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("4hello", id="one plain text packet"),
        pytest.param("4test1\x1e4test2\x1e4test3", id="several plain text packets"),
        pytest.param("4hello\x1ebAQIDBA==", id="plain text and binary packets"),
    ],
)
def test_polling_carries_payload_both_ways(engine: Endpoint, payload: str) -> None:
    """message > HTTP long-polling > sends and receives a payload containing ..."""
    session = engine.open_polling()
    push = session.post(payload)
    assert (push.status, push.text) == (200, "ok")
    poll = session.get()
    assert (poll.status, poll.text) == (200, payload)


def test_polling_session_ends_upon_invalid_packet(engine: Endpoint) -> None:
    """message > HTTP long-polling > closes the session upon invalid packet format"""
    session = engine.open_polling()
    assert session.post("abc").status in (200, 400)
    assert session.get().status == 400


def test_polling_session_ends_upon_parallel_polls(engine: Endpoint) -> None:
    """message > HTTP long-polling > closes the session upon duplicate poll requests"""
    session = engine.open_polling()
    first = session.start_get()
    time.sleep(IN_PARALLEL)
    assert session.get().status in (400, 500)
    response = first.response()
    assert (response.status, response.text) == (200, "1")
    assert session.get().status == 400


def test_polling_session_ends_upon_cancelled_poll(engine: Endpoint) -> None:
    """message > HTTP long-polling > closes the session upon cancelled polling request"""
    session = engine.open_polling()
    poll = session.start_get()
    time.sleep(IN_PARALLEL)
    poll.abort()
    assert session.get().status == 400


@pytest.mark.websocket
@pytest.mark.parametrize(
    "message", [pytest.param("4hello", id="plain text"), pytest.param(bytes([1, 2, 3, 4]), id="binary")]
)
def test_websocket_carries_packet_both_ways(engine: Endpoint, message: str | bytes) -> None:
    """message > WebSocket > sends and receives a plain text packet / a binary packet"""
    connection, _ = engine.open_websocket()
    connection.send(message)
    assert connection.receive() == message


@pytest.mark.websocket
def test_websocket_session_ends_upon_invalid_packet(engine: Endpoint) -> None:
    """message > WebSocket > closes the session upon invalid packet format"""
    connection, _ = engine.open_websocket()
    connection.send("abc")
    connection.wait_closed()


def test_one_connection_serves_a_whole_session(engine: Endpoint) -> None:
    """Clients keep their TCP connection; a server that means to end it says so, and the client opens another."""
    connection = HTTPConnection(engine.host, int(engine.port), timeout=5)

    def ask(method: str, query: str, body: str | None = None) -> str:
        connection.request(method, f"{engine.path}/?EIO=4&transport=polling{query}", body)
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()

    sid = json.loads(ask("GET", "")[1:])["sid"]
    for number in range(3):
        assert ask("POST", f"&sid={sid}", f"4message {number}") == "ok"
        assert ask("GET", f"&sid={sid}") == f"4message {number}"
    assert ask("GET", f"&sid={sid}") == "2"
    assert ask("POST", f"&sid={sid}", "1") == "ok"
    connection.close()
