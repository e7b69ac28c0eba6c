"""One Redis (or Postgres), a server of Node with each of its adapters, two of ours: everything, from side to side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import Background, eventually
from tests.support.node_peer import NodePeer
from tests.support.redis import RedisServer
from tests.support.world import one_world
from wsgi_sio.socketio.remote_socket import RemoteSocket


class Mixed:
    """Of ours, the first server has the client, and the second one is a bystander with another.

    :ivar node: Node's, with a client in the room "nodes".
    """

    def __init__(self, cluster: Cluster, adapter: str, **options: Any) -> None:
        assert cluster.redis is not None
        url, options_text = cluster.redis.url, json.dumps(options)
        if adapter == "postgres":
            self.node = NodePeer("postgres_peer.js", url, options_text)
        else:
            self.node = NodePeer("redis_peer.js", adapter, url, options_text)
        self.adapter = adapter
        self.cluster = cluster
        self.ours, self.other = cluster.servers
        self.client, self.second = cluster.clients
        self.socket, self.second_socket = cluster.sockets

    def seen(self, count: int) -> list[Any]:
        """The last events of Node's client, once there are so many."""
        found: list[Any] = []

        def enough() -> bool:
            found[:] = self.node.do("seen")
            return len(found) >= count

        eventually(enough, f"{count} events in Node")
        return found


def wait_for_readers(redis: RedisServer, streams: int) -> None:
    """Wait until servers read so many streams, so that one of Node's is among them."""

    def reading() -> bool:
        clients = redis.do("CLIENT", "LIST").splitlines()
        return sum("cmd=xread" in client for client in clients) >= streams

    eventually(reading, "that Node reads")


# Our adapter and its options, Node's and its options.
KINDS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "classic": ("redis", {}, "classic", {}),
    "classic, specific answers": (
        "redis",
        {"publish_on_specific_response_channel": True},
        "classic",
        {"publishOnSpecificResponseChannel": True},
    ),
    "sharded": ("sharded", {}, "sharded", {}),
    "sharded, static": ("static", {}, "sharded", {"subscriptionMode": "static"}),
    "sharded, private": (
        "sharded",
        {"subscription_mode": "dynamic-private"},
        "sharded",
        {"subscriptionMode": "dynamic-private"},
    ),
    "streams": ("streams", {}, "streams", {}),
    "four streams": ("streams", {"stream_count": 4}, "streams", {"streamCount": 4}),
    "postgres": ("postgres", {}, "postgres", {}),
}
# They differ from the others by where messages go; how that is chosen, the drivers' own tests look at every day.
_ALIKE = ("classic, specific answers", "sharded, static", "sharded, private", "streams")


@pytest.fixture(
    params=[pytest.param(kind, marks=[pytest.mark.slow, one_world] if kind in _ALIKE else []) for kind in KINDS]
)
def mixed(request: pytest.FixtureRequest, make_cluster: MakeCluster, node_modules: Path) -> Iterator[Mixed]:
    kind, ours, adapter, theirs = KINDS[request.param]
    cluster = make_cluster(kind, 2, **ours)
    names = {"classic": ["key"], "streams": ["channelPrefix", "streamName"]}.get(adapter, ["channelPrefix"])
    mixed = Mixed(cluster, adapter, **dict.fromkeys(names, cluster.key), **theirs)
    try:
        eventually(lambda: mixed.ours.sockets.adapter.server_count() == 3, "that we know all")
        eventually(lambda: mixed.node.do("count") == 3, "that Node does")
        if adapter == "streams":  # what comes before Node reads is lost to it
            assert cluster.redis is not None
            wait_for_readers(cluster.redis, 2 + theirs.get("streamCount", 1))
        yield mixed
    finally:
        mixed.node.kill()


def test_broadcasts(mixed: Mixed) -> None:
    values = [1, "ü€😀", None, True, 1.5, -(2**40), {"a": [b"\x00\xff", {"b": []}]}, b""]
    mixed.ours.emit("hello", *values)
    assert mixed.client.expect("hello") == mixed.second.expect("hello") == values
    assert mixed.seen(1) == [["hello", *values]]
    mixed.node.do("emit", "back", *values)
    assert mixed.client.expect("back") == mixed.second.expect("back") == values
    assert mixed.seen(2)[1] == ["back", *values]
    assert mixed.cluster.got() == [[], []]


def test_rooms_and_exceptions(mixed: Mixed) -> None:
    mixed.socket.join(["a", 7])
    mixed.second_socket.join("b")
    mixed.ours.to("nodes").emit("to one room of Node's")
    mixed.ours.to(["nodes", "b"]).except_("a").emit("to two rooms")
    mixed.ours.except_("nodes").emit("to all but Node's")
    assert mixed.seen(2) == [["to one room of Node's"], ["to two rooms"]]
    assert mixed.cluster.got() == [["to all but Node's"], ["to two rooms", "to all but Node's"]]
    assert mixed.seen(3)[2][0] == "that was all"  # before Node's own, which it need not hear first
    mixed.node.do("emitTo", "a", [], "to one room")
    mixed.node.do("emitTo", 7, [], "to a number")
    mixed.node.do("emitTo", ["a", "b", "nodes"], "b", "to rooms")
    mixed.node.do("emitTo", mixed.second_socket.id, [], "to a client")
    mixed.node.do("emitTo", [], ["a", "nodes"], "to the rest")
    mixed.node.do("emit", "end")
    for client, events in ((mixed.client, ["to one room", "to a number", "to rooms", "end"]),
                           (mixed.second, ["to a client", "to the rest", "end"])):  # fmt: skip
        assert [client.receive().data[0] for _ in events] == events
    assert [event[0] for event in mixed.seen(5)[3:]] == ["to rooms", "end"]
    mixed.ours.to(mixed.node.sid).emit("to its client")
    eventually(lambda: ["to its client"] in mixed.node.do("seen"), "the event")


def test_acknowledgements_of_many(mixed: Mixed) -> None:
    for number in range(2):
        mixed.cluster.answering(number, b"from python %d" % number)
    answers = mixed.ours.timeout(10).emit_with_ack("who", b"?")
    assert sorted(answers, key=str) == [b"from python 0", b"from python 1", "from node"]
    for number in range(2):
        mixed.cluster.answering(number, b"from python %d" % number)
    answers = mixed.node.do("ask", "who", b"?")
    assert sorted(answers, key=str) == [b"from python 0", b"from python 1", "from node"]
    eventually(lambda: mixed.cluster.open_requests() == 0, "no request left")


def check_that_they_are_counted(mixed: Mixed) -> None:
    """Node's server answers with its sockets, which are counted here; of presence it says and hears nothing."""
    assert mixed.ours.count() == 3 and mixed.ours.in_("nodes").count() == 1
    assert mixed.other.except_("mine").count() == 2 and mixed.other.room_counts() == {"nodes": 1, "mine": 1}
    assert mixed.ours.room_counts(["nodes", mixed.node.sid]) == {"nodes": 1, mixed.node.sid: 1}
    presence = mixed.other.presence()
    presence.begin()
    eventually(lambda: presence._complete and presence.count == 2, "that ours tell each other")
    assert presence.ids == {mixed.socket.id, mixed.second_socket.id} and mixed.node.do("between") == []


def test_sockets_are_found(mixed: Mixed) -> None:
    found = mixed.ours.fetch_sockets()
    assert {socket.id for socket in found} == {mixed.socket.id, mixed.second_socket.id, mixed.node.sid}
    (there,) = mixed.ours.in_("nodes").fetch_sockets()
    assert isinstance(there, RemoteSocket)
    assert (there.id, there.rooms, there.data) == (mixed.node.sid, {mixed.node.sid, "nodes"}, {"name": "node"})
    assert there.handshake.address == "127.0.0.1" and there.handshake.query["transport"] == "websocket"
    mixed.socket.data["name"] = "python"
    mixed.socket.data["bytes"] = b"\x01"
    mixed.socket.join("mine")
    assert len(mixed.node.do("fetch")) == 3
    check_that_they_are_counted(mixed)
    (here,) = mixed.node.do("fetchIn", "mine")
    assert (here["id"], set(here["rooms"])) == (mixed.socket.id, {mixed.socket.id, "mine"})
    assert here["data"] == {"name": "python", "bytes": b"\x01"}
    assert here["handshake"]["headers"] == mixed.socket.handshake.headers


def test_events_between_servers(mixed: Mixed) -> None:
    heard: list[Any] = []
    for io in (mixed.ours, mixed.other):
        io.on_server_side("triple", lambda value: value * 3)
        io.on_server_side("double", lambda value: -value)
        io.on_server_side("note", lambda *args: heard.append(args))
    assert sorted(mixed.ours.server_side_emit_with_ack("double", 21)) == [-21, 42]
    assert mixed.node.do("serverSide", "triple", 14) == [42, 42]
    mixed.ours.server_side_emit("note", 1, b"\x02")
    eventually(lambda: mixed.node.do("between") == [[1, b"\x02"]] and heard == [(1, b"\x02")], "the events")
    mixed.node.do("note", "from node")
    eventually(lambda: heard[1:] == [("from node",)] * 2, "the event of Node's")


def test_sockets_join_and_leave(mixed: Mixed) -> None:
    mixed.ours.sockets_join(["x", "y"])
    mixed.ours.in_("nodes").sockets_leave("x")
    eventually(lambda: mixed.node.do("rooms") == [[mixed.node.sid, "nodes", "y"]], "its rooms")
    eventually(lambda: {"x", "y"} < mixed.second_socket.rooms, "the rooms of the other server")
    assert {"x", "y"} < mixed.socket.rooms
    mixed.node.do("leave", "x", "y")
    mixed.node.do("join", mixed.socket.id, ["z", 5])
    eventually(lambda: {"x", "z", 5} < mixed.socket.rooms and "y" not in mixed.socket.rooms, "our rooms")
    eventually(lambda: "y" not in mixed.second_socket.rooms, "the rooms of the other server")
    assert mixed.node.do("rooms") == [[mixed.node.sid, "nodes", "y"]]


def test_remote_sockets(mixed: Mixed) -> None:
    (there,) = mixed.ours.in_("nodes").fetch_sockets()
    assert isinstance(there, RemoteSocket)
    assert there.emit_with_ack("question", timeout=10) == "from node"
    asking = Background(mixed.cluster.answering(0, [1, b"2"]).result)
    assert mixed.node.do("remote", mixed.socket.id, "question") == [1, b"2"]
    assert asking.result() == ["question"]


def test_disconnects(mixed: Mixed) -> None:
    mixed.node.do("disconnect", mixed.socket.id)
    eventually(lambda: mixed.socket.disconnected, "the end of ours")
    assert not mixed.second_socket.disconnected
    mixed.ours.disconnect_sockets()
    eventually(lambda: mixed.second_socket.disconnected, "the end of the other server's")
    assert mixed.seen(1)[-1] == ["disconnect", "io server disconnect"]


def test_goodbyes(mixed: Mixed) -> None:
    mixed.node.do("close")
    eventually(lambda: mixed.ours.sockets.adapter.server_count() == 2, "that we forget it")
    mixed.other.sockets.adapter.close()
    eventually(lambda: mixed.ours.sockets.adapter.server_count() == 1, "that we are alone")
    assert len(mixed.ours.fetch_sockets()) == 1 and mixed.ours.server_side_emit_with_ack("x") == []


def test_a_server_of_node_that_has_died_is_not_waited_for(mixed: Mixed) -> None:
    if mixed.adapter == "postgres":
        pytest.skip("that takes as long as its heartbeats do: see test_node_postgres.py")
    mixed.node.kill()
    eventually(lambda: mixed.ours.sockets.adapter.server_count() == 2, "that we forget it")
    assert {socket.id for socket in mixed.ours.fetch_sockets()} == {mixed.socket.id, mixed.second_socket.id}
