"""``WSGI_SIO = {"adapter": "redis://..."}``, with a real Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.django.conftest import Site
from tests.support.inprocess import eventually
from tests.support.redis import running_redis
from wsgi_sio import Emitter
from wsgi_sio.adapters import RedisAdapter


def test_a_url_is_an_adapter(database: Path) -> None:
    with running_redis() as redis:
        site = Site({"adapter": redis.url})
        assert isinstance(site.io.sockets.adapter, RedisAdapter)
        client: Any = site.joined()
        with Emitter(redis.url) as emitter:
            eventually(lambda: emitter.emit("from a task", 1) == 1, "the subscription")
        assert client.expect("from a task") == [1]
        site.io.close()
        site.close()
