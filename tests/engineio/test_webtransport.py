"""Sessions over WebTransport: handshake, traffic, upgrades, the end, and clients that behave badly."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.engineio.conftest import MakeEngine
from tests.engineio.quic import ALL, QuicEngine
from tests.support.forking import forked
from tests.support.inprocess import Background, Closed, Refused, eventually
from tests.support.quic_end import QuicEnd
from wsgi_sio.engineio import MESSAGE, EngineConfig, Packet
from wsgi_sio.engineio.webtransport_handshake import make_environ
from wsgi_sio.webtransport.certificates import Certificate, make_certificate


@pytest.fixture
def make(make_engine: MakeEngine) -> Any:
    """``make(listen={}, **options)``."""
    return lambda **options: QuicEngine(make_engine, **options)


# -- a session ------------------------------------------------------------------------------------------------------


def test_the_handshake_and_traffic_both_ways(make: Any) -> None:
    quic = make()
    end = quic.end().open()
    end.send("0")
    first = end.receive()
    assert first[0] == "0"
    handshake = json.loads(first[1:])
    assert handshake == {
        "sid": handshake["sid"],
        "upgrades": [],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 1_000_000,
    }
    session = quic.engine.engine.sessions[handshake["sid"]]
    assert session.transport.name == "webtransport"
    end.send("4hello €", b"\x01\x02", "bAwQ=")
    eventually(lambda: len(quic.engine.received) == 3, "the messages")
    assert quic.engine.received == ["hello €", b"\x01\x02", b"\x03\x04"]
    session.send([Packet(MESSAGE, "back"), Packet(MESSAGE, b"\x05"), Packet(MESSAGE, b""), Packet(MESSAGE, "")])
    assert [end.receive() for _ in range(4)] == ["4back", b"\x05", "b", "4"]


@pytest.mark.parametrize("size", [1, 125, 126, 127, 1000, 65535, 65536, 300_000])
def test_every_size_both_ways(make: Any, size: int) -> None:
    quic = make()
    end, session = quic.opened()
    session.send([Packet(MESSAGE, "x" * size), Packet(MESSAGE, b"y" * size)])
    assert (end.receive(), end.receive()) == ("4" + "x" * size, b"y" * size)
    end.send("4" + "x" * size, b"y" * size)
    end.delivered()
    eventually(lambda: len(quic.engine.received) == 2, "the messages")
    assert quic.engine.received == ["x" * size, b"y" * size]


def test_a_broadcast_shares_its_frame_with_websockets(make: Any) -> None:
    quic = make()
    end, session = quic.opened()
    websocket, other = quic.engine.over_websocket()
    packets = [Packet(MESSAGE, "text"), Packet(MESSAGE, b"bytes" * 50), Packet(MESSAGE, b"")]
    for each in (session, other):
        each.send(packets)
    assert [end.receive() for _ in range(3)] == ["4text", b"bytes" * 50, "b"]
    assert [websocket.receive() for _ in range(3)] == ["4text", b"bytes" * 50, b""]


def test_order_and_completeness_with_loss(make: Any) -> None:
    quic = make()
    end, session = quic.opened(loss=5)
    texts = [f"{number}" + "." * (number % 700) for number in range(300)]
    for text in texts:
        session.send_message(text)
        end.send("4" + text)
        end.pump(timeout=0.0)
    assert [end.receive() for _ in texts] == ["4" + text for text in texts]
    end.delivered()
    eventually(lambda: len(quic.engine.received) == len(texts), "the messages")
    assert quic.engine.received == texts


def test_the_heartbeat(make: Any) -> None:
    quic = make(ping_interval=0.2, ping_timeout=0.4)
    end, session = quic.opened()
    end.answer_pings = False
    for _ in range(3):
        assert end.receive() == "2"
        end.send("3")
    assert session.open
    assert end.receive() == "2"
    end.pump(lambda: end.ended, 5.0)
    eventually(lambda: quic.engine.reasons == ["ping timeout"], "that it is told")


def test_a_client_that_vanishes(make: Any) -> None:
    quic = make(ping_interval=0.2, ping_timeout=0.4)
    end, _ = quic.opened()
    end.vanish()
    eventually(lambda: quic.engine.reasons == ["ping timeout"], "the end")
    eventually(lambda: not quic.engine.engine.sessions, "the session to be forgotten")


# -- the environ, and who may connect -------------------------------------------------------------------------------


def test_the_environ_is_what_a_wsgi_server_would_have_made() -> None:
    headers = (
        (b":method", b"CONNECT"),
        (b":protocol", b"webtransport"),
        (b":authority", b"example.com:4433"),
        (b":path", b"/app/socket.io/?a=1&b=%C3%A9"),
        (b"origin", b"https://example.com"),
        (b"x-two", b"1"),
        (b"x-two", b"2"),
        (b"x_two", b"3"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
    )
    environ = make_environ(headers, ("::ffff:10.0.0.1", 1234, 0, 0), 4433, "/app")
    assert {key: value for key, value in environ.items() if not key.startswith("wsgi.")} == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/socket.io/",
        "QUERY_STRING": "a=1&b=%C3%A9",
        "SERVER_NAME": "example.com",
        "SERVER_PORT": "4433",
        "SERVER_PROTOCOL": "HTTP/3",
        "REMOTE_ADDR": "10.0.0.1",
        "REMOTE_PORT": "1234",
        "HTTP_HOST": "example.com:4433",
        "HTTP_ORIGIN": "https://example.com",
        "HTTP_X_TWO": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
    }
    assert environ["wsgi.url_scheme"] == "https" and environ["wsgi.input"].read() == b""
    assert make_environ(headers, ("::1", 1, 0, 0), 1, "")["PATH_INFO"] == "/app/socket.io/"
    for authority, name in ((b"[::1]", "[::1]"), (b"[::1]:443", "[::1]"), (b"example.com", "example.com")):
        environ = make_environ(((b":authority", authority), (b":path", b"/%41")), ("::1", 1), 1, "")
        assert (environ["SERVER_NAME"], environ["PATH_INFO"]) == (name, "/A")


def test_the_session_has_it(make: Any) -> None:
    quic = make()
    _, session = quic.opened(path="/socket.io/?token=x")
    assert session.environ["QUERY_STRING"] == "token=x" and session.environ["REMOTE_ADDR"] == "127.0.0.1"
    assert "wsgi.input" not in session.environ and session.environ["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(
    ("options", "origin", "status"),
    [
        ({}, None, 200),
        ({}, "https://127.0.0.1:{port}", 200),
        ({}, "http://127.0.0.1:{port}", 200),
        ({}, "https://127.0.0.1:1", 403),
        ({}, "https://evil.example", 403),
        ({"cors_allowed_origins": "https://good.example"}, "https://good.example", 200),
        ({"cors_allowed_origins": "*"}, "https://any.example", 200),
    ],
)
def test_the_origin_is_asked(make: Any, options: dict[str, Any], origin: str | None, status: int) -> None:
    quic = make(**options)
    headers = {} if origin is None else {"Origin": origin.format(port=quic.listener.port)}
    assert quic.end(headers=headers).request() == status
    assert not quic.engine.sessions


def test_allow_request_is_asked_with_the_environ(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Any] = []

    def allow(environ: Any) -> bool | str:
        asked.append(environ)
        time.sleep(0.05)  # it may block
        return "no" if "bad" in environ["QUERY_STRING"] else True

    quic = make(allow_request=allow)
    assert quic.end(path="/socket.io/?good=1").request() == 200
    assert quic.end(path="/socket.io/?bad=1").request() == 403
    assert quic.end(path="/socket.io/?bad=1").request() == 403
    assert [environ["QUERY_STRING"] for environ in asked] == ["good=1", "bad=1", "bad=1"]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.message for record in warnings] == ["refused (code 4): allow_request refused it"]


def test_an_allow_request_that_fails(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    quic = make(allow_request=lambda environ: 1 / 0)
    assert quic.end().request() == 500
    assert "could not be told" in caplog.text and "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/socket.io/", 200),
        ("/socket.io", 200),
        ("/socket.io/?EIO=4&transport=webtransport", 200),
        ("/socket.io/?EIO=3&transport=webtransport", 400),
        ("/socket.io/?transport=polling", 400),
        ("/socket.io/x", 404),
        ("/other/", 404),
        ("/", 404),
    ],
)
def test_the_path(make: Any, path: str, status: int) -> None:
    assert make().end(path=path).request() == status


def test_below_a_prefix(make: Any) -> None:
    quic = make(listen={"prefix": "/app/"})
    _, session = quic.opened(path="/app/socket.io/")
    assert session.environ["SCRIPT_NAME"] == "/app" and session.environ["PATH_INFO"] == "/socket.io/"
    assert quic.end(path="/socket.io/").request() == 200  # a proxy may have taken it off


def test_no_more_than_max_sessions(make: Any) -> None:
    quic = make(max_sessions=1)
    quic.opened()
    late = quic.end().open()
    late.send("0")
    with pytest.raises(Closed):
        late.receive()
    assert len(quic.engine.engine.sessions) == 1


def test_a_server_that_drains_takes_nobody(make: Any) -> None:
    """Who has connected already gets 503; to others it is as if nobody listened."""
    quic = make()
    end = quic.end()
    assert end.pump(lambda: end.connected)
    quic.engine.engine.refuse_new_sessions()
    assert end.request() == 503
    late = quic.end()
    assert not late.pump(lambda: late.connected, 0.2)


def test_http_requests_cannot_ask_for_it(make: Any) -> None:
    quic = make()
    for query in ({"transport": "webtransport"}, {"transport": "webtransport", "sid": "x" * 20}):
        assert quic.engine.request("GET", **query).status == 400


# -- where it is served ---------------------------------------------------------------------------------------------


def test_it_has_to_be_among_the_transports(make: Any) -> None:
    assert EngineConfig().transports == ("polling", "websocket")
    with pytest.raises(ValueError, match="has no 'webtransport'"):
        make(transports=("polling",))


def test_once_a_process(make: Any) -> None:
    quic = make()
    with pytest.raises(ValueError, match=f"port {quic.listener.port} already"):
        quic.engine.engine.listen_webtransport("127.0.0.1", 0, None, None, password=None, prefix="", max_connections=1)


def test_it_is_offered_where_it_is_served(make: Any, make_engine: MakeEngine) -> None:
    def upgrades(engine: Any, **query: str) -> Any:
        answer = engine.request("GET", transport="polling", **query)
        return json.loads(answer.body[answer.body.index(b"{") :])["upgrades"]

    assert upgrades(make().engine) == ["webtransport"]  # no socket of a WSGI server is to be seen
    assert upgrades(make(allow_upgrades=False).engine) == []
    assert upgrades(make(allow_eio3=True).engine, EIO="3") == []
    assert upgrades(make_engine(transports=ALL)) == []
    quic = make()
    quic.engine.close()


def test_by_an_option_the_process_listens_with_its_first_request(make_engine: MakeEngine) -> None:
    engine = make_engine(webtransport={"host": "127.0.0.1", "port": 0}, path="/socket.io").engine
    assert engine.config.transports == ALL and engine.webtransport is None
    engine.notice()
    listener = engine.webtransport
    assert listener is not None and listener.port
    engine.notice()
    assert engine.webtransport is listener
    end = QuicEnd(("127.0.0.1", listener.port)).open()
    end.send("0")
    assert end.receive()[0] == "0"  # type: ignore[index]


def test_a_port_that_cannot_be_had_is_told(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        monkeypatch.setattr("wsgi_sio.engineio.webtransport_start._AGAIN", 0.05)
        engine = make_engine(webtransport={"host": "127.0.0.1", "port": port, "password": "secret"}).engine
        engine.notice()
        assert engine.webtransport is None and caplog.text == ""  # another worker may have it
        eventually(lambda: f"port {port} cannot be listened at" in caplog.text, "the word")
    assert "secret" not in caplog.text
    eventually(lambda: engine.webtransport is not None, "the next attempt")


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_a_certificate_that_cannot_be_had_is_told(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, tmp_path: Path, text: str
) -> None:
    """At once, and the request is answered all the same."""
    file = tmp_path / "cert.pem"
    if text:
        file.write_text(text)
    engine = make_engine(webtransport={"host": "127.0.0.1", "port": 0, "certfile": str(file)})
    assert engine.request("GET", transport="polling").status == 200
    engine.engine.notice()
    assert engine.engine.webtransport is None and "cannot be listened at" in caplog.text


def write(certificate: Certificate, folder: Path) -> dict[str, Any]:
    """Its files, as parameters."""
    (folder / "cert.pem").write_bytes(certificate.pem)
    (folder / "key.pem").write_bytes(
        certificate.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return {"certfile": folder / "cert.pem", "keyfile": folder / "key.pem"}


def shown(end: QuicEnd) -> bytes | None:
    """The hash of the certificate that a client is shown."""
    assert end.pump(lambda: end.connected)
    return end.connection.peer_certificate_hash


def test_files_that_have_changed_are_shown_to_those_that_come_then(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsgi_sio.engineio.webtransport_listener._LOOK", 0.05)
    first, second = make_certificate(), make_certificate()
    quic = make(listen=write(first, tmp_path))
    end, session = quic.opened()
    assert shown(end) == first.sha256
    write(second, tmp_path)
    eventually(lambda: shown(quic.end()) == second.sha256, "the new one")
    session.send_message("goes on")
    assert end.receive() == "4goes on"
    (tmp_path / "cert.pem").write_text("what certbot never writes")
    eventually(lambda: "that of WebTransport could not be renewed" in caplog.text, "the word")
    assert shown(quic.end()) == second.sha256


def test_one_made_on_the_spot_is_made_anew_in_time(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And pages that know the one before are told of both."""
    monkeypatch.setattr("wsgi_sio.engineio.webtransport_listener._LOOK", 0.05)
    quic = make()
    (before,) = quic.listener.certificate_hashes
    monkeypatch.setattr("wsgi_sio.engineio.webtransport_listener._IN_TIME", timedelta(days=20))
    after = eventually(lambda: len(quic.listener.certificate_hashes) == 2 and quic.listener.certificate_hashes)
    assert after[1] == before or before not in after  # the third has come by now
    assert {each["algorithm"] for each in after} == {"sha-256"}


def test_the_option_is_checked() -> None:
    with pytest.raises(TypeError, match="did you mean 'port'"):
        EngineConfig(webtransport={"prt": 1})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_listens_for_itself(make_engine: MakeEngine) -> None:
    engine = make_engine(webtransport={"host": "127.0.0.1", "port": 0}).engine
    engine.notice()

    def child() -> bool:
        assert engine.webtransport is None
        engine.notice()
        return engine.webtransport is not None

    with forked(child) as process:
        assert process.outcome() == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_of_a_process_with_clients_leaves_them_alone(make: Any) -> None:
    quic = make(ping_interval=0.2, ping_timeout=5)
    end, session = quic.opened()
    polling, waiting = quic.engine.over_polling()
    candidate = quic.probing(polling)
    driver = session.transport._driver

    def child() -> str:
        session.send_message("from the child")
        session.close()
        waiting.close()
        driver.post(lambda: driver.connection.send(b"\x05from the child"))
        driver.hang_up()
        time.sleep(0.5)  # timers that it had inherited would be due
        engine = quic.engine.engine
        return f"{len(engine.sessions)} {engine.webtransport} {len(quic.listener)}"

    with forked(child) as process:
        eventually(lambda: end.pump(timeout=0.05) or process.done, "the child's word")
        assert process.outcome() == "0 None 0"
    for number in range(3):
        session.send_message(f"{number}")
        assert end.receive() == f"4{number}"
    candidate.send("5")
    candidate.delivered()
    eventually(lambda: waiting.transport.name == "webtransport", "the switch")
    assert quic.engine.reasons == []


def test_nothing_of_it_is_imported_unless_it_is_served() -> None:
    code = (
        "import sys, wsgi_sio; wsgi_sio.Server(transports=['polling', 'websocket', 'webtransport']);"
        "print([name for name in sys.modules if 'webtransport' in name or name.startswith(('aioquic', 'cryptog'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "[]\n"


def test_a_library_that_is_missing_is_named(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioquic", None)
    with pytest.raises(ImportError, match=r"pip install wsgi_sio\[webtransport\]"):
        make_engine(webtransport={"port": 0})
    engine = make_engine(transports=ALL)
    with pytest.raises(ImportError, match=r"pip install wsgi_sio\[webtransport\]"):
        engine.engine.listen_webtransport("127.0.0.1", 0)


# -- upgrades -------------------------------------------------------------------------------------------------------


def test_probe_switch_and_traffic(make: Any) -> None:
    quic = make()
    polling, session = quic.engine.over_polling()
    waiting = polling.start_get()
    end = quic.probing(polling)
    assert waiting.result().body == b"6"
    end.send("5")
    end.delivered()
    eventually(lambda: session.transport.name == "webtransport", "the switch")
    end.send("4from client")
    end.delivered()
    eventually(lambda: quic.engine.received == ["from client"], "the message")
    session.send_message("from server")
    assert end.receive() == "4from server"
    assert session.upgrade is None
    assert polling.get().status == 400


def test_nothing_is_lost_or_reordered_by_a_switch(make: Any) -> None:
    quic = make()
    polling, session = quic.engine.over_polling()
    for number in range(10):
        session.send_message(f"a{number}")
    end = quic.probing(polling)
    for number in range(10):
        session.send_message(f"b{number}")
    first = polling.get().body.decode().split("\x1e")
    for number in range(10):
        session.send_message(f"c{number}")
    end.send("5")
    got = [message for message in first if message[0] == "4"] + [end.receive() for _ in range(10)]
    assert got == [f"4{letter}{number}" for letter in "abc" for number in range(10)]


@pytest.mark.parametrize(
    "sid", ["unknown", "{}", '{"sid":1}', '{"sid":null}', "[" * 900, '{"sid":"' + "x" * 2000 + '"}']
)
def test_a_session_that_there_is_not(make: Any, sid: str) -> None:
    quic = make()
    end = quic.end().open()
    end.send(f'0{{"sid":"{sid}"}}' if sid == "unknown" else "0" + sid, "2probe")
    with pytest.raises(Closed):
        end.receive()
    assert not quic.engine.sessions


def test_a_session_that_has_been_upgraded_is_not_affected(make: Any) -> None:
    quic = make()
    end, session = quic.opened()
    other = quic.end().open()
    other.send(f'0{{"sid":"{session.id}"}}', "2probe")
    with pytest.raises(Closed):
        other.receive()
    session.send_message("still here")
    assert end.receive() == "4still here"
    websocket, session = quic.engine.over_websocket()
    other = quic.end().open()
    other.send(f'0{{"sid":"{session.id}"}}', "2probe")
    with pytest.raises(Closed):
        other.receive()
    session.send_message("so am I")
    assert websocket.receive() == "4so am I"


def test_one_upgrade_at_a_time(make: Any) -> None:
    quic = make()
    polling, session = quic.engine.over_polling()
    end = quic.probing(polling)
    try:
        websocket = quic.engine.websocket(polling.sid)
    except Refused:
        pass
    else:
        websocket.wait_closed(5)
    second = quic.end().open()
    second.send(f'0{{"sid":"{polling.sid}"}}', "2probe")
    with pytest.raises(Closed):
        second.receive()
    end.send("5")
    end.delivered()
    eventually(lambda: session.transport.name == "webtransport", "the switch")


@pytest.mark.parametrize("instead", ["4early", "5x", "3probe", b"\x01", "\x00", "END"])
def test_anything_else_ends_the_candidate_alone(make: Any, instead: Any) -> None:
    quic = make()
    polling, session = quic.engine.over_polling()
    end = quic.probing(polling)
    if instead == "END":
        end.close()
    elif instead == "\x00":
        end.send_raw(b"\x00")
    else:
        end.send(instead)
    eventually(lambda: session.upgrade is None, "the candidate's end") if instead == "END" else end.pump(
        lambda: end.ended, 5.0
    )
    assert session.upgrade is None and session.open and session.transport.name == "polling"
    session.send_message("alive")
    assert polling.receive() == "4alive" and quic.engine.reasons == []


def test_a_candidate_that_says_nothing(make: Any) -> None:
    quic = make(upgrade_timeout=0.3)
    polling, session = quic.engine.over_polling()
    end = quic.probing(polling)
    with pytest.raises(Closed):
        end.receive()
    assert session.upgrade is None and session.open and session.transport.name == "polling"


# -- the end --------------------------------------------------------------------------------------------------------


def test_the_server_closes(make: Any) -> None:
    quic = make()
    end, session = quic.opened()
    session.send_message("last words")
    session.close()
    assert end.receive() == "4last words"
    with pytest.raises(Closed):
        end.receive()
    end.pump(lambda: end.closed, 5.0)
    assert end.closed
    eventually(lambda: quic.engine.reasons == ["forced close"], "that it is told")
    eventually(lambda: not quic.engine.engine.sessions and len(quic.listener) == 0, "the end of all")


def test_what_is_sent_right_before_the_end_arrives(make: Any) -> None:
    """A megabyte, by a network that loses a twentieth of everything."""
    quic = make()
    end, session = quic.opened(loss=5)
    for number in range(10):
        session.send([Packet(MESSAGE, bytes([number]) * 30_000)])
    session.close()
    assert [end.receive() for _ in range(10)] == [bytes([number]) * 30_000 for number in range(10)]


def test_what_is_acknowledged_has_yet_to_be_read(make: Any) -> None:
    """A browser keeps it for its page, and throws it away when the session is closed: that waits for the pong."""
    quic = make()
    end, session = quic.opened()
    transport = session.transport
    session.send_message("last words")
    session.close()
    end.pump(lambda: end.ended and transport._driver.connection.is_delivered)
    end.pump(timeout=0.1)
    assert session.transport is transport
    assert end.receive() == "4last words"
    with pytest.raises(Closed):
        end.receive()  # and answer
    end.pump(lambda: session.transport is not transport, 3.0)
    assert session.transport is not transport


def test_the_pong_of_a_heartbeat_is_not_that_of_the_end(make: Any) -> None:
    quic = make()
    end, session = quic.opened()
    end.answer_pings = False
    transport = session.transport
    for _ in range(2):
        session.ping()
        assert end.receive() == "2"
        end.send("3")
        end.delivered()
    session.ping()
    session.send_message("last words")
    session.close()
    assert end.receive() == "2"
    end.send("3")
    end.delivered()
    end.pump(timeout=0.1)
    assert session.transport is transport
    assert [end.receive(), end.receive()] == ["4last words", "2"]
    end.send("3")
    end.pump(lambda: session.transport is not transport, 3.0)
    assert session.transport is not transport


@pytest.mark.parametrize("how", ["close", "stream", "reset", "session", "connection"])
def test_the_client_closes(make: Any, how: str) -> None:
    quic = make()
    end, _ = quic.opened()
    if how == "close":
        end.close()
    elif how == "stream":
        end.connection.end_stream()
    elif how == "reset":
        end.quic.reset_stream(4, 1)
    elif how == "session":
        end.connection.end_session()
    else:
        end.connection.close()
    if how != "close":
        end.flush()
    eventually(lambda: quic.engine.reasons == ["transport close"], "the end")
    eventually(lambda: not quic.engine.engine.sessions, "the session to be forgotten")
    if how != "close":
        end.pump(lambda: end.closed, 5.0)
    eventually(lambda: len(quic.listener) == 0, "the connection's end")


def test_a_close_packet(make: Any) -> None:
    quic = make()
    end, _ = quic.opened()
    end.send("1")
    with pytest.raises(Closed):
        end.receive()
    eventually(lambda: quic.engine.reasons == ["transport close"], "that it is told")


def test_the_engine_closes(make: Any) -> None:
    quic = make()
    end, _ = quic.opened()
    polling, session = quic.engine.over_polling()
    candidate = quic.probing(polling)
    quic.engine.engine.close()
    for each in (end, candidate):
        with pytest.raises(Closed):
            each.receive()
        each.close()
    assert not session.open
    eventually(lambda: len(quic.listener) == 0, "the connections' end")
    eventually(lambda: quic.listener._listener.fileno() == -1, "the port to be free")


# -- clients that behave badly --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00", "parse error"),
        (b"\x7f\x00\x00\x01\x00\x00\x00\x00\x00", "transport error"),  # 2^40 bytes
        (b"\xff" * 9, "transport error"),
        (b"\x01x", "parse error"),
        (b"\x02bx", "parse error"),
        (b"\x012", "transport error"),  # only the server pings
    ],
)
def test_nonsense_ends_the_session(make: Any, data: bytes, reason: str) -> None:
    quic = make()
    end, _ = quic.opened()
    end.send("4before")
    end.send_raw(data + b"\x064after")
    with pytest.raises(Closed):
        end.receive()
    eventually(lambda: quic.engine.reasons == [reason], "that it is told")
    assert quic.engine.received == ["before"]
    assert not quic.engine.engine.sessions


@pytest.mark.parametrize("data", [b"\x00", b"\xff" * 9, b"\x82ab", b"\x044abc", b"\x010\x010"])
def test_nonsense_instead_of_the_first_packet(make: Any, data: bytes) -> None:
    quic = make()
    end = quic.end().open()
    end.send_raw(data)
    if data == b"\x010\x010":  # a second one, which nobody minds on a WebSocket either
        assert end.receive()[0] == "0"  # type: ignore[index]
        return
    with pytest.raises(Closed):
        end.receive()
    assert not quic.engine.sessions


@pytest.mark.parametrize("stage", ["connected", "accepted", "half a frame"])
def test_whoever_says_nothing_is_hung_up_on(make: Any, stage: str) -> None:
    quic = make(upgrade_timeout=0.3)
    end = quic.end()
    if stage == "connected":
        assert end.pump(lambda: end.connected)
    else:
        end.open()
        if stage == "half a frame":
            end.send_raw(b"\x7e\x00")
    assert end.pump(lambda: end.closed, 6.0)
    eventually(lambda: len(quic.listener) == 0, "the connection's end")
    assert not quic.engine.sessions


def test_too_large_a_message_is_told_once(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    quic = make(max_http_buffer_size=1000)
    for _ in range(2):
        end, _ = quic.opened()
        end.send("4" + "x" * 999)
        end.send(b"x" * 1001)
        with pytest.raises(Closed):
            end.receive()
    assert quic.engine.received == ["x" * 999] * 2
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1 and "max_http_buffer_size=1000" in warnings[0]


def test_a_paused_session_stops_its_client(make: Any) -> None:
    """Pressure inwards: what has come beyond the window stays with the client."""
    quic = make()
    end, session = quic.opened()
    session.pause()
    for _ in range(40):
        end.send(b"x" * 50_000)
    assert not end.pump(lambda: end.connection.unsent == 0, 1.0)
    assert end.connection.unsent >= 2_000_000 - 300_000
    assert session.transport.unread and quic.engine.received == []
    session.resume()
    end.delivered()
    eventually(lambda: len(quic.engine.received) == 40, "the messages")


def test_a_client_that_does_not_read_is_cut(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Pressure outwards: it acknowledges, and answers pings, but gives no credit."""
    quic = make(max_outbox=200_000)
    end, session = quic.opened()
    other, fine = quic.opened()
    end.quic._write_stream_limits = lambda **given: None  # type: ignore[method-assign]
    end.quic._write_connection_limits = lambda **given: None  # type: ignore[method-assign]
    sent = 0
    while session.open and sent < 1000:
        session.send([Packet(MESSAGE, b"x" * 20_000)])
        end.pump(timeout=0.02)
        sent += 1
    # 256 KB of credit, 128 KB that may be unsent, and the outbox
    assert 25 <= sent <= 40
    eventually(lambda: quic.engine.reasons == ["transport error"], "that it is told")
    assert "slow client" in caplog.text
    fine.send_message("unaffected")
    assert other.receive() == "4unaffected"
    end.pump(lambda: end.ended, 5.0)
    eventually(lambda: len(quic.engine.engine.sessions) == 1, "the session to be forgotten")


def test_volatile_packets_are_dropped_while_it_is_behind(make: Any) -> None:
    quic = make()
    end, session = quic.opened()
    assert session.send([Packet(MESSAGE, "now")], volatile=True)
    for _ in range(30):
        session.send([Packet(MESSAGE, b"x" * 10_000)])
    assert not session.send([Packet(MESSAGE, "lost")], volatile=True)
    got = [end.receive() for _ in range(31)]
    assert got[0] == "4now" and len(got) == 31
    end.pump(timeout=0.2)
    assert session.send([Packet(MESSAGE, "again")], volatile=True)
    assert end.receive() == "4again"


def test_a_handler_that_sends_much_waits_for_its_client(make: Any) -> None:
    quic = make(max_outbox=400_000)
    end, session = quic.opened()

    def produce() -> None:
        for number in range(100):
            session.wait_for_room()
            assert session.send([Packet(MESSAGE, bytes([number]) * 20_000)], patient=True)

    work = Background(produce)
    assert [end.receive() for _ in range(100)] == [bytes([number]) * 20_000 for number in range(100)]
    work.result()
    assert session.open
