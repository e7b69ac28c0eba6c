"""The delays between attempts to connect."""

from __future__ import annotations

from random import Random

import pytest

from wsgi_sio.client.reconnection import Backoff


def test_without_jitter_the_delay_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(1.0, 5.0, 0.0)
    assert [backoff.next_delay() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.attempts == 5


def test_a_reset_begins_anew() -> None:
    backoff = Backoff(0.5, 60.0, 0.0)
    backoff.next_delay(), backoff.next_delay()
    backoff.reset()
    assert (backoff.attempts, backoff.next_delay()) == (0, 0.5)


@pytest.mark.parametrize(
    ("drawn", "delay"), [(0.0, 1.0), (0.05, 0.975), (0.15, 1.075), (0.25, 0.875), (0.99, 1.495), (0.85, 0.575)]
)
def test_the_first_decimal_of_the_drawn_number_is_the_direction(drawn: float, delay: float) -> None:
    """The reference's rule: even down, odd up, by the number times the jitter."""
    assert Backoff(1.0, 100.0, 0.5, lambda: drawn).next_delay() == pytest.approx(delay)


def test_the_jitter_is_uniform() -> None:
    """Chi-square over 20 equal bins, half of the delays shorter, half longer, none further off than the factor."""
    count, bins = 20_000, 20
    rand = Random(20_26).random
    deviations = [Backoff(1.0, 100.0, 0.5, rand).next_delay() - 1.0 for _ in range(count)]
    assert all(abs(deviation) <= 0.5 for deviation in deviations)
    seen = [0] * bins
    for deviation in deviations:
        seen[min(int(abs(deviation) / 0.5 * bins), bins - 1)] += 1
    expected = count / bins
    assert (
        sum((number - expected) ** 2 / expected for number in seen) < 36.2
    )  # 1 % of fair draws are above, of 19 degrees
    assert 0.49 < sum(deviation > 0 for deviation in deviations) / count < 0.51


def test_it_never_overflows() -> None:
    backoff = Backoff(1.0, 5.0, 0.5, Random(1).random)
    backoff.attempts = 100_000
    assert backoff.next_delay() <= 5.0
