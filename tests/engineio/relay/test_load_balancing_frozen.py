"""A sibling that stands still takes nothing, whatever it has told of its load before: it is given little."""

from __future__ import annotations

from tests.engineio.conftest import Engine
from tests.engineio.relay.conftest import MakeSiblings, company, freeze, link_between, thaw
from tests.engineio.relay.test_load_balancing import handshake, load, opened
from tests.support.inprocess import eventually


def wait_until_given_up(busy: Engine, sibling: Engine) -> None:
    """A client was handed over, and has not been taken for a while."""
    handed, link = company(busy).load_balancer._under_way, link_between(busy, sibling)
    eventually(lambda: handed.waits(link), "the end of its patience")


def wait_until_taken(busy: Engine, sibling: Engine) -> None:
    """All that were handed over have been taken."""
    under_way, link = company(busy).load_balancer._under_way._under_way, link_between(busy, sibling)
    eventually(lambda: link not in under_way, "word that they have been taken")


def test_what_a_frozen_sibling_does_not_take_goes_elsewhere(make_siblings: MakeSiblings) -> None:
    """Who was handed over before waits for it; when it goes on it is given its share again."""
    busy, frozen, idle = make_siblings(3)
    load(busy, frozen, 20)
    load(idle, busy, 2)
    freeze(frozen)
    first = handshake(busy)
    assert first.moved
    wait_until_given_up(busy, frozen)
    for _ in range(3):
        assert opened(handshake(busy).response())["sid"][-4:] == idle.engine.tag
        wait_until_taken(busy, idle)
    thaw(frozen)
    assert opened(first.response())["sid"][-4:] == frozen.engine.tag
    wait_until_taken(busy, frozen)
    assert opened(handshake(busy).response())["sid"][-4:] == frozen.engine.tag


def test_what_nobody_takes_stays_here(make_siblings: MakeSiblings) -> None:
    busy, frozen = make_siblings(2)
    load(busy, frozen, 20)
    freeze(frozen)
    first = handshake(busy)
    assert first.moved
    wait_until_given_up(busy, frozen)
    assert not handshake(busy).moved
    thaw(frozen)
    assert opened(first.response())["sid"][-4:] == frozen.engine.tag


def test_who_does_not_even_take_messages_is_given_nothing(make_siblings: MakeSiblings) -> None:
    """What waits for it in this process is more than the kernel keeps for it."""
    busy, frozen = make_siblings(2)
    load(busy, frozen, 20)
    link = link_between(busy, frozen)
    freeze(frozen)
    while not link.outbox_size:
        link.send(100, 0, bytes(50_000))
    assert not handshake(busy).moved
