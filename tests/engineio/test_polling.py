"""The long-polling transport, request by request."""

from __future__ import annotations

import gzip
import socket
import time
import zlib

import pytest

from tests.engineio.conftest import MakeEngine
from tests.support.inprocess import AT_ONCE, DEADLINE, SEPARATOR, Closed, eventually
from tests.support.world import WORLD
from wsgi_sio.engineio import MESSAGE, Packet
from wsgi_sio.engineio.hijack import hung_up
from wsgi_sio.engineio.wsgi_pool_size import THREADS


def test_the_handshake(make_engine: MakeEngine) -> None:
    engine = make_engine(ping_interval=0.3, ping_timeout=0.2, max_http_buffer_size=12345)
    polling, session = engine.over_polling()
    assert polling.handshake == {
        "sid": session.id, "upgrades": [], "pingInterval": 300, "pingTimeout": 200, "maxPayload": 12345,
    }  # fmt: skip
    assert len(session.id) == 20 and set(session.id) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    )
    assert dict(polling.opened.headers)["Content-Type"] == "text/plain; charset=UTF-8"
    assert dict(polling.opened.headers)["Cache-Control"] == "no-store"


def test_a_get_waits_for_the_first_packet_and_takes_all_that_are_queued(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    waiting = polling.start_get()
    assert not waiting.done
    session.send([Packet(MESSAGE, "a"), Packet(MESSAGE, b"\x01")])
    assert waiting.result().body == f"4a{SEPARATOR}bAQ==".encode()
    session.send_message("b")
    session.send_message("ç")
    assert polling.get().body.decode() == f"4b{SEPARATOR}4ç"


def test_a_post_delivers_all_its_packets_in_order_before_its_answer(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    answer = polling.post(f"4a{SEPARATOR}bAQI={SEPARATOR}4ç€😀{SEPARATOR}4")
    assert (answer.status, answer.body) == (200, b"ok")
    assert dict(answer.headers)["Content-Type"] == "text/html"
    assert engine.received == ["a", b"\x01\x02", "ç€😀", ""]


def test_two_gets_end_the_session(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    first = polling.start_get()
    second = polling.get()
    assert (second.status, second.body) == (400, b"")
    assert (first.result().status, first.result().body) == (200, b"1")
    assert engine.reasons == ["transport error"]
    assert polling.get().status == 400 and b'"code":1' in polling.get().body
    assert not session.open


def test_two_posts_end_the_session(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    from tests.support.inprocess import Background

    session.pause()
    first = Background(polling.post, "4a")
    eventually(lambda: session.transport._posts._busy, "the first POST")  # type: ignore[attr-defined]
    assert polling.post("4b").status == 400
    first.result()
    assert engine.reasons == ["transport error"] and engine.received == []


@pytest.mark.parametrize(
    ("body", "received"),
    [(b"x", []), (f"4a{SEPARATOR}9{SEPARATOR}4b".encode(), ["a"]), (b"4\xff", []), (b"\x1e", [])],
)
def test_a_bad_payload_ends_the_session_behind_its_good_packets(
    make_engine: MakeEngine, body: bytes, received: list[str]
) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    assert polling.post(body).status in (200, 400)
    assert engine.received == received
    assert engine.reasons == ["parse error"]


def test_the_size_limit_is_inclusive_and_more_is_413_without_ending_the_session(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(max_http_buffer_size=100)
    polling, session = engine.over_polling()
    assert polling.post("4" + "x" * 99).status == 200
    answer = polling.post("4" + "x" * 100)
    assert (answer.status, answer.body) == (413, b"")
    assert "more than max_http_buffer_size=100 bytes at once, so it is refused" in caplog.text
    assert session.open and len(engine.received) == 1


def test_a_close_packet_ends_the_session_and_releases_the_waiting_get(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    waiting = polling.start_get()
    assert polling.post("1").body == b"ok"
    assert waiting.result().body == b"6"
    assert engine.reasons == ["transport close"]


def test_the_server_closes_with_a_get_waiting_and_without(make_engine: MakeEngine) -> None:
    """The end is told by 1; without a GET the session waits for one, and the end comes with a noop."""
    engine = make_engine()
    polling, session = engine.over_polling()
    waiting = polling.start_get()
    session.close()
    assert waiting.result().body == b"1"
    assert polling.get().status == 400
    polling, session = engine.over_polling()
    session.close()
    assert polling.get().body == f"6{SEPARATOR}1".encode()
    assert polling.get().status == 400
    assert engine.reasons == ["forced close", "forced close"]


def test_everything_sent_before_a_close_is_delivered_over_as_many_gets_as_it_takes(make_engine: MakeEngine) -> None:
    """Also what was queued while the answer of the last GET was on its way."""
    engine = make_engine()
    for _ in range(20):
        polling, session = engine.over_polling()
        waiting = polling.start_get()
        session.send_message("a")
        session.send_message("b")
        session.close()
        polling._pending = waiting
        assert (polling.receive(), polling.receive()) == ("4a", "4b")
        with pytest.raises(Closed) as caught:
            polling.receive()
        assert caught.value.code == 1000


def test_pings_travel_through_gets_and_pongs_through_posts(make_engine: MakeEngine) -> None:
    engine = make_engine(ping_interval=0.1, ping_timeout=1)
    polling, session = engine.over_polling()
    for _ in range(3):
        assert polling.start_get().result().body == b"2"
        polling.post("3")
    assert session.open
    eventually(lambda: engine.reasons == ["ping timeout"], "the end of who falls silent")


@pytest.mark.parametrize(
    ("accepted", "encoding", "decode"),
    [
        ("gzip, deflate, br", "gzip", gzip.decompress),
        ("deflate", "deflate", zlib.decompress),
        ("*", "gzip", gzip.decompress),
        ("gzip;q=0.5, deflate", "deflate", zlib.decompress),
        ("br", None, bytes),
        ("", None, bytes),
        ("identity", None, bytes),
        ("gzip;q=0", None, bytes),
        ("gzip;q=0, *;q=0", None, bytes),
        ("*;q=0", None, bytes),
        ("x-gzip-like", None, bytes),
    ],
)
def test_long_answers_are_compressed(
    make_engine: MakeEngine, accepted: str, encoding: str | None, decode: object
) -> None:
    engine = make_engine(http_compression=100)
    polling, session = engine.over_polling()
    for text, compress, expected in (("x" * 98, True, None), ("x" * 99, True, encoding), ("x" * 99, False, None)):
        session.send([Packet(MESSAGE, text, compress)])
        answer = polling.get(headers={"Accept-Encoding": accepted})
        assert dict(answer.headers).get("Content-Encoding") == expected
        body = decode(answer.body) if expected else answer.body  # type: ignore[operator]
        assert body == b"4" + text.encode()


def test_other_methods_are_answered_with_500(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    assert engine.request("PUT", transport="polling", sid=polling.sid).status == 500
    assert session.open


def test_binary_content_is_for_protocol_3_only(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    assert polling.post(b"4x", headers={"Content-Type": "application/octet-stream"}).status == 400
    assert engine.reasons == ["transport error"]


def test_a_server_with_one_thread_is_not_kept_waiting(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    assert polling.start_get(extra={THREADS: 1}).result().body == b"6"  # within the deadline; a ping takes 25 s


@pytest.mark.skipif(WORLD != "gevent", reason="about a GET that waits in its greenlet")
def test_a_client_that_hangs_up_during_its_get_is_noticed_by_the_next_packet(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    client, server = socket.socketpair()
    waiting = polling.start_get(extra={"gunicorn.socket": server})
    client.close()
    session.send_message("lost")
    waiting.result()
    eventually(lambda: engine.reasons == ["transport error"], "the end")
    server.close()


@pytest.mark.parametrize("timeout", [None, 0.0, DEADLINE])
def test_looking_whether_the_peer_has_left_never_waits(timeout: float | None) -> None:
    """cheroot gives its sockets a time-out, and Python waits for so long even with MSG_DONTWAIT."""
    client, server = socket.socketpair()
    with client, server:
        server.settimeout(timeout)
        began = time.monotonic()
        assert not hung_up(server)
        client.send(b"next request")
        assert not hung_up(server)
        assert server.recv(100) == b"next request"
        assert time.monotonic() - began < AT_ONCE


def test_a_thousand_sessions_are_forgotten(make_engine: MakeEngine) -> None:
    engine = make_engine()
    for _ in range(1000):
        polling, _ = engine.over_polling()
        polling.start_get()
        polling.post("1")
    eventually(lambda: not engine.engine.sessions, "the table to be empty")
