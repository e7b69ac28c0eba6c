"""Context variables: what one job sets no other finds, nor does a task find those of its starter."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from tests.runtime.conftest import MakeReactor
from tests.runtime.test_mailbox import ByHand, Owner
from tests.support.inprocess import DEADLINE, eventually
from wsgi_sio.runtime import SerialQueue

tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


def look_and_set(seen: list[str | None]) -> None:
    seen.append(tenant.get())
    tenant.set("ann")


def test_jobs_of_one_worker_begin_with_no_context_variable_set(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=1)
    seen: list[str | None] = []
    for _ in range(5):
        reactor.submit(lambda: look_and_set(seen))
    eventually(lambda: seen == [None] * 5, "all jobs")


def test_each_job_of_a_mailbox_has_its_own_context() -> None:
    """Also where one worker runs them in one go, and those that run beside the others."""
    submit = ByHand()
    queue = SerialQueue(submit, limit=100, owner=Owner())
    seen: list[str | None] = []
    for _ in range(3):
        queue.put(look_and_set, seen)
    submit.run()
    assert seen == [None] * 3
    assert tenant.get() is None


def test_jobs_that_run_beside_the_mailbox_have_their_own_context(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=1)
    queue = SerialQueue(reactor.submit, limit=100, owner=Owner())
    seen: list[str | None] = []
    for _ in range(3):
        queue.run_beside(look_and_set, seen)
    eventually(lambda: seen == [None] * 3, "all jobs")


def test_a_value_set_for_the_time_of_a_wait_is_still_there_after_it(make_reactor: MakeReactor) -> None:
    reactor = make_reactor(max_workers=1)
    event = reactor.event()
    seen: list[str | None] = []

    def job() -> None:
        token = tenant.set("ann")
        reactor.wait(event)
        seen.append(tenant.get())
        tenant.reset(token)
        seen.append(tenant.get())

    reactor.submit(job)
    reactor.submit(lambda: look_and_set(seen))  # another worker stands in
    eventually(lambda: seen == [None], "the other")
    event.set()
    eventually(lambda: seen == [None, "ann", None], "the first")


def test_a_task_begins_with_no_context_variable_set(reactor: Any) -> None:
    seen: list[str | None] = []
    tasks: list[Any] = []

    def job() -> None:
        tenant.set("ann")
        tasks.append(reactor.spawn(look_and_set, seen))

    reactor.submit(job)
    eventually(lambda: tasks, "the job")
    tasks[0].join(DEADLINE)
    assert seen == [None]
