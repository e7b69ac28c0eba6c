"""Engine.IO over WebSocket, used badly: frames that RFC 6455 forbids, packets that Engine.IO forbids, odd upgrades.

The ``calm_engine`` fixture checks after each test that the server still serves a new client and logged no error.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress

import pytest
from websocket import WebSocketBadStatusException

from tests.conformance.raw import UPGRADE, Closed, Endpoint, frame

pytestmark = pytest.mark.websocket

LIMIT = 1_000_000  # bytes; max_http_buffer_size of all servers here
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

VIOLATIONS = [
    pytest.param(frame(TEXT, b"4hello", masked=False), {1002}, id="frame without mask"),
    pytest.param(frame(3, b"4hello"), {1002}, id="reserved data opcode"),
    pytest.param(frame(11), {1002}, id="reserved control opcode"),
    pytest.param(frame(TEXT, b"4hello", rsv=4), {1002}, id="RSV1 without extension"),
    pytest.param(frame(TEXT, b"4hello", rsv=2), {1002}, id="RSV2"),
    pytest.param(frame(TEXT, b"4hello", rsv=1), {1002}, id="RSV3"),
    pytest.param(frame(PING, b"x", fin=False), {1002}, id="ping in fragments"),
    pytest.param(frame(PING, b"x" * 126), {1002}, id="ping of 126 bytes"),
    pytest.param(frame(CLOSE, b"\x03\xe8" + b"x" * 124), {1002}, id="close of 126 bytes"),
    pytest.param(frame(CONTINUATION, b"4hello"), {1002}, id="continuation of nothing"),
    pytest.param(frame(TEXT, b"4he", fin=False) + frame(TEXT, b"llo"), {1002}, id="message amid a message"),
    pytest.param(frame(CLOSE, b"\x03"), {1002}, id="close code of one byte"),
    pytest.param(frame(CLOSE, struct.pack(">H", 999)), {1002}, id="close code 999"),
    pytest.param(frame(CLOSE, struct.pack(">H", 1004)), {1002}, id="close code 1004"),
    pytest.param(frame(CLOSE, struct.pack(">H", 1005)), {1002}, id="close code 1005"),
    pytest.param(frame(CLOSE, struct.pack(">H", 1006)), {1002}, id="close code 1006"),
    pytest.param(frame(CLOSE, struct.pack(">H", 5000)), {1002}, id="close code 5000"),
    pytest.param(frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), {1007}, id="close reason that is no UTF-8"),
    pytest.param(frame(TEXT, b"4\xff\xfe"), {1007}, id="text that is no UTF-8"),
    pytest.param(frame(TEXT, b"4\xed\xa0\x80"), {1007}, id="surrogate in UTF-8"),
    pytest.param(frame(TEXT, b"4\xc3", fin=False) + frame(CONTINUATION, b"("), {1007}, id="bad UTF-8 across fragments"),
    pytest.param(frame(TEXT, b"4\xe2\x82"), {1007}, id="UTF-8 cut short"),
    pytest.param(frame(TEXT, length=LIMIT + 1), {1009}, id="text above the limit"),
    pytest.param(frame(BINARY, length=LIMIT + 1), {1009}, id="binary above the limit"),
    pytest.param(frame(TEXT, length=(1 << 63) - 1), {1002, 1009}, id="length of 63 bits"),
    pytest.param(frame(TEXT, length=(1 << 64) - 1), {1002, 1009}, id="length of 64 bits"),
    pytest.param(
        frame(TEXT, b"4" * LIMIT, fin=False) + frame(CONTINUATION, b"4"), {1009}, id="fragments above the limit"
    ),
]
BAD_PACKETS = [
    pytest.param("", "parse error", id="empty text"),
    pytest.param("abc", "parse error", id="unknown packet type"),
    pytest.param("7", "parse error", id="packet type 7"),
    pytest.param("é", "parse error", id="letter outside ASCII"),
    pytest.param("٤hello", "parse error", id="packet type in Arabic digits"),
    pytest.param("2", "transport error", id="unsolicited ping"),
]


@pytest.mark.parametrize(("data", "codes"), VIOLATIONS)
def test_protocol_violation_closes_with_its_code(calm_engine: Endpoint, data: bytes, codes: set[int]) -> None:
    """The close frame carries the code of RFC 6455, section 7.4.1, and the session ends; no message gets through."""
    connection, sid = calm_engine.open_websocket()
    connection.send_raw(data)
    assert connection.wait_closed().code in codes
    assert calm_engine.wait_for_end(sid) == "transport error"
    assert "message" not in calm_engine.journal(sid)


def test_too_large_message_closes_without_a_reason(calm_engine: Endpoint) -> None:
    connection, _ = calm_engine.open_websocket()
    connection.send_raw(frame(TEXT, length=LIMIT + 1))
    assert connection.wait_closed().reason == ""


def test_message_of_the_very_limit_is_taken(calm_engine: Endpoint) -> None:
    connection, _ = calm_engine.open_websocket()
    connection.send(b"x" * LIMIT)
    assert connection.receive() == b"x" * LIMIT


def test_fragments_of_the_very_limit_are_taken(calm_engine: Endpoint) -> None:
    connection, _ = calm_engine.open_websocket()
    connection.send_raw(frame(BINARY, b"x" * (LIMIT - 1), fin=False) + frame(PING) + frame(CONTINUATION, b"y"))
    assert connection.receive() == b"x" * (LIMIT - 1) + b"y"


def test_message_byte_by_byte_is_taken(calm_engine: Endpoint) -> None:
    connection, _ = calm_engine.open_websocket()
    for byte in frame(TEXT, "4grüße".encode()):
        connection.send_raw(bytes([byte]))
    assert connection.receive() == "4grüße"


def test_flood_of_empty_fragments_ends_or_is_one_message(calm_engine: Endpoint) -> None:
    connection, sid = calm_engine.open_websocket()
    try:
        connection.send_raw(frame(TEXT, b"4a", fin=False) + frame(CONTINUATION, fin=False) * 50_000)
        connection.send_raw(frame(CONTINUATION))
        assert connection.receive() == "4a"
    except (Closed, ConnectionError):
        assert calm_engine.wait_for_end(sid) == "transport error"


def test_flood_of_websocket_pings_is_survived(calm_engine: Endpoint) -> None:
    """20,000 pings in a row: their pongs may not pile up, nor hold up the next message."""
    connection, _ = calm_engine.open_websocket()
    connection.send_raw(frame(PING, b"x" * 125) * 20_000)
    connection.send("4hello")
    assert connection.receive() == "4hello"


@pytest.mark.differs("the reference drops what arrives before its asynchronous handshake is done")
def test_frames_behind_the_handshake_are_read(calm_engine: Endpoint) -> None:
    """A client may send its first frames in the same TCP segment as the opening handshake."""
    head = calm_engine.request_head("GET", "EIO=4&transport=websocket", *(f"{k}: {v}" for k, v in UPGRADE.items()))
    with socket.create_connection((calm_engine.host, int(calm_engine.port)), timeout=5) as connection:
        connection.sendall(head + frame(TEXT, b"4early") + frame(TEXT, b"4bird"))
        received = b""
        while not received.endswith(b"\x81\x054bird"):
            data = connection.recv(65536)
            assert data, received
            received += data
    assert received.startswith(b"HTTP/1.1 101")
    assert b"\x81\x064early\x81\x054bird" in received


def test_junk_behind_the_handshake_ends_the_session(calm_engine: Endpoint) -> None:
    head = calm_engine.request_head("GET", "EIO=4&transport=websocket", *(f"{k}: {v}" for k, v in UPGRADE.items()))
    with socket.create_connection((calm_engine.host, int(calm_engine.port)), timeout=5) as connection:
        connection.sendall(head + b"\xff" * 100)
        while connection.recv(65536):
            pass  # until the server ends it; a time-out fails the test


@pytest.mark.parametrize(("packet", "reason"), BAD_PACKETS)
def test_bad_packet_ends_the_session(calm_engine: Endpoint, packet: str, reason: str) -> None:
    connection, sid = calm_engine.open_websocket()
    connection.send(packet)
    connection.wait_closed()
    assert calm_engine.wait_for_end(sid) == reason


@pytest.mark.parametrize("packet", ["0", "3", "5", "6", "0{}", "3probe"])
def test_packet_without_meaning_is_ignored(calm_engine: Endpoint, packet: str) -> None:
    connection, _ = calm_engine.open_websocket()
    connection.send(packet)
    connection.send("4hello")
    assert connection.receive() == "4hello"


@pytest.mark.differs("the reference ignores a close packet over WebSocket and waits for the ping timeout")
def test_close_packet_ends_the_session_at_once(calm_engine: Endpoint) -> None:
    connection, sid = calm_engine.open_websocket()
    connection.send("1")
    connection.wait_closed(timeout=2)
    assert calm_engine.wait_for_end(sid) == "transport close"


def test_vanished_client_ends_the_session(calm_engine: Endpoint) -> None:
    connection, sid = calm_engine.open_websocket()
    connection.vanish()
    assert calm_engine.wait_for_end(sid) in ("transport close", "transport error")


def test_half_closed_client_ends_the_session(calm_engine: Endpoint) -> None:
    connection, sid = calm_engine.open_websocket()
    connection.half_close()
    connection.wait_closed()
    assert calm_engine.wait_for_end(sid) in ("transport close", "transport error")


def test_silent_websocket_client_is_given_up(engine: Endpoint) -> None:
    """Without pongs the session lasts ping_interval + ping_timeout (0.5 s), however much else the client sends."""
    connection, sid = engine.open_websocket()
    started = time.monotonic()
    with suppress(TimeoutError, ConnectionError, OSError):
        while time.monotonic() - started < 0.4:
            connection.send("4hello")
            time.sleep(0.05)
    connection.wait_closed(timeout=2)
    assert 0.4 < time.monotonic() - started < 1.5
    assert engine.wait_for_end(sid) == "ping timeout"


@pytest.mark.parametrize("packet", ["4hello", "2", "2prob", "3probe", "", "abc", b"\x01"])
def test_bad_probe_ends_the_candidate_only(calm_engine: Endpoint, packet: str | bytes) -> None:
    """A WebSocket that does not begin with the probe is closed; the session stays on polling."""
    session = calm_engine.open_polling()
    candidate = calm_engine.websocket(session.upgrade_url())
    candidate.send(packet)
    candidate.wait_closed()
    assert session.post("4hello").status == 200
    assert session.poll() == ["4hello"]


def test_protocol_violation_ends_the_candidate_only(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    candidate = calm_engine.websocket(session.upgrade_url())
    candidate.send_raw(frame(TEXT, b"2probe", masked=False))
    assert candidate.wait_closed().code == 1002
    assert session.post("4hello").status == 200
    assert session.poll() == ["4hello"]


def test_candidate_that_vanishes_leaves_the_session(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    candidate = calm_engine.websocket(session.upgrade_url())
    candidate.send("2probe")
    assert candidate.receive() == "3probe"
    candidate.vanish()
    assert session.post("4hello").status == 200
    assert [packet for packet in session.poll() if packet != "6"] in (["4hello"], [])
    second, again = calm_engine.websocket(session.upgrade_url()), time.monotonic()
    second.send("2probe")
    assert second.receive() == "3probe"
    assert time.monotonic() - again < 2


def test_second_candidate_is_ended(calm_engine: Endpoint) -> None:
    """Two WebSockets race for one session: the first keeps its claim."""
    session = calm_engine.open_polling()
    first = calm_engine.websocket(session.upgrade_url())
    first.send("2probe")
    assert first.receive() == "3probe"
    with suppress(WebSocketBadStatusException):
        calm_engine.websocket(session.upgrade_url()).wait_closed()
    first.send("5")
    first.send("4hello")
    assert first.receive() == "4hello"


@pytest.mark.differs("the reference lets the second WebSocket wait for a probe until the upgrade time-out")
def test_websocket_for_a_websocket_session_is_ended(calm_engine: Endpoint) -> None:
    connection, sid = calm_engine.open_websocket()
    with suppress(WebSocketBadStatusException):
        calm_engine.websocket(f"EIO=4&transport=websocket&sid={sid}").wait_closed()
    connection.send("4hello")
    assert connection.receive() == "4hello"


def test_session_that_ends_takes_its_candidate_along(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    candidate = calm_engine.websocket(session.upgrade_url())
    candidate.send("2probe")
    assert candidate.receive() == "3probe"
    session.post("1")
    candidate.wait_closed()
    assert calm_engine.wait_for_end(session.sid) == "transport close"
