"""Which sessions' polls are answered on connections that are kept: by which worker, for how many, through a proxy."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.raw import Endpoint
from tests.live.kept import KIND, PAGE, Client, Line, expect_seen, is_kept, kept_server, seen
from tests.live.kinds import start_command
from tests.live.nginx import nginx
from tests.live.peers import ask, eventually, fetch
from tests.support.scenario import assert_clean
from tests.support.world import WORLD

# -- sessions that are not, or not only, this way's -------------------------------------------------------------------


def test_a_session_that_goes_over_to_websocket() -> None:
    """While it does, and after that, its polls are gunicorn's; nothing is lost, and the connection goes on."""
    with kept_server() as server, Line(server.port) as line:
        client = Client(line).join().warm_up()
        endpoint = Endpoint(server.url, "/socket.io")
        line.send(client.get())
        websocket = endpoint.websocket(f"EIO=4&transport=websocket&sid={client.sid}")
        websocket.send("2probe")
        assert websocket.receive() == "3probe"
        assert line.answer().text == "6"
        before = seen(server, line)
        assert line.ask(client.post(b'420["echo","meanwhile"]')).text == "ok"
        assert line.ask(client.get()).text == '430["meanwhile"]'
        expect_seen(server, before + 2, line)
        websocket.send("5")
        websocket.send('421["echo","by websocket"]')
        assert websocket.receive() == '431["by websocket"]'
        assert line.ask(client.get()).status == 400
        other = Client(line).join().warm_up()
        assert is_kept(server, other)
        websocket.close()
        assert_clean(server)


def test_a_client_that_is_faster_than_its_handlers() -> None:
    """A POST that its session does not take waits, and those of others go on."""
    with kept_server({"keep_alive": 10}, max_mailbox=2000) as server, ExitStack() as stack:
        client, other = (Client(stack.enter_context(Line(server.port))).join().warm_up() for _ in range(2))
        client.line.ask(client.post(b'42["gated",1,"%b"]' % (b"x" * 3000)))
        client.line.send(client.post(b'42["gated",2,"%b"]' % (b"x" * 3000)))
        for number in range(3):
            other.echo(number)
        ask(server, "open-gate")
        assert client.line.answer().text == "ok"
        assert client.line.ask(client.post(b'420["numbers"]')).text == "ok"
        assert client.line.ask(client.get()).text == "430[[1,2]]"
        assert is_kept(server, other)
        assert_clean(server)


def test_protocol_3() -> None:
    with kept_server(allow_eio3=True) as server, Line(server.port) as line:
        client = Client(line, protocol=3)
        for _ in range(3):
            assert line.ask(client.post(b"1:2")).text == "ok"
            assert line.ask(client.get()).text in ("2:401:3", "1:3")
        before = seen(server)
        body = b'17:420["echo","bin"]'
        assert line.ask(client.post(body)).text == "ok"
        assert line.ask(client.get()).text == '10:430["bin"]'
        assert seen(server) == before
        assert_clean(server)


def test_jsonp_is_left_to_gunicorn() -> None:
    with kept_server(allow_eio3=True) as server, Line(server.port) as line:
        headers = b"Referer: http://example.test/page\r\n"
        client = Client(line, headers, protocol=3, query=b"&j=0")
        for _ in range(3):
            assert line.ask(client.post(b"d=1%3A2")).text == "ok"
            assert line.ask(client.get()).text.startswith("___eio[0](")
        expect_seen(server, 1 + 6)
        assert_clean(server)


def test_what_is_refused_is_not_taken_for_what_is_allowed_behind_it() -> None:
    """The same target and body with an origin that may not, with one that may, and again, all on one connection."""
    with kept_server(cors_allowed_origins=["https://shop.example"]) as server, Line(server.port) as line:
        client = Client(line).join().warm_up()
        for _ in range(3):
            for origin, status in ((b"https://evil.example", 403), (b"https://shop.example", 200)):
                client.headers = b"Origin: %b\r\n" % origin
                assert line.ask(client.post(b"3")).status == status
        assert_clean(server)


def test_where_the_application_is_asked_about_origins_it_is_asked_each_time() -> None:
    """The answer may be another the next time."""
    with kept_server(app="tests.apps.asking:app") as server, Line(server.port) as line:
        client = Client(line, b"Origin: https://shop.example\r\n").join().warm_up()
        assert not is_kept(server, client)
        assert int(line.ask(PAGE).text) == seen(server)
        with Line(server.port) as other:
            assert is_kept(
                server, Client(other, b"Origin: http://example.test\r\n").join().warm_up()
            )  # nobody is asked


@pytest.mark.slow
def test_a_poll_that_waits_is_told_of_the_end_when_its_worker_is_drained() -> None:
    drain = {"DRAIN": json.dumps({"seconds": 0.5})}
    options = {"config": "python:tests.apps.draining_conf", "graceful_timeout": 20, "keep_alive": 20}
    app = "tests.apps.draining:app"
    with start_command(f"{KIND}-kept", drain, options, app) as server, Line(server.port) as line:
        client = Client(line).join().warm_up()
        old = server.worker_pid
        line.send(client.get())
        assert fetch(server, "/")
        os.kill(old, signal.SIGTERM)
        answer = line.answer()
        assert answer.text in ("1", "6\x1e1") and answer.last
        assert line.has_ended()
        eventually(lambda: fetch(server, "/"), lambda page: int(page) != old)
        assert_clean(server)


# -- more than one of everything --------------------------------------------------------------------------------------


def test_clients_leave_room_for_the_site() -> None:
    """Greenlets for polls that wait are counted as with gunicorn alone, and threads need none."""
    count, threads = (20, {"threads": 2}) if WORLD == "threads" else (7, {})
    with kept_server({"worker_connections": 8, **threads}) as server, ExitStack() as stack:
        clients = [Client(stack.enter_context(Line(server.port))).join() for _ in range(count)]
        for client in clients:
            client.line.send(client.get())
        for _ in range(3):
            assert fetch(server, "/").startswith(b"hello")
        assert_clean(server)


@pytest.mark.slow
def test_several_workers() -> None:
    """A client's connections come to any worker: those that come to its session's are kept, the others work.

    A connection that is handed over, as that of a handshake may be, stays with its new worker or ends with its answer.
    """
    with kept_server({"workers": 3}) as server, ExitStack() as stack:
        lines = [stack.enter_context(Line(server.port, anew=True)) for _ in range(12)]
        clients = [Client(line) for line in lines]
        for client in clients:
            for line in (*lines[:2], lines[-1]):
                with Line(server.port) as other:
                    assert other.ask(client.post(b"3")).text == "ok"
                assert line.ask(client.post(b"3")).text == "ok"
        for number, client in enumerate(clients):
            with Line(server.port) as other:
                assert other.ask(client.post(b"40")).text == "ok"
            with Line(server.port) as other:
                answer = other.ask(client.get())
                assert answer.text.startswith("40{")
            for _ in range(3):
                with Line(server.port) as first, Line(server.port) as second:
                    assert first.ask(client.post(b'420["echo",%d]' % number)).text == "ok"
                    assert second.ask(client.get()).text == f"430[{number}]"
        assert_clean(server)


@pytest.mark.slow
def test_behind_nginx(tmp_path: Path) -> None:
    """Some connections of a real proxy, shared by many clients, with pages in between."""
    with kept_server({"keep_alive": 30}) as server:
        with nginx(tmp_path, server.port) as port, ExitStack() as stack:
            lines = [stack.enter_context(Line(port)) for _ in range(40)]
            clients = [
                Client(line, b"Cookie: user=%d\r\n" % number).join().warm_up() for number, line in enumerate(lines)
            ]
            before = seen(server)
            for number in range(5):
                for client in clients:
                    client.line.send(client.post(b'420["echo",%d]' % number))
                assert [client.line.answer().text for client in clients] == ["ok"] * len(clients)
                for client in clients:
                    client.line.send(client.get())
                assert [client.line.answer().text for client in clients] == [f"430[{number}]"] * len(clients)
                assert clients[number].line.ask(PAGE).text == "hello over HTTP/1.1"
            assert seen(server) - before < 5 * 2 * len(clients) * 0.3
        assert_clean(server)
