"""Engine.IO over HTTP, used badly: every request is refused, or costs its sender the session, and nothing else.

The ``calm_engine`` fixture checks after each test that the server still serves a new client and logged no error.
"""

from __future__ import annotations

import socket
import time

import pytest

from tests.conformance.raw import SEPARATOR, Endpoint, PollingSession, read_response

LIMIT = 1_000_000  # bytes; max_http_buffer_size of all servers here
IN_PARALLEL = 0.05  # seconds after which a server has surely begun with a request
MESSAGES = {
    0: "Transport unknown",
    1: "Session ID unknown",
    2: "Bad handshake method",
    3: "Bad request",
    5: "Unsupported protocol version",
}
UNKNOWN_SID = "AAAAAAAAAAAAAAAAAAAA"

# method, query, code: the table "request checks, in order" for requests without a session
REFUSED = [
    pytest.param("GET", "EIO=4", 0, id="no transport"),
    pytest.param("GET", "EIO=4&transport=", 0, id="empty transport"),
    pytest.param("GET", "EIO=4&transport=abc", 0, id="unknown transport"),
    pytest.param("GET", "EIO=4&transport=webtransport", 0, id="transport not enabled"),
    pytest.param("GET", "EIO=4&transport=constructor", 0, id="transport named like an attribute"),
    pytest.param("GET", "EIO=4&transport=__proto__", 0, id="transport named like a slot"),
    pytest.param("GET", "EIO=3&transport=abc", 0, id="transport is checked before the version"),
    pytest.param("GET", f"EIO=4&transport=polling&sid={UNKNOWN_SID}", 1, id="unknown session"),
    pytest.param("POST", f"EIO=4&transport=polling&sid={UNKNOWN_SID}", 1, id="unknown session, POST"),
    pytest.param("GET", "EIO=4&transport=polling&sid=__proto__", 1, id="session named like a slot"),
    pytest.param("GET", "EIO=4&transport=polling&sid=%00", 1, id="session with a null byte"),
    pytest.param("GET", f"EIO=4&transport=polling&sid={'A' * 4000}", 1, id="session of 4000 characters"),
    pytest.param("POST", "EIO=4&transport=polling", 2, id="handshake by POST"),
    pytest.param("PUT", "EIO=4&transport=polling", 2, id="handshake by PUT"),
    pytest.param("DELETE", "EIO=4&transport=polling", 2, id="handshake by DELETE"),
    pytest.param("OPTIONS", "EIO=4&transport=polling", 2, id="handshake by OPTIONS"),
    pytest.param("POST", "EIO=3&transport=polling", 2, id="method is checked before the version"),
    pytest.param("GET", "EIO=4&transport=websocket", 3, id="websocket without upgrade"),
    pytest.param("GET", "transport=polling", 5, id="no version"),
    pytest.param("GET", "EIO=3&transport=polling", 5, id="version 3"),
    pytest.param("GET", "EIO=abc&transport=polling", 5, id="version in letters"),
    pytest.param("GET", "EIO=%D9%A4&transport=polling", 5, id="version in Arabic digits"),
]
# The same over Upgrade: the answer comes before any 101.
REFUSED_UPGRADES = [
    pytest.param("GET", "EIO=4", 0, id="no transport"),
    pytest.param("GET", "EIO=4&transport=abc", 0, id="unknown transport"),
    pytest.param("GET", f"EIO=4&transport=websocket&sid={UNKNOWN_SID}", 1, id="unknown session"),
    pytest.param("POST", "EIO=4&transport=websocket", 2, id="handshake by POST"),
]
REFUSED_UPGRADES_LATE = [
    pytest.param("transport=websocket", 5, id="no version"),
    pytest.param("EIO=3&transport=websocket", 5, id="version 3"),
]
BAD_PAYLOADS = [
    pytest.param(b"", id="empty"),
    pytest.param(b"abc", id="unknown packet type"),
    pytest.param(b"7", id="packet type 7"),
    pytest.param(b"\x1e", id="separator only"),
    pytest.param(b"4a\x1e\x1e4b", id="empty packet amid others"),
    pytest.param(b"4a\x1e", id="separator at the end"),
    pytest.param(b"\xc3\xa9", id="letter outside ASCII"),
    pytest.param("٤hello".encode(), id="packet type in Arabic digits"),
    pytest.param(b"\x00\x01\x02", id="control characters"),
    pytest.param(b"x5:4hello", id="junk in front of a message"),
]
ODD_PAYLOADS = [
    pytest.param(b"b!!!not base64!!!", id="base64 with other characters"),
    pytest.param(b"bAQI", id="base64 without padding"),
    pytest.param(b"bA", id="base64 cut short"),
    pytest.param(b"b", id="base64 of nothing"),
    pytest.param(b"4\xff\xfe", id="no UTF-8"),
    pytest.param(b"4\xed\xa0\x80", id="surrogate in UTF-8"),
    pytest.param(b"4", id="empty message"),
    pytest.param(b"\x1e".join([b"4"] * 10_000), id="10,000 empty messages"),
    pytest.param(b"\x1e" * 100_000, id="100,000 separators"),
    pytest.param(b"\x1e".join([b"3"] * 100_000), id="100,000 pongs"),
    pytest.param(b"0", id="open"),
    pytest.param(b"5", id="upgrade"),
    pytest.param(b"6", id="noop"),
]


def assert_open(session: PollingSession) -> None:
    """The session still carries messages."""
    push = session.post("4still here")
    assert (push.status, push.text) == (200, "ok")
    assert session.poll()[-1] == "4still here"


def assert_ended(endpoint: Endpoint, session: PollingSession, reason: str) -> None:
    """The session is over for this reason, and its id is worth nothing any more."""
    assert endpoint.wait_for_end(session.sid) == reason
    response = session.get()  # "6\x1e1" at most once: the farewell of a session that was closed with no poll waiting
    if response.status == 200:
        assert set(response.text.split(SEPARATOR)) <= {"1", "6"}
        response = session.get()
    assert (response.status, response.json()["code"]) == (400, 1)


@pytest.mark.parametrize(("method", "query", "code"), REFUSED)
def test_bad_request_is_refused_with_its_code(calm_engine: Endpoint, method: str, query: str, code: int) -> None:
    response = calm_engine.request(method, query)
    assert response.status == 400
    assert response.json() == {"code": code, "message": MESSAGES[code]}
    assert response.headers["Content-Type"].startswith("application/json")


@pytest.mark.websocket
@pytest.mark.parametrize(("method", "query", "code"), REFUSED_UPGRADES)
def test_bad_upgrade_is_refused_with_its_message(calm_engine: Endpoint, method: str, query: str, code: int) -> None:
    response = calm_engine.upgrade(query, method)
    assert (response.status, response.text) == (400, MESSAGES[code])
    assert response.headers["Content-Type"].startswith("text/html")


@pytest.mark.websocket
@pytest.mark.differs("the reference answers 101 first and then writes a 400 into the WebSocket")
@pytest.mark.parametrize(("query", "code"), REFUSED_UPGRADES_LATE)
def test_bad_upgrade_is_refused_before_the_101(calm_engine: Endpoint, query: str, code: int) -> None:
    response = calm_engine.upgrade(query)
    assert (response.status, response.text) == (400, MESSAGES[code])


@pytest.mark.websocket
@pytest.mark.differs("the reference answers 101 and then closes")
def test_upgrade_asked_for_with_polling_is_ignored(calm_engine: Endpoint) -> None:
    """HTTP lets a server ignore Upgrade, and a proxy may send it with every request."""
    assert calm_engine.upgrade("EIO=4&transport=polling").text.startswith("0{")


@pytest.mark.websocket
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-WebSocket-Version": "7"}, id="version 7"),
        pytest.param({"Sec-WebSocket-Version": "abc"}, id="version in letters"),
        pytest.param({"Sec-WebSocket-Key": "short"}, id="key of the wrong length"),
        pytest.param({"Sec-WebSocket-Key": ""}, id="no key"),
    ],
)
def test_bad_websocket_handshake_is_refused(calm_engine: Endpoint, headers: dict[str, str]) -> None:
    response = calm_engine.upgrade("EIO=4&transport=websocket", headers=headers)
    assert response.status in (400, 426)


@pytest.mark.parametrize(("wish", "message"), [("forbidden", "Forbidden"), ("not today", "not today")])
def test_application_refuses_handshake(calm_engine: Endpoint, wish: str, message: str) -> None:
    """What `allow_request` refuses is code 4 with status 403, and the application may choose the message."""
    response = calm_engine.request("GET", "EIO=4&transport=polling", headers={"X-Refuse": wish})
    assert (response.status, response.json()) == (403, {"code": 4, "message": message})


@pytest.mark.websocket
@pytest.mark.parametrize(("wish", "message"), [("forbidden", "Forbidden"), ("not today", "not today")])
def test_application_refuses_upgrade(calm_engine: Endpoint, wish: str, message: str) -> None:
    """Over Upgrade the status is 400 even for code 4, as the reference has it."""
    response = calm_engine.upgrade("EIO=4&transport=websocket", headers={"X-Refuse": wish})
    assert (response.status, response.text) == (400, message)


def test_application_is_asked_at_the_handshake_only(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    assert session.post("4hello", {"X-Refuse": "forbidden"}).status == 200
    assert session.poll() == ["4hello"]


@pytest.mark.differs("the reference does not check the origin: CORS is the browser's matter there")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "garbage"])
def test_foreign_origin_is_refused(calm_engine: Endpoint, origin: str) -> None:
    response = calm_engine.request("GET", "EIO=4&transport=polling", headers={"Origin": origin})
    assert (response.status, response.json()["code"]) == (403, 4)
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.websocket
@pytest.mark.differs("the reference does not check the origin: CORS is the browser's matter there")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "garbage"])
def test_foreign_origin_is_refused_over_upgrade(calm_engine: Endpoint, origin: str) -> None:
    assert calm_engine.upgrade("EIO=4&transport=websocket", headers={"Origin": origin}).status == 400


def test_own_origin_is_served(calm_engine: Endpoint) -> None:
    response = calm_engine.request("GET", "EIO=4&transport=polling", headers={"Origin": calm_engine.url})
    assert response.status == 200


def test_origin_with_control_characters_is_refused(calm_engine: Endpoint) -> None:
    head = calm_engine.request_head("GET", "EIO=4&transport=polling", "Origin: http://a\x01b", "Connection: close")
    response = calm_engine.send_raw(head)
    assert response is None or response.status in (400, 403)


@pytest.mark.parametrize("version", ["EIO=3&", "EIO=abc&", ""])
def test_version_of_every_request_must_be_the_session_s(calm_engine: Endpoint, version: str) -> None:
    session = calm_engine.open_polling()
    response = calm_engine.request("GET", f"{version}transport=polling&sid={session.sid}")
    assert (response.status, response.json()) == (400, {"code": 3, "message": "Bad request"})
    assert_open(session)


@pytest.mark.websocket
def test_upgrade_in_another_version_is_refused(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    response = calm_engine.upgrade(f"EIO=3&transport=websocket&sid={session.sid}")
    assert (response.status, response.text) == (400, "Bad request")
    assert_open(session)


@pytest.mark.websocket
def test_polling_on_websocket_session_is_refused(calm_engine: Endpoint) -> None:
    connection, sid = calm_engine.open_websocket()
    response = calm_engine.request("GET", f"EIO=4&transport=polling&sid={sid}")
    assert (response.status, response.json()["code"]) == (400, 3)
    connection.send("4hello")
    assert connection.receive() == "4hello"


def test_websocket_transport_without_upgrade_is_refused_on_polling_session(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    response = calm_engine.request("GET", f"EIO=4&transport=websocket&sid={session.sid}")
    assert (response.status, response.json()["code"]) == (400, 3)
    assert_open(session)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_leave_the_session_alone(calm_engine: Endpoint, method: str) -> None:
    """The reference says 500; any refusal will do."""
    session = calm_engine.open_polling()
    assert calm_engine.request(method, session.query).status in (400, 405, 500)
    assert_open(session)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("EIO=4&transport=polling&%zz", id="bad escape"),
        pytest.param("EIO=4&transport=polling&%", id="escape cut short"),
        pytest.param("EIO=4&transport=polling&x=%ff%fe", id="escapes that are no UTF-8"),
        pytest.param("&&=&=&EIO=4&transport=polling&&", id="empty pairs"),
        pytest.param("EIO=4&transport=polling&" + "a=b&" * 1000, id="1000 parameters"),
        pytest.param("EIO=4&transport=polling&j=1;DROP", id="semicolon"),
        pytest.param("EIO=4&transport=polling?EIO=4", id="second question mark"),
    ],
)
def test_odd_query_strings_are_read_as_far_as_they_go(calm_engine: Endpoint, query: str) -> None:
    assert calm_engine.request("GET", query).status in (200, 400)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("EIO=4&transport=polling&transport=websocket", id="transport"),
        pytest.param("EIO=4&EIO=3&transport=polling", id="version"),
        pytest.param("EIO=4&transport=polling&sid=a&sid=b", id="session"),
        pytest.param("EIO=%FF&transport=%FF&sid=%FF", id="escapes that are no UTF-8"),
    ],
)
def test_contradictory_parameters_are_refused_or_the_first_counts(calm_engine: Endpoint, query: str) -> None:
    response = calm_engine.request("GET", query)
    assert response.status in (200, 400)
    if response.status == 400:
        assert set(response.json()) == {"code", "message"}


@pytest.mark.parametrize("payload", BAD_PAYLOADS)
def test_bad_payload_ends_the_session(calm_engine: Endpoint, payload: bytes) -> None:
    session = calm_engine.open_polling()
    assert session.post(payload).status in (200, 400)
    assert_ended(calm_engine, session, "parse error")


@pytest.mark.parametrize("payload", ODD_PAYLOADS)
def test_odd_payload_is_taken_or_ends_the_session(calm_engine: Endpoint, payload: bytes) -> None:
    """The protocol leaves these open; the session is either in order afterwards or over, and never a puzzle."""
    session = calm_engine.open_polling()
    started = time.monotonic()
    assert session.post(payload).status in (200, 400)
    response = session.post("4still here")
    assert time.monotonic() - started < 4
    if response.status == 200 and "close: parse error" not in calm_engine.journal(session.sid):
        assert session.poll()[-1] == "4still here"
    else:
        assert_ended(calm_engine, session, "parse error")


def test_unsolicited_ping_ends_the_session(calm_engine: Endpoint) -> None:
    """In protocol 4 only the server pings."""
    session = calm_engine.open_polling()
    session.post("2")
    assert_ended(calm_engine, session, "transport error")


def test_binary_content_type_ends_the_session(calm_engine: Endpoint) -> None:
    """Protocol 4 has no binary payloads."""
    session = calm_engine.open_polling()
    response = session.post(b"\x01\x02", {"Content-Type": "application/octet-stream"})
    assert response.status == 400
    assert_ended(calm_engine, session, "transport error")


def test_parallel_poll_ends_the_session(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    first = session.start_get()
    time.sleep(IN_PARALLEL)
    second = session.get()
    assert (second.status, second.body) == (400, b"")
    assert first.response().text == "1"
    assert_ended(calm_engine, session, "transport error")


@pytest.mark.unbuffered
def test_parallel_post_ends_the_session(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    with socket.create_connection((calm_engine.host, int(calm_engine.port)), timeout=5) as slow:
        slow.sendall(calm_engine.request_head("POST", session.query, "Content-Length: 6") + b"4he")
        time.sleep(IN_PARALLEL)
        response = session.post("4hello")
        assert (response.status, response.body) == (400, b"")
    assert_ended(calm_engine, session, "transport error")


def test_oversize_post_is_refused_and_the_session_stays(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    head = calm_engine.request_head("POST", session.query, f"Content-Length: {LIMIT + 1}", "Content-Type: text/plain")
    response = calm_engine.send_raw(head + b"4" * (LIMIT + 1))
    assert response is not None
    assert (response.status, response.body) == (413, b"")
    assert_open(session)


def test_post_of_the_very_limit_is_taken(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    message = "4" + "x" * (LIMIT - 1)
    assert session.post(message).status == 200
    assert session.poll() == [message]


def test_chunked_post_is_taken_where_the_server_can(calm_engine: Endpoint, kind: str) -> None:
    session = calm_engine.open_polling()
    head = calm_engine.request_head("POST", session.query, "Transfer-Encoding: chunked", "Content-Type: text/plain")
    response = calm_engine.send_raw(head + b"3\r\n4he\r\n3\r\nllo\r\n0\r\n\r\n")
    assert response is not None
    if kind == "wsgiref":  # knows HTTP/1.0 only: the body has no length there
        assert response.status in (400, 411)
        assert_open(session)
    else:
        assert (response.status, response.text) == (200, "ok")
        assert session.poll() == ["4hello"]


def test_oversize_chunked_post_is_refused_and_the_session_stays(calm_engine: Endpoint, kind: str) -> None:
    session = calm_engine.open_polling()
    head = calm_engine.request_head("POST", session.query, "Transfer-Encoding: chunked", "Content-Type: text/plain")
    chunk = b"10000\r\n" + b"4" * 0x10000 + b"\r\n"
    response = calm_engine.send_raw(head + chunk * 16 + b"0\r\n\r\n")  # 1,048,576 bytes
    assert response is not None
    assert response.status in ((400, 411, 413) if kind == "wsgiref" else (413,))
    assert_open(session)


@pytest.mark.unbuffered
def test_chunked_body_without_end_is_refused_at_the_limit(calm_engine: Endpoint) -> None:
    """The answer does not wait for the end of a body that is too large already."""
    session = calm_engine.open_polling()
    head = calm_engine.request_head("POST", session.query, "Transfer-Encoding: chunked", "Content-Type: text/plain")
    chunk = b"10000\r\n" + b"4" * 0x10000 + b"\r\n"
    response = calm_engine.send_raw(head + chunk * 32)
    assert response is None or response.status in (400, 411, 413)
    assert_open(session)


def test_body_that_stops_half_way_delays_nobody(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    with socket.create_connection((calm_engine.host, int(calm_engine.port)), timeout=5) as connection:
        connection.sendall(calm_engine.request_head("POST", session.query, "Content-Length: 100") + b"4he")
        other = calm_engine.open_polling()
        assert_open(other)
        connection.shutdown(socket.SHUT_WR)  # the other 97 bytes will never come
        response = read_response(connection)
    assert response is None or response.status == 400
    assert "message" not in calm_engine.journal(session.sid)


@pytest.mark.differs("the reference's HTTP parser refuses both requests when the second is no HTTP")
def test_bytes_behind_the_declared_length_are_not_part_of_the_body(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    head = calm_engine.request_head("POST", session.query, "Content-Length: 6", "Connection: close")
    response = calm_engine.send_raw(head + b"4hello4more")
    assert response is not None and response.status == 200
    assert session.poll() == ["4hello"]


@pytest.mark.parametrize("length", ["abc", "-5", "+6", "6, 7", "0x6", "9" * 30, "٦"])
def test_nonsense_content_length_is_refused(calm_engine: Endpoint, length: str) -> None:
    session = calm_engine.open_polling()
    head = calm_engine.request_head("POST", session.query, "Connection: close").decode("latin-1")
    raw = head.replace("Connection:", f"Content-Length: {length}\r\nConnection:").encode()
    response = calm_engine.send_raw(raw + b"4hello")
    assert response is None or response.status in (400, 413)
    assert_open(session)


@pytest.mark.differs("the reference takes it for an empty body, which is a parse error")
def test_post_without_length_is_refused(calm_engine: Endpoint) -> None:
    session = calm_engine.open_polling()
    response = calm_engine.send_raw(calm_engine.request_head("POST", session.query, "Connection: close"))
    assert response is not None and response.status in (400, 411)


def test_silent_polling_client_is_given_up(engine: Endpoint) -> None:
    """A client that neither polls nor answers the ping is gone after ping_interval + ping_timeout."""
    session = engine.open_polling()
    assert engine.wait_for_end(session.sid, timeout=2) == "ping timeout"


def test_poll_waiting_at_the_ping_timeout_is_released(engine: Endpoint) -> None:
    session = engine.open_polling()
    assert session.get().text == "2"
    response = session.start_get().response()
    assert response.status == 400 or response.text == "1"
    assert engine.wait_for_end(session.sid, timeout=2) == "ping timeout"


def test_farewell_waits_for_the_next_poll(calm_engine: Endpoint) -> None:
    """A client that closes with no poll waiting: its id is unknown at once."""
    session = calm_engine.open_polling()
    assert session.post("1").text == "ok"
    assert_ended(calm_engine, session, "transport close")
