"""Ranked locks: the order is asserted where the tests ask for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import product
from pathlib import Path

import pytest

from tests.support.inprocess import at_once
from wsgi_sio.runtime.locks import Rank, RankedLock, make_lock


@pytest.mark.parametrize(("held", "wanted"), list(product(Rank, Rank)))
def test_only_a_higher_rank_may_be_taken(held: Rank, wanted: Rank) -> None:
    first, second = RankedLock(held), RankedLock(wanted)
    with first:
        if wanted > held:
            with second:
                pass
        else:
            with pytest.raises(AssertionError, match=wanted.name):
                second.__enter__()
    with second:
        pass  # nothing is held any more


def test_the_order_is_each_threads_own() -> None:
    """One thread holds a leaf; another may take a registry lock meanwhile."""
    leaf, registry = RankedLock(Rank.LEAF), RankedLock(Rank.REGISTRY)
    with leaf:
        thread = threading.Thread(target=lambda: registry.__enter__() or registry.__exit__())
        thread.start()
        thread.join(5)
        assert not thread.is_alive()


def test_a_ranked_lock_excludes() -> None:
    lock = make_lock(Rank.SESSION)
    count = 0

    def add(number: int) -> None:
        nonlocal count
        for _ in range(2000):
            with lock:
                count += 1

    at_once(6, add)
    assert count == 12_000


@pytest.mark.parametrize(("value", "checked"), [("1", True), ("0", False), (None, False)])
def test_the_environment_decides(value: str | None, checked: bool) -> None:
    """Without it the lock is the interpreter's own, re-entrant one: nothing is paid in production."""
    code = "from wsgi_sio.runtime.locks import *; print(type(make_lock(Rank.LEAF)).__name__)"
    root = str(Path(__file__).resolve().parents[2])
    env = {"PYTHONPATH": root} | ({} if value is None else {"WSGI_SIO_CHECK_LOCKS": value})
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout.strip() == ("RankedLock" if checked else "RLock")
