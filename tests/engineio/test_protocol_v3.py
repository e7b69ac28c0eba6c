"""Sessions of Engine.IO protocol 3: who may have one, the heartbeat, messages over both transports, JSONP."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import Background, Closed, Refused, WebSocket, eventually
from wsgi_sio.engineio import MESSAGE, Packet, Session
from wsgi_sio.engineio.packet_v3 import decode_payload_v3, encode_payload_v3
from wsgi_sio.engineio.response import Response

OCTETS = {"Content-Type": "application/octet-stream"}


class PollingV3:
    """A long-polling client of protocol 3; ``query`` goes into each of its requests."""

    def __init__(self, engine: Engine, **query: str) -> None:
        self._engine = engine
        self.query = {"EIO": "3", "transport": "polling", **query}
        self.headers = {"Referer": "http://127.0.0.1/page"} if "j" in query else {}
        self.opened = engine.request("GET", self.headers, **self.query)
        assert self.opened.status == 200, self.opened
        (first, *self.rest), _ = decode_payload_v3(unpacked(self.opened))
        assert isinstance(first.data, str)
        self.handshake = json.loads(first.data)
        self.query["sid"] = self.handshake["sid"]

    @property
    def session(self) -> Session:
        return self._engine.engine.sessions[self.query["sid"]]

    def get(self) -> Response:
        return self._engine.request("GET", self.headers, **self.query)

    def start_get(self) -> Background:
        """A GET that waits; it is parked when this returns."""
        call = Background(self.get)
        eventually(lambda: call.done or self.session.transport.idle, "a parked GET")
        return call

    def post(self, body: str | bytes, headers: dict[str, str] | None = None) -> Response:
        data = body.encode() if isinstance(body, str) else body
        return self._engine.request("POST", {**self.headers, **(headers or {})}, data, **self.query)


def unpacked(response: Response) -> str | bytes:
    """The payload of an answer, JSONP or not."""
    if dict(response.headers)["Content-Type"] == "application/octet-stream":
        return response.body
    text = response.body.decode()
    return json.loads(text[text.index("(") + 1 : -2]) if text.startswith("___eio") else text


def websocket(engine: Engine, **query: str) -> WebSocket:
    return engine.websocket(extra={"QUERY_STRING": urlencode({"EIO": "3", "transport": "websocket", **query})})


def over_websocket(engine: Engine, **query: str) -> tuple[WebSocket, Session]:
    """A new session over WebSocket, its handshake read."""
    client = websocket(engine, **query)
    client.answer_pings = False
    first = client.receive()
    assert isinstance(first, str) and first[0] == "0"
    return client, engine.engine.sessions[json.loads(first[1:])["sid"]]


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine(allow_eio3=True)


def echo(session: Session) -> None:
    session.on_message = session.send_message


@pytest.fixture
def echoing(make_engine: MakeEngine) -> Engine:
    return make_engine(echo, allow_eio3=True)


# -- who may have one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [{}, {"EIO": "3"}, {"EIO": "2"}, {"EIO": "5"}, {"EIO": "abc"}])
def test_it_has_to_be_allowed(
    make_engine: MakeEngine, version: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says how."""
    engine = make_engine()
    query = urlencode({"transport": "polling", **version})
    with caplog.at_level(logging.WARNING, "wsgi_sio"):
        answer = engine.request("GET", extra={"QUERY_STRING": query})
    assert (answer.status, answer.body) == (400, b'{"code":5,"message":"Unsupported protocol version"}')
    assert "allow_eio3=True" in caplog.text
    with pytest.raises(Refused):
        engine.websocket(extra={"QUERY_STRING": query.replace("polling", "websocket")})


def test_the_handshake_is_the_same(engine: Engine) -> None:
    client = PollingV3(engine)
    assert set(client.handshake) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    text = client.opened.body.decode()
    length, _, packet = text.partition(":")
    assert int(length) == len(packet) and client.rest == []
    assert dict(client.opened.headers)["Content-Type"] == "text/plain; charset=UTF-8"
    assert client.session.protocol == 3


def test_both_protocols_side_by_side(echoing: Engine) -> None:
    old, new = PollingV3(echoing), echoing.polling()
    new.send("4new")
    assert old.post("4:4old").body == b"ok"
    assert old.get().body == b"4:4old"
    assert new.receive() == "4new"
    assert echoing.engine.sessions[new.sid].protocol == 4


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_session_keeps_its_protocol(engine: Engine, method: str) -> None:
    old, new = PollingV3(engine), engine.polling()
    for sid, version in ((old.query["sid"], "4"), (new.sid, "3")):
        answer = engine.request(method, body=b"2:4a", transport="polling", sid=sid, EIO=version)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, 3)
    assert engine.ended == []


# -- the heartbeat --------------------------------------------------------------------------------------------------


def test_the_client_pings_and_the_server_answers(engine: Engine) -> None:
    client, _ = over_websocket(engine)
    client.send("2")
    assert client.receive() == "3"
    polling = PollingV3(engine)
    assert polling.post("1:2").body == b"ok"
    assert polling.get().body == b"1:3"
    assert engine.received == []


def test_the_server_never_pings_and_waits_for_interval_and_timeout(make_engine: MakeEngine) -> None:
    engine = make_engine(allow_eio3=True, ping_interval=0.4, ping_timeout=0.4)
    good, good_session = over_websocket(engine)
    silent, silent_session = over_websocket(engine)
    for _ in range(4):
        good.expect_silence(0.25)
        good.send("2")
        assert good.receive() == "3"
    with pytest.raises(Closed):
        silent.receive()
    eventually(lambda: engine.ended == [(silent_session.id, "ping timeout")], "the end of the silent one")
    assert good_session.open


@pytest.mark.parametrize("packet", ["3", "3probe"])
def test_a_pong_goes_the_wrong_way(engine: Engine, packet: str) -> None:
    client, _ = over_websocket(engine)
    client.send(packet)
    client.wait_closed()
    PollingV3(engine).post(f"{len(packet)}:{packet}")
    eventually(lambda: engine.reasons == ["transport error"] * 2, "both ends")


def test_a_paused_session_outlives_its_heartbeat(make_engine: MakeEngine) -> None:
    engine = make_engine(allow_eio3=True, ping_interval=0.05, ping_timeout=0.05)
    client, session = over_websocket(engine)
    session.pause()
    client.expect_silence(0.3)
    assert engine.ended == []
    session.resume()
    eventually(lambda: engine.ended, "the end")
    assert engine.reasons == ["ping timeout"]


# -- messages -------------------------------------------------------------------------------------------------------


def test_websocket_messages(echoing: Engine) -> None:
    """A binary one has its type in its first byte; base64 has it behind the b."""
    client, _ = over_websocket(echoing)
    for sent, answer in (
        ("4h\u20ac\U0001f600", "4h\u20ac\U0001f600"),
        ("4", "4"),
        (b"\x04\x01\x02", b"\x04\x01\x02"),
        (b"\x04", b"\x04"),
        ("b4AQI=", b"\x04\x01\x02"),
    ):
        client.send(sent)
        assert client.receive() == answer


def test_websocket_client_without_binary_gets_base64(echoing: Engine) -> None:
    client, _ = over_websocket(echoing, b64="1")
    client.send(b"\x04\x01\x02")
    assert client.receive() == "b4AQI="


@pytest.mark.parametrize("message", ["", "7", "x", b"", b"\x07x", "b9AQI=", "b4A"])
def test_bad_websocket_message(engine: Engine, message: str | bytes) -> None:
    client, _ = over_websocket(engine)
    client.send(message)
    client.wait_closed()
    eventually(lambda: engine.reasons == ["parse error"], "the end")


@pytest.mark.parametrize("message", ["0{}", "5", "6", b"\x06"])
def test_packets_without_a_meaning_are_ignored(echoing: Engine, message: str | bytes) -> None:
    client, _ = over_websocket(echoing)
    client.send(message, "4still here")
    assert client.receive() == "4still here"


def test_text_payload_counts_utf_16_units(echoing: Engine) -> None:
    client = PollingV3(echoing)
    assert client.post('14:42["ev","\u20ac\U0001f600"]').body == b"ok"
    assert client.get().body.decode() == '14:42["ev","\u20ac\U0001f600"]'


@pytest.mark.parametrize(
    ("query", "answer", "content_type"),
    [
        ({}, b"\x00\x03\xff4hi\x01\x03\xff\x04\x01\x02", "application/octet-stream"),
        ({"b64": "1"}, b"3:4hi6:b4AQI=", "text/plain; charset=UTF-8"),
    ],
)
def test_binary_over_polling(echoing: Engine, query: dict[str, str], answer: bytes, content_type: str) -> None:
    """What the client takes is settled by its handshake, whatever its later requests say."""
    client = PollingV3(echoing, **query)
    client.query = {**client.query, "b64": "" if query else "1"}
    assert client.post(b"\x00\x03\xff4hi\x01\x03\xff\x04\x01\x02", OCTETS).body == b"ok"
    response = client.get()
    assert (response.body, dict(response.headers)["Content-Type"]) == (answer, content_type)


def test_text_stays_text_for_clients_with_binary(echoing: Engine) -> None:
    client = PollingV3(echoing)
    client.post("6:b4AQI=")
    assert client.get().body == b"\x01\x03\xff\x04\x01\x02"
    client.post("2:4a")
    assert client.get().body == b"2:4a"


@pytest.mark.parametrize("body", ["abc", ":", "3:4a", "1:9", "2:4a3", b"\xff\xfe"])
def test_bad_payload(engine: Engine, body: str | bytes) -> None:
    client = PollingV3(engine)
    client.post(body)
    assert engine.reasons == ["parse error"]
    assert client.get().status == 400


@pytest.mark.parametrize("body", [b"\x00\x01", b"\x05\x01\xff4", b"\x01\x01\xff\x09"])
def test_bad_binary_payload(engine: Engine, body: bytes) -> None:
    PollingV3(engine).post(body, OCTETS)
    assert engine.reasons == ["parse error"]


def test_what_precedes_a_bad_packet_is_delivered(engine: Engine) -> None:
    PollingV3(engine).post("3:4hi1:93:4no")
    assert engine.received == ["hi"]


def test_closing_over_polling(engine: Engine) -> None:
    client = PollingV3(engine)
    get = client.start_get()
    assert client.post("1:1").body == b"ok"
    assert get.result().body == b"1:6"
    assert engine.reasons == ["transport close"]
    other = PollingV3(engine)
    waiting = other.start_get()
    other.session.close()
    assert waiting.result().body == b"1:1"


def test_a_flood_of_pings_over_polling_is_bounded(make_engine: MakeEngine) -> None:
    engine = make_engine(allow_eio3=True, max_outbox=100_000)
    client = PollingV3(engine)
    client.post("1:2" * 1000)
    assert engine.reasons == ["transport error"]


# -- the upgrade ----------------------------------------------------------------------------------------------------


def test_upgrade(echoing: Engine) -> None:
    """What was queued, text and bytes, arrives over the WebSocket in this protocol's form, in order."""
    polling = PollingV3(echoing)
    session = polling.session
    client = websocket(echoing, sid=polling.query["sid"])
    client.answer_pings = False
    client.send("2probe")
    assert client.receive() == "3probe"
    session.send([Packet(MESSAGE, "text"), Packet(MESSAGE, b"\x01"), Packet(MESSAGE, "more")])
    client.send("5")
    assert [client.receive() for _ in range(3)] == ["4text", b"\x04\x01", "4more"]
    client.send("2", b"\x04\x02")
    assert [client.receive() for _ in range(2)] == ["3", b"\x04\x02"]
    assert polling.get().status == 400


def test_a_candidate_of_the_other_protocol_is_refused(engine: Engine) -> None:
    polling = PollingV3(engine)
    with pytest.raises(Refused):
        engine.websocket(polling.query["sid"])
    assert polling.session.open


# -- one packet for many --------------------------------------------------------------------------------------------


def test_a_shared_packet_suits_every_client(engine: Engine) -> None:
    """Whoever comes first, the frames in the shared packets stay those of protocol 4."""
    old, old_session = over_websocket(engine)
    plain, plain_session = over_websocket(engine, b64="1")
    new, new_session = engine.over_websocket()
    polling = PollingV3(engine)
    sessions = [old_session, new_session, plain_session, polling.session]
    for order in (sessions, sessions[::-1]):
        batch = [Packet(MESSAGE, "text"), Packet(MESSAGE, b"\x01\x02")]
        for session in order:
            assert session.send(batch)
        assert [old.receive(), old.receive()] == ["4text", b"\x04\x01\x02"]
        assert [new.receive(), new.receive()] == ["4text", b"\x01\x02"]
        assert [plain.receive(), plain.receive()] == ["4text", "b4AQI="]
        assert polling.get().body == b"\x00\x05\xff4text\x01\x03\xff\x04\x01\x02"


def test_a_reserved_place_is_kept_in_this_protocol_s_form(engine: Engine) -> None:
    client, session = over_websocket(engine)
    send_rest = session.reserve([Packet(MESSAGE, b"\x01")])
    session.send([Packet(MESSAGE, b"\x02")])
    send_rest()
    assert [client.receive(), client.receive()] == [b"\x04\x01", b"\x04\x02"]


# -- JSONP ----------------------------------------------------------------------------------------------------------


def test_jsonp(echoing: Engine) -> None:
    """A script answers; a form brings packets, its line breaks escaped since browsers rewrite them."""
    client = PollingV3(echoing, j="4x2")
    assert client.opened.body.startswith(b'___eio[42]("')
    assert dict(client.opened.headers)["Content-Type"] == "text/plain; charset=UTF-8"
    messages = ['4a"\u2028\U0001f600</script>', "4new\nline", "4back\\slash n \\n", b"\x01\x02"]
    payload = encode_payload_v3([Packet(MESSAGE, m[1:] if isinstance(m, str) else m) for m in messages], False)
    assert isinstance(payload, str)
    escaped = payload.replace("\\n", "\\\\n").replace("\n", "\\n")  # what engine.io-client 3 does
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(urlencode({"d": escaped}), form).body == b"ok"
    answer = client.get()
    assert unpacked(answer) == payload
    assert "\u2028" not in answer.body.decode()


def test_jsonp_request_of_a_binary_session_gets_text(echoing: Engine) -> None:
    client = PollingV3(echoing)
    client.post("6:b4AQI=")
    client.query["j"] = "0"
    client.headers = {"Sec-Fetch-Site": "same-origin"}
    assert client.get().body == b'___eio[0]("6:b4AQI=");'


@pytest.mark.parametrize("body", ["x=1", "d=", "d=abc", "d=2%3A4a&" * 50, b"\xff"])
def test_bad_form(engine: Engine, body: str | bytes) -> None:
    PollingV3(engine, j="0").post(body)
    assert (engine.reasons, engine.received) == (["parse error"], [])


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_jsonp_of_another_site_s_page_is_refused(
    make_engine: MakeEngine, site: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A script tag sends no Origin, only this; without the check any page could read a session made with cookies."""
    headers = {"Sec-Fetch-Site": site}
    query = {"EIO": "3", "transport": "polling", "j": "0"}
    with caplog.at_level(logging.WARNING, "wsgi_sio"):
        assert make_engine(allow_eio3=True).request("GET", headers, **query).status == 403
    assert "JSONP" in caplog.text and "cors_allowed_origins='*'" in caplog.text
    assert make_engine(allow_eio3=True, cors_allowed_origins="*").request("GET", headers, **query).status == 200
    assert make_engine(allow_eio3=True, jsonp_without_origin=True).request("GET", headers, **query).status == 403


@pytest.mark.parametrize(
    ("headers", "options", "ok"),
    [
        ({}, {}, False),
        ({}, {"cors_allowed_origins": "https://shop.example"}, False),
        ({}, {"cors_allowed_origins": lambda origin: True}, False),
        ({}, {"jsonp_without_origin": True}, True),
        ({}, {"cors_allowed_origins": "*"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, {}, True),
        ({"Sec-Fetch-Site": "none"}, {}, True),
        ({"Referer": "http://127.0.0.1/page?x=1"}, {}, True),
        ({"Referer": "https://shop.example/page"}, {}, False),
        ({"Referer": "https://shop.example/page"}, {"jsonp_without_origin": True}, False),
        ({"Referer": "https://shop.example/page"}, {"cors_allowed_origins": ["https://shop.example"]}, True),
        (
            {"Referer": "https://shop.example/page", "Sec-Fetch-Site": "cross-site"},
            {"cors_allowed_origins": lambda origin, environ: origin == "https://shop.example"},
            True,
        ),
        ({"Referer": "/page"}, {}, False),
        ({"Origin": "http://127.0.0.1"}, {}, True),
        ({"Origin": "https://shop.example", "Sec-Fetch-Site": "same-origin"}, {}, False),
    ],
)
def test_jsonp_is_answered_to_known_pages(
    make_engine: MakeEngine, headers: dict[str, str], options: dict[str, Any], ok: bool
) -> None:
    """By Origin, Sec-Fetch-Site or Referer, whichever the browser sends; nothing else tells."""
    engine = make_engine(allow_eio3=True, **options)
    answer = engine.request("GET", headers, EIO="3", transport="polling", j="0")
    assert answer.status == (200 if ok else 403)


def test_protocol_4_has_no_jsonp(engine: Engine) -> None:
    assert engine.request("GET", transport="polling", j="0").body.startswith(b"0{")


# -- hostile --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_body",
    [lambda: "1:2" * 300_000, lambda: "0:" * 450_000, lambda: "1" * 900_000, lambda: "d=" + "%5Cn" * 200_000],
)
def test_hostile_bodies_cost_little(make_engine: MakeEngine, make_body: Callable[[], str]) -> None:
    engine = make_engine(allow_eio3=True)
    for query in ({}, {"j": "0"}):
        client = PollingV3(engine, **query)
        assert client.post(make_body()).status == 200
