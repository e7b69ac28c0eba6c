"""Servers whose Redis is away: each serves its own clients, nobody waits, and all is as before when it is back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import eventually
from tests.support.redis import RedisServer, running_redis
from wsgi_sio import AckTimeout


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def cluster(make_cluster: MakeCluster, redis: RedisServer) -> Cluster:
    return make_cluster("redis", 2, redis=redis, request_timeout=1.0)


def emit_many(cluster: Cluster, name: str, count: int = 300) -> None:
    """Emit events, and see that their own client gets them, and that no call waits for Redis."""
    durations = []
    for number in range(count):
        before = time.monotonic()
        cluster.servers[0].emit(name, number)
        durations.append(time.monotonic() - before)
        assert cluster.clients[0].expect(name) == [number]
    assert statistics.median(durations) < 0.005 and max(durations) < 1.0


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_local_clients_get_everything_and_nobody_waits(cluster: Cluster, redis: RedisServer, how: str) -> None:
    emit_many(cluster, "before")
    for number in range(300):
        assert cluster.clients[1].expect("before") == [number]
    if how == "stopped":
        redis.stop()
    else:
        redis.freeze()
    emit_many(cluster, "meanwhile")
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].fetch_sockets()
    assert [socket.id for socket in caught.value.responses] == [cluster.sockets[0].id]
    cluster.servers[0].sockets_join("room")
    assert "room" in cluster.sockets[0].rooms
    if how == "stopped":
        redis.start()
    else:
        redis.thaw()
    eventually(cluster.all_answer, "that the servers answer again")
    cluster.servers[0].emit("again")
    numbers = []
    while (data := cluster.clients[1].receive().data)[0] != "again":
        numbers.append(data[1])
    assert numbers == sorted(set(numbers)), "something came twice, or in another order"
    assert cluster.clients[0].expect("again") == []
