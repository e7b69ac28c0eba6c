"""URLs of RabbitMQ, and how channels are laid out there."""

from __future__ import annotations

import pytest

from wsgi_sio.cluster.bus.kombu_urls import KombuUrl
from wsgi_sio.cluster.bus.kombu_wire import Address, address_of
from wsgi_sio.cluster.bus.urls import ALL, family_of


def test_passwords_are_not_shown() -> None:
    url = KombuUrl.parse("amqp://user:secret@one:5673/vhost;pyamqp://user:secret@two")
    assert url.urls == ("amqp://user:secret@one:5673/vhost", "pyamqp://user:secret@two")
    assert url.shown == "amqp://one:5673/vhost;pyamqp://two"


@pytest.mark.parametrize("url", ["", "memory://", "amqps://h", "amqp://one;redis://two", "sqs://", None])
def test_other_schemes_are_refused_with_those_that_there_are(url: str) -> None:
    with pytest.raises(ValueError, match="no bus for the scheme '.*'; there are amqp, pyamqp"):
        KombuUrl.parse(url)


def test_a_port_that_makes_no_sense() -> None:
    for url in ("amqp://h:many", "amqp://h:99999", "amqp://h:0"):
        with pytest.raises(ValueError, match=r"[Pp]ort"):
            KombuUrl.parse(url)


def test_the_kinds_of_bus() -> None:
    assert [family_of(url) for url in ("redis://h", "valkeys+cluster://h", "AMQP://h")] == ["redis", "redis", "amqp"]
    assert [family_of(url, ALL) for url in ("redis://h", "Postgres://h", "postgresql://h")] == [
        "redis",
        *["postgres"] * 2,
    ]
    with pytest.raises(ValueError, match=r"'postgres'; there are redis, .*, amqp, pyamqp$"):
        family_of("postgres://h")  # which is nothing for old servers
    with pytest.raises(ValueError, match=r"'zmq'; there are redis, .*, amqp, pyamqp, postgresql, postgres$"):
        family_of("zmq://h", ALL)
    with pytest.raises(ValueError, match=r"'zmq'; there are redis, .*, amqp, pyamqp$"):
        family_of("zmq://h")
    with pytest.raises(ValueError, match=r"'kafka'; there are redis, .*\(Kafka is none of them\)"):
        family_of("kafka://h")


def test_addresses() -> None:
    """A routing key, or an exchange of an old server; what AMQP has no room for is told apart all the same."""
    assert address_of("socket.io#/#", ["old"]) == Address("wsgi_sio.channels", "socket.io#/#")
    assert address_of("socket.io#/#", []).counter == "wsgi_sio.count.socket.io#/#"
    assert address_of("old", ["old"]) == Address("old", "") and address_of("old", ["old"]).counter is None
    long = [address_of("\u20ac" * 100 + end, []) for end in "ab"]
    assert long[0] != long[1] and all(len(address.counter or "") < 255 for address in long)
