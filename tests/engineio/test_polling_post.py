"""POSTs whose session does not take them yet: they hold no thread, cost little, and end with their session."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from http.client import HTTPResponse
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import DEADLINE, SEPARATOR, Background, eventually, tcp_pair
from tests.support.world import WORLD
from wsgi_sio.engineio.response import Hijacked, Response

IN_THREADS = pytest.mark.skipif(WORLD == "gevent", reason="a greenlet that waits is cheap: POSTs stay where they are")


def post_elsewhere(engine: Engine, sid: str, body: str, **headers: str) -> tuple[socket.socket, Response | Hijacked]:
    """POST on a connection that can be taken: the client's end of it, and what the request returns."""
    client, server = tcp_pair()
    environ = {
        **engine.environ("POST", headers, body.encode(), transport="polling", sid=sid),
        "gunicorn.socket": server,
    }
    answer = engine.engine.handle(environ)
    server.close()  # as the WSGI server does when the request is over
    client.settimeout(DEADLINE)
    return client, answer


def read(client: socket.socket) -> HTTPResponse:
    response = HTTPResponse(client)
    response.begin()
    return response


@IN_THREADS
def test_a_post_that_waits_holds_no_thread_and_is_answered_when_all_is_delivered(make_engine: MakeEngine) -> None:
    engine = make_engine(cors_allowed_origins="https://example.org")
    polling, session = engine.over_polling()
    session.pause()
    client, answer = post_elsewhere(engine, polling.sid, SEPARATOR.join(["4a", "4b"]), Origin="https://example.org")
    assert answer == Hijacked(None, "200 OK")
    assert engine.received == []
    session.resume()
    response = read(client)
    assert (response.status, response.read()) == (200, b"ok")
    assert response.getheader("Access-Control-Allow-Origin") == "https://example.org"
    assert engine.received == ["a", "b"]
    client.close()
    assert polling.post("4c").body == b"ok"
    assert engine.received == ["a", "b", "c"]


@IN_THREADS
def test_a_client_that_hangs_up_during_its_post_is_noticed_at_once(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    session.pause()
    client, _ = post_elsewhere(engine, polling.sid, "4a")
    client.close()
    eventually(lambda: engine.reasons == ["transport error"], "the end")


@IN_THREADS
def test_a_parked_post_ends_with_its_session(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    session.pause()
    client, _ = post_elsewhere(engine, polling.sid, "4a")
    session.close()
    assert read(client).status == 400
    assert engine.received == []
    client.close()


def test_a_post_that_still_waits_at_the_switch_is_refused(make_engine: MakeEngine) -> None:
    """No client of ours or of npm's does that; whoever does must not have it wait for ever."""
    engine = make_engine()
    polling, session = engine.over_polling()
    session.pause()
    posting = Background(polling.post, "4a")
    time.sleep(0.05)
    websocket = engine.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    websocket.send("5")
    assert posting.result().status == 400
    session.resume()
    websocket.send("4b")
    eventually(lambda: engine.received == ["b"], "the message")


def test_a_callback_that_fails_does_not_cost_the_packets_behind(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    taken: list[str | bytes] = []

    def take(message: str | bytes) -> None:
        taken.append(message)
        if message == "b":
            raise LookupError("in the callback")

    session.on_message = take
    assert polling.post(SEPARATOR.join(["4a", "4b", "4c"])).body == b"ok"
    assert taken == ["a", "b", "c"]
    assert "in the callback" in caplog.text


def test_a_second_post_ends_the_session_and_the_first(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    session.pause()
    first = Background(polling.post, "4a")
    eventually(lambda: polling.post("4b").status == 400, "the refusal")
    assert first.result().status == 400
    assert engine.reasons == ["transport error"]


def test_a_session_that_is_ending_refuses_posts(make_engine: MakeEngine) -> None:
    """It still has something for the client's next GET; what the client sends would be lost, which it has to know."""
    engine = make_engine()
    polling, session = engine.over_polling()
    session.send_message("last words")
    session.close()
    assert polling.post("4too late").status == 400
    assert engine.received == []
    assert polling.receive() == "4last words"


def test_a_session_pauses_in_the_middle_of_a_post(make_engine: MakeEngine) -> None:
    """Not even what follows in the same body is taken; it comes when there is room, in order, and then the answer."""
    engine = make_engine()
    polling, session = engine.over_polling()
    taken: list[str | bytes] = []

    def take(message: str | bytes) -> None:
        taken.append(message)
        if len(taken) % 10 == 0:
            session.pause()

    session.on_message = take
    posting = Background(polling.post, SEPARATOR.join(f"4{number}" for number in range(25)))
    eventually(lambda: len(taken) == 10, "the first ten")
    time.sleep(0.05)
    assert len(taken) == 10 and not posting.done
    session.resume()
    eventually(lambda: len(taken) == 20, "ten more")
    assert not posting.done
    session.resume()
    assert posting.result().body == b"ok"
    assert taken == [str(number) for number in range(25)]


def test_whoever_waits_for_an_answer_takes_the_post_that_brings_it(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    session.pause()
    posting = Background(polling.post, "4the answer")
    time.sleep(0.05)
    assert not posting.done
    session.expect_answer(1)
    assert posting.result().body == b"ok"
    assert engine.received == ["the answer"]
    session.expect_answer(-1)
    session.resume()


def test_a_million_bytes_of_tiny_packets_are_decoded_as_they_are_taken(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    count = 300_000
    body = SEPARATOR.join(["4a"] * count).encode()
    taken = 0

    def take(message: str | bytes) -> None:
        nonlocal taken
        taken += 1
        if taken == 1:
            session.pause()

    session.on_message = take
    tracemalloc.start()
    try:
        posting = Background(lambda: polling.post(body))
        eventually(lambda: taken == 1, "the first packet")
        time.sleep(0.05)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(body)
    session.resume()
    assert posting.result(30).body == b"ok"
    assert taken == count


def test_others_run_while_a_large_post_is_delivered(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    turns: list[int] = []
    taken = 0

    def take(message: str | bytes) -> None:
        nonlocal taken
        taken += 1

    session.on_message = take
    posting = Background(polling.post, SEPARATOR.join(["4a"] * 100_000))
    while not posting.done:
        turns.append(taken)
        time.sleep(0)
    assert posting.result().body == b"ok"
    assert len({turn for turn in turns if 0 < turn < 100_000}) > 3


def test_a_bad_packet_behind_a_pause_ends_the_session_after_the_good_ones(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    session.pause()
    posting = Background(polling.post, SEPARATOR.join(["4good", "x", "4lost"]))
    time.sleep(0.05)
    session.resume()
    assert posting.result().status == 200
    assert (engine.received, engine.reasons) == (["good"], ["parse error"])


def test_a_parse_error_is_named_in_the_log(make_engine: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    polling.post("x")
    assert "refused (parse error): unknown packet type 'x'; the connection is closed" in caplog.messages


def test_a_thread_that_cannot_be_spared_is_given_back(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first POST is answered before it is delivered; a client that then sends on is closed, but for greenlets."""
    engine = make_engine()
    polling, session = engine.over_polling()
    session.transport.hold = 0.1  # type: ignore[attr-defined]
    session.pause()
    assert polling.post("4a").body == b"ok"
    assert engine.received == []
    second = Background(polling.post, "4b")
    if WORLD == "gevent":
        time.sleep(0.3)
        session.resume()
        assert second.result().body == b"ok"
        assert engine.received == ["a", "b"]
    else:
        assert second.result().status == 400
        assert engine.reasons == ["transport error"]
        assert "max_mailbox" in caplog.text


def test_what_a_released_post_has_brought_comes_before_the_next(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    session.transport.hold = 0.1  # type: ignore[attr-defined]
    session.pause()
    assert polling.post("4a").body == b"ok"
    session.resume()
    assert polling.post("4b").body == b"ok"
    assert engine.received == ["a", "b"]


class HalfSent:
    """A POST that announces more than it sends."""

    def __init__(self, engine: Engine, sid: str) -> None:
        self.client, server = tcp_pair()
        self._server = server
        environ = engine.environ("POST", {"Content-Length": "10"}, transport="polling", sid=sid)
        environ["gunicorn.socket"] = server
        environ["wsgi.input"] = self.stream = server.makefile("rb")
        self.client.sendall(b"4ab")
        self._call = Background(engine.engine.handle, environ)

    def result(self, timeout: float = DEADLINE) -> Any:
        answer = self._call.result(timeout)
        self.stream.close()
        self._server.close()
        self.client.close()
        return answer


def test_the_end_of_a_session_ends_a_half_sent_post(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    posting = HalfSent(engine, polling.sid)
    eventually(lambda: session.transport._posts._reading, "the reading")  # type: ignore[attr-defined]
    session.close()
    assert posting.result().status == 400


def test_a_body_that_stalls_is_given_up(make_engine: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine(http_request_body_timeout=0.2)
    polling, _ = engine.over_polling()
    began = time.monotonic()
    answer = HalfSent(engine, polling.sid).result()
    assert time.monotonic() - began > 0.15
    assert answer.status == 408
    assert engine.reasons == ["transport error"]
    assert "http_request_body_timeout=0.2" in caplog.text


def test_a_body_that_stalls_is_given_up_even_if_the_session_is_paused(make_engine: MakeEngine) -> None:
    engine = make_engine(http_request_body_timeout=0.2)
    polling, session = engine.over_polling()
    session.pause()
    assert HalfSent(engine, polling.sid).result().status == 408


def test_bodies_are_watched_one_by_one(make_engine: MakeEngine) -> None:
    """One timer serves all: each still has its time, and one that has come in time is left alone."""
    engine = make_engine(http_request_body_timeout=0.3)
    (first, _), (second, _) = engine.over_polling(), engine.over_polling()
    early = HalfSent(engine, first.sid)
    time.sleep(0.15)
    late = HalfSent(engine, second.sid)
    assert early.result().status == 408
    assert not late._call.done
    late.client.sendall(b"cdefghi")
    assert late.result().body == b"ok"
    assert engine.received == ["abcdefghi"]
    eventually(lambda: not engine.engine._in_this_process().bodies._armed, "the timer's end")


@IN_THREADS
def test_threads_do_not_pile_up_behind_paused_sessions(make_engine: MakeEngine) -> None:
    engine = make_engine()
    sessions = [engine.over_polling() for _ in range(50)]
    before = threading.active_count()
    clients = []
    for polling, session in sessions:
        session.pause()
        clients.append(post_elsewhere(engine, polling.sid, "4a")[0])
    assert threading.active_count() <= before + 2
    for (_, session), client in zip(sessions, clients, strict=True):
        session.resume()
        assert read(client).read() == b"ok"
        client.close()
