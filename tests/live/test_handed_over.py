"""A connection that comes to another worker than its session's goes there with its first poll, and stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.live.handed_over import client_at, crossing, handing_over, page, page_at, requests_of
from tests.live.kept import PAGE, Client, Line
from tests.live.peers import eventually
from tests.live.several import SeveralWorkers
from tests.support.scenario import assert_clean

PIPELINED = b"GET /pipelined HTTP/1.1\r\nHost: example.test\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[SeveralWorkers]:
    with handing_over() as running:
        yield running
        assert not [line for line in running.warnings() if "refused (code 1)" not in line]
        assert_clean(running)


def test_only_its_first_poll_crosses(server: SeveralWorkers) -> None:
    """The next ones are the owner's, whose gunicorn knows client and address; then it sees none any more."""
    with crossing(server) as (client, owner, line, pid):
        before = page(line)
        assert before["pid"] == pid
        client.line = line
        crossed = requests_of(server, pid)
        first, second = client.echo("crosses")
        assert not first.last and not second.last
        assert second.head.startswith(b"HTTP/1.1 200 OK\r\n")
        after = page(line)
        assert after["pid"] == owner
        assert (after["client"], after["server"]) == (before["client"], before["server"])
        client.warm_up()
        time.sleep(0.05)  # what is logged is logged when the answer has been sent
        seen = requests_of(server)
        for number in range(5):
            client.echo(number)
        time.sleep(0.05)
        assert requests_of(server) == seen
        assert requests_of(server, pid) == crossed + 1


def test_a_poll_that_waits(server: SeveralWorkers) -> None:
    with crossing(server) as both:
        for number in range(3):
            both.wait(number)
        assert page(both.line)["pid"] == both.owner


def test_the_connection_of_a_handshake_goes_with_its_session(server: SeveralWorkers) -> None:
    with ExitStack() as stack:
        owners = set()
        for _ in range(9):
            line = stack.enter_context(Line(server.port))
            _, owner = client_at(line)
            assert page(line)["pid"] == owner
            owners.add(owner)
        assert len(owners) == 3


def test_a_connection_that_is_shared_crosses_as_often_as_it_must(server: SeveralWorkers) -> None:
    """As those of a proxy are: each poll is answered for its own session, in order."""
    with ExitStack() as stack:
        clients = [client_at(stack.enter_context(Line(server.port)))[0] for _ in range(6)]
        shared = [stack.enter_context(Line(server.port)) for _ in range(2)]
        for number in range(60):
            client = clients[number * 5 % 6]
            client.line = shared[number // 3 % 2]
            client.echo(number)


def test_what_comes_while_the_poll_waits_is_answered_behind_it(server: SeveralWorkers) -> None:
    """It has not been read by anybody."""
    with crossing(server) as both:
        both.line.send(both.client.get())
        time.sleep(0.05)
        both.line.send(PIPELINED + b"nonsense\r\n\r\n")
        time.sleep(0.05)
        both.say(1)
        assert both.line.answer().text == "430[1]"
        answer = both.line.answer()
        assert f'"pid": {both.owner}' in answer.text
        assert both.line.answer().status == 400
        assert both.line.has_ended()


@pytest.mark.parametrize("waits", [False, True])
def test_what_has_been_read_ahead_ends_the_connection(server: SeveralWorkers, waits: bool) -> None:
    """The worker that has read it cannot give it back."""
    with crossing(server) as both:
        if not waits:
            both.say(1)
        both.line.send(both.client.get() + PIPELINED)
        if waits:
            time.sleep(0.05)
            both.say(1)
        answer = both.line.answer()
        assert answer.text == "430[1]" and answer.last
        assert both.line.has_ended()


@pytest.mark.parametrize(
    ("replaced", "by"), [(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n"), (b"Host:", b"Connection: close\r\nHost:")]
)
def test_who_wants_no_more_gets_no_more(server: SeveralWorkers, replaced: bytes, by: bytes) -> None:
    with crossing(server) as both:
        both.say(1)
        answer = both.line.ask(both.client.get().replace(replaced, by))
        assert answer.text == "430[1]" and answer.last
        assert both.line.has_ended()


def test_what_is_refused_ends_the_connection(server: SeveralWorkers) -> None:
    """The owner has no such session; gunicorn has answered, as far as it knows."""
    with crossing(server) as both:
        client = both.client
        request = client.get().replace(client.sid.encode(), b"x" * 16 + client.sid[-4:].encode())
        answer = both.line.ask(request)
        assert answer.status == 400 and answer.last
        assert both.line.has_ended()


def test_a_client_that_hangs_up(server: SeveralWorkers) -> None:
    """While its poll waits, and when its connection is idle: neither counts nor descriptors are left behind."""

    def counts() -> tuple[int, ...]:
        pages = [page_at(server) for _ in range(30)]
        by_pid = {found["pid"]: found for found in pages}
        return tuple(found["connections"] for found in by_pid.values())

    eventually(counts, lambda found: len(found) == 3 and max(found) <= 1)
    sockets = sorted(page_at(server)["sockets"] for _ in range(10))
    for number in range(20):
        with crossing(server) as both:
            if number % 2:
                both.say(1)
                both.line.ask(both.client.get())
            else:
                both.line.send(both.client.get())
                time.sleep(0.01)
            both.line.close()
            # Over already where the poll had waited.
            assert both.client.line.ask(both.client.post(b"1")).status in (200, 400)
    eventually(counts, lambda found: len(found) == 3 and max(found) <= 1)
    eventually(lambda: max(page_at(server)["sockets"] for _ in range(10)), lambda found: found <= sockets[-1] + 1)


def test_a_large_answer_to_a_slow_client(server: SeveralWorkers) -> None:
    with crossing(server) as both:
        client = both.client
        assert client.line.ask(client.post(b'420["large",4000000]')).text == "ok"
        both.line.send(client.get())
        time.sleep(0.3)
        answer = both.line.answer()
        assert len(answer.body) == 4000000 + len('430[""]') and not answer.last
        assert page(both.line)["pid"] == both.owner


def test_a_large_answer_that_is_not_taken(server: SeveralWorkers) -> None:
    with crossing(server) as both:
        client = both.client
        assert client.line.ask(client.post(b'420["large",4000000]')).text == "ok"
        both.line.send(client.get())
        time.sleep(0.1)
        both.line.close()
        eventually(lambda: client.line.ask(client.post(b"3")).status, lambda status: status == 400)


def test_its_next_request_may_be_anything(server: SeveralWorkers) -> None:
    with crossing(server) as both:
        both.say(1)
        assert both.line.ask(both.client.get()).text == "430[1]"
        other = Client(both.line)
        assert other.opened.status == 200
        assert both.line.ask(PAGE).status == 200
        both.line.send(b"BREW / HTTP/9.9\r\n\r\n")
        assert both.line.answer().status in (400, 505)
        assert both.line.has_ended()
