"""What servers send each other, field by field as Node's do, and what becomes of what they do not understand."""

from __future__ import annotations

import decimal
import json
import logging
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.bus import Bus, CountingAdapter, HeartbeatAdapter
from tests.support.inprocess import Background, Client, InProcess, eventually
from wsgi_sio import AckTimeout, Server
from wsgi_sio.cluster.messages import decode, encode
from wsgi_sio.socketio.jsoncodec import dumps_of

UID = "0123456789abcdef"


class Peer:
    """One server, and what another one would see and say."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.io = Server(adapter=lambda nsp: CountingAdapter(nsp, self.bus, request_timeout=0.5))
        self.process = InProcess(self.io)
        self.adapter: Any = self.io.sockets.adapter

    def client(self) -> tuple[Client, str]:
        client = self.process.client()
        return client, client.connect()

    def says(self, kind: Any, data: Any = None, **fields: Any) -> None:
        """Another server sends a message."""
        message = {"uid": UID, "nsp": "/", "type": kind, "data": data, **fields}
        self.adapter.on_message(msgpack.packb(message))

    def answer(self, kind: int) -> Any:
        """The data of the next message of that type, which must be from this server."""

        def find() -> Any:
            return next((m for m in self.bus.sent if m["type"] == kind), None)

        message = eventually(find, f"a message of type {kind}")
        self.bus.sent.remove(message)
        assert message["uid"] == self.adapter.uid and message["nsp"] == "/"
        return message["data"]


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    peer.adapter.join_cluster()
    yield peer
    peer.io.close()
    peer.process.close()


def opts(rooms: Any = (), except_: Any = (), **flags: Any) -> dict[str, Any]:
    return {"rooms": list(rooms), "except": list(except_), "flags": flags}


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_broadcast_is_what_node_would_send(peer: Peer) -> None:
    peer.io.emit("hello", 1)
    assert encode(peer.bus.sent[0], dumps_of(None)).decode() == (
        f'{{"uid":"{peer.adapter.uid}","nsp":"/","type":3,'
        '"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":[],"except":[],"flags":{}}}}'
    )
    assert len(peer.adapter.uid) == 16


def test_all_kinds_of_messages_are_written_as_node_does(peer: Peer) -> None:
    io = peer.io
    io.to("a").except_("b").volatile.compress(False).emit("x", b"\x01")
    assert peer.answer(3) == {
        "packet": {"type": 2, "data": ["x", b"\x01"]},
        "opts": opts("a", "b", volatile=True, compress=False),
    }
    io.in_("a").sockets_join("r")
    assert peer.answer(4) == {"opts": opts("a"), "rooms": ["r"]}
    io.sockets_leave(["r"])
    assert peer.answer(5) == {"opts": opts(), "rooms": ["r"]}
    io.disconnect_sockets(True)
    assert peer.answer(6) == {"opts": opts(), "close": True}
    io.server_side_emit("hi", 1)
    assert peer.answer(9) == {"packet": ["hi", 1]}
    assert io.to("a").timeout(1.5).emit_with_ack("x") == []
    data = peer.answer(3)
    assert data["opts"] == opts("a", timeout=1500) and isinstance(data["requestId"], str)
    peer.adapter.server_count = lambda: 2
    with pytest.raises(AckTimeout):
        io.fetch_sockets()
    data = peer.answer(7)
    assert data["opts"] == opts() and isinstance(data["requestId"], str)
    with pytest.raises(AckTimeout):
        io.server_side_emit_with_ack("hi")
    assert set(peer.answer(9)) == {"packet", "requestId"}


def test_a_message_is_json_unless_it_contains_bytes() -> None:
    plain = {"uid": UID, "nsp": "/", "type": 3, "data": {"x": ["ü", 1.5, None]}}
    binary = {**plain, "data": {"x": [b"\xff", bytearray(b"\x00")]}}
    dumps = dumps_of(None)
    assert json.loads(encode(plain, dumps)) == plain == decode(encode(plain, dumps)) == decode(json.dumps(plain))
    assert msgpack.unpackb(encode(binary, dumps)) == {**plain, "data": {"x": [b"\xff", b"\x00"]}}
    assert decode(encode(binary, dumps))["data"] == {"x": [b"\xff", b"\x00"]}
    assert decode(plain) is plain
    with pytest.raises(TypeError):
        encode({**plain, "data": object()}, dumps)


def test_the_servers_json_writes_to_other_servers_as_well() -> None:
    """So what can be sent to this server's clients can be sent to those of others."""

    class Exact:
        @staticmethod
        def dumps(obj: Any) -> str:
            return json.dumps(obj, default=str)

        loads = staticmethod(json.loads)

    bus = Bus()
    io = Server(json=Exact, adapter=lambda nsp: CountingAdapter(nsp, bus))
    io.emit("price", decimal.Decimal("1.10"))
    assert bus.sent[-1]["data"]["packet"]["data"] == ["price", "1.10"]
    io.close()


def test_what_cannot_be_written_is_an_error_of_who_emits_it(peer: Peer) -> None:
    """And no request is left behind."""
    client, _ = peer.client()
    with pytest.raises(TypeError):
        peer.io.emit("x", object())
    with pytest.raises(TypeError):
        peer.io.timeout(1).emit_with_ack("x", object())
    with pytest.raises(TypeError):
        peer.io.server_side_emit("x", object())
    peer.adapter.server_count = lambda: 2
    with pytest.raises(TypeError):
        peer.io.server_side_emit_with_ack("x", object())
    node = peer.adapter.join_cluster()
    assert (len(node.questions), len(node.ack_requests)) == (0, 0)
    client.expect_silence(0.05)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_requests_of_all_types_are_answered(peer: Peer) -> None:
    client, sid = peer.client()
    peer.says(3, {"packet": {"type": 2, "data": ["plain", 1]}, "opts": opts()})
    client.expect("plain")
    peer.says(
        3, {"packet": {"type": 5, "data": ["q", b"\x01"], "nsp": "/"}, "opts": opts(timeout=999), "requestId": "r1"}
    )
    packet = client.receive()
    assert packet.data == ["q", b"\x01"]
    client.answer(packet, {"deep": b"\x02"}, "ignored")
    assert peer.answer(11) == {"requestId": "r1", "clientCount": 1}
    assert peer.answer(12) == {"requestId": "r1", "packet": {"deep": b"\x02"}, "number": 0}
    peer.says(3, {"packet": {"type": 2, "data": ["q"]}, "opts": opts(["nobody"]), "requestId": "r2"})
    assert peer.answer(11) == {"requestId": "r2", "clientCount": 0}
    peer.says(4, {"opts": opts([sid]), "rooms": ["x", "y"]})
    peer.says(5, {"opts": opts(), "rooms": ["y"]})
    peer.says(7, {"opts": opts(), "requestId": "r3"})
    answer = peer.answer(8)
    (found,) = answer["sockets"]
    assert answer["requestId"] == "r3"
    assert (found["id"], set(found["rooms"]), found["data"]) == (sid, {sid, "x"}, {})
    assert set(found["handshake"]) == {
        "headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth"
    }  # fmt: skip
    peer.io.on_server_side("sum", lambda a, b: a + b)
    peer.says(9, {"packet": ["sum", 1, 2], "requestId": "r4"})
    assert peer.answer(10) == {"requestId": "r4", "packet": 3}
    peer.says(6, {"opts": opts(), "close": True})
    client.wait_closed()


def test_a_client_that_acknowledges_nothing_leaves_the_packet_out(peer: Peer) -> None:
    """As where JavaScript's undefined is written."""
    client, _ = peer.client()
    peer.says(3, {"packet": {"type": 2, "data": ["q"]}, "opts": opts(), "requestId": "r"})
    client.answer(client.receive())
    assert peer.answer(12) == {"requestId": "r", "number": 0}


def test_an_event_nobody_can_answer_is_answered_with_nothing(peer: Peer) -> None:
    """No handler, one that fails, one of another arity, an answer that cannot be written: the others need not wait."""
    peer.io.on_server_side("fails", lambda: 1 / 0)
    peer.io.on_server_side("arity", lambda a, b: 1)
    peer.io.on_server_side("object", object)
    for event in ("unknown", "fails", "arity", "object"):
        peer.says(9, {"packet": [event], "requestId": event})
        assert peer.answer(10) == {"requestId": event, "packet": None}


def test_messages_of_this_server_and_of_other_namespaces_are_ignored(peer: Peer) -> None:
    client, _ = peer.client()
    data = {"packet": {"type": 2, "data": ["x"]}, "opts": opts()}
    peer.says(3, data, uid=peer.adapter.uid)
    peer.says(3, data, nsp="/other")
    peer.says(3, data, nsp=None)
    client.expect_silence(0.05)


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"{", b"\xc1", b"[]", b"{}", "", "5", 7, None, b"\x93\x01\x02\x03",
        {"uid": UID}, {"uid": 5, "nsp": "/", "type": 3}, {"uid": UID, "nsp": "/"},
        *({"uid": UID, "nsp": "/", "type": kind} for kind in (*range(3, 13), 0, 99, "3", None, [])),
        *({"uid": UID, "nsp": "/", "type": kind, "data": data}
          for kind in range(3, 13)
          for data in (5, "x", [], {"opts": 5}, {"opts": {"rooms": 5}}, {"opts": {"rooms": [[]]}, "packet": {}},
                       {"packet": []}, {"packet": {"type": 2, "data": []}, "opts": opts(['nobody'])},
                       {"packet": {"type": 0, "data": ["x"]}, "opts": opts(['nobody'])},
                       {"packet": {"type": 2, "data": ["x"]}, "opts": opts(["nobody"], timeout="soon")},
                       {"requestId": [], "sockets": 5, "clientCount": "x", "packet": 1, "opts": opts(['nobody'])})),
    ],
    ids=lambda junk: repr(junk)[:60],
)  # fmt: skip
def test_junk_neither_raises_nor_disturbs(peer: Peer, junk: Any, caplog: pytest.LogCaptureFixture) -> None:
    client, _ = peer.client()
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        peer.adapter.on_message(junk)
    assert len([r for r in caplog.records if "does not understand" in r.message]) <= 1
    peer.says(3, {"packet": {"type": 2, "data": ["still", "here"]}, "opts": opts()})
    assert client.receive().data == ["still", "here"]


def test_answers_to_nothing_are_ignored(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """They come too late, or are for somebody else."""
    peer.says(8, {"requestId": "x", "sockets": []})
    peer.says(10, {"requestId": "x", "packet": 1})
    peer.says(11, {"requestId": "x", "clientCount": 1})
    peer.says(12, {"requestId": "x", "packet": 1})
    assert not caplog.records


def test_heartbeats_mean_nothing_where_the_bus_knows_who_is_there(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    for kind in (1, 2, 13):
        peer.says(kind)
    assert not caplog.records and not peer.bus.sent


def test_answers_of_the_wrong_type_do_not_harm_a_request(make_cluster: MakeCluster) -> None:
    cluster: Cluster = make_cluster("counting", 2, request_timeout=0.5)
    cluster.bus.fate = lambda receiver, message: [] if message["type"] == 8 else [0.0]

    def confuse() -> None:
        node = cluster.adapter(0)._node
        (request_id,) = eventually(lambda: list(node.questions._open), "the question")
        for kind, data in ((11, {"clientCount": 3}), (12, {"packet": 1})):
            cluster.adapter(0).on_message(
                {"uid": UID, "nsp": "/", "type": kind, "data": {**data, "requestId": request_id}}
            )

    confusing = Background(confuse)
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].fetch_sockets()
    confusing.result()
    assert caught.value.responses == [cluster.sockets[0]]


def test_who_only_emits_is_no_server(make_cluster: MakeCluster) -> None:
    """The uid "emitter": its messages are acted on, but nobody waits for its answers."""
    cluster = make_cluster("heartbeat", 2)
    adapter = cluster.adapter(0)
    data = {"packet": {"type": 2, "data": ["from outside"]}, "opts": opts()}
    adapter.on_message({"uid": "emitter", "nsp": "/", "type": 3, "data": data})
    cluster.clients[0].expect("from outside")
    assert isinstance(adapter, HeartbeatAdapter) and adapter.server_count() == 2
