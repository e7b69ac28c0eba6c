"""A reactor that exists while somebody uses it."""

from __future__ import annotations

from tests.support.inprocess import eventually
from wsgi_sio.runtime.shared_reactor import SharedReactor


def test_there_is_one_for_all_who_hold_it_at_once() -> None:
    shared = SharedReactor(None, None)
    first = shared.hold()
    assert shared.hold() is first
    shared.let_go()
    with shared as held:
        assert held is first
    done: list[str] = []
    shared.submit(lambda: done.append("job"))
    timer = shared.call_later(30, lambda: done.append("never"))
    eventually(lambda: done == ["job"], "the job")
    timer.cancel()
    timer.cancel()
    shared.end(lambda: shared.let_go() is None)
    assert shared.hold() is not first
    shared.let_go()
