"""The send buffer alone, over connections that die when told to: what the network does too seldom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsgi_sio.client.acks import PendingAcks
from wsgi_sio.client.connection import Connection
from wsgi_sio.client.send_buffer import BoundedBuffer, Outgoing, SendBuffer
from wsgi_sio.exceptions import Disconnected
from wsgi_sio.runtime.shared_reactor import SharedReactor


class MortalConnection(Connection):
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


def make() -> tuple[SendBuffer, PendingAcks]:
    acks = PendingAcks(SharedReactor(None, None))
    return SendBuffer(acks, BoundedBuffer(None, "raise"), lambda data: None, lambda data: None), acks


def event(number: int, ack_id: int | None = None) -> Outgoing:
    return Outgoing(["count", number], [number], ack_id)  # type: ignore[list-item]


def test_what_a_dying_connection_did_not_take_goes_first_over_the_next() -> None:
    send_buffer, _ = make()
    for number in range(5):
        assert send_buffer.send(event(number))
    dying, living = MortalConnection(2, lambda: send_buffer.send(event(5)) and None), MortalConnection(100)
    send_buffer.open(dying)
    assert not send_buffer.ready and dying.sent == [0, 1]
    send_buffer.close(dying)
    assert send_buffer.send(event(6))
    send_buffer.open(living)
    assert send_buffer.ready and send_buffer.send(event(7))
    assert living.sent == [2, 3, 4, 5, 6, 7]


def test_an_event_that_a_dying_connection_refuses_is_kept() -> None:
    send_buffer, _ = make()
    dying, living = MortalConnection(1), MortalConnection(100)
    send_buffer.open(dying)
    assert [send_buffer.send(event(number)) for number in range(3)] == [True] * 3
    assert send_buffer.send(event(9), volatile=True) is False
    send_buffer.close(dying)
    send_buffer.open(living)
    assert (dying.sent, living.sent) == ([0], [1, 2])


def test_an_event_whose_caller_knows_of_the_loss_does_not_go_out() -> None:
    """The connection is lost while what waits is being sent: the acknowledgements fail, so the events are over."""
    send_buffer, acks = make()
    dying, living = MortalConnection(0), MortalConnection(100)
    dying.dies = lambda: send_buffer.close(dying)
    answers = Answers()
    acks.expect(7, answers, None)
    send_buffer.send(event(0, ack_id=7))
    send_buffer.send(event(1))
    send_buffer.open(dying)
    assert [type(error) for error in answers.errors] == [Disconnected]
    send_buffer.open(living)
    assert living.sent == [1]


def test_the_same_without_a_buffer() -> None:
    """As a queue of retries sends: it is told at once, or the acknowledgement is."""
    send_buffer, acks = make()
    answers = Answers()
    assert send_buffer.send_now(event(0, ack_id=1), answers, None) is False
    dying = MortalConnection(0)
    send_buffer.open(dying)
    assert send_buffer.send_now(event(0, ack_id=1), answers, None) is False
    assert not send_buffer.ready and 1 not in acks and answers.errors == []
    dying = MortalConnection(0, lambda: send_buffer.close(dying))
    send_buffer.open(dying)
    assert send_buffer.send_now(event(0, ack_id=1), answers, None) is True
    assert [type(error) for error in answers.errors] == [Disconnected]
