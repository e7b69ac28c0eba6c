"""The WebSocket transport: partial writes, large messages, closing, and what it leaves behind."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.support.inprocess import (
    CLOSE_OPCODE,
    UPGRADE,
    Background,
    Closed,
    WebSocket,
    control_frame,
    eventually,
    frame_of,
    open_descriptors,
)
from tests.support.world import WORLD
from wsgi_sio.engineio import MESSAGE, Packet, Session
from wsgi_sio.websocket.frames import PING, PONG, TEXT, encode_frame
from wsgi_sio.websocket.messages import Pong


def echo(session: Session) -> None:
    session.on_message = lambda data: session.send_message(data) and None


@pytest.mark.parametrize("buffers", [4096, None])
def test_large_messages_both_ways(make_engine: MakeEngine, buffers: int | None) -> None:
    """A megabyte of text and of bytes, over buffers that take a few kilobytes at a time."""
    engine = make_engine(echo, max_http_buffer_size=2_000_000, max_outbox=10_000_000)
    websocket, _ = engine.over_websocket(buffers=buffers)
    text, data = "é" * 500_000, os.urandom(1_000_000)
    sending = Background(websocket.send, "4" + text, data)
    assert websocket.receive(10) == "4" + text
    assert websocket.receive(10) == data
    sending.result()


def test_a_message_may_arrive_byte_by_byte(make_engine: MakeEngine) -> None:
    engine = make_engine(echo)
    websocket, _ = engine.over_websocket()
    for byte in frame_of("4héllo") + frame_of(b"\x00" * 10):
        websocket.send_raw(bytes([byte]))
    assert (websocket.receive(), websocket.receive()) == ("4héllo", b"\x00" * 10)


def test_many_messages_in_one_chunk_and_fragments(make_engine: MakeEngine) -> None:
    engine = make_engine(echo)
    websocket, _ = engine.over_websocket()
    mask = b"abcd"
    fragments = encode_frame(TEXT, b"4fr", fin=False, mask=mask) + encode_frame(0, b"agments", mask=mask)
    websocket.send_raw(b"".join([frame_of(f"4{n}") for n in range(500)]) + fragments)
    assert [websocket.receive() for _ in range(501)] == [*[f"4{n}" for n in range(500)], "4fragments"]


def test_the_limit_is_inclusive_and_more_closes_with_1009(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(echo, max_http_buffer_size=1000)
    websocket, _ = engine.over_websocket()
    websocket.send("4" + "x" * 999)
    assert len(websocket.receive()) == 1000
    websocket.send("4" + "x" * 1000)
    assert websocket.wait_closed() == 1009
    eventually(lambda: engine.reasons == ["transport error"] and not engine.engine.sessions, "the end")
    assert "more than max_http_buffer_size=1000 bytes at once, so the connection is closed" in caplog.text


@pytest.mark.parametrize(
    ("wire", "code", "reason"),
    [
        (control_frame(CLOSE_OPCODE, b"\x03\xe8bye"), 1000, "transport close"),
        (control_frame(CLOSE_OPCODE, b"\x03\xe9"), 1001, "transport close"),
        (control_frame(CLOSE_OPCODE, b"\x0f\xa0own"), 4000, "transport close"),
        (control_frame(CLOSE_OPCODE), 1005, "transport close"),
        (control_frame(CLOSE_OPCODE, b"\x03"), 1002, "transport error"),
        (control_frame(CLOSE_OPCODE, b"\x03\xed"), 1002, "transport error"),
        (b"\x81\x01x", 1002, "transport error"),
        (b"\xc1\x80\0\0\0\0", 1002, "transport error"),
        (control_frame(TEXT, b"4\xff"), 1007, "transport error"),
    ],
)
def test_the_closing_handshake(make_engine: MakeEngine, wire: bytes, code: int, reason: str) -> None:
    """The peer's code is echoed, a violation gets its own; then the TCP connection ends."""
    engine = make_engine()
    websocket, session = engine.over_websocket(tcp=True)
    websocket.send_raw(wire)
    assert websocket.wait_closed() == code
    websocket.wait_eof()
    eventually(lambda: engine.reasons == [reason], "on_close")
    assert session.id not in engine.engine.sessions


def test_a_close_by_the_server_reaches_the_client_and_its_last_words_are_read(make_engine: MakeEngine) -> None:
    """What the client has still in flight does not turn the close frame into a reset."""
    engine = make_engine()
    websocket, session = engine.over_websocket(tcp=True)
    session.pause()
    websocket.send(*["4" + "x" * 1000] * 50)
    session.close()
    with pytest.raises(Closed) as caught:
        websocket.receive()
    assert caught.value.code in (1000, 1005)
    websocket.send_close()
    websocket.wait_eof(1)
    assert engine.received == []


def test_a_client_that_never_closes_its_side_is_dropped_after_a_while(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgi_sio.engineio.websocket._LINGER", 0.2)  # 2 seconds otherwise
    engine = make_engine()
    websocket, session = engine.over_websocket()
    transport: Any = session.transport
    session.close()
    eventually(lambda: transport.fileno() == -1, "the descriptor's end")
    websocket.wait_eof()


def test_pings_are_answered_in_order_with_their_payload(make_engine: MakeEngine) -> None:
    engine = make_engine(echo)
    websocket, _ = engine.over_websocket()
    websocket.send_raw(control_frame(PING, b"1") + frame_of("4m") + control_frame(PING, b"x" * 125))
    assert websocket.next_event() == Pong(b"1")
    assert websocket.next_event() == "4m"
    assert websocket.next_event() == Pong(b"x" * 125)
    websocket.send_raw(control_frame(PONG, b"unasked"))
    websocket.send("4still")
    assert websocket.receive() == "4still"


def test_a_flood_of_pings_from_a_client_that_does_not_read_is_bounded(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=10_000)
    websocket, session = engine.over_websocket(buffers=4096)
    ping = control_frame(PING, b"x" * 125)

    def flood() -> None:
        try:
            while session.open:
                websocket.send_raw(ping * 100)
        except OSError:
            pass  # the server has had enough

    flooding = Background(flood)
    eventually(lambda: not session.open, "the end")
    websocket.close()
    flooding.result()


def test_a_broadcast_packet_is_framed_once(make_engine: MakeEngine) -> None:
    engine = make_engine()
    clients = [engine.over_websocket() for _ in range(3)]
    packet = Packet(MESSAGE, "shared")
    for _, session in clients:
        session.send([packet])
    frame = packet.frame
    assert frame is not None
    for websocket, session in clients:
        session.send([packet])
        assert (websocket.receive(), websocket.receive()) == ("4shared", "4shared")
    assert packet.frame is frame


def test_reading_stops_while_paused_and_tcp_holds_the_client_back(make_engine: MakeEngine) -> None:
    engine = make_engine()
    websocket, session = engine.over_websocket(buffers=4096)
    session.pause()
    total = 200
    sending = Background(websocket.send, *[f"4{n} " + "x" * 5000 for n in range(total)])
    time.sleep(0.1)
    assert not sending.done and engine.received == []
    session.resume()
    sending.result()
    eventually(lambda: len(engine.received) == total, "all messages")
    assert [int(str(message).split()[0]) for message in engine.received] == list(range(total))


def test_a_client_that_is_gone_before_the_handshake_ends_leaves_nothing(make_engine: MakeEngine) -> None:
    """It hung up while its request was being served: the 101 or the open packet meets a broken pipe."""
    import socket

    engine = make_engine()
    before = open_descriptors()
    for _ in range(10):
        client, server = socket.socketpair()
        client.close()
        environ = engine.environ("GET", UPGRADE, transport="websocket")
        environ["gunicorn.socket"] = server
        engine.engine.handle(environ)
        server.close()
    eventually(lambda: not engine.engine.sessions, "the sessions to be forgotten")
    assert len(engine.ended) == len(engine.sessions)
    eventually(lambda: open_descriptors() <= before + 3, "the descriptors to be closed")


def test_no_way_of_ending_leaks_a_descriptor_or_a_session(make_engine: MakeEngine) -> None:
    """Two hundred connections, each ended in another way, at each stage."""
    engine = make_engine(max_http_buffer_size=10_000)
    ways: list[Any] = [
        lambda w, s: w.close(),
        lambda w, s: w.reset(),
        lambda w, s: w.send_close(),
        lambda w, s: (w.half_close(), w.wait_eof()),
        lambda w, s: w.send("1"),
        lambda w, s: w.send("9"),
        lambda w, s: w.send("4" + "x" * 20_000),
        lambda w, s: w.send_raw(b"\xff\xff\xff"),
        lambda w, s: s.close(),
        lambda w, s: s.close(abort=True),
        lambda w, s: (s.pause(), s.close()),
        lambda w, s: (s.pause(), w.reset(), s.resume()),
        lambda w, s: ([s.send_message("x" * 9000) for _ in range(30)], w.reset()),
        lambda w, s: ([s.send_message("x" * 9000) for _ in range(30)], s.close(abort=True)),
        lambda w, s: ([s.send_message("x" * 9000) for _ in range(30)], w.close()),
    ]
    openings: list[Any] = [engine.over_websocket, engine.upgraded]
    engine.over_websocket()
    before = open_descriptors()
    for number in range(200):
        websocket, session = openings[number % 2](tcp=True)
        try:
            ways[number % len(ways)](websocket, session)
        finally:
            if number % 3:
                websocket.close()
    engine.engine.config = replace(engine.engine.config, upgrade_timeout=0.05)
    for _ in range(10):  # candidates that come to nothing
        polling, _ = engine.over_polling()
        websocket = engine.websocket(polling.sid)
        websocket.wait_closed()
        polling.close()
    for sock in engine._sockets[2:]:
        sock.close()
    eventually(lambda: len([s for s in engine.sessions if s.open]) == 1, "all sessions to end")
    eventually(lambda: open_descriptors() <= before + 1, f"{open_descriptors()} descriptors to become {before}")
    assert len(engine.ended) == len(engine.sessions) - 1
    assert len({sid for sid, _ in engine.ended}) == len(engine.ended)
    if WORLD == "threads":
        websockets = [s for s in engine.engine.sessions.values() if s.transport.name == "websocket"]
        assert len(websockets) == 1


def test_base64_text_is_taken_as_bytes(make_engine: MakeEngine) -> None:
    """What clients with ``forceBase64`` send; each form of a packet that polling knows is known here."""
    engine = make_engine()
    websocket, session = engine.over_websocket()
    websocket.send("bAQID", "4text", "b")
    eventually(lambda: engine.received == [b"\x01\x02\x03", "text", b""], "the messages")
    assert session.open


def test_a_client_that_wants_base64_gets_it(make_engine: MakeEngine) -> None:
    engine = make_engine()
    client, server = socket.socketpair()
    environ = {**engine.environ("GET", UPGRADE, transport="websocket", b64="1"), "gunicorn.socket": server}
    engine.engine.handle(environ)
    server.close()
    websocket = WebSocket(client)
    websocket.read_accept()
    assert str(websocket.receive()).startswith("0{")
    plain, other = engine.over_websocket()
    packet = Packet(MESSAGE, b"\x01\x02\x03")
    for session in (engine.sessions[0], other):
        assert session.send([Packet(MESSAGE, "text"), packet])  # shared, as by a broadcast
    assert [websocket.receive(), websocket.receive()] == ["4text", "bAQID"]
    assert [plain.receive(), plain.receive()] == ["4text", b"\x01\x02\x03"]
    client.close()


@pytest.mark.parametrize(("message", "what"), [("bA", "bad base64"), ("x", "unknown packet type 'x'"), ("", "empty")])
def test_a_parse_error_is_named_in_the_log(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, message: str, what: str
) -> None:
    engine = make_engine()
    websocket, _ = engine.over_websocket()
    websocket.send(message)
    eventually(lambda: engine.reasons == ["parse error"], "the end")
    assert f"refused (parse error): {what}" in caplog.text
