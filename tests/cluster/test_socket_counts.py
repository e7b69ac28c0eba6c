"""Counting sockets over several servers, of which each answers with a number."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import at_once, eventually
from wsgi_sio import AckTimeout, Server
from wsgi_sio.cluster.messages import FETCH_SOCKETS_RESPONSE


def test_counts_are_those_of_the_cluster(cluster: Cluster) -> None:
    """Each socket counts once, as a broadcast would reach it."""
    io, (first, second, third) = cluster.servers[1], cluster.sockets
    first.join(["a", "b", 7])
    second.join("a")
    third.join(["b", 7])
    assert io.count() == io.of("/").count() == 3 and io.of("/").local.count() == 1
    assert io.in_("a").count() == io.in_(7).count() == 2 and io.in_(["a", "b"]).count() == 3
    assert io.except_("a").count() == 1 and io.in_("b").except_(first.id).count() == 1
    assert io.in_("nobody").count() == io.in_([]).count() == 0
    assert second.to("a").count() == 1 and second.broadcast.count() == 2
    assert io.room_counts() == {"a": 2, "b": 2, 7: 2}
    assert io.local.room_counts() == {"a": 1}
    assert io.room_counts(["b", "nobody", third.id]) == {"b": 2, "nobody": 0, third.id: 1}
    assert io.in_("a").room_counts() == {"a": 2, "b": 1, 7: 1} and io.room_counts("a") == {"a": 2}
    assert io.room_counts([]) == io.in_([]).room_counts() == {}
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def test_joins_and_leaves_beside_counts(cluster: Cluster) -> None:
    """However they meet, a count is never more than there are sockets, and in the end it is exact."""
    io = cluster.servers[0]

    def change(number: int) -> list[int]:
        socket, found = cluster.sockets[number % 3], []
        for turn in range(20):
            socket.join([f"room {number}", "all"])
            found += [io.in_("all").count(), io.room_counts().get("all", 0)] if turn % 5 == 0 else []
            socket.leave(f"room {number}")
        return found

    assert all(count <= 3 for counts in at_once(6, change) for count in counts)
    assert io.room_counts() == {"all": 3} and io.in_("all").count() == 3
    cluster.sockets[1].disconnect()
    eventually(lambda: io.in_("all").count() == 2, "the one who left")


def test_an_answer_that_does_not_come(make_cluster: MakeCluster) -> None:
    """What is known is in the error."""
    cluster = make_cluster("heartbeat", 3, request_timeout=0.2)
    cluster.sockets[0].join("a")
    silent, io = cluster.adapter(2).uid, cluster.servers[0]
    cluster.bus.fate = lambda uid, message: (
        [] if message["type"] == FETCH_SOCKETS_RESPONSE and message["uid"] == silent else [0.0]
    )
    with pytest.raises(AckTimeout, match="missing 1 responses") as caught:
        io.count()
    assert caught.value.responses == [2]
    with pytest.raises(AckTimeout) as caught:
        io.room_counts()
    assert caught.value.responses == [{"a": 1}]


@pytest.mark.parametrize("count", [-1, "x", None, [["a"]], [["a", -1]], {"a": 1}, [[["a"], 1]], True], ids=repr)
def test_answers_that_make_no_sense(make_cluster: MakeCluster, count: Any) -> None:
    cluster = make_cluster("heartbeat", 2, request_timeout=0.1)
    adapter = cluster.adapter(1)
    adapter._respond = lambda node, sender, kind, data: adapter._publish_response(
        node, sender, kind, {**data, "count": count}
    )
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].count()
    assert caught.value.responses == [1]


def test_only_those_who_are_in_count() -> None:
    """Alone: who is still on its way in has rooms, but gets no broadcast; who is in a room of any name counts."""
    from tests.support.inprocess import InProcess

    io, seen = Server(siblings=False), []

    @io.on("connect")
    def connect(socket: Any) -> None:
        socket.join(["lobby", ("a", "pair")])
        seen.append((io.count(), io.in_("lobby").count(), io.room_counts(), io.room_counts(["lobby"])))

    process = InProcess(io)
    clients = [process.client() for _ in range(2)]
    for client in clients:
        client.connect()
    assert seen == [(0, 0, {}, {"lobby": 0}), (1, 1, {"lobby": 1, ("a", "pair"): 1}, {"lobby": 1})]
    assert io.room_counts() == {"lobby": 2, ("a", "pair"): 2}
    process.close()
    io.close()


def test_children_of_a_dynamic_namespace_count_together(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("counting", 2)
    parents = [io.of(re.compile("^/room")) for io in cluster.servers]
    for number, nsp in enumerate(["/room1", "/room2"]):
        _, socket = cluster.join(number, nsp, cluster.clients[number])
        socket.join("a")
    _, socket = cluster.join(0, "/room2", cluster.clients[0])
    eventually(lambda: parents[0].count() == 3, "all children")
    assert parents[0].room_counts() == {"a": 2}
