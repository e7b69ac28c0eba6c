"""Whether a signal handler runs is told from any depth below it, and of nothing else."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.world import one_world
from wsgi_sio.runtime.signal_handlers import in_signal_handler

pytestmark = one_world


@pytest.fixture
def told() -> Iterator[Callable[[Any], list[bool]]]:
    """Have a signal handled; what has been seen then."""
    before = signal.getsignal(signal.SIGUSR1)

    def handle(handler: Any) -> list[bool]:
        seen.clear()
        signal.signal(signal.SIGUSR1, handler)
        signal.raise_signal(signal.SIGUSR1)
        sum(range(100))  # somewhere here it runs
        return seen

    yield handle
    signal.signal(signal.SIGUSR1, before)


seen: list[bool] = []


def look(depth: int = 3) -> None:
    if depth:
        look(depth - 1)
    else:
        seen.append(in_signal_handler())


class Handlers:
    def method(self, number: int, frame: object) -> None:
        look()

    def __call__(self, *args: object) -> None:
        look()


def function(number: int, frame: object) -> None:
    look()


@pytest.mark.parametrize("handler", [function, Handlers().method, Handlers(), lambda *_: look(), partial(function)])
def test_below_a_handler_of_any_kind(told: Callable[[Any], list[bool]], handler: Any) -> None:
    assert told(handler) == [True]


def test_elsewhere_it_is_none() -> None:
    def with_a_frame(frame: object, *others: object) -> bool:
        return in_signal_handler()

    assert not in_signal_handler()
    assert not with_a_frame(sys._getframe(1), 1, ())
