"""Socket.IO packets that are wrong, out of place or outrageous.

They cost their sender the connection at most, never run a handler they should not, and harm nobody else: the
``calm_socketio`` fixture checks after each test that the server still serves a new client and logged no error.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest

from tests.conformance.raw import SEPARATOR, Closed, Endpoint, PollingSession, WebSocket

websocket_only = pytest.mark.websocket
END = ["disconnecting: forced close", "disconnect: forced close"]
ECHO = '42["message","still here"]'
ECHOED = '42["message-back","still here"]'
P0 = '{"_placeholder":true,"num":0}'

UNDECODABLE = [
    pytest.param("4", id="nothing"),
    pytest.param("4abc", id="unknown type"),
    pytest.param('47["message"]', id="type 7"),
    pytest.param('4٢["message"]', id="type in Arabic digits"),
    pytest.param("42{}", id="event that is an object"),
    pytest.param('42"message"', id="event that is a string"),
    pytest.param("42null", id="event that is null"),
    pytest.param("42[]", id="event without a name"),
    pytest.param("42[null]", id="event name null"),
    pytest.param("42[true]", id="event name true"),
    pytest.param('42[["message"]]', id="event name array"),
    pytest.param('42[{"a":1}]', id="event name object"),
    pytest.param('42["message"', id="JSON cut short"),
    pytest.param('42["message"]]', id="JSON with a rest"),
    pytest.param("42['message']", id="JSON in single quotes"),
    pytest.param('42["message",NaN]', id="NaN"),
    pytest.param('42["message",Infinity]', id="Infinity"),
    pytest.param('42["message",-Infinity]', id="minus Infinity"),
    pytest.param('42["message",01]', id="number with leading zero"),
    pytest.param('42["message","\x01"]', id="control character in a string"),
    pytest.param('42abc["message"]', id="ack id in letters"),
    pytest.param('42-1["message"]', id="negative ack id"),
    pytest.param('421.5["message"]', id="ack id with a fraction"),
    pytest.param("43{}", id="ack that is an object"),
    pytest.param('431"x"', id="ack that is a string"),
    pytest.param('40"token"', id="connect with a string"),
    pytest.param("40[1]", id="connect with an array"),
    pytest.param('41["x"]', id="disconnect with a payload"),
    pytest.param('45["message"]', id="binary event without a count"),
    pytest.param('45-["message"]', id="binary event with an empty count"),
    pytest.param('45x-["message"]', id="count in letters"),
    pytest.param('45-1-["message"]', id="negative count"),
    pytest.param('451["message"]', id="count without a dash"),
    pytest.param("451", id="count and the end"),
    pytest.param("45٢-[]", id="count in Arabic digits"),
    pytest.param('4511-["message"]', id="11 attachments"),
    pytest.param('455999999999-["message"]', id="5,999,999,999 attachments"),
    pytest.param(f'45{"9" * 5000}-["message"]', id="attachments of 5000 digits"),
]
OVERFLOWS = pytest.mark.differs("the reference overflows its stack, which ends the process")
# Of these the protocol says nothing: refused or taken, but in order afterwards.
OUTRAGEOUS = [
    pytest.param("42", id="event without a payload"),
    pytest.param("42[1]", id="event name number"),
    pytest.param('42["message",' + "9" * 10_000 + "]", id="integer of 10,000 digits"),
    pytest.param('42["message",-' + "9" * 10_000 + "]", id="negative integer of 10,000 digits"),
    pytest.param('42["message",0.' + "9" * 10_000 + "]", id="fraction of 10,000 digits"),
    pytest.param('42["message",1e999999]', id="exponent of 6 digits"),
    pytest.param(
        '42["message",' + "[" * 200_000 + "]" * 200_000 + "]", id="arrays nested 200,000 deep", marks=OVERFLOWS
    ),
    pytest.param(
        '42["message",' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "]",
        id="objects nested 100,000 deep",
        marks=OVERFLOWS,
    ),
    pytest.param('42["message",' + "[" * 900 + "]" * 900 + "]", id="arrays nested 900 deep"),
    pytest.param('42["message",' + "[" * 400_000, id="400,000 arrays that never end"),
    pytest.param('42["message","\\ud800"]', id="lone surrogate"),
    pytest.param('42["\\udfff"]', id="lone surrogate as name"),
    pytest.param('42["message",{"\\ud800":1}]', id="lone surrogate as key"),
    pytest.param('40{"token":"\\ud800"}', id="lone surrogate in credentials"),
    pytest.param('42["message","\\u0000"]', id="null character"),
    pytest.param('42["message",{"__proto__":{"a":1},"constructor":1}]', id="keys named like slots"),
    pytest.param('42["message",{"a":1,"a":2}]', id="key twice"),
    pytest.param('42["message",{"_placeholder":true,"num":0}]', id="placeholder in a text packet"),
    pytest.param('42["message",' + '"x",' * 100_000 + "1]", id="100,000 arguments", marks=OVERFLOWS),
    pytest.param("42" + "9" * 400 + '["message-with-ack",1]', id="ack id of 400 digits"),
    pytest.param("42" + "9" * 5000 + '["message-with-ack",1]', id="ack id of 5000 digits"),
    pytest.param('43["x"]', id="ack without an id"),
    pytest.param("43", id="ack without anything"),
    pytest.param('43999999["x"]', id="ack nobody waits for"),
    pytest.param("43" + "9" * 5000 + '["x"]', id="ack with an id of 5000 digits"),
    pytest.param('450-["message"]', id="no attachments"),
    pytest.param("42" + "/" * 100_000, id="namespace of slashes"),
    pytest.param("40/" + "x" * 100_000, id="namespace of 100,000 characters"),
    pytest.param("40/\ud7ff,", id="namespace outside ASCII"),
    pytest.param("40/custom?token=1,", id="namespace with a query"),
    pytest.param("40/%00,", id="namespace with an escape"),
    pytest.param("41/never-joined,", id="disconnect from elsewhere"),
]
# A binary event and what follows it.
BAD_ATTACHMENTS = [
    pytest.param([f'451-["message",{P0}]', '42["message"]'], id="text instead of the attachment"),
    pytest.param([f'451-["message",{P0}]', f'451-["message",{P0}]'], id="second binary event before the attachment"),
    pytest.param([f'451-["message",{P0}]', b"a", b"b"], id="one attachment too many"),
    pytest.param([b"a"], id="attachment of nothing"),
    pytest.param(['451-["message",{"_placeholder":true,"num":1}]', b"a"], id="placeholder beyond the attachments"),
    pytest.param(['451-["message",{"_placeholder":true,"num":-1}]', b"a"], id="negative placeholder"),
    pytest.param(
        ['451-["message",{"_placeholder":true,"num":0.5}]', b"a"],
        id="placeholder with a fraction",
        marks=pytest.mark.differs("the reference takes it for undefined"),
    ),
    pytest.param(['451-["message",{"_placeholder":true,"num":"0"}]', b"a"], id="placeholder in a string"),
    pytest.param(['451-["message",{"_placeholder":true,"num":null}]', b"a"], id="placeholder null"),
    pytest.param(['451-["message",{"_placeholder":true}]', b"a"], id="placeholder without a number"),
    pytest.param(['451-["message",{"_placeholder":true,"num":"splice"}]', b"a"], id="placeholder naming a method"),
    pytest.param([f'451-["disconnect",{P0}]', b"a"], id="reserved name with an attachment"),
    pytest.param([f"451-[{P0}]", b"a"], id="attachment as the name"),
]
RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
OUT_OF_PLACE = [
    pytest.param(["40"], id="connect twice"),
    pytest.param(
        ["40/custom,", "40/custom,"],
        id="connect twice in a row",
        marks=pytest.mark.differs("the reference makes two sockets when the first CONNECT is still being answered"),
    ),
    pytest.param(['42/custom,["message"]'], id="event to a namespace not joined"),
    pytest.param(['43/custom,0["x"]'], id="ack to a namespace not joined"),
    pytest.param(['42/unknown,["message"]'], id="event to an unknown namespace"),
    pytest.param(['44{"message":"no"}'], id="connect error from the client"),
    pytest.param(['44"no"'], id="connect error from the client as a string"),
]


def join(endpoint: Endpoint) -> tuple[WebSocket, str]:
    """Open a WebSocket that has joined the main namespace; return it and the socket id."""
    connection, _ = endpoint.open_websocket()
    connection.send("40")
    answer = connection.receive()
    assert isinstance(answer, str) and answer.startswith("40{")
    assert connection.receive() == '42["auth",{}]'
    return connection, json.loads(answer[2:])["sid"]


def join_polling(endpoint: Endpoint) -> tuple[PollingSession, str]:
    """Open a polling session that has joined the main namespace; return it and the socket id."""
    session = endpoint.open_polling()
    session.post("40")
    packets = session.poll()
    if len(packets) == 1:
        packets += session.poll()
    assert packets[1] == '42["auth",{}]'
    return session, json.loads(packets[0][2:])["sid"]


def in_use(connection: WebSocket, timeout: float = 5.0) -> bool:
    """Whether the socket still gets its echo (True) or the server has closed the connection (False)."""
    deadline = time.monotonic() + timeout
    try:
        connection.send(ECHO)
        while connection.receive(deadline - time.monotonic()) != ECHOED:
            pass
    except (Closed, OSError):
        return False
    return True


@websocket_only
@pytest.mark.parametrize("packet", UNDECODABLE)
def test_undecodable_packet_ends_the_connection(calm_socketio: Endpoint, packet: str) -> None:
    """The connection is closed, the socket told so, and no other handler runs."""
    connection, socket_id = join(calm_socketio)
    connection.send(packet)
    connection.wait_closed()
    calm_socketio.wait_for_end(socket_id)
    assert calm_socketio.journal(socket_id) == ["connection", *END]


@pytest.mark.parametrize("packet", ["4abc", "42{}", '42["connect"]', '4511-["message"]', "bAQID", "40"])
def test_undecodable_packet_ends_the_polling_session(calm_socketio: Endpoint, packet: str) -> None:
    session, socket_id = join_polling(calm_socketio)
    session.post(packet)
    response = session.get()
    if response.status == 200:  # the farewell of a session that was closed with no poll waiting
        assert set(response.text.split(SEPARATOR)) <= {"1", "6"}
        response = session.get()
    assert response.status == 400
    assert calm_socketio.wait_for_end(socket_id) in ("forced close", "forced server close")


@websocket_only
@pytest.mark.parametrize("packet", ["4abc", "42{}", "42", '42["message"]', "43", "41", "451-[]", b"a", "44"])
def test_other_packet_before_connect_ends_the_connection(calm_socketio: Endpoint, packet: str | bytes) -> None:
    connection, _ = calm_socketio.open_websocket()
    connection.send(packet)
    if packet == "451-[]":
        connection.send(b"a")
    connection.wait_closed()


@websocket_only
@pytest.mark.parametrize("packet", OUTRAGEOUS)
def test_outrageous_packet_is_taken_or_ends_the_connection(calm_socketio: Endpoint, packet: str) -> None:
    connection, socket_id = join(calm_socketio)
    connection.send(packet)
    if not in_use(connection):
        calm_socketio.wait_for_end(socket_id)
        assert calm_socketio.journal(socket_id)[-2:] == END


@websocket_only
@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("[1e5,1.5,-0]", ([100000, 1.5, 0],), id="numbers"),
        pytest.param('"\\u0000\\u2028\\u00e9\\ud83d\\ude00"', ("\0\u2028é😀",), id="escaped characters"),
        pytest.param('"\u2028é😀"', ("\u2028é😀",), id="characters"),
        pytest.param('{"__proto__":1,"":2}', ({"__proto__": 1, "": 2},), id="odd keys"),
        pytest.param('{"_placeholder":false,"num":0}', ({"_placeholder": False, "num": 0},), id="no placeholder"),
    ],
)
def test_odd_but_correct_values_come_back(calm_socketio: Endpoint, text: str, values: tuple[object, ...]) -> None:
    connection, _ = join(calm_socketio)
    connection.send(f'42["message",{text}]')
    answer = connection.receive()
    assert isinstance(answer, str)
    assert json.loads(answer[2:]) == ["message-back", *values]


@websocket_only
@pytest.mark.parametrize("packets", BAD_ATTACHMENTS)
def test_bad_attachments_end_the_connection(calm_socketio: Endpoint, packets: list[str | bytes]) -> None:
    connection, socket_id = join(calm_socketio)
    with suppress(OSError):
        for packet in packets:
            connection.send(packet)
    connection.wait_closed()
    calm_socketio.wait_for_end(socket_id)
    assert [entry for entry in calm_socketio.journal(socket_id) if entry != "message"] == ["connection", *END]


@websocket_only
def test_ten_attachments_are_taken(calm_socketio: Endpoint) -> None:
    connection, _ = join(calm_socketio)
    placeholders = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
    connection.send(f'4510-["message",{placeholders}]')
    for number in range(10):
        connection.send(bytes([number]))
    assert connection.receive() == f'4510-["message-back",{placeholders}]'
    assert [connection.receive() for _ in range(10)] == [bytes([number]) for number in range(10)]


@websocket_only
def test_client_that_vanishes_amid_attachments_is_cleaned_up(calm_socketio: Endpoint) -> None:
    connection, socket_id = join(calm_socketio)
    connection.send(f'452-["message",{P0},{P0}]')
    connection.send(b"a")
    connection.vanish()
    assert calm_socketio.wait_for_end(socket_id) in ("transport close", "transport error")
    assert "message" not in calm_socketio.journal(socket_id)


@websocket_only
@pytest.mark.parametrize("name", RESERVED)
def test_reserved_event_name_ends_the_connection(calm_socketio: Endpoint, name: str) -> None:
    """The application's own handlers of that name run for the real end of the socket only."""
    connection, socket_id = join(calm_socketio)
    connection.send(f'42["{name}","forged reason"]')
    connection.wait_closed()
    calm_socketio.wait_for_end(socket_id)
    assert calm_socketio.journal(socket_id) == ["connection", *END]


@websocket_only
@pytest.mark.parametrize("name", ["connection", "error", "auth", "__class__", "emit", "*", "", "toString"])
def test_other_event_name_never_runs_a_lifecycle_handler(calm_socketio: Endpoint, name: str) -> None:
    """A client may send these names, and nobody listens to them, whatever the server uses them for itself."""
    connection, socket_id = join(calm_socketio)
    connection.send(f'42["{name}","x"]')
    connection.send(ECHO)
    assert connection.receive() == ECHOED
    assert calm_socketio.journal(socket_id) == ["connection", "message"]


@websocket_only
@pytest.mark.parametrize("packets", OUT_OF_PLACE)
def test_packet_out_of_place_ends_the_connection(calm_socketio: Endpoint, packets: list[str]) -> None:
    connection, socket_id = join(calm_socketio)
    for packet in packets:
        connection.send(packet)
    connection.wait_closed()
    calm_socketio.wait_for_end(socket_id)
    assert calm_socketio.journal(socket_id) == ["connection", *END]


@websocket_only
def test_event_after_leaving_ends_the_connection(calm_socketio: Endpoint) -> None:
    connection, socket_id = join(calm_socketio)
    connection.send("41")
    assert calm_socketio.wait_for_end(socket_id) == "client namespace disconnect"
    with suppress(OSError):
        connection.send(ECHO)
    connection.wait_closed()
    assert "message" not in calm_socketio.journal(socket_id)


@websocket_only
def test_client_may_come_back_to_a_namespace_it_left(calm_socketio: Endpoint) -> None:
    connection, socket_id = join(calm_socketio)
    connection.send("41")
    calm_socketio.wait_for_end(socket_id)
    connection.send("40")
    answer = str(connection.receive())
    assert answer.startswith("40{")
    assert json.loads(answer[2:])["sid"] != socket_id


@websocket_only
def test_flood_of_unknown_namespaces_is_refused_one_by_one(calm_socketio: Endpoint) -> None:
    connection, _ = join(calm_socketio)
    for number in range(1000):
        connection.send(f"40/unknown{number},")
    for number in range(1000):
        assert connection.receive() == f'44/unknown{number},{{"message":"Invalid namespace"}}'
    assert in_use(connection)


@websocket_only
def test_connect_timeout_ends_a_websocket_that_joins_nothing(socketio: Endpoint) -> None:
    """Answering pings and being refused by a namespace does not count: connect_timeout is 1 s here."""
    connection, _ = socketio.open_websocket()
    started = time.monotonic()
    connection.send("40/unknown")
    assert connection.receive() == '44/unknown,{"message":"Invalid namespace"}'
    with pytest.raises(Closed):
        connection.receive_skipping_pings(timeout=3)
    assert 0.8 < time.monotonic() - started < 2.5


def test_connect_timeout_ends_a_polling_session_that_joins_nothing(socketio: Endpoint) -> None:
    session = socketio.open_polling()
    started = time.monotonic()
    while (response := session.get()).status == 200 and time.monotonic() - started < 3:
        if "2" in response.text.split(SEPARATOR):
            session.post("3")
    assert response.status == 400
    assert 0.8 < time.monotonic() - started < 2.5


@websocket_only
def test_joined_client_outlives_the_connect_timeout(socketio: Endpoint) -> None:
    connection, _ = join(socketio)
    with pytest.raises(TimeoutError):
        connection.receive_skipping_pings(timeout=1.3)
    connection.send(ECHO)
    assert connection.receive_skipping_pings() == ECHOED


@websocket_only
def test_hundreds_of_packets_in_one_payload_keep_their_order(calm_socketio: Endpoint) -> None:
    session, _ = join_polling(calm_socketio)
    numbers = list(range(500))
    assert session.post(SEPARATOR.join(f'42["message",{number}]' for number in numbers)).status == 200
    packets: list[str] = []
    while len(packets) < len(numbers):
        packets += session.poll()
    assert packets == [f'42["message-back",{number}]' for number in numbers]
