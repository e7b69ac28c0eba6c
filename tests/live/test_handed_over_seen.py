"""Connections that have left gunicorn with a request, where it is to see each poll: they go on, and it does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.live.handed_over import SETTLE, client_at, crossing, handing_over, page, page_at, requests_of
from tests.live.kept import Client, Line
from tests.live.peers import eventually
from tests.live.several import SeveralWorkers
from tests.support.scenario import assert_clean


@pytest.fixture(scope="module")
def server() -> Iterator[SeveralWorkers]:
    with handing_over(keep_polling_connections=None) as running:
        yield running
        assert not running.warnings()
        assert_clean(running)


def test_the_first_worker_has_seen_the_first_poll_and_the_owner_sees_all_others(server: SeveralWorkers) -> None:
    with crossing(server) as (client, owner, line, pid):
        before = page(line)
        client.line = line
        eventually(lambda: requests_of(server), lambda found: found >= 5)
        first, second = requests_of(server, pid), requests_of(server, owner)
        for number in range(4):
            assert not any(answer.last for answer in client.echo(number))
        after = page(line)
        assert after["pid"] == owner
        assert (after["client"], after["server"]) == (before["client"], before["server"])
        eventually(lambda: requests_of(server, pid) - first, lambda found: found == 1)
        eventually(lambda: requests_of(server, owner) - second, lambda found: found == 7)


def test_polls_that_wait(server: SeveralWorkers) -> None:
    """One that has come to another worker, and the next ones."""
    with crossing(server) as both:
        for number in range(3):
            both.wait(number)
        assert page(both.line)["pid"] == both.owner


def test_what_comes_while_a_poll_waits_where_it_has_come(server: SeveralWorkers) -> None:
    with Line(server.port) as line, Line(server.port, anew=True) as other:
        client, owner = client_at(line)
        for number in range(3):
            line.send(client.get())
            time.sleep(SETTLE)
            line.send(b"GET /pipelined HTTP/1.1\r\nHost: example.test\r\n\r\n")
            assert other.ask(client.post(b'420["echo",%d]' % number)).text == "ok"
            answer = line.answer()
            assert answer.text == f"430[{number}]" and not answer.last
            assert f'"pid": {owner}' in line.answer().text


def test_neither_counts_nor_descriptors_are_left_behind() -> None:
    """Of clients that hang up while their polls wait, and afterwards."""
    with handing_over(workers=1, keep_polling_connections=None) as server:
        sockets = page_at(server)["sockets"]
        for number in range(20):
            with Line(server.port) as line, Line(server.port) as other:
                client = Client(line).join()
                line.send(client.get())
                time.sleep(SETTLE)
                if number % 2:
                    assert other.ask(client.post(b'420["echo",1]')).text == "ok"
                    assert not line.answer().last
        eventually(lambda: page_at(server), lambda found: found["connections"] <= 1 and found["sockets"] <= sockets + 1)
        assert_clean(server)


def test_each_of_many_that_wait_goes_on(server: SeveralWorkers) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(server.port)) for _ in range(20)]
        clients = [client_at(line)[0] for line in lines]
        for number in range(2):
            for client in clients:
                client.line.send(client.get())
            for client in clients:
                with Line(server.port) as other:
                    assert other.ask(client.post(b'420["echo",%d]' % number)).text == "ok"
            for client in clients:
                answer = client.line.answer()
                assert answer.text == f"430[{number}]" and not answer.last
