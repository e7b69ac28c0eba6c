"""The outbox alone, over links that die when told to: what the network does too seldom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsgi_sio.client.acks import PendingAcks
from wsgi_sio.client.buffer import Buffer
from wsgi_sio.client.emitting import Outgoing
from wsgi_sio.client.lease import ReactorLease
from wsgi_sio.client.link import Link
from wsgi_sio.client.outbox import Outbox
from wsgi_sio.exceptions import Disconnected


class MortalLink(Link):
    """Takes ``lives`` events, then no more; ``dies`` is called at the first that it refuses."""

    __slots__ = ("dies", "lives", "sent")

    def __init__(self, lives: int, dies: Callable[[], None] = lambda: None) -> None:
        self.lives = lives
        self.dies = dies
        self.sent: list[Any] = []

    def send(self, batch: list[Any], *, volatile: bool = False, bounded: bool = False) -> bool:
        if len(self.sent) == self.lives:
            self.dies()
            return False
        self.sent += batch
        return True


class Answers:
    """Who waits for an acknowledgement."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def answer(self, args: list[Any]) -> None:
        raise AssertionError(args)

    def lost(self) -> None:
        self.fail(Disconnected())

    def fail(self, error: Exception) -> None:
        self.errors.append(error)


def make() -> tuple[Outbox, PendingAcks]:
    acks = PendingAcks(ReactorLease(None, None))
    return Outbox(acks, Buffer(None, "raise"), lambda data: None, lambda data: None), acks


def event(number: int, ack_id: int | None = None) -> Outgoing:
    return Outgoing(["count", number], [number], ack_id)  # type: ignore[list-item]


def test_what_a_dying_link_did_not_take_goes_first_over_the_next() -> None:
    outbox, _ = make()
    for number in range(5):
        assert outbox.send(event(number))
    dying, living = MortalLink(2, lambda: outbox.send(event(5)) and None), MortalLink(100)
    outbox.open(dying)
    assert not outbox.ready and dying.sent == [0, 1]
    outbox.close(dying)
    assert outbox.send(event(6))
    outbox.open(living)
    assert outbox.ready and outbox.send(event(7))
    assert living.sent == [2, 3, 4, 5, 6, 7]


def test_an_event_that_a_dying_link_refuses_is_kept() -> None:
    outbox, _ = make()
    dying, living = MortalLink(1), MortalLink(100)
    outbox.open(dying)
    assert [outbox.send(event(number)) for number in range(3)] == [True] * 3
    assert outbox.send(event(9), volatile=True) is False
    outbox.close(dying)
    outbox.open(living)
    assert (dying.sent, living.sent) == ([0], [1, 2])


def test_an_event_whose_caller_knows_of_the_loss_does_not_go_out() -> None:
    """The connection is lost while what waits is being sent: the acknowledgements fail, so the events are over."""
    outbox, acks = make()
    dying, living = MortalLink(0), MortalLink(100)
    dying.dies = lambda: outbox.close(dying)
    answers = Answers()
    acks.expect(7, answers, None)
    outbox.send(event(0, ack_id=7))
    outbox.send(event(1))
    outbox.open(dying)
    assert [type(error) for error in answers.errors] == [Disconnected]
    outbox.open(living)
    assert living.sent == [1]


def test_the_same_without_a_buffer() -> None:
    """As a queue of retries sends: it is told at once, or the acknowledgement is."""
    outbox, acks = make()
    answers = Answers()
    assert outbox.send_now(event(0, ack_id=1), answers, None) is False
    dying = MortalLink(0)
    outbox.open(dying)
    assert outbox.send_now(event(0, ack_id=1), answers, None) is False
    assert not outbox.ready and 1 not in acks and answers.errors == []
    dying = MortalLink(0, lambda: outbox.close(dying))
    outbox.open(dying)
    assert outbox.send_now(event(0, ack_id=1), answers, None) is True
    assert [type(error) for error in answers.errors] == [Disconnected]
