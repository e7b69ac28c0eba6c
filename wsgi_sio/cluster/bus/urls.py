"""Which bus a URL is about, where it may be of any kind: that of ``message_queue=``, of the emitter, of the bridge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import urlsplit

from . import kombu_urls, postgres_urls, redis_urls
from .bus import SharedBus
from .commands import Commands
from .kombu_bus import kombu_bus
from .kombu_commands import KombuCommands
from .postgres_commands import PostgresCommands
from .redis_bus import redis_bus
from .redis_commands import RedisCommands

Family = Literal["redis", "amqp", "postgres"]

_SCHEMES_OF: Final[dict[Family, tuple[str, ...]]] = {
    "redis": redis_urls.SCHEMES,
    "amqp": kombu_urls.SCHEMES,
    "postgres": postgres_urls.SCHEMES,
}
# Where old servers can be as well, which know nothing of Postgres.
OF_OLD_SERVERS: Final[tuple[Family, ...]] = ("redis", "amqp")
ALL: Final[tuple[Family, ...]] = ("redis", "amqp", "postgres")
SCHEMES: Final = (*redis_urls.SCHEMES, *kombu_urls.SCHEMES)


def family_of(url: str, among: tuple[Family, ...] = OF_OLD_SERVERS) -> Family:
    """What is at ``url``: Redis (or Valkey), a broker that speaks AMQP, or Postgres.

    :raises ValueError: nothing ``among`` these that there is a bus for.
    """
    scheme = urlsplit(url).scheme.lower() if isinstance(url, str) else ""
    for family in among:
        if scheme in _SCHEMES_OF[family]:
            return family
    known = [scheme for family in among for scheme in _SCHEMES_OF[family]]
    kafka = " (Kafka is none of them)" if scheme in ("kafka", "confluentkafka") else ""
    raise ValueError(f"no bus for the scheme {scheme!r}; there are {', '.join(known)}{kafka}")


def bus_at(url: str, exchanges: Iterable[str] = ()) -> SharedBus:
    """The bus at ``url``, one a process.

    :param exchanges: the channels of old servers, which have exchanges of their own in RabbitMQ.
    :raises ValueError: there is none for the URL.
    """
    return redis_bus(url) if family_of(url) == "redis" else kombu_bus(url, exchanges=exchanges)


def commands_at(url: str, timeout: float, exchanges: Iterable[str] = (), table: str = "") -> Commands:
    """Commands for what is at ``url``.

    :param timeout: seconds for each step.
    :param exchanges: as for :func:`bus_at`.
    :param table: for rows, at Postgres.
    :raises ValueError: there is no bus for the URL.
    :raises ImportError: psycopg is missing.
    """
    match family_of(url, ALL):
        case "redis":
            return RedisCommands(url, timeout)
        case "amqp":
            return KombuCommands(url, timeout, frozenset(exchanges))
        case "postgres":
            return PostgresCommands(url, table, timeout)
