"""RemoteSocket: used like a Socket, though its client is another server's."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import Background, eventually
from wsgi_sio import AckTimeout, Disconnected, LocalProtocolError
from wsgi_sio.socketio.packet import ACK, Packet
from wsgi_sio.socketio.remote_socket import RemoteHandshake


class Both:
    """A socket of each kind, as the first server sees them, and their clients."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        found = {socket.id: socket for socket in cluster.servers[0].fetch_sockets()}
        self.sockets: list[Any] = [found[socket.id] for socket in cluster.sockets]


@pytest.fixture
def both(make_cluster: MakeCluster) -> Both:
    return Both(make_cluster("heartbeat", 2))


EITHER = pytest.mark.parametrize("number", [0, 1], ids=["local", "remote"])


@EITHER
def test_events_and_messages_are_sent(both: Both, number: int) -> None:
    socket = both.sockets[number]
    assert socket.emit("hello", 1, b"\x02") is True
    assert socket.send("text") is True
    socket.volatile.compress(False).emit("maybe")
    expected = [["hello", 1, b"\x02"], ["message", "text"], "maybe"]
    assert both.cluster.got()[number] == expected
    with pytest.raises(LocalProtocolError):
        socket.emit("connect")
    with pytest.raises(LocalProtocolError):
        socket.emit_with_ack("disconnect", timeout=1)
    with pytest.raises(TypeError):
        socket.emit("hello", object())


@EITHER
@pytest.mark.parametrize("args", [[], [None], [3], [b"\x01"]], ids=repr)
def test_what_a_client_answers(both: Both, number: int, args: list[Any]) -> None:
    """A callback gets as many arguments as the client has given; after timeout() an error before them."""
    socket = both.sockets[number]
    client = both.cluster.answering(number, *args)
    assert socket.emit_with_ack("question", timeout=3) == (args[0] if args else None)
    client.result()
    told: list[Any] = []
    for asks in (socket, socket.timeout(3)):
        client = both.cluster.answering(number, *args)
        asks.emit("question", callback=lambda *got: told.append(list(got)))
        client.result()
    eventually(lambda: len(told) == 2, "two callbacks")
    assert sorted(told, key=len) == [args, [None, *args]]
    eventually(lambda: both.cluster.open_requests() == 0, "no request left")


@EITHER
def test_a_client_that_does_not_answer(both: Both, number: int) -> None:
    socket = both.sockets[number]
    told: list[Any] = []
    socket.timeout(0.1).emit("question", callback=lambda *got: told.append(got))
    with pytest.raises(AckTimeout):
        socket.timeout(0.1).emit_with_ack("question")
    with pytest.raises(AckTimeout):
        socket.emit_with_ack("question", timeout=0.1)
    eventually(lambda: told, "the callback")
    assert [type(error) for (error,) in told] == [AckTimeout]
    eventually(lambda: both.cluster.open_requests() == 0, "no request left")


@EITHER
def test_a_client_that_has_gone(both: Both, number: int) -> None:
    socket = both.sockets[number]
    both.cluster.clients[number].close()
    eventually(lambda: both.cluster.sockets[number].disconnected, "its end")
    eventually(lambda: not both.cluster.servers[number].sockets.sockets, "that it is forgotten")
    with pytest.raises(Disconnected):
        socket.emit_with_ack("question", timeout=3)
    told: list[Any] = []
    socket.emit("question", callback=lambda *got: told.append(got))
    socket.timeout(3).emit("question", callback=lambda *got: told.append(got))
    eventually(lambda: told, "the callback")
    assert [type(error) for (error,) in told] == [Disconnected]


def test_waiting_without_a_time_out_ends_with_the_time_for_requests(make_cluster: MakeCluster) -> None:
    both = Both(make_cluster("heartbeat", 2, request_timeout=0.2))
    with pytest.raises(AckTimeout):
        both.sockets[1].emit_with_ack("question")


@EITHER
def test_rooms_are_joined_and_left(both: Both, number: int) -> None:
    socket, there = both.sockets[number], both.cluster.sockets[number]
    socket.join("a")
    socket.join(["b", "c"])
    socket.leave("b")
    both.cluster.got()
    assert there.rooms == {there.id, "a", "c"}


@EITHER
@pytest.mark.parametrize("close", [False, True])
def test_it_is_disconnected(both: Both, number: int, close: bool) -> None:
    reason: list[str] = []
    both.cluster.sockets[number].on("disconnect", reason.append)
    both.sockets[number].disconnect(close)
    eventually(lambda: reason, "the end")
    assert reason == ["server namespace disconnect"]
    assert both.cluster.sockets[1 - number].connected


def test_a_handler_may_ask_the_client_of_another_server(both: Both) -> None:
    """And blocks nobody but its own client."""
    cluster = both.cluster
    cluster.servers[0].on("relay", lambda socket, text: both.sockets[1].emit_with_ack("question", text, timeout=3))
    answer = Background(cluster.clients[0].call, "relay", "how are you?")
    packet = cluster.clients[1].receive()
    cluster.clients[1].send(Packet(ACK, "/", ["fine"], packet.id))
    assert packet.data == ["question", "how are you?"] and answer.result() == ["fine"]


def test_all_clients_of_a_cluster_can_be_asked_one_by_one(make_cluster: MakeCluster) -> None:
    """Without looking at which server they are."""
    cluster = make_cluster("counting", 3)
    for number in range(3):
        cluster.answering(number, number)
    answers = {socket.id: socket.emit_with_ack("who?", timeout=3) for socket in cluster.servers[2].fetch_sockets()}
    assert answers == {socket.id: number for number, socket in enumerate(cluster.sockets)}


def test_a_callback_runs_where_it_may_block(both: Both) -> None:
    """Not on the thread that receives other servers' messages."""
    release, entered = threading.Event(), threading.Event()

    def slow(*answer: Any) -> None:
        entered.set()
        release.wait(5)

    both.cluster.answering(1, 1)
    both.sockets[1].emit("question", callback=slow)
    assert entered.wait(5)
    assert both.cluster.servers[0].fetch_sockets()
    release.set()


def test_a_handshake_of_another_kind_of_server_may_lack_fields_or_have_more() -> None:
    handshake = RemoteHandshake.of({"headers": {"x": "y"}, "sessionStore": {}, "secure": True})
    assert (handshake.headers, handshake.secure, handshake.query, handshake.issued) == ({"x": "y"}, True, {}, 0)
