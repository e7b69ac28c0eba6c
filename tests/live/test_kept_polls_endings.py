"""How connections that are kept end, and what becomes of them when their worker stops, or forks."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from struct import pack

import pytest

from tests.live.kept import PAGE, Client, Line, is_kept, join_with_id, kept_server, session_end
from tests.live.peers import ask, eventually, fetch
from tests.support.scenario import assert_clean, assert_settles
from tests.support.servers import RunningServer
from tests.support.waiting import AT_ONCE
from tests.support.world import WORLD


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with kept_server() as running:
        with Line(running.port) as line:
            Client(line).join().warm_up()
            sockets = running.socket_count()  # those that come with the first client, too
        assert_settles(running.socket_count, sockets - 1, "sockets open")
        yield running
        assert_clean(running)


def test_a_client_that_hangs_up_while_it_waits() -> None:
    with kept_server() as server:
        with Line(server.port) as line:
            client = Client(line).join().warm_up()
            line.send(client.get())
            time.sleep(0.1)
        assert session_end(server, 1) == "transport error"
        assert_clean(server)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cut", [b"", b"POST /sock", b'42["nu'])
def test_a_client_that_hangs_up_half_way(server: RunningServer, cut: bytes, reset: bool) -> None:
    """The connection is freed at once; its session ends with half a POST, as it does with gunicorn alone."""
    sockets = server.socket_count()
    with Line(server.port) as line:
        client = Client(line)
        sid = join_with_id(client)
        client.warm_up()
        request = client.post(b'42["number",1]')
        line.send(request[: request.index(cut) + len(cut)])
        time.sleep(0.05)
        if reset:
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    assert_settles(server.socket_count, sockets, "sockets open")
    if b"42" in cut:
        assert eventually(lambda: ask(server, "journal"), lambda found: sid in found)[sid][0] == "transport error"
    else:
        assert sid not in ask(server, "journal")


@pytest.mark.slow
def test_an_idle_connection_ends_when_gunicorn_would_end_it() -> None:
    with kept_server({"keep_alive": 2}) as server:
        # gthread gives a head that has begun all the time that it takes.
        for rest in (b"",) if WORLD == "threads" else (b"", b"GET /socket.io/?EIO=4"):
            with Line(server.port) as line:
                client = Client(line).join().warm_up()
                began = time.monotonic()
                assert is_kept(server, client)
                line.send(rest)
                assert line.has_ended()
                assert 2 < time.monotonic() - began < AT_ONCE
        assert_clean(server)


@pytest.mark.slow
def test_a_body_that_does_not_come() -> None:
    """It has as long as any: the session lives until then."""
    with kept_server({"keep_alive": 1}, http_request_body_timeout=2) as server, Line(server.port) as line:
        client = Client(line).join().warm_up()
        line.send(client.post(b'42["number",1]')[:-3])
        assert line.answer().status == 408
        assert line.has_ended()
        assert session_end(server, 1) == "transport error"
        assert_clean(server)


@pytest.mark.slow
@pytest.mark.skipif(WORLD == "threads", reason="gthread gives a head that has begun all the time that it takes")
def test_slow_loris() -> None:
    """Who sends a byte now and then gets no more time for a head than gunicorn gives."""
    with kept_server({"keep_alive": 1}) as server, Line(server.port) as line:
        client = Client(line).join().warm_up()
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for byte in client.get() * 10:
                line.send(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - began < 5


@pytest.mark.slow
@pytest.mark.parametrize("idle", [True] if WORLD == "threads" else [True, False])
def test_a_worker_that_stops_in_good_order(idle: bool) -> None:
    """A poll that waits is answered, with the word that it is the last; nobody is cut off half-way."""
    with kept_server({"graceful_timeout": 10, "keep_alive": 4}) as server, Line(server.port) as line:
        client = Client(line).join().warm_up()
        if not idle:
            line.send(client.get())
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.3)
        if idle:
            last = line.ask(client.post(b"3"))
        else:
            with Line(server.port) as other:
                other.send(client.post(b'420["echo",1]'))
                last = line.answer(30)
        assert last.status == 200 and last.last
        assert line.has_ended()
        server.process.wait(15)
        assert_clean(server)


@pytest.mark.slow
@pytest.mark.skipif(WORLD != "threads", reason="gevent's worker waits for its greenlets, and GETs have one")
def test_a_poll_that_waits_does_not_hold_up_a_worker_of_threads() -> None:
    """As a parked one does not; who wants a goodbye has the worker drained."""
    with kept_server({"graceful_timeout": 20}) as server, Line(server.port) as line, Line(server.port) as other:
        client, idle = Client(line).join().warm_up(), Client(other).join().warm_up()
        line.send(client.get())
        time.sleep(0.2)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(1.5)  # meanwhile gunicorn has its connections back
        assert other.ask(idle.post(b"3")).last
        assert other.has_ended()
        server.process.wait(10)
        assert time.monotonic() - began < 8
        assert line.has_ended()
        assert_clean(server)


@pytest.mark.slow
def test_a_worker_that_has_to_stop() -> None:
    with kept_server({"graceful_timeout": 1}) as server, Line(server.port) as line:
        client = Client(line).join().warm_up()
        line.send(client.get())
        time.sleep(0.1)
        os.kill(server.pid, signal.SIGTERM)
        server.process.wait(8)
        assert not server.problems()


@pytest.mark.slow
def test_max_requests_counts_what_gunicorn_sees() -> None:
    with kept_server({"max_requests": 8}) as server, Line(server.port) as line:
        client = Client(line).join()
        for number in range(20):
            client.echo(number)
        assert "Autorestarting" not in server.log()
        while "Autorestarting" not in server.log():
            fetch(server, "/")
        assert line.ask(client.post(b"3")).last
        assert line.has_ended()


@pytest.mark.skipif(WORLD != "threads", reason="gevent's worker counts greenlets")
def test_gunicorn_has_its_count_right(server: RunningServer) -> None:
    """All that are kept are one to it, and none is one too many when they have ended."""
    assert_settles(lambda: ask(server, "connections"), 1, "connections of gunicorn's")
    with ExitStack() as stack:
        clients = [Client(stack.enter_context(Line(server.port))).join().warm_up() for _ in range(4)]
        assert ask(server, "connections") == 2
        clients[0].line.close()
        for _ in range(2):
            clients[1].line.ask(PAGE)
        clients[2].line.send(clients[2].get())
        clients[3].echo("kept")
        assert_settles(lambda: ask(server, "connections"), 1 + 1 + 1, "connections of gunicorn's")  # the page's as well
    assert_settles(lambda: ask(server, "connections"), 1, "connections of gunicorn's")


@pytest.mark.slow
def test_a_forked_child_has_none_of_the_connections() -> None:
    """They end when the parent ends them, and go on in the parent."""
    with kept_server({"keep_alive": 4}) as server, Line(server.port) as line, Line(server.port) as other:
        client, idle = Client(line).join().warm_up(), Client(other).join().warm_up()
        line.send(client.get())
        time.sleep(0.1)
        ask(server, "fork")
        assert other.has_ended()
        with Line(server.port) as third:
            assert third.ask(client.post(b'420["echo","after"]')).text == "ok"
        assert line.answer().text == '430["after"]'
        assert is_kept(server, client)
        assert idle.sid != client.sid
