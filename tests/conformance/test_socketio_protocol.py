"""The Socket.IO part of the official Socket.IO v5 suite; its Engine.IO part is in ``test_engineio_sessions.py``."""

from __future__ import annotations

import json

import pytest

from tests.conformance.raw import Endpoint, WebSocket

pytestmark = pytest.mark.websocket

PLACEHOLDERS = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
ATTACHMENTS = [bytes([1, 2, 3]), bytes([4, 5, 6])]


def assert_joined(connection: WebSocket, prefix: str, auth: str) -> None:
    """The next packets are the answer to CONNECT, with `sid` alone, and the application's echo of the credentials."""
    answer = str(connection.receive())
    assert answer.startswith(f"40{prefix}")
    handshake = json.loads(answer.removeprefix(f"40{prefix}"))
    assert list(handshake) == ["sid"]
    assert isinstance(handshake["sid"], str)
    assert connection.receive() == f'42{prefix}["auth",{auth}]'


@pytest.fixture
def joined(socketio: Endpoint) -> WebSocket:
    """A WebSocket that has joined the main namespace."""
    connection, _ = socketio.open_websocket()
    connection.send("40")
    assert_joined(connection, "", "{}")
    return connection


def test_client_joins_main_namespace(socketio: Endpoint) -> None:
    """connect > should allow connection to the main namespace"""
    connection, _ = socketio.open_websocket()
    connection.send("40")
    assert_joined(connection, "", "{}")


def test_client_joins_main_namespace_with_credentials(socketio: Endpoint) -> None:
    """connect > should allow connection to the main namespace with a payload"""
    connection, _ = socketio.open_websocket()
    connection.send('40{"token":"123"}')
    assert_joined(connection, "", '{"token":"123"}')


def test_client_joins_custom_namespace(socketio: Endpoint) -> None:
    """connect > should allow connection to a custom namespace"""
    connection, _ = socketio.open_websocket()
    connection.send("40/custom,")
    assert_joined(connection, "/custom,", "{}")


def test_client_joins_custom_namespace_with_credentials(socketio: Endpoint) -> None:
    """connect > should allow connection to a custom namespace with a payload"""
    connection, _ = socketio.open_websocket()
    connection.send('40/custom,{"token":"abc"}')
    assert_joined(connection, "/custom,", '{"token":"abc"}')


def test_unknown_namespace_is_refused(socketio: Endpoint) -> None:
    """connect > should disallow connection to an unknown namespace"""
    connection, _ = socketio.open_websocket()
    connection.send("40/random")
    assert connection.receive() == '44/random,{"message":"Invalid namespace"}'


def test_undecodable_first_packet_ends_the_connection(socketio: Endpoint) -> None:
    """connect > should disallow connection with an invalid handshake"""
    connection, _ = socketio.open_websocket()
    connection.send("4abc")
    connection.wait_closed()


def test_connection_that_joins_nothing_is_ended(socketio: Endpoint) -> None:
    """connect > should close the connection if no handshake is received"""
    connection, _ = socketio.open_websocket()
    connection.wait_closed()


def test_client_leaves_main_namespace(joined: WebSocket) -> None:
    """disconnect > should disconnect from the main namespace: the connection stays, as its heartbeat shows"""
    joined.send("41")
    assert joined.receive() == "2"


def test_client_leaves_custom_namespace_and_stays_in_the_main_one(joined: WebSocket) -> None:
    """disconnect > should connect then disconnect from a custom namespace"""
    assert joined.receive() == "2"
    joined.send("3")  # the suite does not answer, and is done before it matters
    joined.send("40/custom")
    assert_joined(joined, "/custom,", "{}")
    joined.send("41/custom")
    joined.send('42["message","message to main namespace"]')
    assert joined.receive() == '42["message-back","message to main namespace"]'


def test_event_is_echoed(joined: WebSocket) -> None:
    """message > should send a plain-text packet"""
    joined.send('42["message",1,"2",{"3":[true]}]')
    assert joined.receive() == '42["message-back",1,"2",{"3":[true]}]'


def test_event_with_attachments_is_echoed(joined: WebSocket) -> None:
    """message > should send a packet with binary attachments"""
    joined.send(f'452-["message",{PLACEHOLDERS}]')
    for attachment in ATTACHMENTS:
        joined.send(attachment)
    assert joined.receive_skipping_pings() == f'452-["message-back",{PLACEHOLDERS}]'
    assert [joined.receive_skipping_pings() for _ in ATTACHMENTS] == ATTACHMENTS


def test_event_is_acknowledged(joined: WebSocket) -> None:
    """message > should send a plain-text packet with an ack"""
    joined.send('42456["message-with-ack",1,"2",{"3":[false]}]')
    assert joined.receive() == '43456[1,"2",{"3":[false]}]'


def test_event_with_attachments_is_acknowledged_with_attachments(joined: WebSocket) -> None:
    """message > should send a packet with binary attachments and an ack"""
    joined.send(f'452-789["message-with-ack",{PLACEHOLDERS}]')
    for attachment in ATTACHMENTS:
        joined.send(attachment)
    assert joined.receive_skipping_pings() == f"462-789[{PLACEHOLDERS}]"
    assert [joined.receive_skipping_pings() for _ in ATTACHMENTS] == ATTACHMENTS


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param("4abc", id="unknown packet type"),
        pytest.param("42{}", id="invalid payload format"),
        pytest.param('42abc["message-with-ack",1,"2",{"3":[false]}]', id="invalid ack id"),
    ],
)
def test_invalid_packet_ends_the_connection(joined: WebSocket, packet: str) -> None:
    """message > should close the connection upon invalid format (...)"""
    joined.send(packet)
    joined.wait_closed()
