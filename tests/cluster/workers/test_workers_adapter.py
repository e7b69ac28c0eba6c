"""The processes of one server: what is theirs beside what every cluster does, for which test_adapter.py stands."""

from __future__ import annotations

import logging
import re
import time
import uuid
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.cluster.conftest import WORKERS, Cluster, MakeCluster, leave, sibling
from tests.support.inprocess import Background, eventually, in_process
from wsgi_sio import Disconnected, Server
from wsgi_sio.adapters import MemoryAdapter, WorkersAdapter
from wsgi_sio.cluster.workers import frame_payloads, workers_adapter
from wsgi_sio.flask.server import PeerServer
from wsgi_sio.siblings import FrameTooLarge, Link, Siblings
from wsgi_sio.socketio import packet_msgpack


@pytest.fixture
def three(make_cluster: MakeCluster) -> Cluster:
    return make_cluster(WORKERS)


def siblings_of(io: Server) -> Siblings:
    company = io.engine.joining.company
    assert company is not None
    return company.siblings


def link(cluster: Cluster, sender: int, receiver: int) -> Link:
    """The link on which one tells another what it wants."""
    found = siblings_of(cluster.servers[sender]).reach(cluster.servers[receiver].engine.tag)
    assert found is not None
    return found


class Counted:
    """How many frames of a kind each of the siblings of one server is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        place = Link.place_encoded

        def counting(link: Link, frame: bytes) -> bool:
            if frame[4] in (frame_payloads.MESSAGE, frame_payloads.BATCH):
                self.sent.append(link.tag)
            return place(link, frame)

        monkeypatch.setattr(Link, "place_encoded", counting)

    def take(self) -> list[str]:
        sent, self.sent = self.sent, []
        return sent


# -- alone -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joined", [False, True])
def test_alone_rooms_of_every_kind_work(joined: bool) -> None:
    """And nothing is sent, counted, or made that a cluster would need."""
    io = sibling() if joined else Server()
    with in_process(io) as process:
        client = process.client()
        socket = io.sockets.sockets[client.connect()]
        room = uuid.uuid4()
        socket.join(room)
        io.to(room).emit("x", 1)
        io.in_(room).sockets_join("other")
        io.except_(object()).emit("y")
        assert client.expect("x") == [1] and client.expect("y") == []
        assert io.in_("other").fetch_sockets() == [socket]
        answer = Background(io.to(room).timeout(3).emit_with_ack, "q")
        client.answer(client.receive(), "a")
        assert answer.result() == ["a"]
        assert io.server_side_emit_with_ack("anybody?") == []
        io.sockets.server_side_emit("nobody")
        adapter = io.sockets.adapter
        assert isinstance(adapter, WorkersAdapter) and adapter.server_count() == 1 and adapter._node is None
        leave(io)


def test_alone_to_nobody_nothing_is_encoded() -> None:
    Server().emit("x", object())


# -- who gets what -----------------------------------------------------------------------------------------------------


def test_an_emit_to_one_client_wakes_one_worker(three: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    io, tags = three.servers[0], [server.engine.tag for server in three.servers]
    assert [socket.id[-4:] for socket in three.sockets] == tags
    counted = Counted(monkeypatch)
    io.to(three.sockets[1].id).emit("one")
    assert counted.take() == [tags[1]]
    io.to(three.sockets[0].id).emit("own")
    assert counted.take() == []
    assert [socket.id for socket in io.in_(three.sockets[2].id).fetch_sockets()] == [three.sockets[2].id]
    assert counted.take() == [tags[2]]
    io.in_(three.sockets[1].id).sockets_join("a")
    assert counted.take() == [tags[1]]
    io.to([three.sockets[1].id, "a"]).emit("both")
    assert sorted(counted.take()) == sorted(tags[1:])
    io.in_(three.sockets[2].id).disconnect_sockets()
    assert counted.take() == [tags[2]]
    assert three.clients[2].receive().type == 1
    three.clients[1].expect("one")
    three.clients[1].expect("both")
    three.clients[0].expect("own")


def test_an_id_is_a_room_that_clients_of_other_workers_may_join(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    io, (one, two, three_) = three.servers[0], three.sockets
    two.join(three_.id)
    two.join(one.id)
    tags = [server.engine.tag for server in three.servers]

    def told(number: int, room: str) -> bool:
        return any(room in topic for topic in link(three, number, 1).topics)

    eventually(lambda: told(0, one.id) and told(0, three_.id) and told(2, one.id), "that it is told")
    counted = Counted(monkeypatch)
    io.to(three_.id).emit("x")
    assert sorted(counted.take()) == sorted(tags[1:])
    io.to(one.id).emit("y")
    assert counted.take() == [tags[1]]
    three.servers[2].to(one.id).emit("z")
    assert sorted(counted.take()) == sorted(tags[:2])
    assert {three.clients[1].receive().data[0] for _ in range(3)} == {"x", "y", "z"}
    two.leave(three_.id)
    three.clients[1].close()
    eventually(lambda: not told(0, one.id) and not told(0, three_.id), "that it is told")
    io.to(three_.id).emit("x")
    assert counted.take() == [tags[2]]


def test_a_room_that_looks_like_an_id_is_told_to_those_who_come_later(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(WORKERS, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsgi_sio.siblings.socket_file.new_tag", lambda: "abcd")
        cluster.sockets[0].join("sixteen letters.abcd")
        cluster.add_server()
    eventually(lambda: any("abcd" in topic for topic in link(cluster, 1, 0).topics), "that it is told")
    cluster.servers[1].to("sixteen letters.abcd").emit("x")
    cluster.clients[0].expect("x")


def test_many_rooms_that_look_like_ids_are_not_told_one_by_one(three: Cluster) -> None:
    tag = three.servers[2].engine.tag
    rooms = [f"{number:016}{tag}" for number in range(1000)]
    three.sockets[1].join(rooms)
    eventually(lambda: "@/@" in link(three, 0, 1).topics, "that it is told")
    assert len(link(three, 0, 1).topics) < 300
    for room in rooms[::100]:
        three.servers[0].to(room).emit("x")
        three.clients[1].expect("x")


def test_a_broadcast_is_encoded_once_and_each_gets_one_frame(three: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    for number, io in enumerate(three.servers):
        encode = io._encoder.encode
        counting = type("Counting", (), {"encode": lambda self, p, n=number, e=encode: (encoded.append(n), e(p))[1]})()
        monkeypatch.setattr(io, "_encoder", counting)
    counted = Counted(monkeypatch)
    three.servers[0].emit("x", b"1", "ü")
    assert [client.expect("x") for client in three.clients] == [[b"1", "ü"]] * 3
    assert encoded == [0] and len(counted.take()) == 2


def test_workers_without_the_namespace_get_nothing_and_are_not_asked(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    io = three.servers[0]
    three.join(0, "/late", three.clients[0])
    assert io.of("/late").adapter.server_count() == 1
    io.of("/late").emit("x")
    three.clients[0].expect("x", "/late")
    assert len(io.of("/late").fetch_sockets()) == 1 and counted.take() == []
    three.servers[1].of("/late")
    eventually(lambda: io.of("/late").adapter.server_count() == 2, "the other one's")
    assert len(io.of("/late").fetch_sockets()) == 1
    assert counted.take() == [three.servers[1].engine.tag]


def test_a_dynamic_namespace_is_forgotten_by_the_others_with_its_last_client(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(WORKERS, 2, cleanup_empty_child_namespaces=True)
    for io in cluster.servers:
        io.of(re.compile("^/dyn-"))
    for number, client in enumerate(cluster.clients):
        cluster.join(number, "/dyn-1", client)
    cluster.know_each_other("/dyn-1")
    child = cluster.servers[0].of("/dyn-1")
    child.emit("x")
    for client in cluster.clients:
        client.expect("x", "/dyn-1")
    cluster.clients[1].close()
    eventually(lambda: child.adapter.server_count() == 1, "that the other one has none")
    assert len(child.fetch_sockets()) == 1


def test_what_is_emitted_when_the_first_client_is_in_a_dynamic_namespace_reaches_it(make_cluster: MakeCluster) -> None:
    """Its process has just made the namespace; the others know of that before the client is let in."""
    cluster = make_cluster(WORKERS, 2)
    for io in cluster.servers:
        io.of(re.compile("^/dyn-"))
    for number in range(30):
        name = f"/dyn-{number}"
        namespace = cluster.servers[0].of(name)
        cluster.clients[1].connect(name)
        namespace.emit("x", number)
        assert cluster.clients[1].expect("x", name) == [number]


def test_a_client_waits_for_a_sibling_that_stands_still_for_a_moment_only(
    make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is let in all the same, and gets what is emitted once the sibling has heard of it."""
    cluster = make_cluster(WORKERS, 2)
    for io in cluster.servers:
        io.of(re.compile("^/dyn-"))
    monkeypatch.setattr("wsgi_sio.cluster.workers.message_router._PATIENCE", 0.05)
    deaf = list(siblings_of(cluster.servers[0])._table.inbound)
    for each in deaf:
        each._watch.pause()
    namespace = cluster.servers[0].of("/dyn-1")
    cluster.clients[1].connect("/dyn-1")
    for each in deaf:
        each._watch.resume()
    cluster.know_each_other("/dyn-1")
    namespace.emit("x")
    assert cluster.clients[1].expect("x", "/dyn-1") == []


def test_who_has_closed_a_namespace_says_so_when_it_is_asked(make_cluster: MakeCluster) -> None:
    """It had been asked before it said that it has it no more."""
    cluster = make_cluster(WORKERS, 2, request_timeout=30)
    io, other = cluster.servers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(siblings_of(other), "unsubscribe", lambda topic: None)
        other.sockets.adapter.close()
    assert io.sockets.adapter.server_count() == 2
    began = time.monotonic()
    assert len(io.fetch_sockets()) == 1
    assert io.server_side_emit_with_ack("x") == []
    cluster.answering(0, 1)
    assert io.timeout(30).emit_with_ack("x") == [1]
    assert time.monotonic() - began < 10


def test_who_closes_while_it_is_asked_is_not_waited_for(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(WORKERS, 3, request_timeout=30)
    cluster.servers[1].on_server_side("hello", lambda: 2)
    cluster.servers[2].on_server_side("hello", cluster.adapter(2).close)
    assert Background(cluster.servers[0].server_side_emit_with_ack, "hello").result(10) == [2]
    eventually(lambda: cluster.adapter(0).server_count() == 2, "that one is gone")


def test_rooms_that_cannot_be_named_are_refused_where_there_are_others(three: Cluster) -> None:
    room = uuid.uuid4()
    three.sockets[0].join(room)
    with pytest.raises(TypeError, match="cannot be named to other servers"):
        three.servers[0].to(room).emit("x")
    for io in three.servers[1:]:
        io.close()
    eventually(lambda: three.adapter(0).server_count() == 1, "nobody else")
    three.servers[0].to(room).emit("x")
    three.clients[0].expect("x")


# -- order -------------------------------------------------------------------------------------------------------------


def test_what_one_process_does_happens_elsewhere_in_its_order(three: Cluster) -> None:
    io, there = three.servers[0], three.sockets[1]
    for number in range(50):
        io.in_(there.id).sockets_join("room")
        io.to("room").emit("in", number)
        io.in_(there.id).sockets_leave("room")
        io.to("room").emit("out", number)
    io.disconnect_sockets()
    for number in range(50):
        assert three.clients[1].expect("in") == [number]
    assert three.clients[1].receive().type == 1


# -- flags, listeners, and kinds of clients ----------------------------------------------------------------------------


def test_listeners_to_what_goes_out_get_it_decoded(three: Cluster) -> None:
    heard: list[Any] = []
    three.sockets[1].on_any_outgoing(lambda *args: heard.append(args))
    three.servers[0].emit("x", {"a": [b"\x00", None]}, 1.5)
    three.clients[1].expect("x")
    eventually(lambda: heard, "the listener")
    assert heard == [("x", {"a": [b"\x00", None]}, 1.5)]


def test_volatile_and_compress_travel(three: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    deliver = type(three.sockets[1]).deliver

    def recording(socket: Any, data: Any, batch: Any, volatile: bool, patient: bool = False) -> bool:
        if socket is three.sockets[1]:
            got.append((volatile, batch[0].compress))
        return deliver(socket, data, batch, volatile, patient)

    monkeypatch.setattr(type(three.sockets[1]), "deliver", recording)
    three.servers[0].volatile.emit("x")
    three.servers[0].compress(False).emit("x")
    three.servers[0].emit("x")
    eventually(lambda: len(got) == 3, "three events")
    assert got == [(True, True), (False, False), (False, True)]


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({}, '42["x","ü"]\x1e451-["y",{"_placeholder":true,"num":0}]\x1ebAP8='),
        ({"EIO": "3"}, '11:42["x","ü"]39:451-["y",{"_placeholder":true,"num":0}]6:b4AP8='),
    ],
    ids=["EIO4", "EIO3"],
)
def test_clients_of_every_protocol_get_a_broadcast_of_another_worker(
    make_cluster: MakeCluster, query: dict[str, str], body: str
) -> None:
    cluster = make_cluster(WORKERS, 2, allow_eio3=True)
    process = cluster._processes[1]
    query = {"transport": "polling", "b64": "1", **query}
    opened = process.request("GET", **query).body.decode()
    query["sid"] = opened.partition('"sid":"')[2][:20]
    if "EIO" not in query:
        assert process.request("POST", body=b"40", **query).status == 200
    if not opened.endswith("2:40"):  # the older ones are connected at once: some are told so beside their id
        process.request("GET", **query)
    cluster.servers[0].emit("x", "ü")
    cluster.servers[0].emit("y", b"\x00\xff")
    outbox = cluster.servers[1].engine.sessions[query["sid"]]._write_buffer
    eventually(lambda: len(outbox.packets) == 3, "both events")
    assert process.request("GET", **query).body.decode() == body


def test_the_msgpack_parser(make_cluster: MakeCluster) -> None:
    """With values that JSON lacks."""
    ios = [sibling(parser=packet_msgpack) for _ in range(2)]
    try:
        now = datetime(2026, 1, 2, tzinfo=timezone.utc)
        with in_process(ios[0]) as one, in_process(ios[1]) as two:
            wires = [process.opened()[0] for process in (one, two)]
            encoder, decoder = packet_msgpack.Encoder(None, 10), packet_msgpack.Decoder(None, 10)
            for wire in wires:
                wire.send(*encoder.encode(packet_msgpack.Packet(0)))  # type: ignore[attr-defined]
                decoder.add(wire.receive())
            eventually(lambda: ios[0].sockets.adapter.server_count() == 2, "two")
            ios[0].emit("x", now, b"1")
            for wire in wires:
                assert decoder.add(wire.receive()).data == ["x", now, b"1"]
            call = Background(ios[0].timeout(5).emit_with_ack, "q", now)
            for wire in wires:
                packet = decoder.add(wire.receive())
                assert packet.data == ["q", now]
                wire.send(*encoder.encode(packet_msgpack.Packet(3, "/", [1], packet.id)))  # type: ignore[attr-defined]
            assert call.result() == [1, 1]
    finally:
        for io in ios:
            leave(io)


# -- what may go wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [frame_payloads.MESSAGE, frame_payloads.BATCH, frame_payloads.NONE])
@pytest.mark.parametrize(
    "junk",
    [b"", b"\xff\xff\xff\xff", b"\x02\x00\x00\x00{}", b"\x05\x00\x00\x00[1,2]", b'\x07\x00\x00\x00["/",3]', b"x" * 300],
    ids=repr,
)
def test_junk_is_told_once_and_nothing_else_is_lost(
    three: Cluster, kind: int, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        link(three, 0, 1).send(kind, 0, junk)
    three.servers[0].emit("x")
    assert [client.expect("x") for client in three.clients] == [[]] * 3
    told = [record.levelname for record in caplog.records if "makes no sense (told once)" in record.getMessage()]
    assert told in (["WARNING"], [])


def test_what_is_too_large_for_siblings_reaches_the_clients_here(
    three: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> bytes:
        raise FrameTooLarge("300000000 bytes are too many for a sibling")

    monkeypatch.setattr(workers_adapter, "encode", refuse)
    three.servers[0].emit("x")
    three.clients[0].expect("x")
    assert "an event reaches only the clients of this process: 300000000 bytes" in caplog.text
    three.answering(0, "here")
    assert three.servers[0].timeout(30).emit_with_ack("q") == ["here"]
    monkeypatch.undo()
    assert three.got() == [[], [], []]


def test_a_worker_that_dies_is_waited_for_no_longer(make_cluster: MakeCluster) -> None:
    """Neither for its answers, nor for those of its clients that have been asked."""
    cluster = make_cluster(WORKERS, 3, request_timeout=60)
    cluster.servers[1].on_server_side("hello", lambda: 2)
    cluster.servers[2].on_server_side("hello", lambda: time.sleep(1))
    asked = Background(cluster.servers[0].server_side_emit_with_ack, "hello")
    acks = Background(cluster.servers[0].timeout(60).emit_with_ack, "q")
    for number in (0, 1):
        cluster.answering(number, number).result()
    cluster.clients[2].expect("q")
    began = time.monotonic()
    leave(cluster.servers[2])
    assert asked.result(10) == [2] and sorted(acks.result(10)) == [0, 1]
    assert time.monotonic() - began < 5
    assert cluster.adapter(0).server_count() == 2 and cluster.open_requests() == 0


def test_one_client_of_a_worker_that_dies_is_disconnected_for_who_asks_it(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(WORKERS, 2)
    (remote,) = cluster.servers[0].in_(cluster.sockets[1].id).fetch_sockets()
    call = Background(remote.timeout(60).emit_with_ack, "q")
    cluster.clients[1].expect("q")
    leave(cluster.servers[1])
    with pytest.raises(Disconnected):
        call.result(10)


# -- before there is a request -----------------------------------------------------------------------------------------


def test_the_first_broadcast_of_a_process_that_serves_nobody_joins(
    make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = make_cluster(WORKERS, 2)
    emitter = sibling()
    try:
        emitter.emit("x", 1)
        assert [client.expect("x") for client in cluster.clients] == [[1], [1]]
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(emitter.fetch_sockets()) == 2
        to_emitter = siblings_of(cluster.servers[0]).reach(emitter.engine.tag)
        assert to_emitter is not None and to_emitter.load > 1_000_000, "or it would be given clients"
    finally:
        leave(emitter)
        emitter.reactor.close()


@pytest.mark.parametrize("option", [{"adapter": MemoryAdapter}], ids=repr)
def test_an_adapter_of_one_process_among_several_is_warned_of_once(
    option: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    ios = [sibling(**option) for _ in range(2)]
    with in_process(ios[0]) as one, in_process(ios[1]) as two:
        for process in (one, two, two):
            process.client().connect()
    for io in ios:
        leave(io)
    told = [record for record in caplog.records if "refused (adapter of one process)" in record.getMessage()]
    assert [record.levelname for record in told if record.levelno >= logging.WARNING] == ["WARNING"]


def test_workers_are_not_warned_of(three: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    three._processes[0].engine.handle(
        three._processes[0].environ("GET", transport="polling") | {"wsgi.multiprocess": True}
    )
    three.servers[0].emit("x")
    three.servers[0].of("/nobody").emit("x")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# -- Flask-SocketIO's names --------------------------------------------------------------------------------------------


def test_a_flask_server_reaches_the_clients_of_other_workers_by_their_ids(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(WORKERS, 2)
    client, there = cluster.clients[1], cluster.sockets[1]
    io = PeerServer(cluster.servers[0])
    io.add_namespace(cluster.servers[0].sockets)
    io.enter_room(there.id, "a")
    io.emit("x", to="a")
    assert client.expect("x") == []
    io.leave_room(there.id, "a")
    io.emit("x", to="a")
    io.emit("y", 1, to=there.id)
    assert client.expect("y") == [1]
    told: list[Any] = []
    answering = cluster.answering(1, "yes")
    io.emit("q", to=there.id, callback=lambda *args: told.append(args))
    answering.result()
    eventually(lambda: told == [("yes",)], "the answer of the one client")
    answering = cluster.answering(1, "yes")
    assert io.call("q", to=there.id, timeout=5) == "yes"
    io.disconnect("a")
    io.disconnect(there.id)
    assert client.receive().type == 1


@pytest.mark.parametrize("question", ["sockets", "events", "acks"])
def test_nobody_waits_for_a_sibling_that_ends_while_it_is_being_asked(
    make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """Its link has been found, and has ended by the time that it is named."""
    cluster = make_cluster(WORKERS, 2, request_timeout=30)
    io = cluster.servers[0]
    io.fetch_sockets()
    adapter: Any = io.of("/").adapter
    (found,) = adapter._find_links(None)
    found.close()
    monkeypatch.setattr(adapter, "_find_links", lambda options: [found])
    ask = {
        "sockets": io.to("nobody").fetch_sockets,
        "events": lambda: io.server_side_emit_with_ack("hello"),
        "acks": lambda: io.to("nobody").timeout(30).emit_with_ack("hello"),
    }[question]
    assert Background(ask).result(10) == []
