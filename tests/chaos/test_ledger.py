"""The ledger notices each kind of broken promise, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.ledger import Ledger, Sequence, Tally
from tests.chaos.sending import Numbers, fill, is_whole

SUSPICION = 10.0
FIRST = {"mail": 1, "gift": 1, "room": 5, "crowd": 3, "everybody": 8}


class Story:
    """What the processes of a run might report about one client."""

    def __init__(self, retries: bool = False) -> None:
        self.now = 100.0
        self.ledger = Ledger(SUSPICION, clock=lambda: self.now)
        self.ledger.enter("0.0", retries, "0.0")

    def tell(self, kind: str, *values: Any) -> Story:
        self.ledger.take([kind, "0.0", *values])
        return self

    def begin(self, connection: int = 1, unsent: int = 0, **first: int) -> Story:
        """A connection, and a life, begin."""
        return self.tell("came", connection, unsent).tell("welcome", {**FIRST, **first})

    def got(self, kind: str, *numbers: int) -> Story:
        for number in numbers:
            self.tell("got", kind, number)
        return self

    def handled(self, connection: int, *numbers: int) -> Story:
        for number in numbers:
            self.tell("handled", connection, number)
        return self

    def settle(self, count: int = 0, **last: int) -> Story:
        """Everybody has everything: so many were sent by the client, and these last ones to it."""
        before = {kind: number - 1 for kind, number in FIRST.items()}
        self.tell("settled", count, {**before, **last})
        self.ledger.balance(["0.0"])
        return self

    @property
    def broken(self) -> dict[str, int]:
        return dict(self.ledger.violations)


def test_what_a_quiet_client_does_is_right() -> None:
    story = Story().begin().got("room", 5, 6).got("mail", 1).got("everybody", 8).handled(1, 0, 1)
    assert story.tell("acknowledged", 1).settle(2, room=6, mail=1, everybody=8).broken == {}


@pytest.mark.parametrize("kind", ["mail", "gift", "room", "crowd"])
@pytest.mark.parametrize(
    ("steps", "words"),
    [((0, 2), "1 lost, or late"), ((0, 0), "came again"), ((0, 2, 1), "out of order"), ((1,), "1 lost, or late")],
)
def test_loss_doubling_and_disorder_on_the_way_to_a_client(kind: str, steps: tuple[int, ...], words: str) -> None:
    story = Story().begin().got(kind, *(FIRST[kind] + step for step in steps))
    assert set(story.broken) == {"order"}
    assert any(words in example for example in story.ledger.examples)


def test_what_comes_last_must_not_be_lost_either() -> None:
    assert Story().begin().got("room", 5).settle(room=6).broken == {"order": 1}


def test_a_recovered_connection_goes_on_and_another_begins_anew() -> None:
    story = Story().begin().got("room", 5).tell("came", 2, 0).got("room", 6).begin(3, room=20).got("room", 20)
    assert story.settle(room=20).broken == {}
    assert Story().begin().got("room", 5).tell("came", 2, 0).got("room", 7).broken == {"order": 1}


def test_a_gap_in_what_goes_to_everybody_is_a_loss_unless_a_new_life_begins() -> None:
    assert Story().begin().got("everybody", 8, 10).begin(2, everybody=11).got("everybody", 11).broken == {}
    assert Story().begin().got("everybody", 8, 10).got("room", 5).broken == {"order": 1}
    assert Story().begin().got("everybody", 8, 10).settle(everybody=10).broken == {"order": 1}
    assert Story().begin().got("everybody", 8, 8).broken == {"order": 1}


def test_volatile_events_may_be_lost_and_nothing_else() -> None:
    assert Story().begin().got("maybe", 3, 9).broken == {}
    assert Story().begin().got("maybe", 3, 3).got("maybe", 2).broken == {"order": 2}


def test_questions_come_in_order_within_a_connection() -> None:
    story = Story().begin().tell("asked", 1, 1, 1).tell("asked", 1, 1, 2).tell("asked", 2, 5, 5)
    assert story.tell("answered", 5, 5).broken == {}
    assert Story().begin().tell("asked", 1, 1, 1).tell("asked", 1, 1, 3).broken == {"order": 1}
    assert Story().begin().tell("asked", 1, 1, 2).broken == {"order": 1}
    assert Story().begin().tell("answered", 5, 4).broken == {"content": 1}


def test_loss_doubling_and_disorder_on_the_way_to_the_server() -> None:
    assert Story().begin().handled(1, 0, 2).broken == {"order": 1}
    assert Story().begin().handled(1, 0, 1, 1).broken == {"once": 1, "order": 1}
    assert Story().begin().handled(1, 0, 2, 1).broken == {"order": 2}
    assert Story().begin().handled(1, 0).settle(2).broken == {"order": 1}


def test_what_was_on_its_way_may_be_lost_with_a_connection_but_not_what_had_not_been_sent() -> None:
    assert Story().begin().handled(1, 0).tell("came", 2, 3).handled(2, 3, 4).broken == {}
    assert Story().begin().handled(1, 0).tell("came", 2, 3).handled(2, 2, 3).broken == {}
    assert Story().begin().handled(1, 0).tell("came", 2, 3).handled(2, 4).broken == {"buffer": 1}


def test_nothing_is_handled_over_two_connections() -> None:
    assert Story().begin().handled(1, 0, 1).tell("came", 2, 2).handled(2, 1).broken == {"once": 1}


def test_a_predecessor_may_still_be_at_work() -> None:
    assert Story().begin().handled(1, 0).tell("came", 2, 2).handled(2, 2).handled(1, 1).broken == {}


def test_what_is_acknowledged_has_been_handled() -> None:
    story = Story().begin().tell("acknowledged", 0).handled(1, 0)  # the reports come from different processes
    assert story.settle(1).broken == {}
    story = Story().begin().handled(1, 0).tell("acknowledged", 1).tell("came", 2, 2).handled(2, 2)
    assert story.settle(3).broken == {"once": 1}


def test_with_retries_a_number_may_come_again_but_none_is_left_out() -> None:
    assert Story(retries=True).begin().handled(1, 0, 1, 1).tell("came", 2, 1).handled(2, 1, 2).broken == {}
    assert Story(retries=True).begin().handled(1, 0).tell("came", 2, 2).handled(2, 2).broken == {"retries": 1}


def test_who_does_not_settle_is_named() -> None:
    story = Story().begin()
    story.ledger.balance(["0.0"])
    assert story.broken == {"settling": 1}
    assert "client 0.0" in story.ledger.examples[0]


def test_spoilt_content_is_told() -> None:
    assert Story().begin().tell("spoilt", "mail 1, of 3 bytes").broken == {"content": 1}


def test_only_who_cannot_be_heard_may_be_taken_for_dead() -> None:
    assert Story().begin().tell("left", 1, "ping timeout").broken == {"patience": 1}
    assert Story().begin().tell("left", 1, "transport close").broken == {}
    story = Story().begin()
    story.ledger.disturbed("0.0", "stalled", seconds=5)
    story.now += 5 + SUSPICION
    assert story.tell("left", 1, "ping timeout").broken == {}
    story.now += 0.1
    assert story.tell("left", 1, "ping timeout").broken == {"patience": 1}
    assert Story().begin().tell("disconnected", "ping timeout").tell("left", 1, "ping timeout").broken == {}
    thrown_out = Story().begin().tell("disconnected", "transport close").tell("left", 1, "ping timeout")
    assert thrown_out.broken == {"patience": 1}
    story = Story().begin()
    story.ledger.all_disturbed()
    assert story.tell("left", 1, "ping timeout").broken == {}


def test_nothing_is_asked_of_who_was_killed() -> None:
    story = Story().begin()
    story.ledger.forget("0.0")
    assert story.got("room", 9).tell("left", 1, "ping timeout").broken == {}


def test_a_violation_tells_what_happened_to_the_client_before() -> None:
    story = Story().begin().tell("connected", False, "polling")
    story.now += 3
    story.tell("left", 1, "ping timeout")
    (example,) = story.ledger.examples
    for part in ("0.0 s came as 1", "0.0 s fresh over polling", "3.0 s left as 1: ping timeout"):
        assert part in example


def test_examples_are_bounded_and_counts_are_not() -> None:
    story = Story().begin()
    for _ in range(100):
        story.tell("spoilt", "mail")
    assert story.broken == {"content": 100}
    assert len(story.ledger.examples) == Ledger.MOST_EXAMPLES


def test_a_sequence_and_a_tally_forgive_what_they_may() -> None:
    sequence = Sequence()
    assert [sequence.see(number) for number in (7, 8, 9)] == [None] * 3
    tally = Tally()
    assert [tally.add(number) for number in (3, 1, 3, 0, 1)] == [True, True, False, True, False]
    assert [number in tally for number in range(5)] == [True, True, False, True, False]


def test_what_is_emitted_offline_is_not_sent_before_the_next_connection() -> None:
    numbers = Numbers()
    assert [numbers.take(online) for online in (True, False, False)] == [0, 1, 2]
    assert numbers.unsent() == 1
    assert numbers.take(False) == 3  # it may be flushed into the connection that is being made, and lost with it
    assert numbers.unsent() == 4


def test_payloads_belong_to_their_numbers() -> None:
    for binary in (False, True):
        assert is_whole(fill(7, 5, binary), 7, 5)
        assert not is_whole(fill(8, 5, binary), 7, 5)
        assert not is_whole(fill(7, 4, binary), 7, 5)
