"""A real redis-server, and buses that come from one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.redis import RedisServer, running_redis
from wsgi_sio.cluster.bus.redis_bus import RedisBus
from wsgi_sio.runtime import create_reactor


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()

    def __call__(self, channel: str, payload: bytes) -> None:
        with self._lock:
            self.heard.append((channel, payload))

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.heard]


MakeBus = Callable[..., RedisBus]


@pytest.fixture
def make_bus(redis: RedisServer) -> Iterator[MakeBus]:
    """``make_bus(url=None, **options)``, each with a reactor of its own."""
    made: list[tuple[RedisBus, Any]] = []

    def make(url: str | None = None, **options: Any) -> RedisBus:
        reactor = create_reactor()
        bus = RedisBus(reactor, url or redis.url, **options)
        made.append((bus, reactor))
        return bus

    yield make
    for bus, reactor in made:
        bus.close()
        reactor.close()


@pytest.fixture
def bus(make_bus: MakeBus) -> RedisBus:
    return make_bus()
