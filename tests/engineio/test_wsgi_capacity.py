"""Waits in a WSGI server's own threads: some as long as they like, the others in turns, never all threads at once."""

from __future__ import annotations

import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.support.world import WORLD
from wsgi_sio.engineio.wsgi_capacity import Capacity
from wsgi_sio.engineio.wsgi_pool_size import THREADS
from wsgi_sio.runtime.locks import Rank, RankedLock

LONGEST = 25.0
UNKNOWN: dict[str, Any] = {"wsgi.multithread": True}


def of(threads: int) -> dict[str, Any]:
    return {**UNKNOWN, THREADS: threads}


class Waits:
    """Requests that wait, all at once, with a capacity for ``clients`` sessions."""

    def __init__(self, clients: int = 0) -> None:
        self.told: list[tuple[str, str]] = []
        self.clients = clients
        self.capacity = Capacity(lambda: self.clients, lambda kind, text: self.told.append((kind, text)))
        self._stacks: list[ExitStack] = []

    def begin(self, environ: dict[str, Any]) -> float:
        """One more; how long it may wait."""
        stack = ExitStack()
        self._stacks.append(stack)
        return stack.enter_context(self.capacity.wait(environ, LONGEST))

    def end(self, which: int = -1) -> None:
        self._stacks.pop(which).close()


@pytest.mark.parametrize(("threads", "long"), [(2, 1), (4, 3), (8, 6), (10, 8), (100, 75)])
def test_a_quarter_of_the_pool_but_at_least_one_stays_free(threads: int, long: int) -> None:
    waits = Waits()
    assert [waits.begin(of(threads)) for _ in range(long)] == [LONGEST] * long
    assert waits.begin(of(threads)) < LONGEST
    waits.end()
    waits.end(0)
    assert waits.begin(of(threads)) == LONGEST


@pytest.mark.parametrize(("threads", "clients"), [(1, 1), (1, 8), (4, 8), (4, 50), (10, 12), (1000, 5000)])
def test_the_turns_of_all_the_others_together_take_less_than_half_a_second(threads: int, clients: int) -> None:
    """Whoever comes last in the server's queue waits for as many turns as there are before it, in so many threads."""
    waits = Waits(clients)
    long = 0
    while (turn := waits.begin(of(threads))) == LONGEST:
        long += 1
    assert 0.2 < turn * (clients - long) / (threads - long) < 0.5


def test_nobody_waits_longer_than_it_would_anyway() -> None:
    with Capacity(lambda: 1, lambda kind, text: None).wait(of(1), 0.1) as seconds:
        assert seconds == 0.1


def test_what_must_not_be_hurried_is_given_its_time() -> None:
    with Capacity(lambda: 8, lambda kind, text: None).wait(of(1), LONGEST, 2.0) as seconds:
        assert seconds == 2.0


def test_a_server_without_a_bound_lets_everybody_wait() -> None:
    waits = Waits(clients=500)
    assert {waits.begin({**UNKNOWN, THREADS: None}) for _ in range(500)} == {LONGEST}


def test_an_unknown_pool_is_as_large_as_what_was_seen_at_once() -> None:
    waits = Waits(clients=3)
    assert waits.begin(UNKNOWN) < 1  # for all one knows there is one thread
    waits.capacity.notice()  # a page, while that one waits: there are two
    assert [waits.begin(UNKNOWN) for _ in range(7)] == [LONGEST] * 7  # each shows that there is one more
    waits.end(0)
    assert waits.begin(UNKNOWN) < 1  # eight have been seen, and one stays free
    waits.capacity.notice()
    assert waits.begin(UNKNOWN) == LONGEST


def test_requests_that_follow_each_other_show_nothing() -> None:
    waits = Waits(clients=1)
    for _ in range(50):
        waits.capacity.notice()
        assert waits.begin(UNKNOWN) < 1
        waits.end()


@pytest.mark.parametrize(("environ", "turns"), [(of(4), 10), (UNKNOWN, 100)])
def test_the_log_is_told_when_the_pool_stays_used_up(environ: dict[str, Any], turns: int) -> None:
    waits = Waits(clients=8)
    while waits.begin(environ) == LONGEST:
        pass
    for _ in range(turns):
        waits.end()
        assert waits.begin(environ) < 1
    ((kind, text),) = waits.told
    assert kind == "requests that wait" and "sessions: 8" in text
    assert ("runs 4 at once" in text) == (environ is not UNKNOWN)


def test_connections_that_hold_a_thread_leave_some_to_others() -> None:
    waits = Waits(clients=4)
    assert [waits.capacity.occupy(of(4)) for _ in range(4)] == [True, True, True, False]
    assert not waits.capacity.has_room(of(4))
    assert [kind for kind, _ in waits.told] == ["WebSockets over TLS"] * 2
    assert waits.begin(of(4)) < 1
    waits.capacity.leave()
    assert waits.capacity.has_room(of(4))


def test_waiting_polls_leave_no_room_for_such_connections() -> None:
    waits = Waits()
    for _ in range(3):
        waits.begin(of(4))
    assert not waits.capacity.occupy(of(4))
    waits.end()
    assert waits.capacity.occupy(of(4))


@pytest.mark.skipif(WORLD == "gevent", reason="about a pool of threads")
def test_more_pollers_than_threads_leave_a_page_its_turn(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Four threads, as a server has them, and twelve clients whose next GET follows the last."""
    engine = make_engine()
    sessions = [engine.over_polling()[0].sid for _ in range(12)]
    over = threading.Event()

    def serve(sid: str) -> None:
        environ = engine.environ("GET", transport="polling", sid=sid)
        del environ[THREADS]  # to be found out
        engine.engine.handle(environ)
        if not over.is_set():
            pool.submit(serve, sid)

    with ThreadPoolExecutor(4) as pool, caplog.at_level(logging.WARNING, "wsgi_sio"):
        for sid in sessions:
            pool.submit(serve, sid)
        for _ in range(5):
            assert pool.submit(lambda: "page").result(timeout=5) == "page"
        assert len(engine.engine.sessions) == 12
        over.set()
        engine.engine.close()
    assert len([record for record in caplog.records if "requests that wait" in record.message]) <= 1


def test_a_wait_that_nobody_ends_is_no_trap_for_the_garbage_collector(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A greenlet that is never resumed leaves one behind, which goes at any moment: then no lock is to be taken."""
    told: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", told.append)
    engine = make_engine()
    waits: list[AbstractContextManager[Any]] = [
        engine.engine.capacity.wait(of(4), LONGEST),
        engine.engine.bodies.watch(engine.environ("POST")),
    ]
    for wait in waits:
        wait.__enter__()
    with RankedLock(Rank.LEAF):
        del wait
        waits.clear()
        gc.collect()
    assert not told
