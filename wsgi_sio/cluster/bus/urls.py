"""Which bus a URL is about, where it may be of any kind: that of ``message_queue=``, of the emitter, of the bridge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import urlsplit

from . import kombu_urls, redis_urls
from .bus import SharedBus
from .commands import Commands
from .kombu_bus import kombu_bus
from .kombu_commands import KombuCommands
from .redis_bus import redis_bus
from .redis_commands import RedisCommands

Family = Literal["redis", "amqp"]

SCHEMES: Final = (*redis_urls.SCHEMES, *kombu_urls.SCHEMES)


def family_of(url: str) -> Family:
    """What is at ``url``: Redis (or Valkey), or a broker that speaks AMQP.

    :raises ValueError: nothing that there is a bus for.
    """
    scheme = urlsplit(url).scheme.lower() if isinstance(url, str) else ""
    if scheme in kombu_urls.SCHEMES:
        return "amqp"
    if scheme not in SCHEMES:
        kafka = " (Kafka is none of them)" if scheme in ("kafka", "confluentkafka") else ""
        raise ValueError(f"no bus for the scheme {scheme!r}; there are {', '.join(SCHEMES)}{kafka}")
    return "redis"


def bus_at(url: str, exchanges: Iterable[str] = ()) -> SharedBus:
    """The bus at ``url``, one a process.

    :param exchanges: the channels of old servers, which have exchanges of their own in RabbitMQ.
    :raises ValueError: there is none for the URL.
    """
    return redis_bus(url) if family_of(url) == "redis" else kombu_bus(url, exchanges=exchanges)


def commands_at(url: str, timeout: float, exchanges: Iterable[str] = ()) -> Commands:
    """Commands for what is at ``url``.

    :param timeout: seconds for each step.
    :param exchanges: as for :func:`bus_at`.
    :raises ValueError: there is no bus for the URL.
    """
    if family_of(url) == "redis":
        return RedisCommands(url, timeout)
    return KombuCommands(url, timeout, frozenset(exchanges))
