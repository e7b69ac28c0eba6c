"""What gunicorn's gthread worker counts while its connections are lent, with a worker that is as simple as can be."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.inprocess import at_once
from tests.support.require import require
from tests.support.world import one_world
from wsgi_sio.engineio.gunicorn_loans import Loans, borrow_from

pytestmark = one_world


class Conn:
    closed = False

    def close(self) -> None:
        self.closed = True


class MethodQueue:
    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []

    def defer(self, callback: Callable[..., Any], *args: Any) -> None:
        self.calls.append(lambda: callback(*args))

    def close(self) -> None:
        self.calls.clear()


class Worker:
    """Its main thread is whoever calls :meth:`run`."""

    def __init__(self, connections: int) -> None:
        self.nr_conns = connections
        self.method_queue: Any = MethodQueue()
        self.finished: list[tuple[Conn, Any]] = []

    def finish_request(self, conn: Conn, result: Any) -> None:
        self.finished.append((conn, result))

    def run(self) -> None:
        while self.method_queue.calls:
            self.method_queue.calls.pop(0)()


class Result:
    """The outcome of a request in gunicorn's pool."""

    def __init__(self, value: Any = True, error: BaseException | None = None, cancelled: bool = False) -> None:
        self._value, self._error, self._cancelled = value, error, cancelled

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self) -> BaseException | None:
        return self._error

    def cancelled(self) -> bool:
        return self._cancelled


def lend(worker: Worker, loans: Loans, count: int) -> list[Conn]:
    conns = [Conn() for _ in range(count)]
    for conn in conns:
        loans.agree(conn, lambda goes_on: goes_on)
        worker.finish_request(conn, Result())
    return conns


def test_all_that_are_lent_count_as_one() -> None:
    worker = Worker(5)
    loans = Loans(worker)
    conns = lend(worker, loans, 3)
    assert worker.nr_conns == 2 + 1
    assert not worker.finished
    for number, conn in enumerate(conns, 1):
        loans.give_back(conn)
        worker.run()
        assert worker.nr_conns == 2 + number + (number < 3)
    assert [conn for conn, _ in worker.finished] == conns
    assert all(result.result() is True for _, result in worker.finished)
    assert worker.nr_conns == 5


def test_those_that_are_closed_or_let_go_count_no_more() -> None:
    worker = Worker(3)
    loans = Loans(worker)
    conns = lend(worker, loans, 3)
    loans.close(conns[0])
    loans.let_go(conns[1])
    worker.run()
    assert worker.nr_conns == 1
    loans.close(conns[2])
    worker.run()
    assert worker.nr_conns == 0
    assert [conn.closed for conn in conns] == [True, False, True]
    assert not worker.finished


def test_what_is_not_taken_is_gunicorns() -> None:
    worker = Worker(1)
    loans = Loans(worker)
    conn, result = Conn(), Result()
    worker.finish_request(conn, result)
    loans.agree(conn, lambda goes_on: False)
    worker.finish_request(conn, result)
    worker.finish_request(conn, result)
    assert worker.finished == [(conn, result)] * 3
    assert worker.nr_conns == 1


@pytest.mark.parametrize("result", [Result(False), Result(error=OSError()), Result(cancelled=True), Result(object())])
def test_a_connection_that_does_not_go_on_is_not_lent(result: Result) -> None:
    worker = Worker(1)
    told: list[bool] = []

    def take(goes_on: bool) -> bool:
        told.append(goes_on)
        return goes_on

    conn = Conn()
    Loans(worker).agree(conn, take)
    worker.finish_request(conn, result)
    assert told == [False]
    assert worker.finished == [(conn, result)]


def test_another_version_of_gunicorn_lends_nothing() -> None:
    assert borrow_from(object()) is None
    assert borrow_from(Worker(0)) is not None


def test_two_servers_in_one_process_borrow_from_one_worker() -> None:
    worker = Worker(2)
    loans = [Loans(worker), Loans(worker)]
    conns = [lend(worker, each, 1)[0] for each in loans]
    for each, conn in zip(loans, conns, strict=True):
        each.give_back(conn)
    worker.run()
    assert [conn for conn, _ in worker.finished] == conns
    assert worker.nr_conns == 2


# -- a worker that has ended ------------------------------------------------------------------------------------------


def with_gunicorns_queue(connections: int) -> Worker:
    require(find_spec("gunicorn"), "gunicorn")
    from gunicorn.workers.gthread import PollableMethodQueue

    worker = Worker(connections)
    worker.method_queue = PollableMethodQueue()
    worker.method_queue.init()
    return worker


@pytest.mark.parametrize("how", ["give_back", "close", "let_go"])
def test_nothing_is_written_into_a_queue_that_is_closed(how: str) -> None:
    """Its descriptor's number may be another's by then."""
    worker = with_gunicorns_queue(1)
    loans = Loans(worker)
    (conn,) = lend(worker, loans, 1)
    reading, writing = os.pipe()
    number = worker.method_queue._write_fd
    worker.method_queue.close()
    os.dup2(writing, number)
    getattr(loans, how)(conn)
    os.close(number)
    os.close(writing)
    assert os.read(reading, 10) == b""
    os.close(reading)
    assert conn.closed == (how != "let_go")  # of such a one it is the lender's


def test_what_the_worker_has_not_got_to_is_closed() -> None:
    worker = Worker(2)
    loans = [Loans(worker), Loans(worker)]
    conns = [lend(worker, each, 1)[0] for each in loans]
    for each, conn in zip(loans, conns, strict=True):
        each.give_back(conn)
    worker.method_queue.close()
    assert [conn.closed for conn in conns] == [True, True]
    assert not worker.finished


def end_while_all_are_given_back(worker: Worker, loans: Loans, conns: list[Conn]) -> None:
    def act(number: int) -> None:
        if number < 4:
            for conn in conns[number::4]:
                loans.give_back(conn)
        else:
            worker.method_queue.run_callbacks(None)
            worker.method_queue.close()

    at_once(5, act)


def test_a_worker_that_ends_while_all_are_given_back() -> None:
    """Each is the worker's or closed, whatever the interleaving."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            worker = with_gunicorns_queue(40)
            loans = Loans(worker)
            conns = lend(worker, loans, 40)
            end_while_all_are_given_back(worker, loans, conns)
            finished = [conn for conn, _ in worker.finished]
            assert all(conn.closed != (conn in finished) for conn in conns)
            assert not loans._results
    finally:
        sys.setswitchinterval(before)
