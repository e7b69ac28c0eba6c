"""A server of Node's Socket.IO and one of ours in the same cluster, each with a client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import KINDS, Cluster, MakeCluster
from tests.support.bus import HeartbeatAdapter
from tests.support.inprocess import Background, eventually
from tests.support.node_peer import NodePeer
from wsgi_sio.cluster.messages import Message
from wsgi_sio.socketio.remote_socket import RemoteSocket


class NodeServer(NodePeer):
    """A process of ``tests/js/cluster_peer.js`` on a cluster's bus."""

    def __init__(self, cluster: Cluster) -> None:
        self._channel = cluster.adapter(0).channel
        self._bus = cluster.bus
        super().__init__("cluster_peer.js")
        cluster.bus.subscribe(self._channel, "node", self)  # type: ignore[arg-type]  # it has the put() of an inbox

    def put(self, data: bytes, delay: float) -> None:
        self.send(data)

    def take(self, line: bytes) -> None:
        self._bus.send(self._channel, line)

    def kill(self) -> None:
        self._bus.unsubscribe(self._channel, "node")
        super().kill()


class OpenAdapter(HeartbeatAdapter):
    """Everybody sees all answers."""

    def publish_response(self, requester: str, message: Message) -> None:
        self.publish(message)


class Mixed:
    def __init__(self, cluster: Cluster) -> None:
        self.node = NodeServer(cluster)
        self.cluster = cluster
        self.io = cluster.servers[0]
        self.client = cluster.clients[0]
        self.socket = cluster.sockets[0]


@pytest.fixture
def mixed(make_cluster: MakeCluster, node_modules: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mixed]:
    monkeypatch.setitem(KINDS, "open", OpenAdapter)
    mixed = Mixed(make_cluster("open", 1, heartbeat_interval=0.2))
    try:
        eventually(lambda: mixed.io.sockets.adapter.server_count() == 2, "that we know the other server")
        eventually(lambda: mixed.node.do("count") == 2, "that it knows us")
        yield mixed
    finally:
        mixed.node.kill()


def test_broadcasts_both_ways(mixed: Mixed) -> None:
    mixed.io.emit("hello", {"a": [1, "ü", None]})
    assert mixed.client.expect("hello") == [{"a": [1, "ü", None]}]
    eventually(lambda: mixed.node.do("seen") == [["hello", {"a": [1, "ü", None]}]], "the event in Node")
    mixed.node.do("emit", "back", 1)
    assert mixed.client.expect("back") == [1]
    mixed.io.to("nodes").emit("room")
    eventually(lambda: mixed.node.do("seen")[-1] == ["room"], "the event in a room of Node")
    mixed.client.expect_silence(0.05)


def test_acknowledgements_both_ways(mixed: Mixed) -> None:
    mixed.cluster.answering(0, "from python")
    assert sorted(mixed.io.timeout(3).emit_with_ack("who")) == ["from node", "from python"]
    mixed.cluster.answering(0, "from python")
    assert sorted(mixed.node.do("ask", "who")) == ["from node", "from python"]


def test_sockets_are_found_both_ways(mixed: Mixed) -> None:
    (there,) = [socket for socket in mixed.io.fetch_sockets() if isinstance(socket, RemoteSocket)]
    assert (there.id, there.rooms, there.data) == (mixed.node.sid, {mixed.node.sid, "nodes"}, {"name": "node"})
    assert there.handshake.address == "127.0.0.1" and there.handshake.query["transport"] == "websocket"
    assert there.handshake.issued > 1_700_000_000_000 and not there.handshake.secure
    mixed.socket.data["name"] = "python"
    (here,) = [socket for socket in mixed.node.do("fetch") if socket["id"] == mixed.socket.id]
    assert (here["rooms"], here["data"]) == ([mixed.socket.id], {"name": "python"})
    assert here["handshake"]["headers"] == mixed.socket.handshake.headers
    assert here["handshake"]["time"] == mixed.socket.handshake.time


def test_what_is_done_with_the_others_sockets(mixed: Mixed) -> None:
    (there,) = mixed.io.in_("nodes").fetch_sockets()
    assert there.emit_with_ack("question", timeout=3) == "from node"
    there.join(["a", "b"])
    there.leave("a")
    eventually(lambda: mixed.node.do("rooms") == [[there.id, "nodes", "b"]], "its rooms")
    mixed.node.do("join", mixed.socket.id, "theirs")
    eventually(lambda: "theirs" in mixed.socket.rooms, "our rooms")
    asking = Background(mixed.cluster.answering(0, [1, 2]).result)
    assert mixed.node.do("remote", mixed.socket.id, "question") == [1, 2]
    assert asking.result() == ["question"]
    there.disconnect()
    eventually(lambda: mixed.node.do("seen")[-1] == ["disconnect", "io server disconnect"], "its end")
    mixed.node.do("disconnect", mixed.socket.id)
    eventually(lambda: mixed.socket.disconnected, "our end")


def test_events_between_the_servers_both_ways(mixed: Mixed) -> None:
    mixed.io.on_server_side("triple", lambda value: value * 3)
    assert mixed.io.server_side_emit_with_ack("double", 21) == [42]
    assert mixed.node.do("serverSide", "triple", 14) == [42]


def test_goodbyes_both_ways(mixed: Mixed, make_cluster: MakeCluster) -> None:
    mixed.node.do("close")
    eventually(lambda: mixed.io.sockets.adapter.server_count() == 1, "that we forget it")
    mixed.io.sockets.adapter.close()
    eventually(lambda: mixed.node.do("count") == 1, "that it forgets us")
