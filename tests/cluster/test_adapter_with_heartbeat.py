"""Servers that tell each other that they live."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import Background, eventually
from wsgi_sio.cluster.messages import ADAPTER_CLOSE, HEARTBEAT, INITIAL_HEARTBEAT

QUICK = {"heartbeat_interval": 0.1, "heartbeat_timeout": 0.4}


def types(cluster: Cluster, uid: str, since: int = 0) -> list[int]:
    """The types of the messages that a server has sent."""
    return [message["type"] for message in list(cluster.bus.sent)[since:] if message["uid"] == uid]


def test_who_starts_says_so_and_learns_of_the_others(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 2)
    first, second = cluster.adapter(0).uid, cluster.adapter(1).uid
    assert types(cluster, first)[0] == types(cluster, second)[0] == INITIAL_HEARTBEAT
    assert HEARTBEAT in types(cluster, first)
    cluster.add_server()
    cluster.know_each_other()
    assert [cluster.adapter(number).server_count() for number in range(3)] == [3, 3, 3]


def test_a_server_without_clients_takes_part_as_soon_as_it_is_used(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 2)
    names = ["/a", "/b", "/c", "/d"]
    for name in names:
        cluster.servers[0].of(name).adapter.join_cluster()
        assert cluster.adapter(1, name).uid == ""
    cluster.servers[1].of("/a").emit("x")
    cluster.servers[1].of("/b").server_side_emit("x")
    cluster.servers[1].of("/c").fetch_sockets()
    cluster.servers[1].of("/d").sockets_join("x")
    for name in names:
        cluster.know_each_other(name)
    uids = {cluster.adapter(number, name).uid for number in (0, 1) for name in names}
    assert len(uids) == 8  # another one in each namespace


def test_heartbeats_are_sent_when_nothing_else_is(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 2, heartbeat_interval=0.2, heartbeat_timeout=5)
    since, uid = len(cluster.bus.sent), cluster.adapter(0).uid
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        cluster.servers[0].emit("busy")
        cluster.clients[1].expect("busy")
        time.sleep(0.01)
    assert HEARTBEAT not in types(cluster, uid, since)
    since = len(cluster.bus.sent)
    eventually(lambda: types(cluster, uid, since) == [HEARTBEAT] * 3, "three heartbeats")
    assert time.monotonic() - until > 0.45


def test_a_silent_server_is_forgotten_and_known_again_when_it_speaks(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 3, **QUICK)
    lost = cluster.adapter(2).uid
    cluster.bus.fate = lambda receiver, message: [] if message["uid"] == lost else [0.0]
    eventually(lambda: cluster.adapter(0).server_count() == cluster.adapter(1).server_count() == 2, "its end")
    assert cluster.adapter(2).server_count() == 3
    cluster.bus.fate = None
    cluster.know_each_other()


def test_who_closes_says_so_and_late_messages_do_not_bring_it_back(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 3)
    gone = cluster.adapter(2)
    gone.close()
    gone.close()
    assert types(cluster, gone.uid).count(ADAPTER_CLOSE) == 1
    eventually(lambda: cluster.adapter(0).server_count() == cluster.adapter(1).server_count() == 2, "its end")
    for kind in (INITIAL_HEARTBEAT, HEARTBEAT):
        cluster.adapter(0).on_message({"uid": gone.uid, "nsp": "/", "type": kind})
    assert cluster.adapter(0).server_count() == 2


def test_nothing_is_sent_or_heard_after_closing(make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster = make_cluster("heartbeat", 2, **QUICK)
    closed = cluster.adapter(0)
    closed.close()
    since = len(cluster.bus.sent)
    cluster.servers[0].emit("to its own")
    cluster.clients[0].expect("to its own")
    cluster.servers[0].server_side_emit("anybody?")
    assert cluster.servers[0].fetch_sockets() == [cluster.sockets[0]]
    assert cluster.servers[0].server_side_emit_with_ack("anybody?") == []
    assert cluster.servers[0].to("nobody").timeout(3).emit_with_ack("x") == []
    data = {"packet": {"type": 2, "data": ["x"]}, "opts": {"rooms": [], "except": [], "flags": {}}}
    closed.on_message({"uid": "other", "nsp": "/", "type": 3, "data": data})
    cluster.clients[0].expect_silence(0.5)
    assert types(cluster, closed.uid, since) == []
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_namespace_that_never_served_closes_quietly(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 2)
    since = len(cluster.bus.sent)
    cluster.servers[0].of("/unused").adapter.close()
    assert len(cluster.bus.sent) == since


def test_goodbyes_that_cannot_be_said_do_no_harm(make_cluster: MakeCluster) -> None:
    """The others notice by themselves."""
    cluster = make_cluster("heartbeat", 2, **QUICK)
    cluster.adapter(1).publish = _fail
    cluster.adapter(1).close()
    eventually(lambda: cluster.adapter(0).server_count() == 1, "its end")


def _fail(message: Any) -> None:
    raise ConnectionError("the bus is down")


@pytest.mark.parametrize("ask", ["fetch", "server side", "acknowledgements"])
def test_requests_do_not_wait_for_a_server_that_dies(make_cluster: MakeCluster, ask: str) -> None:
    """It got the request, but neither answers nor says goodbye."""
    cluster = make_cluster("heartbeat", 3, request_timeout=4, **QUICK)
    cluster.adapter(2).die()
    for io in cluster.servers:
        io.on_server_side("hello", lambda: "here")
    io = cluster.servers[0]
    if ask == "fetch":
        found = Background(io.fetch_sockets).result(3)
        assert {socket.id for socket in found} == {socket.id for socket in cluster.sockets[:2]}
    elif ask == "server side":
        assert Background(io.server_side_emit_with_ack, "hello").result(3) == ["here"]
    else:
        for number in (0, 1):
            cluster.answering(number, number)
        assert sorted(Background(io.timeout(4).emit_with_ack, "hello").result(3)) == [0, 1]
    eventually(lambda: cluster.open_requests() == 0, "no request left")
    assert cluster.adapter(0).server_count() == 2


def test_a_server_that_lacks_the_namespace_is_not_waited_for(make_cluster: MakeCluster) -> None:
    for kind in ("heartbeat", "counting"):
        cluster = make_cluster(kind, 3)
        for number in (0, 1):
            cluster.join(number, "/chat", cluster.clients[number])
        eventually(lambda cluster=cluster: cluster.adapter(0, "/chat").server_count() == 2, "the two")
        chat = cluster.servers[0].of("/chat")
        assert len(chat.fetch_sockets()) == 2
        for number in (0, 1):
            cluster.answering(number, number)
        assert sorted(chat.timeout(3).emit_with_ack("hello")) == [0, 1]
        assert chat.server_side_emit_with_ack("hello") == [None]
