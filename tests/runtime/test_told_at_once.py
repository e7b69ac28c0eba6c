"""What the poller told a thread at once does not wait for that thread's handlers; and nudges reach who sleeps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.conftest import Conn, MakeReactor
from tests.support.forking import forked
from tests.support.inprocess import DEADLINE
from tests.support.waiting import readable
from tests.support.world import WORLD
from wsgi_sio.runtime.epoll_kqueue import READ

pytestmark = pytest.mark.skipif(WORLD != "threads", reason="about the threads' poller")


def told_at_once(reactor: Any, read: Callable[[Conn], None], *, count: int = 5, nudged: bool = False) -> list[Conn]:
    """Connections that become ready while the only thread reads another, so that it is told all of them at once."""
    held, go = threading.Event(), threading.Event()

    def hold(conn: Conn) -> None:
        conn.sock.recv(1)
        held.set()
        go.wait(DEADLINE)

    gate = Conn(reactor, hold)
    gate.peer.send(b"x")
    assert held.wait(DEADLINE)
    conns = [Conn(reactor, read) for _ in range(count)]
    for conn in conns:
        conn.peer.send(b"x")
    if nudged:
        reactor._nudge()
    go.set()
    return [gate, *conns]


def close(conns: list[Conn]) -> None:
    for conn in conns:
        conn.close()


@pytest.mark.parametrize("how", ["blocks", "waits"])
def test_the_others_are_handled_while_the_first_is_inside_its_handler(make_reactor: MakeReactor, how: str) -> None:
    reactor = make_reactor(max_workers=2 if how == "blocks" else 1)
    left: list[int] = []
    others: list[int] = []
    all_others, over = reactor.event(), threading.Event()
    outcome: list[bool] = []

    def first() -> None:
        outcome.append(all_others.wait(DEADLINE) if how == "blocks" else reactor.wait(all_others, DEADLINE))
        over.set()

    def other() -> None:
        others.append(threading.get_ident())
        if len(others) == 4:
            all_others.set()

    def read(conn: Conn) -> None:
        conn.sock.recv(1)
        left.append(len(reactor._told))
        reactor.submit(first if len(left) == 1 else other)

    conns = told_at_once(reactor, read)
    assert over.wait(2 * DEADLINE)
    assert outcome == [True] and len(others) == 4
    assert left[0] == 4  # or they were not told at once
    close(conns)


def test_a_nudge_among_them_is_dealt_with_before_any_of_them(make_reactor: MakeReactor) -> None:
    """Or nobody who sleeps in the poller could be nudged while the first is inside its handler."""
    reactor = make_reactor()
    unread: list[bool] = []
    over = threading.Event()

    def read(conn: Conn) -> None:
        conn.sock.recv(1)
        unread.append(readable(reactor._nudge_out))
        over.set()

    conns = told_at_once(reactor, read, nudged=True)
    assert over.wait(DEADLINE)
    assert unread[0] is False
    close(conns)


def test_who_has_got_the_number_of_one_that_was_closed_is_not_told_in_its_stead(make_reactor: MakeReactor) -> None:
    """It may take what it is told for its client's hanging up."""
    reactor = make_reactor()
    held, go, last = (threading.Event() for _ in range(3))
    reads: list[Conn] = []

    def read(conn: Conn) -> None:
        reads.append(conn)
        conn.sock.recv(1)
        held.set()
        go.wait(DEADLINE)

    conns = told_at_once(reactor, read)
    assert held.wait(DEADLINE) and len(reactor._told) == 4
    closed = conns.pop()
    number = closed.fileno()
    closed.close()
    for _ in range(1000):
        conns.append(Conn(reactor, reads.append))
        if conns[-1].fileno() == number:
            break
    assert conns[-1].fileno() == number
    conns.append(Conn(reactor, lambda conn: last.set(), reading=False))
    go.set()
    conns[-1].peer.send(b"x")
    conns[-1].watch.resume()
    assert last.wait(DEADLINE)
    assert reads == conns[1:5]
    close(conns)


def test_who_sleeps_in_the_poller_is_woken_for_what_the_others_leave(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=4)
    together = threading.Barrier(4)
    started = [threading.Event() for _ in range(3)]

    def meet(over: threading.Event) -> None:
        together.wait(DEADLINE)
        over.set()

    for over in started:
        reactor.submit(lambda over=over: meet(over))
    together.wait(DEADLINE)
    for over in started:
        assert over.wait(DEADLINE)
    was_read, over = threading.Event(), threading.Event()
    outcome: list[bool] = []
    conn = Conn(reactor, lambda conn: was_read.set())

    def leaves() -> None:
        reactor._told.append((conn.watch, READ))
        outcome.append(was_read.wait(5))  # less than what an idle thread sleeps
        over.set()

    reactor.submit(leaves)
    assert over.wait(DEADLINE + 5)
    assert outcome == [True]
    conn.close()


def test_there_is_one_that_reads_when_waits_are_over_and_all_are_in_handlers(make_reactor: MakeReactor) -> None:
    """More than may be, as the stand-ins have not returned yet."""
    reactor = make_reactor(max_workers=1)
    answers = [reactor.event() for _ in range(2)]
    back = [threading.Event() for _ in range(2)]
    was_read, go, stood_in = (threading.Event() for _ in range(3))

    def waits(number: int) -> None:
        reactor.wait(answers[number], DEADLINE)
        back[number].set()
        go.wait(DEADLINE)

    def stands_in() -> None:
        for answer, returned in zip(answers, back, strict=True):
            answer.set()
            returned.wait(DEADLINE)
        stood_in.set()
        go.wait(DEADLINE)

    conn = Conn(reactor, lambda conn: was_read.set())
    for number in range(2):
        reactor.submit(lambda number=number: waits(number))
    reactor.submit(stands_in)
    try:
        assert stood_in.wait(DEADLINE)
        conn.peer.send(b"x")
        assert was_read.wait(DEADLINE / 2)
    finally:
        go.set()
        conn.close()


def test_what_was_told_is_not_dealt_with_after_the_end(make_reactor: MakeReactor) -> None:
    reactor = make_reactor()
    left: list[int] = []

    def read(conn: Conn) -> None:
        left.append(len(reactor._told))
        reactor.close()

    conns = told_at_once(reactor, read)
    assert reactor.join(DEADLINE)
    assert left == [4]
    close(conns)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="about fork")
def test_what_was_told_is_the_parents_after_a_fork(make_reactor: MakeReactor) -> None:
    reactor = make_reactor()
    reads: list[int] = []
    held, go, over = threading.Event(), threading.Event(), threading.Event()

    def read(conn: Conn) -> None:
        conn.sock.recv(1)
        reads.append(conn.fileno())
        held.set()
        go.wait(DEADLINE)
        if len(reads) == 5:
            over.set()

    conns = told_at_once(reactor, read)
    assert held.wait(DEADLINE)
    assert len(reactor._told) == 4
    with forked(lambda: (len(reactor._told), len(reads))) as process:
        assert process.outcome() == "(0, 1)"
    go.set()
    assert over.wait(DEADLINE)
    close(conns)
