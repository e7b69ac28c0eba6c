"""How connections that were handed over end with their new worker, and where they end with their answer instead."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.live.handed_over import client_at, crossing, handing_over, page
from tests.live.kept import PAGE, Line
from tests.live.nginx import nginx
from tests.live.peers import eventually
from tests.live.several import SeveralWorkers, free_ports
from tests.support.scenario import assert_clean

pytestmark = pytest.mark.slow


def hand_over(server: SeveralWorkers, port: int = 0) -> tuple[bool, dict[str, Any], dict[str, Any]]:
    """Whether a connection stays with the owner, and what the pages before and after say, if it does."""
    with crossing(server, port) as both:
        before = page(both.line)
        both.say(1)
        answer = both.line.ask(both.client.get())
        assert answer.text == "430[1]"
        if answer.last:
            assert both.line.has_ended()
            return False, before, {}
        after = page(both.line)
        assert after["pid"] == both.owner
        return True, before, after


def status_of(server: SeveralWorkers, request: bytes) -> int:
    """That of the answer; 0 where there is none, for it has gone to a worker that was not known to have died."""
    with Line(server.port) as line:
        try:
            return line.ask(request).status
        except (EOFError, ConnectionResetError):
            return 0


def test_it_ends_when_it_has_been_idle() -> None:
    with handing_over(keep_alive=1) as server:
        for waits in (False, True):
            with crossing(server) as both:
                if waits:
                    both.line.send(both.client.get())
                    time.sleep(0.1)
                both.say(1)
                answer = both.line.answer() if waits else both.line.ask(both.client.get())
                assert answer.text == "430[1]" and not answer.last
                began = time.monotonic()
                assert both.line.has_ended(6)
                assert 0.8 < time.monotonic() - began < 4
        assert_clean(server)


@pytest.mark.parametrize("whole", [False, True], ids=["a worker stops", "all are replaced"])
def test_a_worker_that_stops_says_so_with_its_next_answer(whole: bool) -> None:
    with handing_over("--graceful-timeout 15") as server, crossing(server) as both:
        both.say(1)
        assert not both.line.ask(both.client.get()).last
        os.kill(server.pid if whole else both.owner, signal.SIGHUP if whole else signal.SIGTERM)
        time.sleep(0.5)
        answer = both.line.ask(both.client.post(b"3"))
        assert answer.status == 200 and answer.last
        assert both.line.has_ended()
        assert_clean(server)


def test_a_poll_that_was_handed_over_is_the_last_of_a_worker_that_stops() -> None:
    with handing_over("--graceful-timeout 15") as server, crossing(server) as both:
        both.line.send(both.client.get())
        time.sleep(0.2)
        os.kill(both.owner, signal.SIGTERM)
        time.sleep(0.3)
        both.say(1)
        answer = both.line.answer()
        assert answer.text == "430[1]" and answer.last
        assert both.line.has_ended()
        assert_clean(server)


def test_a_worker_does_not_wait_for_those_that_are_idle() -> None:
    with handing_over("--graceful-timeout 20", keep_alive=4) as server, ExitStack() as stack:
        lines = []
        for _ in range(5):
            both = stack.enter_context(crossing(server))
            both.say(1)
            assert not both.line.ask(both.client.get()).last
            lines.append(both.line)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert all(line.has_ended(10) for line in lines)
        server.process.wait(15)
        assert time.monotonic() - began < 12
        assert_clean(server)


def test_an_owner_that_dies() -> None:
    """Its connections end with it; the others' workers go on."""
    with handing_over() as server, crossing(server) as both:
        both.say(1)
        assert not both.line.ask(both.client.get()).last
        os.kill(both.owner, signal.SIGKILL)
        assert both.line.has_ended(5)
        eventually(lambda: status_of(server, both.client.post(b"3")), lambda status: status == 400)


def test_several_binds_and_reuse_port() -> None:
    ports = free_ports(2)
    with handing_over(ports=ports) as server:
        for port in ports:
            stays, before, after = hand_over(server, port)
            assert stays
            assert before["server"] == after["server"] == ["127.0.0.1", str(port)]
            assert before["client"] == after["client"]
        assert_clean(server)
    with handing_over("--reuse-port") as server:
        assert hand_over(server)[0]


@pytest.mark.parametrize(
    ("options", "others"),
    [("--proxy-protocol", {}), ("", {"keep_polling_connections": False})],
    ids=["PROXY protocol", "never"],
)
def test_where_it_ends(options: str, others: dict[str, Any]) -> None:
    with handing_over(options, **others) as server:
        assert not hand_over(server)[0]
        assert_clean(server)


def test_without_keep_alive_it_ends() -> None:
    """With each worker's sessions some requests come to another one."""
    with handing_over(keep_alive=0) as server, ExitStack() as stack:
        clients = [client_at(stack.enter_context(Line(server.port, anew=True))) for _ in range(6)]
        assert len({owner for _, owner in clients}) == 3
        for number in range(5):
            for client, _ in clients:
                assert all(answer.last for answer in client.echo(number))
        assert_clean(server)


@pytest.mark.parametrize(
    ("options", "app"),
    [
        ("", "app"),
        ("", "wrapped"),
        ("--config tests/apps/hooked_conf.py", "app"),
        ("--statsd-host 127.0.0.1:9", "app"),
    ],
    ids=["an access log", "a middleware", "a hook", "statsd"],
)
def test_where_polls_are_not_kept_it_goes_on(options: str, app: str) -> None:
    """Nothing of what comes on it is kept from those that see each request."""
    with handing_over(options, app=f"tests.apps.handed_over:{app}", keep_polling_connections=None) as server:
        for _ in range(3):
            assert hand_over(server)[0]
        if "statsd" not in options:  # nobody is there, which gunicorn complains of
            assert_clean(server)


def test_a_worker_that_has_served_max_requests_says_so() -> None:
    with handing_over("--max-requests 150 --graceful-timeout 15") as server, crossing(server) as both:
        both.say(1)
        assert not both.line.ask(both.client.get()).last
        answers = []
        while not answers or not answers[-1].last:
            answers.append(both.line.ask(PAGE))
            assert answers[-1].status == 200 and len(answers) < 150
        assert "Autorestarting" in server.log()
        assert both.line.has_ended()
        assert_clean(server)


def test_behind_nginx(tmp_path: Path) -> None:
    """Its connections carry polls of all sessions, to whichever worker has each at the moment."""
    with handing_over(keep_alive=30) as server, nginx(tmp_path, server.port) as port, ExitStack() as stack:
        clients = [client_at(stack.enter_context(Line(port, anew=True))) for _ in range(20)]
        assert len({owner for _, owner in clients}) == 3
        for number in range(15):
            for client, _ in clients:
                client.line.send(client.post(b'420["echo","%b",%d]' % (client.sid[:4].encode(), number)))
            assert [client.line.answer().text for client, _ in clients] == ["ok"] * len(clients)
            for client, _ in clients:
                client.line.send(client.get())
            for client, _ in clients:
                assert client.line.answer().text == f'430["{client.sid[:4]}",{number}]'
        assert not server.warnings()
        assert_clean(server)
