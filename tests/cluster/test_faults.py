"""Servers and buses that misbehave: whoever asks gets the truth or an error, in time, and nothing is left behind."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.forking import forked
from tests.support.inprocess import Background, at_once, eventually
from tests.support.world import WORLD
from wsgi_sio import AckTimeout, Disconnected
from wsgi_sio.cluster.messages import (
    ADAPTER_CLOSE,
    BROADCAST_ACK,
    BROADCAST_CLIENT_COUNT,
    FETCH_SOCKETS_RESPONSE,
    SERVER_SIDE_EMIT,
    SERVER_SIDE_EMIT_RESPONSE,
    Message,
)


def ask_everything(cluster: Cluster) -> None:
    """Each kind of request, from the first server; the answers must be complete and exact."""
    io = cluster.servers[0]
    count = len(cluster.servers)
    assert {socket.id for socket in io.fetch_sockets()} == {socket.id for socket in cluster.sockets}
    assert len(io.fetch_sockets()) == count
    assert sorted(io.server_side_emit_with_ack("who")) == list(range(1, count))
    clients = [cluster.answering(number, number) for number in range(count)]
    assert sorted(io.timeout(3).emit_with_ack("who")) == list(range(count))
    for client in clients:
        client.result()
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def tell_who(cluster: Cluster) -> None:
    for number, io in enumerate(cluster.servers):
        io.on_server_side("who", lambda number=number: number)


@pytest.mark.parametrize(
    "twice",
    [
        lambda kind: kind >= FETCH_SOCKETS_RESPONSE and kind != SERVER_SIDE_EMIT,
        lambda kind: kind < FETCH_SOCKETS_RESPONSE or kind == SERVER_SIDE_EMIT,
        lambda kind: True,
    ],
    ids=["answers", "requests", "everything"],
)
def test_messages_that_come_twice(cluster: Cluster, twice: Callable[[int], bool]) -> None:
    tell_who(cluster)
    cluster.bus.fate = lambda receiver, message: [0.0, 0.0] if twice(message["type"]) else [0.0]
    ask_everything(cluster)


def test_messages_that_overtake_each_other(cluster: Cluster) -> None:
    """Acknowledgements before the number of those that will come, for instance."""
    tell_who(cluster)
    rng = random.Random(5)
    cluster.bus.fate = lambda receiver, message: [rng.choice([0.0, 0.005, 0.02])]
    for _ in range(5):
        ask_everything(cluster)


def test_acknowledgements_before_the_number_of_clients(cluster: Cluster) -> None:
    cluster.bus.fate = lambda receiver, message: [0.1 if message["type"] == BROADCAST_CLIENT_COUNT else 0.0]
    tell_who(cluster)
    ask_everything(cluster)


@pytest.mark.parametrize("kind", ["counting", "heartbeat"])
@pytest.mark.parametrize("lost", [FETCH_SOCKETS_RESPONSE, SERVER_SIDE_EMIT_RESPONSE, BROADCAST_CLIENT_COUNT])
def test_answers_that_are_lost(make_cluster: MakeCluster, kind: str, lost: int) -> None:
    """An error that says so, with the answers that came."""
    cluster = make_cluster(kind, request_timeout=0.4)
    tell_who(cluster)
    silent = cluster.adapter(2).uid
    cluster.bus.fate = lambda receiver, message: [] if (message["type"], message["uid"]) == (lost, silent) else [0.0]
    io = cluster.servers[0]
    expected: Any
    with pytest.raises(AckTimeout) as caught:
        if lost == FETCH_SOCKETS_RESPONSE:
            expected = {cluster.sockets[0].id, cluster.sockets[1].id}
            io.fetch_sockets()
        elif lost == SERVER_SIDE_EMIT_RESPONSE:
            expected = [1]
            io.server_side_emit_with_ack("who")
        else:
            expected = [0, 1, 2]
            for number in range(3):
                cluster.answering(number, number)
            io.timeout(0.4).emit_with_ack("who")
    responses = caught.value.responses
    assert {s.id for s in responses} == expected if lost == FETCH_SOCKETS_RESPONSE else sorted(responses) == expected
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def test_a_time_out_of_ones_own_for_finding_sockets(cluster: Cluster) -> None:
    cluster.bus.fate = lambda receiver, message: []
    began = time.monotonic()
    with pytest.raises(AckTimeout, match="timeout reached"):
        cluster.servers[0].timeout(0.2).fetch_sockets()
    assert 0.15 < time.monotonic() - began < 2


def test_acknowledgements_that_are_lost_leave_no_request(cluster: Cluster) -> None:
    cluster.bus.fate = lambda receiver, message: [] if message["type"] == BROADCAST_ACK else [0.0]
    for number in range(3):
        cluster.answering(number, number)
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].timeout(0.3).emit_with_ack("who")
    assert caught.value.responses == [0]
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def test_a_slow_server_is_waited_for_and_delays_nobody_else(cluster: Cluster) -> None:
    slow = cluster.adapter(2).uid
    cluster.bus.fate = lambda receiver, message: [0.5 if receiver == slow else 0.0]
    began = time.monotonic()
    asking = Background(cluster.servers[0].fetch_sockets)
    eventually(lambda: FETCH_SOCKETS_RESPONSE in [m["type"] for m in cluster.bus.sent], "the answer of the fast one")
    cluster.servers[1].emit("meanwhile")
    cluster.clients[0].expect("meanwhile")
    assert not asking.done
    assert len(asking.result()) == 3 and time.monotonic() - began >= 0.5


def test_a_server_that_comes_while_others_are_asked_is_counted(make_cluster: MakeCluster) -> None:
    """Nobody knew of it, but it was reached: its clients' answers are among the others."""
    cluster = make_cluster("heartbeat", 2)
    first, second = cluster.adapter(0), cluster.adapter(1)
    with second._peers_lock:
        second._seen.clear()
    assert second.server_count() == 1
    asking = Background(cluster.servers[1].timeout(3).emit_with_ack, "who")
    packet = cluster.clients[0].receive()
    eventually(lambda: [m for m in cluster.bus.sent if m["type"] == BROADCAST_CLIENT_COUNT], "its count")
    eventually(lambda: any(request._owed for request in second._node.ack_requests._open.values()), "that it counts")
    cluster.answering(1, "known").result()
    cluster.clients[0].answer(packet, "new")
    assert sorted(asking.result()) == ["known", "new"]
    assert first.uid != second.uid


def test_a_bus_that_is_slow_to_take_answers_does_not_take_all_workers(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 2)
    release, waiting = threading.Event(), threading.Semaphore(0)
    adapter = cluster.adapter(1)
    publish_response = adapter.publish_response

    def stuck(requester: str, message: Message) -> None:
        waiting.release()
        release.wait(10)
        publish_response(requester, message)

    adapter.publish_response = stuck
    calls = [Background(cluster.servers[0].fetch_sockets) for _ in range(100)]
    assert waiting.acquire(timeout=5)
    cluster.servers[1].on("ping", lambda socket: "pong")
    assert cluster.clients[1].call("ping") == ["pong"]
    assert not waiting.acquire(blocking=False)  # one at a time
    release.set()
    assert {len(call.result(10)) for call in calls} == {2}


def test_servers_that_ask_each_other_inside_handlers(cluster: Cluster) -> None:
    """Nobody waits for one's own answer: A asks B and C, which ask the others, which ask again."""
    for number, io in enumerate(cluster.servers):

        def ask(depth: int, number: int = number, io: Any = io) -> Any:
            return [number, *io.server_side_emit_with_ack("ask", depth - 1)] if depth else number

        io.on_server_side("ask", ask)
    answers = cluster.servers[0].server_side_emit_with_ack("ask", 2)
    assert len(answers) == 2 and all(len(answer) == 3 and len(answer[1]) == 3 for answer in answers)


def test_events_of_a_server_are_handled_in_order_and_where_they_may_block(cluster: Cluster) -> None:
    """A handler that blocks holds up later events, but no broadcast."""
    release = threading.Event()
    got: list[int] = []

    def handle(number: int) -> None:
        if number == 0:
            release.wait(5)
        got.append(number)

    cluster.servers[1].on_server_side("step", handle)
    for number in range(50):
        cluster.servers[0].server_side_emit("step", number)
    cluster.servers[0].emit("news")
    cluster.clients[1].expect("news")
    assert got == []
    release.set()
    eventually(lambda: len(got) == 50, "all events")
    assert got == list(range(50))


def test_many_ask_at_once(cluster: Cluster) -> None:
    tell_who(cluster)

    def ask(number: int) -> None:
        io = cluster.servers[number % 3]
        for _ in range(10):
            assert len(io.fetch_sockets()) == 3
            assert len(io.server_side_emit_with_ack("who")) == 2
            assert io.to("nobody").timeout(3).emit_with_ack("x") == []

    at_once(9, ask, timeout=20)
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def test_all_servers_close_at_once_while_they_ask(make_cluster: MakeCluster) -> None:
    """Each call ends, by an answer or an error; nothing hangs."""
    for kind in ("counting", "heartbeat"):
        cluster = make_cluster(kind, 3)
        stuck = threading.Event()
        for io in cluster.servers:
            io.on_server_side("stuck", lambda stuck=stuck: stuck.wait(5))
        asking = [
            Background(call, *args)
            for io in cluster.servers
            for call, args in ((io.server_side_emit_with_ack, ("stuck",)), (io.fetch_sockets, ()))
        ]
        eventually(
            lambda cluster=cluster: [m["type"] for m in cluster.bus.sent].count(SERVER_SIDE_EMIT) == 3, "the questions"
        )
        at_once(3, lambda number, cluster=cluster: cluster.servers[number].close())
        stuck.set()
        for call in asking:
            try:
                assert isinstance(call.result(3), list)
            except Disconnected:
                pass
        assert cluster.open_requests() == 0


def test_closing_says_goodbye_behind_everything_else(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat", 3)
    for number in range(20):
        cluster.servers[1].emit("news", number)
    cluster.adapter(1).close()
    uid = cluster.adapter(1).uid
    assert [m["type"] for m in cluster.bus.sent if m["uid"] == uid][-1] == ADAPTER_CLOSE
    for number in range(20):
        assert cluster.clients[0].expect("news") == [number]


@pytest.mark.skipif(WORLD != "threads" or not hasattr(os, "fork"), reason="about threads and fork")
def test_a_forked_process_is_another_server(make_cluster: MakeCluster) -> None:
    """With a uid of its own and without the requests of its parent, in whose name it says no goodbye."""
    cluster = make_cluster("heartbeat", 1)
    adapter = cluster.adapter(0)

    def say() -> str:
        sent = len(cluster.bus.sent)
        adapter.close()
        said = len(cluster.bus.sent) - sent
        node = adapter.join_cluster()
        return f"{node.uid} {adapter.uid} {len(node.questions) + said}"

    with forked(say) as child:
        uid, known_as, too_much = child.outcome().split()
    assert uid == known_as != adapter.uid and too_much == "0"
    assert adapter.join_cluster().pid == os.getpid()
