"""Signals that end a server: one stops it, the same once more is forgiven, also when the end has come meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.clock import ManualClock
from tests.support.servers import ROOT
from tests.support.waiting import Background
from tests.support.world import one_world
from wsgi_sio.flask.ending_signals import ended_by_signals

pytestmark = one_world

NUMBERS = [signal.SIGINT, signal.SIGTERM]


class Stopped:
    """What is to be stopped: how often it has been."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def stopped() -> Stopped:
    return Stopped()


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def assert_as_it_was() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_without_a_signal_nothing_is_left(stopped: Stopped) -> None:
    with ended_by_signals(stopped):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert_as_it_was()
    assert stopped.count == 0


@pytest.mark.parametrize("first", NUMBERS)
@pytest.mark.parametrize("second", NUMBERS)
def test_the_second_is_forgiven_and_the_third_is_not(stopped: Stopped, first: int, second: int) -> None:
    with pytest.raises(KeyboardInterrupt), ended_by_signals(stopped):
        signal.raise_signal(first)
        signal.raise_signal(second)
        assert stopped.count == 1
        assert_as_it_was()
        signal.raise_signal(signal.SIGINT)
    assert_as_it_was()


@pytest.mark.parametrize("second", NUMBERS)
def test_the_second_comes_when_all_has_ended(stopped: Stopped, second: int) -> None:
    with ended_by_signals(stopped, ManualClock()):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(second)
    assert_as_it_was()
    assert stopped.count == 1


def test_a_later_one_is_another_request(stopped: Stopped) -> None:
    clock = ManualClock()
    with ended_by_signals(stopped, clock):
        signal.raise_signal(signal.SIGINT)
    clock.advance(2.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert_as_it_was()


def test_the_end_may_take_long(stopped: Stopped) -> None:
    clock = ManualClock()
    with ended_by_signals(stopped, clock):
        signal.raise_signal(signal.SIGINT)
        clock.advance(10.0)
        signal.raise_signal(signal.SIGINT)
        assert_as_it_was()
    with ended_by_signals(stopped, clock):
        signal.raise_signal(signal.SIGINT)
        clock.advance(2.0)
    assert_as_it_was()
    assert stopped.count == 2


def test_another_server_is_stopped_in_its_turn(stopped: Stopped) -> None:
    for number in range(3):
        with ended_by_signals(stopped, ManualClock()):
            signal.raise_signal(signal.SIGINT)
            assert stopped.count == number + 1
    signal.raise_signal(signal.SIGINT)
    assert_as_it_was()


def test_a_server_in_another_thread_has_no_signals(stopped: Stopped) -> None:
    def serve() -> None:
        with ended_by_signals(stopped):
            pass

    with ended_by_signals(stopped, ManualClock()):
        signal.raise_signal(signal.SIGINT)
        Background(serve).result()
    Background(serve).result()
    signal.raise_signal(signal.SIGINT)
    assert_as_it_was()
    assert stopped.count == 1


def test_the_applications_own_handlers_are_left_alone(stopped: Stopped) -> None:
    own: list[int] = []
    handler = signal.signal(signal.SIGTERM, lambda number, frame: own.append(number))
    with ended_by_signals(stopped):
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert (own, stopped.count) == ([signal.SIGTERM], 0)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, handler)


ENDS = """
import signal, sys
from wsgi_sio.flask.ending_signals import ended_by_signals

class Last:
    def __del__(self, raise_signal=signal.raise_signal, number=signal.SIGINT):
        raise_signal(number)

now = [0.0]
with ended_by_signals(lambda: None, lambda: now[0]):
    signal.raise_signal(signal.SIGINT)
now[0] = float(sys.argv[1])
sys.last = Last()  # which goes when handlers written in Python have gone
"""


@pytest.mark.parametrize(("after", "status"), [(1.0, 0), (3.0, -signal.SIGINT)])
def test_the_second_comes_when_the_program_has_almost_ended(after: float, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS, str(after)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
