"""SerialQueue: order under contention, its bounds, its manners."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.inprocess import DEADLINE, at_once, eventually
from wsgi_sio.runtime import SerialQueue


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def mailbox_full(self) -> None:
        self.told.append("full")

    def mailbox_has_room(self) -> None:
        self.told.append("room")

    def mailbox_overflows(self) -> None:
        self.told.append("overflow")


class ByHand:
    """A submit whose jobs the test runs when it likes."""

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()

    def __call__(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def run(self) -> None:
        while self.jobs:
            self.jobs.popleft()()


def test_jobs_run_one_at_a_time_in_each_producers_order(reactor: Any) -> None:
    owner = Owner()
    queue = SerialQueue(reactor.submit, limit=1_000_000, owner=owner)
    ran: list[tuple[int, int]] = []
    inside = 0
    most = 0

    def job(producer: int, number: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if number % 50 == 0:
            time.sleep(0)
        ran.append((producer, number))
        inside -= 1

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        at_once(8, lambda n: [queue.put(job, n, i) for i in range(300)])
        eventually(lambda: len(ran) == 2400, "all jobs")
    finally:
        sys.setswitchinterval(before)
    assert most == 1
    for producer in range(8):
        assert [i for n, i in ran if n == producer] == list(range(300))


def test_a_failing_job_is_logged_and_the_next_one_runs(reactor: Any, caplog: pytest.LogCaptureFixture) -> None:
    queue = SerialQueue(reactor.submit, limit=100, owner=Owner())
    ran: list[int] = []
    for number in range(10):
        queue.put(lambda: 1 / 0)
        queue.put(ran.append, number)
    eventually(lambda: ran == list(range(10)), "the others")
    assert sum(r.exc_info is not None for r in caplog.records) == 10


def test_a_job_may_put_more_jobs(reactor: Any) -> None:
    queue = SerialQueue(reactor.submit, limit=100, owner=Owner())
    ran: list[int] = []

    def job(number: int) -> None:
        ran.append(number)
        if number < 200:
            queue.put(job, number + 1)

    queue.put(job, 0)
    eventually(lambda: ran == list(range(201)), "all of them")


def test_a_long_queue_lets_others_have_the_worker() -> None:
    """After a batch it queues again behind what has been submitted meanwhile."""
    submit = ByHand()
    ran: list[str] = []
    long, short = (SerialQueue(submit, limit=1000, owner=Owner()) for _ in range(2))
    for _ in range(500):
        long.put(ran.append, "long")
    short.put(ran.append, "short")
    submit.run()
    assert ran.index("short") < 100
    assert ran.count("long") == 500


def test_a_queue_without_jobs_holds_no_worker() -> None:
    submit = ByHand()
    queue = SerialQueue(submit, limit=10, owner=Owner())
    queue.put(lambda: None)
    assert len(submit.jobs) == 1
    queue.put(lambda: None)
    assert len(submit.jobs) == 1  # one drain at a time
    submit.run()
    assert not submit.jobs
    queue.put(lambda: None)
    assert len(submit.jobs) == 1


def test_the_owner_is_told_when_it_is_full_and_when_there_is_room_again() -> None:
    submit, owner = ByHand(), Owner()
    queue = SerialQueue(submit, limit=10, owner=owner)
    for _ in range(9):
        queue.put(lambda: None, cost=1)
    assert owner.told == []
    queue.put(lambda: None, cost=1)
    assert owner.told == ["full"]
    queue.put(lambda: None, cost=1)
    assert owner.told == ["full"]  # once
    submit.run()
    assert owner.told == ["full", "room"]
    queue.put(lambda: None, cost=10)
    submit.run()
    assert owner.told == ["full", "room"] * 2


def test_room_is_at_half_the_limit() -> None:
    submit, owner = ByHand(), Owner()
    queue = SerialQueue(submit, limit=10, owner=owner)
    costs_when_run: list[int] = []
    for _ in range(10):
        queue.put(lambda: costs_when_run.append(owner.told.count("room")), cost=1)
    submit.run()
    assert owner.told == ["full", "room"]
    assert costs_when_run.index(1) == 5


def test_one_job_beyond_the_limit_runs_and_makes_room() -> None:
    submit, owner = ByHand(), Owner()
    queue = SerialQueue(submit, limit=10, owner=owner)
    queue.put(lambda: None, cost=35)
    submit.run()
    assert owner.told == ["full", "room"]


def test_an_owner_who_goes_on_filling_is_told_of_the_overflow() -> None:
    submit, owner = ByHand(), Owner()
    queue = SerialQueue(submit, limit=10, owner=owner)
    for _ in range(45):
        queue.put(lambda: None, cost=1)
    assert owner.told[0] == "full" and "overflow" in owner.told


def test_jobs_beside_the_queue_cost_the_same(reactor: Any) -> None:
    """They overlap with each other and with the queue's own, and fill it until they are done."""
    owner = Owner()
    queue = SerialQueue(reactor.submit, limit=10, owner=owner)
    go = threading.Event()
    inside: list[int] = []

    def job(number: int) -> None:
        inside.append(number)
        go.wait(DEADLINE)

    queue.put(job, 0, cost=4)
    queue.run_beside(job, 1, cost=4)
    queue.run_beside(job, 2, cost=4)
    eventually(lambda: len(inside) == 3, "all three at once")
    assert owner.told == ["full"]
    go.set()
    eventually(lambda: owner.told == ["full", "room"], "room")


def test_full_and_room_are_told_in_pairs_under_contention(reactor: Any) -> None:
    """Whatever the interleaving, the last word is that there is room, and each "full" has its "room"."""
    owner = Owner()
    queue = SerialQueue(reactor.submit, limit=20, owner=owner)
    ran: list[int] = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        at_once(6, lambda n: [queue.put(ran.append, i, cost=1) for i in range(500)])
        eventually(lambda: len(ran) == 3000, "all jobs")
    finally:
        sys.setswitchinterval(before)
    eventually(lambda: owner.told.count("full") == owner.told.count("room"), "the pairs")


def test_a_hundred_queues_share_the_workers(make_reactor: Any) -> None:
    reactor = make_reactor(max_workers=4)
    queues = [SerialQueue(reactor.submit, limit=1000, owner=Owner()) for _ in range(100)]
    ran: dict[int, list[int]] = {number: [] for number in range(100)}
    for i in range(50):
        for number, queue in enumerate(queues):
            queue.put(ran[number].append, i)
    eventually(lambda: all(len(numbers) == 50 for numbers in ran.values()), "all jobs")
    assert all(numbers == list(range(50)) for numbers in ran.values())


class Interrupted(Owner):
    """Ctrl-C comes each time when it is told something."""

    def mailbox_full(self) -> None:
        super().mailbox_full()
        raise KeyboardInterrupt

    def mailbox_has_room(self) -> None:
        super().mailbox_has_room()
        raise KeyboardInterrupt


def run_all(submit: ByHand) -> int:
    """Do as workers that go down with an interrupt; how many did."""
    interrupts = 0
    while submit.jobs:
        try:
            submit.run()
        except KeyboardInterrupt:
            interrupts += 1
    return interrupts


@pytest.mark.parametrize("count", [10, 31, 32, 33, 62, 63, 64, 65, 100])
def test_an_interrupt_while_the_owner_is_told_costs_no_job(count: int) -> None:
    """Wherever in a worker's batch there is room."""
    submit, owner, ran = ByHand(), Interrupted(), []  # type: ignore[var-annotated]
    queue = SerialQueue(submit, limit=10, owner=owner)
    for number in range(count):
        queue.put(ran.append, number)
    with pytest.raises(KeyboardInterrupt):
        queue.put(ran.append, count, cost=10)
    queue.put(ran.append, count + 1)
    assert run_all(submit) == 1
    assert ran == list(range(count + 2))
    assert owner.told == ["full", "room"]
    with pytest.raises(KeyboardInterrupt):  # nothing waits: who is interrupted is who starts the queue
        queue.put(ran.append, -1, cost=10)
    with pytest.raises(KeyboardInterrupt):
        submit.run()
    assert run_all(submit) == 0 and ran[-1] == -1
    queue.put(ran.append, -2)
    submit.run()
    assert ran[-1] == -2


def test_an_interrupt_costs_a_job_beside_the_queue_nothing() -> None:
    submit, owner, ran = ByHand(), Interrupted(), []  # type: ignore[var-annotated]
    queue = SerialQueue(submit, limit=10, owner=owner)
    with pytest.raises(KeyboardInterrupt):
        queue.run_beside(ran.append, 1, cost=10)
    assert run_all(submit) == 1
    assert ran == [1] and owner.told == ["full", "room"]


def test_the_queue_goes_on_when_a_job_and_then_its_owner_are_interrupted() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    submit, owner, ran = ByHand(), Interrupted(), []  # type: ignore[var-annotated]
    queue = SerialQueue(submit, limit=10, owner=owner)
    with pytest.raises(KeyboardInterrupt):
        queue.put(interrupt, cost=10)
    queue.put(ran.append, 1)
    assert run_all(submit) == 1
    assert ran == [1] and owner.told == ["full", "room"]
