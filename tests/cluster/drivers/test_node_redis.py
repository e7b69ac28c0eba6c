"""What RedisAdapter writes and reads: bytes captured from Node, and forms that only old servers use."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import eventually
from wsgi_sio import Server
from wsgi_sio.adapters import (
    BroadcastOptions,
    RedisAdapter,
    redis_adapter,
    redis_streams_adapter,
    sharded_redis_adapter,
)
from wsgi_sio.cluster import messages
from wsgi_sio.cluster.bus.redis_bus import RedisBus
from wsgi_sio.cluster.drivers import node_redis
from wsgi_sio.engineio.session import Session
from wsgi_sio.runtime import create_reactor
from wsgi_sio.socketio.jsoncodec import dumps_of
from wsgi_sio.socketio.packet import DISCONNECT
from wsgi_sio.socketio.socket import CONNECTING

DUMPS = dumps_of(None)


def message(kind: int, nsp: str = "/", **data: Any) -> dict[str, Any]:
    return {"uid": "626maP", "nsp": nsp, "type": kind, "data": data}


def options(*rooms: Any, **others: Any) -> dict[str, Any]:
    """In order, as Node has them."""
    return {"rooms": list(rooms), "except": others.pop("except_", []), "flags": others}


def event(*data: Any) -> dict[str, Any]:
    return {"type": 2, "data": list(data)}


BROADCASTS = {
    "93a63632366d615083a47479706502a464617461"
    "94a568656c6c6f01a132c40103a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380": (
        event("hello", 1, "2", b"\x03"),
        options(),
    ),
    "93a63632366d615083a47479706502a46461746192a178c0a36e7370a12f83a5726f6f6d7391a5726f6f6d31a665786365707490"
    "a5666c61677381a8766f6c6174696c65c3": (event("x", None), options("room1", volatile=True)),
    "93a63632366d615083a47479706502a46461746195a179cb3ff8000000000000c3c0"
    "d7ff1d5353006553f100a36e7370a12f83a5726f6f6d7392a161a162a665786365707491a163a5666c61677381"
    "a8636f6d7072657373c2": (
        event("y", 1.5, True, None, "2023-11-14T22:13:20.123Z"),
        options("a", "b", except_=["c"], compress=False),
    ),
}


@pytest.mark.parametrize("golden", BROADCASTS, ids=["bytes", "volatile", "a Date"])
def test_broadcasts_of_node(golden: str) -> None:
    packet, opts = BROADCASTS[golden]
    decoded = node_redis.decode_broadcast(bytes.fromhex(golden))
    assert decoded == message(messages.BROADCAST, packet={**packet, "nsp": "/"}, opts=opts)
    if "d7ff" not in golden:  # times are strings when they come
        written = node_redis.encode_broadcast(message(messages.BROADCAST, packet=packet, opts=opts), DUMPS)
        assert written.hex() == golden


def test_a_broadcast_with_acknowledgements() -> None:
    golden = (
        "85a3756964a63632366d6150a9726571756573744964a6475064426e4ba47479706507a67061636b657483a47479706502a46461746192"
        "a561636b6d6507a36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f757464"
    )
    packet, opts = event("ackme", 7), options(timeout=100)
    given = message(messages.BROADCAST, packet=packet, opts=opts, requestId="GPdBnK")
    assert node_redis.encode_request(given, DUMPS).hex() == golden
    decoded = node_redis.decode_request(node_redis.decode_map(bytes.fromhex(golden)), "/")
    given["data"]["packet"] = {**packet, "nsp": "/"}
    assert decoded == given


REQUESTS: dict[str, tuple[int, dict[str, Any]]] = {
    '{"uid":"626maP","type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["z"]}': (
        messages.SOCKETS_JOIN,
        {"opts": options("r"), "rooms": ["z"]},
    ),
    '{"uid":"626maP","type":4,"opts":{"rooms":[],"except":[]},"close":true}': (
        messages.DISCONNECT_SOCKETS,
        {"opts": options(), "close": True},
    ),
    '{"uid":"626maP","type":6,"data":["hi",1]}': (messages.SERVER_SIDE_EMIT, {"packet": ["hi", 1]}),
    '{"uid":"626maP","requestId":"GI_M6_","type":5,"opts":{"rooms":[],"except":[]}}': (
        messages.FETCH_SOCKETS,
        {"opts": options(), "requestId": "GI_M6_"},
    ),
}


@pytest.mark.parametrize("golden", REQUESTS)
def test_requests_of_node(golden: str) -> None:
    kind, data = REQUESTS[golden]
    assert node_redis.encode_request(message(kind, **data), DUMPS).decode() == golden
    decoded = node_redis.decode_request(node_redis.decode_map(golden.encode()), "/")
    if "opts" in data:
        data = {**data, "opts": {"rooms": data["opts"]["rooms"], "except": []}}
    assert decoded == message(kind, **data)


RESPONSES: dict[str, tuple[int, dict[str, Any]]] = {
    '{"requestId":"q1","sockets":[]}': (messages.FETCH_SOCKETS_RESPONSE, {"requestId": "q1", "sockets": []}),
    '{"type":6,"requestId":"q2","data":"pong"}': (
        messages.SERVER_SIDE_EMIT_RESPONSE,
        {"requestId": "q2", "packet": "pong"},
    ),
    '{"type":8,"requestId":"q3","clientCount":0}': (
        messages.BROADCAST_CLIENT_COUNT,
        {"requestId": "q3", "clientCount": 0},
    ),
}


@pytest.mark.parametrize("golden", RESPONSES)
def test_answers_of_node(golden: str) -> None:
    kind, data = RESPONSES[golden]
    assert node_redis.encode_response(message(kind, **data), DUMPS).decode() == golden
    assert node_redis.decode_response(json.loads(golden), "/", "626maP") == message(kind, **data)


def test_an_acknowledgement() -> None:
    data = {"requestId": "q4", "packet": [b"\x01"]}
    written = node_redis.encode_response(message(messages.BROADCAST_ACK, **data, number=3), DUMPS)
    assert msgpack.unpackb(written) == {"type": 9, "requestId": "q4", "packet": [b"\x01"]}
    decoded = node_redis.decode_response(node_redis.decode_map(written), "/", "626maP")
    assert decoded == message(messages.BROADCAST_ACK, **data)


@pytest.mark.parametrize(
    ("rooms", "channel"),
    [([], ""), (["a"], "a#"), (["a", "b"], ""), ([7], "7#"), ([True], ""), ([1.5], ""), ([b"r"], ""), (["ü#"], "ü##")],
)
def test_channels_of_rooms(rooms: list[Any], channel: str) -> None:
    assert node_redis.room_channel("socket.io#/#", rooms) == f"socket.io#/#{channel}"


def test_what_has_no_type_in_messagepack_is_what_it_is_in_json() -> None:
    packed = node_redis.pack({"large": 2**70, "tuple": (1, 2), "surrogate": "\ud800"}, DUMPS)
    assert msgpack.unpackb(packed, unicode_errors="surrogatepass") == {
        "large": float(2**70),
        "tuple": [1, 2],
        "surrogate": "\ud800",
    }
    with pytest.raises(TypeError):
        node_redis.pack({"set": {1}}, DUMPS)
    old_undefined_and_date = bytes.fromhex("92d40000d7000000018bcfe56800")
    assert node_redis.unpack(old_undefined_and_date) == [None, "2023-11-14T22:13:20.000Z"]


# -- servers, by what is on the bus -----------------------------------------------------------------------------------


class Wire:
    """The channels of one cluster, from outside."""

    def __init__(self, cluster: Cluster, bus: RedisBus) -> None:
        adapter = cluster.adapter(0)
        assert isinstance(adapter, RedisAdapter)
        self.request_channel, self.channel = adapter.request_channel, adapter.channel
        self.response_channel = adapter.response_channel
        self.heard: list[tuple[str, Any]] = []
        self._bus = bus
        # Not the requests, or it would count as a server.
        assert bus.subscribe([], [self.response_channel + "*"], self._hear).wait_subscribed(30)

    def _hear(self, channel: str, payload: bytes) -> None:
        value = json.loads(payload) if payload[:1] == b"{" else msgpack.unpackb(payload, strict_map_key=False)
        self.heard.append((channel, value))

    def answers(self, count: int = 1) -> list[Any]:
        """So many answers that have come."""
        found: list[Any] = []

        def enough() -> bool:
            found[:] = [value for channel, value in self.heard if channel.startswith(self.response_channel)]
            return len(found) >= count

        eventually(enough, "the answers")
        return found

    def ask(self, **request: Any) -> None:
        self._bus.publish(self.request_channel, json.dumps(request).encode())

    def send(self, payload: bytes, room: str = "") -> None:
        self._bus.publish(self.channel + room, payload)


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """Two servers."""
    return make_cluster("redis", 2)


@pytest.fixture
def wire(cluster: Cluster) -> Iterator[Wire]:
    reactor = create_reactor()
    assert cluster.redis is not None
    bus = RedisBus(reactor, cluster.redis.url)
    yield Wire(cluster, bus)
    bus.close()
    reactor.close()


def test_old_servers_ask_for_the_ids_of_clients(cluster: Cluster, wire: Wire) -> None:
    cluster.sockets[0].join("old")
    wire.ask(uid="old", requestId="q1", type=0, rooms=["old"])
    answers = wire.answers(2)
    assert sorted(answers, key=str) == sorted(
        [{"requestId": "q1", "sockets": [cluster.sockets[0].id]}, {"requestId": "q1", "sockets": []}], key=str
    )


def test_servers_ask_for_all_rooms(cluster: Cluster, wire: Wire) -> None:
    cluster.sockets[0].join(["a", 5])
    wire.ask(uid="node", requestId="q1", type=1)
    found = {room for answer in wire.answers(2) for room in answer["rooms"]}
    assert found == {"a", 5, *(socket.id for socket in cluster.sockets)}


def test_old_servers_change_one_client(cluster: Cluster, wire: Wire) -> None:
    first = cluster.sockets[0]
    wire.ask(uid="old", requestId="q1", type=2, sid=first.id, room="r")
    assert wire.answers() == [{"requestId": "q1"}] and "r" in first.rooms
    wire.ask(uid="old", requestId="q2", type=3, sid=first.id, room="r")
    assert wire.answers(2)[1] == {"requestId": "q2"} and "r" not in first.rooms
    wire.ask(uid="old", requestId="q3", type=4, sid=first.id)
    assert wire.answers(3)[2] == {"requestId": "q3"} and first.disconnected


def test_emitters_have_no_name(cluster: Cluster, wire: Wire) -> None:
    """@socket.io/redis-emitter: requests without a uid."""
    wire.ask(type=2, opts={"rooms": [], "except": []}, rooms=["theirs"])
    eventually(lambda: all("theirs" in socket.rooms for socket in cluster.sockets), "the rooms")
    wire.send(msgpack.packb(["emitter", {"type": 2, "data": ["e", 1]}, {"rooms": ["theirs"], "flags": {}}]), "theirs#")
    for client in cluster.clients:
        assert client.expect("e") == [1]


def test_what_came_together_leaves_in_one_piece_and_in_order(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, first = cluster.adapter(0), cluster.sockets[0]
    assert isinstance(adapter, RedisAdapter)
    sent: list[list[Any]] = []
    send = Session.send

    def spy(self: Session, packets: list[Any], **how: Any) -> bool:
        if self is first.conn.session:
            sent.append([packet.data for packet in packets])
        return send(self, packets, **how)

    def event(name: str, flags: dict[str, bool] | None = None) -> tuple[str, bytes]:
        packet = {"type": 2, "data": [name], "nsp": "/"}
        return adapter.channel, msgpack.packb(["x", packet, {"rooms": [], "except": [], "flags": flags or {}}])

    opts = {"rooms": [first.id], "except": []}
    ask = {"uid": "x", "type": 7, "requestId": "q", "packet": {"type": 2, "data": ["asks"], "nsp": "/"}, "opts": opts}
    leave = {"uid": "x", "type": 4, "opts": opts, "close": False}
    monkeypatch.setattr(Session, "send", spy)
    adapter._take_together(
        [
            event("one"),
            event("two"),
            event("volatile", {"volatile": True}),
            event("three"),
            (adapter.channel, b"junk"),
            event("four"),
            (adapter.request_channel, msgpack.packb(ask)),
            event("five"),
            (adapter.request_channel, json.dumps(leave).encode()),
            event("too late"),
        ]
    )
    names = [cluster.clients[0].receive().data[0] for _ in range(7)]
    assert names == ["one", "two", "volatile", "three", "four", "asks", "five"]
    assert [len(pieces) for pieces in sent[:5]] == [2, 1, 2, 1, 1]
    assert cluster.clients[0].receive().type == DISCONNECT


def broadcast(adapter: RedisAdapter, name: str) -> tuple[str, bytes]:
    packet = {"type": 2, "data": [name], "nsp": "/"}
    return adapter.channel, msgpack.packb(["x", packet, {"rooms": [], "except": [], "flags": {}}])


def test_what_comes_alone_is_sent_after_a_piece_that_could_not_be(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = cluster.adapter(0)
    assert isinstance(adapter, RedisAdapter)

    def fail(self: Session, packets: list[Any], **how: Any) -> bool:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Session, "send", fail)
        adapter._take_together([broadcast(adapter, "one"), broadcast(adapter, "two")])
    adapter._take(*broadcast(adapter, "alone"))
    assert cluster.clients[0].expect("alone") == []


def test_a_client_that_is_about_to_be_connected_gets_what_came_together_as_well(cluster: Cluster) -> None:
    adapter, socket = cluster.adapter(0), cluster.sockets[0]
    assert isinstance(adapter, RedisAdapter)
    state, socket._state = socket._state, CONNECTING  # it has its rooms by then
    adapter._take_together([broadcast(adapter, "one"), broadcast(adapter, "two")])
    socket._state = state
    assert cluster.clients[0].expect("one") == [] and cluster.clients[0].expect("two") == []


def test_rooms_that_are_numbers_and_rooms_that_look_like_them(cluster: Cluster, wire: Wire) -> None:
    cluster.sockets[0].join(7)
    cluster.sockets[1].join("7")
    opts = {"except": [], "flags": {}}
    wire.send(msgpack.packb(["x", {"type": 2, "data": ["number"], "nsp": "/"}, {"rooms": [7], **opts}]), "7#")
    wire.send(msgpack.packb(["x", {"type": 2, "data": ["string"], "nsp": "/"}, {"rooms": ["7"], **opts}]), "7#")
    assert cluster.clients[0].expect("number") == [] and cluster.clients[1].expect("string") == []
    cluster.servers[0].to(7).emit("mine")
    cluster.servers[1].to(7).emit("yours")
    assert {cluster.clients[0].receive().data[0] for _ in range(2)} == {"mine", "yours"}
    assert cluster.got() == [[], []]


def test_what_is_for_a_room_without_members_is_not_read(cluster: Cluster, wire: Wire) -> None:
    wire.send(b"no MessagePack at all", "nobody#")
    assert cluster.got() == [[], []]


def test_junk_is_dropped_and_told_once(cluster: Cluster, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    import pickle

    good = {"type": 2, "data": ["e"], "nsp": "/"}
    for junk in (b"", b"\x93", b"\xc1", b"\x01", msgpack.packb([1]), msgpack.packb(["x", None, None]), b"\xff" * 100,
                 pickle.dumps({"method": "emit"}), msgpack.packb(["x", good, {}]),
                 msgpack.packb(["x", good, {"rooms": 3}]),
                 msgpack.packb(["x", {**good, "type": 7}, {"rooms": []}]), msgpack.packb([None, good, {"rooms": []}]),
                 b"\xdd\xff\xff\xff\xff", b"\x93\xa1x\xc7\x04\x05abcd\x80", b"\x91" * 2000):  # fmt: skip
        wire.send(junk)
        wire._bus.publish(wire.request_channel, junk)
        wire._bus.publish(wire.response_channel, junk)
    for request in ("{", "{}", '{"type":99}', '{"type":2,"opts":null}', '{"type":2,"opts":{},"rooms":[]}', '{"type":6}',
                    '{"type":7,"requestId":"q"}', '{"type":5,"opts":{"rooms":[{}]}}', '{"type":"2"}', '{"type":{}}',
                    '{"type":2}', '{"type":4,"sid":[]}', "[" * 100_000):  # fmt: skip
        wire._bus.publish(wire.request_channel, request.encode())
        wire._bus.publish(wire.response_channel, request.encode())
    cluster.servers[0].emit("after all that")
    assert cluster.got() == [["after all that"]] * 2
    assert sorted(cluster.servers[0].server_side_emit_with_ack("x")) == [None]

    def told() -> int:
        return sum("told once" in record.message and record.name != "wsgi_sio.bus" for record in caplog.records)

    eventually(lambda: told() >= 2, "the warnings")  # the junk comes on a connection of its own, perhaps later
    time.sleep(0.1)  # for one too many
    assert told() == 2  # by each of the two


def test_answers_on_channels_of_their_own(make_cluster: MakeCluster) -> None:
    own = make_cluster("redis", 2, publish_on_specific_response_channel=True)
    assert len(own.servers[0].fetch_sockets()) == 2
    own.servers[1].on_server_side("ask", lambda: "answer")
    assert own.servers[0].server_side_emit_with_ack("ask") == ["answer"]
    answering = [own.answering(number, number) for number in range(2)]
    assert sorted(own.servers[0].timeout(10).emit_with_ack("who")) == [0, 1]
    for client in answering:
        client.result()


def test_what_cannot_be_written_goes_to_nobody(cluster: Cluster) -> None:
    with pytest.raises(TypeError):
        cluster.servers[0].emit("bad", {1, 2})
    with pytest.raises(TypeError):
        cluster.servers[0].timeout(1).emit_with_ack("bad", {1, 2})
    with pytest.raises(ValueError, match="attachments"):
        cluster.servers[0].emit("bad", *[b"x"] * 50)
    assert cluster.got() == [[], []]


def test_namespaces_with_patterns_in_their_names(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("redis", 2)
    joined = {nsp: [cluster.join(number, nsp)[0] for number in range(2)] for nsp in ("/[a]*", "/[a]x", "/a?")}
    for nsp in joined:
        cluster.servers[0].of(nsp).emit("here", nsp)
    for nsp, clients in joined.items():
        for client in clients:
            assert client.expect("here", nsp) == [nsp]


def test_an_unknown_url_is_refused_at_once() -> None:
    for url in ("amqp://host", "host:6379", "", "redis+nothing://host"):
        with pytest.raises(ValueError, match="redis\\+sentinel"):
            redis_adapter(url)


@pytest.mark.parametrize("make", [redis_adapter, sharded_redis_adapter, redis_streams_adapter])
@pytest.mark.parametrize("package", ["redis", "msgpack"])
def test_a_package_that_is_missing_is_named_at_once(
    make: Callable[[str], Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs the package {package}: pip install 'wsgi-sio\[redis\]'"):
        make("redis://127.0.0.1")


def test_a_forked_childs_sharded_adapter_hears_its_rooms(make_cluster: MakeCluster) -> None:
    """A fork makes another adapter, which has to follow the rooms as the parent's did."""
    cluster = make_cluster("sharded", 2)
    cluster.servers[1].sockets.after_fork()
    _, socket = cluster.join(1, client=(client := cluster._processes[1].client()))
    socket.join("r")
    cluster.servers[0].to("r").emit("here")
    assert client.expect("here") == []


def test_options_are_read_as_they_are_written() -> None:
    given = BroadcastOptions(frozenset(["a"]), frozenset(["b"]), volatile=True, compress=False, timeout=0.25)
    packet = event("e")
    written = node_redis.encode_broadcast(
        message(messages.BROADCAST, packet=packet, opts=messages.encode_options(given)), DUMPS
    )
    read = messages.decode_options(node_redis.decode_broadcast(written)["data"]["opts"])
    assert read == given._replace(local=True, posted=True)


def test_a_forked_child_of_a_sharded_adapter_hears_its_own_rooms() -> None:
    """Its listeners to rooms are its own, not those of its parent's adapter."""
    io = Server(adapter=sharded_redis_adapter("redis://127.0.0.1:1"))
    io.of("/").adapter.on("create-room", print)
    former = io.of("/").adapter
    io.of("/").after_fork()
    adapter = io.of("/").adapter
    listeners = adapter._listeners["create-room"]
    assert adapter is not former and adapter._follow_room in listeners and former._follow_room not in listeners
    assert print in listeners
