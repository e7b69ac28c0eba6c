"""Waiting inside jobs: who waits leaves its place to another, within a bound, and some must not wait at all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtime.conftest import Conn, MakeReactor
from tests.runtime.test_jobs import native_thread
from tests.support.inprocess import DEADLINE, eventually
from wsgi_sio.runtime import Event
from wsgi_sio.runtime.reactor import Places


def test_jobs_that_wait_leave_their_places_to_others(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=2)
    event = reactor.event()
    told: list[bool] = []
    for _ in range(6):
        reactor.submit(lambda: told.append(reactor.wait(event)))
    for _ in range(3):  # among them, one after the other
        done = reactor.event()
        reactor.submit(done.set)
        assert done.wait(DEADLINE)
    assert told == []
    event.set()
    eventually(lambda: told == [True] * 6, "those that waited")


def test_no_more_jobs_wait_side_by_side_than_five_times_the_workers(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=1)
    events = [reactor.event() for _ in range(5)]
    begun: list[int] = []

    def job(number: int) -> None:
        begun.append(number)
        reactor.wait(events[number])

    for number in range(5):
        reactor.submit(lambda n=number: job(n))
    eventually(lambda: len(begun) == 5, "the five")
    late = reactor.event()
    reactor.submit(late.set)
    assert not late.wait(0.2)
    events[2].set()
    assert late.wait(DEADLINE)
    for event in events:
        event.set()


def test_when_the_waits_are_over_there_are_as_many_places_as_before(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=1)
    answer, back, first_may_end = (reactor.event() for _ in range(3))
    substitute_runs, substitute_may_end, third_ran = (reactor.event() for _ in range(3))

    def first() -> None:
        reactor.wait(answer)
        back.set()
        first_may_end.wait(DEADLINE)

    reactor.submit(first)
    for _ in range(3):  # so that a worker rests when the wait is over
        rested = reactor.event()
        reactor.submit(rested.set)
        assert rested.wait(DEADLINE)
    answer.set()
    assert back.wait(DEADLINE)
    second_ran = reactor.event()
    reactor.submit(second_ran.set)
    assert not second_ran.wait(0.2)
    first_may_end.set()
    assert second_ran.wait(DEADLINE)

    for event in (answer, back, first_may_end):
        event.clear()

    def substitute() -> None:
        substitute_runs.set()
        substitute_may_end.wait(DEADLINE)

    reactor.submit(first)
    reactor.submit(substitute)
    assert substitute_runs.wait(DEADLINE)
    answer.set()
    assert back.wait(DEADLINE)  # though both run now
    reactor.submit(third_ran.set)
    first_may_end.set()
    assert not third_ran.wait(0.2)
    substitute_may_end.set()
    assert third_ran.wait(DEADLINE)


def test_what_has_happened_is_not_waited_for(make_reactor: MakeReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    reactor = make_reactor(max_workers=1)
    changes: list[int] = []
    change = Places.wait

    def watched(places: Places, by: int) -> None:
        if places is reactor._places:
            changes.append(by)
        change(places, by)

    monkeypatch.setattr(Places, "wait", watched)
    happened, later = reactor.event(), reactor.event()
    happened.set()
    told: list[list[int]] = []

    def job(event: Event) -> None:
        assert reactor.wait(event)
        told.append(list(changes))

    reactor.submit(lambda: job(happened))
    reactor.submit(lambda: job(later))
    eventually(lambda: changes == [1], "the one that has to wait")
    later.set()
    eventually(lambda: told == [[], [1, -1]], "both")


def test_a_wait_ends_with_its_time(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=1)
    told: list[bool] = []
    reactor.submit(lambda: told.append(reactor.wait(reactor.event(), 0.01)))
    eventually(lambda: told == [False], "the time-out")


def test_any_thread_may_wait(reactor: Any) -> None:
    """The one that asks, a background task, and one that gevent knows nothing of."""
    events = [reactor.event() for _ in range(3)]
    told: list[tuple[bool, bool]] = []

    def wait(number: int) -> None:
        told.append((reactor.may_wait(), reactor.wait(events[number], DEADLINE)))

    reactor.spawn(wait, 0)
    native_thread(lambda: wait(1))
    reactor.submit(lambda: wait(2))
    assert reactor.may_wait()
    assert not reactor.wait(reactor.event(), 0.01)
    for event in events:
        event.set()
    eventually(lambda: told == [(True, True)] * 3, "the others")


def test_who_reads_or_writes_or_keeps_the_time_must_not_wait(reactor: Any) -> None:
    asked: dict[str, bool] = {}
    refused: list[str] = []

    def ask(who: str) -> None:
        asked[who] = reactor.may_wait()
        with pytest.raises(RuntimeError):
            reactor.wait(reactor.event(), 0.01)
        refused.append(who)

    def read(conn: Conn) -> None:
        conn.sock.recv(100)
        ask("reader")
        reactor.submit(lambda: asked.update(job=reactor.may_wait()))

    conn = Conn(reactor, read, lambda conn: ask("writer"))
    conn.peer.send(b"x")
    conn.watch.want_write()
    reactor.call_later(0, lambda: ask("timer"))
    eventually(lambda: len(asked) == 4 and len(refused) == 3, "all four")
    assert asked == {"reader": False, "writer": False, "timer": False, "job": True}
    conn.close()
