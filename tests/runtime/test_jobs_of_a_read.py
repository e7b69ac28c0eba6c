"""What one read brings begins when all of it has been read, whatever interrupts that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.conftest import Conn
from tests.support.inprocess import eventually
from tests.support.world import WORLD

interruptible = pytest.mark.skipif(WORLD != "gevent", reason="threads of ours are never interrupted")


class Stop(BaseException):
    """What a signal handler of the application's may raise, and the application catch."""


def test_jobs_begin_when_all_has_been_read(reactor: Any) -> None:
    done: list[str] = []

    def read(conn: Conn) -> None:
        conn.sock.recv(10)
        for number in range(3):
            reactor.submit(lambda number=number: done.append(f"job {number}"))
        done.append("read")

    conn = Conn(reactor, read)
    conn.peer.send(b"x")
    eventually(lambda: len(done) == 4, "the jobs")
    assert done[0] == "read" and sorted(done[1:]) == ["job 0", "job 1", "job 2"]


def interrupted(reactor: Any, read: Callable[[Conn], None]) -> list[BaseException]:
    """Read in the hub; what comes out of it."""
    conn = Conn(reactor, read, reading=False)
    caught: list[BaseException] = []

    def in_hub() -> None:
        try:
            conn.watch._guarded()  # type: ignore[attr-defined]
        except BaseException as error:
            caught.append(error)

    reactor.loop.run_callback(in_hub)
    eventually(lambda: caught, "the interruption")
    return caught


@interruptible
def test_what_was_read_is_handled_although_the_reading_is_interrupted(reactor: Any) -> None:
    done: list[int] = []

    def read(conn: Conn) -> None:
        for number in range(3):
            reactor.submit(lambda number=number: done.append(number))
        raise Stop

    (caught,) = interrupted(reactor, read)
    assert isinstance(caught, Stop) and done == [0, 1, 2]
    reactor.submit(lambda: done.append(3))
    eventually(lambda: done == [0, 1, 2, 3], "a job of later")


@interruptible
def test_others_are_handled_although_a_job_is_interrupted(reactor: Any) -> None:
    done: list[int] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    def read(conn: Conn) -> None:
        reactor.submit(interrupt)
        for number in range(3):
            reactor.submit(lambda number=number: done.append(number))

    (caught,) = interrupted(reactor, read)
    assert isinstance(caught, KeyboardInterrupt)
    eventually(lambda: done == [0, 1, 2], "the others")
