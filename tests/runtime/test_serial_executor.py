"""Callbacks one after the other, a future, and a group of tasks: what comes of threads that meet."""

from __future__ import annotations

import logging

import pytest

from wsgi_sio.runtime import Future, Reactor, SerialExecutor, TaskGroup

logger = logging.getLogger("tests.callbacks")


def test_callbacks_run_at_once_and_those_of_a_callback_behind_it() -> None:
    executor, done = SerialExecutor(logger), list[int]()

    def first() -> None:
        executor.call(done.append, 2)
        done.append(1)

    executor.call(first)
    assert done == [1, 2]


def test_nothing_runs_behind_the_last_callback() -> None:
    executor, done = SerialExecutor(logger), list[int]()
    executor.call_last(done.append, 1)
    executor.call(done.append, 2)
    executor.call_last(done.append, 3)
    assert done == [1]


def test_a_callback_that_fails_is_logged_and_the_next_runs(caplog: pytest.LogCaptureFixture) -> None:
    executor, done = SerialExecutor(logger), list[int]()

    def fails() -> None:
        executor.call(done.append, 1)
        raise ValueError

    executor.call(fails)
    assert done == [1] and [record.name for record in caplog.records] == ["tests.callbacks"]


def test_a_future_is_done_once_by_the_first() -> None:
    future = Future()
    assert not future.wait(0.001) and not future.done()
    future.set(ValueError("first"))
    future.set()
    assert future.wait() and future.done()
    with pytest.raises(ValueError, match="first"):
        future.result()


def test_a_group_ends_with_its_last_member_once_it_is_closed(reactor: Reactor) -> None:
    group, go = TaskGroup(reactor), reactor.event()
    group.spawn(lambda: go.wait(10))
    group.add("a thing")
    group.close()
    group.remove("a thing")
    assert not group.join(0.001)
    go.set()
    assert group.join(10)
