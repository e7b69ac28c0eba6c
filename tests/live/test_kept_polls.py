"""Polling connections that are kept between two polls: gunicorn sees few of these, and nothing else is different."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.live.kept import (
    KIND,
    PAGE,
    PATIENT,
    Answer,
    Client,
    Line,
    expect_seen,
    is_kept,
    join_with_id,
    kept_server,
    let_it_come,
    seen,
)
from tests.live.kinds import serve, start_command
from tests.live.peers import ask, eventually
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with kept_server() as running:
        yield running
        assert_clean(running)


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_gunicorn_sees_the_first_of_each_kind(server: RunningServer) -> None:
    with Line(server.port) as line:
        before = seen(server, line)
        client = Client(line).join()
        for number in range(20):
            client.echo(number)
        expect_seen(server, before + 3, line)  # the handshake, the first POST, the first GET


def test_another_connection_with_the_same_headers_profits(server: RunningServer) -> None:
    with Line(server.port) as line, Line(server.port) as other:
        Client(line).join().warm_up()
        before = seen(server, other)
        client = Client(other).join()
        client.echo(1)
        expect_seen(server, before + 1, other)


def test_a_connection_may_be_shared(server: RunningServer) -> None:
    """As by a proxy with keep-alive: requests go by their session's id, and each client has its own headers."""
    with Line(server.port) as line:
        clients = [Client(line, b"Cookie: user=%d\r\n" % number).join().warm_up() for number in range(5)]
        before = seen(server, line)
        for number in range(3):
            for client in clients:
                client.echo([number, client.sid])
        assert seen(server, line) == before


def test_a_poll_waits_for_its_event(server: RunningServer) -> None:
    with Line(server.port) as line, Line(server.port) as other:
        client = Client(line).join().warm_up()
        before = seen(server, line)
        line.send(client.get())
        second = Line(server.port)
        with second:
            assert second.ask(client.post(b'420["echo","late"]')).text == "ok"
        assert line.answer().text == '430["late"]'
        assert is_kept(server, client)
        assert seen(server, line) == before
        assert other.ask(PAGE).status == 200


def test_the_first_poll_may_wait(server: RunningServer) -> None:
    """gunicorn has parsed it, and its connection goes on all the same, with what comes behind it."""
    with Line(server.port) as line, Line(server.port) as other:
        client = Client(line, b"X-Client: the first that waits\r\n")
        line.send(client.get())
        assert other.ask(client.post(b"40")).text == "ok"
        answer = line.answer()
        assert answer.text.startswith("40{") and not answer.last
        line.send(client.get(b"X-Never-Seen: x\r\n") + PAGE)
        time.sleep(0.05)
        assert other.ask(client.post(b'420["echo",1]')).text == "ok"
        assert [line.answer().text for _ in range(2)] == ["430[1]", "hello over HTTP/1.1"]
        client.warm_up()
        assert is_kept(server, client)


def test_the_first_poll_may_wait_in_vain(server: RunningServer) -> None:
    with Line(server.port) as line:
        client = Client(line)
        sid = join_with_id(client)
        line.send(client.get(b"X-Never-Seen: y\r\n"))
        time.sleep(0.05)
    assert eventually(lambda: ask(server, "journal"), lambda found: sid in found)[sid][0] == "transport error"


def test_an_emit_from_a_native_thread(server: RunningServer) -> None:
    with Line(server.port) as line:
        client = Client(line)
        sid = join_with_id(client)
        client.warm_up()
        for _ in range(10):
            line.send(client.get())
            ask(server, f"emit-from-native-thread?sid={sid}")
            assert line.answer().text == '42["from a thread",1]'
        assert is_kept(server, client)


def test_a_page_in_between(server: RunningServer) -> None:
    with Line(server.port) as line:
        client = Client(line).join().warm_up()
        for _ in range(3):
            assert line.ask(PAGE).text == "hello over HTTP/1.1"
            client.echo("behind it")
        assert is_kept(server, client)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "options"),
    [
        (b"", {}),
        (b"Connection: keep-alive\r\nAccept: */*\r\n", {}),
        (b"Origin: https://shop.example\r\n", {"cors_allowed_origins": "*"}),
        (
            b"Origin: https://shop.example\r\nCookie: io=1; a=b\r\n",
            {"cors_allowed_origins": ["https://shop.example"], "cors_credentials": True, "cookie": True},
        ),
        (b"Accept-Encoding: gzip, deflate, br\r\n", {"http_compression": 16}),
        (b"accept-encoding: deflate\r\n", {"http_compression": 16}),
    ],
)
def test_answers_are_the_same_to_the_byte(headers: bytes, options: dict[str, Any]) -> None:
    """The head of each answer, and its body, as gunicorn writes them."""
    told: list[list[Answer]] = []
    for keep in (True, False):
        with kept_server(keep_polling_connections=keep, **options) as server, Line(server.port) as line:
            client = Client(line)
            client.headers = headers
            assert line.ask(client.post(b"40")).text == "ok"
            let_it_come()
            line.ask(client.get())
            heard = []
            for value in (b"1", b'"' + b"x" * 2000 + b'"', b"1", b'"' + b"x" * 2000 + b'"'):
                heard.append(line.ask(client.post(b'420["echo",%b]' % value)))
                let_it_come()
                heard.append(line.ask(client.get()))
            heard.append(line.ask(client.post(b"1")))
            told.append(heard)
            assert (seen(server) == 3) == keep
            assert_clean(server)
    assert told[0] == told[1]
    assert told[0][0].text == "ok"


def test_the_date_is_that_of_today(server: RunningServer) -> None:
    with Line(server.port) as line:
        client = Client(line).join().warm_up()
        line.send(client.post(b'42["echo",1]'))
        head = line.sock.recv(4096).decode()
        found = re.search(r"\r\nServer: gunicorn\r\nDate: ([^\r]*)\r\nConnection: keep-alive\r\n", head)
        assert found, head
        assert abs(parsedate_to_datetime(found[1]).timestamp() - time.time()) < 3


# -- how it comes -----------------------------------------------------------------------------------------------------


def test_byte_by_byte(server: RunningServer) -> None:
    with Line(server.port) as line:
        client = Client(line).join().warm_up()
        for data, expected in ((client.post(b'420["echo",5]'), "ok"), (client.get(), "430[5]")):
            for byte in data:
                line.send(bytes([byte]))
            assert line.answer().text == expected
        client.echo("whole")


def test_the_body_behind_the_head(server: RunningServer) -> None:
    """As Python's and browsers' clients send it: that is nothing odd."""
    with Line(server.port) as line:
        client = Client(line).join().warm_up()
        before = seen(server, line)
        for _ in range(3):
            head, _, body = client.post(b'420["echo","in parts"]').partition(b"\r\n\r\n")
            for part in (head + b"\r\n\r\n", body[:5], body[5:]):
                line.send(part)
                time.sleep(0.02)
            assert line.answer().text == "ok"
            assert line.ask(client.get()).text == '430["in parts"]'
        assert seen(server, line) == before


def test_pipelined_polls(server: RunningServer) -> None:
    """The answers come in order, one of each session's GETs and POSTs at a time."""
    with Line(server.port) as line:
        client = Client(line).join().warm_up()
        for _ in range(5):
            line.send(client.post(b'420["echo","piped"]') + client.get() + client.post(b"3") + PAGE)
            texts = [line.answer().text for _ in range(4)]
            assert texts == ["ok", '430["piped"]', "ok", "hello over HTTP/1.1"]
        client.echo("behind them")


def test_pipelined_behind_a_poll_that_waits(server: RunningServer) -> None:
    with Line(server.port) as line, Line(server.port) as other:
        client = Client(line).join().warm_up()
        line.send(client.get())
        line.send(PAGE)
        line.send(client.get())
        assert other.ask(client.post(b'420["echo",1]')).text == "ok"
        assert [line.answer().text for _ in range(2)] == ["430[1]", "hello over HTTP/1.1"]
        assert other.ask(client.post(b'420["echo",2]')).text == "ok"
        assert line.answer().text == "430[2]"


def test_a_large_post(server: RunningServer) -> None:
    with Line(server.port) as line:
        client = Client(line).join().warm_up()
        for size in (16_000, 17_000, 300_000):
            client.echo("x" * size)
        assert is_kept(server, client)


@pytest.mark.slow
def test_a_large_answer_that_is_taken_slowly() -> None:
    """More than the kernel takes at once: the rest follows as the client reads."""
    with kept_server(max_outbox=50_000_000) as server, Line(server.port) as line:
        before = seen(server)
        client = Client(line).join().warm_up()
        text = b"x" * 900_000
        for _ in range(8):
            assert line.ask(client.post(b'420["echo","%b"]' % text)).text == "ok"
        expect_seen(server, before + 3 + 8)  # such POSTs are gunicorn's
        line.send(client.get())
        time.sleep(0.3)
        acks = line.answer().body.split(b"\x1e")
        while len(acks) < 8:  # the last handlers may not have been run yet
            acks += line.ask(client.get()).body.split(b"\x1e")
        assert acks == [b'430["%b"]' % text] * 8
        client.echo("behind it")
        expect_seen(server, before + 3 + 8)
        assert_clean(server)


def test_headers_that_change_each_time_are_gunicorns(server: RunningServer) -> None:
    """Such as a request's id: after some vain attempts the connection is left alone for a while."""
    with Line(server.port) as line:
        before = seen(server, line)
        client = Client(line, b"X-Client: as no other test has it\r\n").join()
        for number in range(10):
            client.headers = b"X-Request-Id: %d\r\n" % number
            client.echo(number)
        for _ in range(10):
            client.echo("the same from now on")
        expect_seen(server, before + 1 + 2 + 20 + 20, line)
        for _ in range(50):
            client.echo("until it is tried again")
        assert is_kept(server, client)


# -- who would miss it ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sio_options", "kept"),
    [
        ({}, {}, True),
        ({}, {"keep_polling_connections": False}, False),
        ({}, {"cors_allowed_origins": "*"}, True),
        ({"access_logfile": "/dev/null"}, {}, False),
        ({"access_logfile": "/dev/null"}, {"keep_polling_connections": True}, True),
        ({"statsd_host": "127.0.0.1:9"}, {"keep_polling_connections": True}, False),
        ({"config": "tests/apps/hooked_conf.py"}, {"keep_polling_connections": True}, False),
        ({"keep_alive": 0}, {}, False),
    ],
)
def test_where_polls_are_kept(options: dict[str, Any], sio_options: dict[str, Any], kept: bool) -> None:
    with serve(f"{KIND}-kept", {"keep_alive": PATIENT, **options}, **sio_options) as server:
        echoes = 4
        for number in range(echoes):
            with Line(server.port, anew=not kept) as line:
                client = Client(line)
                if client.opened.last:
                    assert options == {"keep_alive": 0}
                    return
                client.join().echo(number)
        told = len(re.findall(r"(?:GET|POST) /socket.io/$", server.log(), re.MULTILINE))  # gunicorn, at DEBUG
        assert told == (3 + echoes - 1 if kept else 5 * echoes)
        if "statsd_host" not in options:  # nobody is there, which gunicorn complains of
            assert_clean(server)


@pytest.mark.slow
@pytest.mark.parametrize(("app", "kept"), [("direct", True), ("proxied", True), ("timed", False), ("wrapped", False)])
def test_a_middleware_outside_sees_all(app: str, kept: bool) -> None:
    """But for those of Werkzeug that hand an answer on as it is; Flask is one of those itself."""
    with start_command(f"{KIND}-kept", {}, {"keep_alive": PATIENT}, f"tests.apps.kept_flask:{app}") as server:
        with Line(server.port, anew=not kept) as line:
            client = Client(line, b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n").join()
            for number in range(4):
                client.echo(number)
        told = len(re.findall(r"(?:GET|POST) /socket.io/$", server.log(), re.MULTILINE))
        assert told == (3 if kept else 11), server.log()
        assert_clean(server)


def test_sessions_of_several_connections_end_with_goodbye(server: RunningServer) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(server.port)) for _ in range(10)]
        clients = [Client(line).join().warm_up() for line in lines]
        for client in clients:
            assert client.line.ask(client.post(b"1")).text == "ok"
            assert client.line.ask(client.get()).status in (200, 400)
