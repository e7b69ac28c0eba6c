"""Three servers that are one: what the reference's tests of its cluster adapter assert."""

from __future__ import annotations

import threading
import uuid
from dataclasses import asdict
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import Background, eventually
from wsgi_sio import AckTimeout, Socket
from wsgi_sio.socketio.remote_socket import RemoteSocket

# -- broadcasts --------------------------------------------------------------------------------------------------------


def test_a_broadcast_reaches_the_clients_of_all_servers_with_its_bytes(cluster: Cluster) -> None:
    cluster.servers[0].emit("test", 1, "2", b"\x03\x04", {"ü": [None, 1.5]})
    assert cluster.got() == [[["test", 1, "2", b"\x03\x04", {"ü": [None, 1.5]}]]] * 3


def test_a_broadcast_of_too_many_attachments_is_published_to_nobody(cluster: Cluster) -> None:
    """Even where this server has no client that would get it."""
    cluster.sockets[1].join("elsewhere")
    sent = len(cluster.bus.sent)
    with pytest.raises(ValueError, match="max_attachments=10"):
        cluster.servers[0].to("elsewhere").emit("test", [b"x"] * 11)
    with pytest.raises(ValueError, match="max_attachments=10"):
        cluster.servers[0].to("elsewhere").timeout(1).emit_with_ack("test", [b"x"] * 11)
    assert len(cluster.bus.sent) == sent
    assert cluster.got() == [[], [], []]


def test_a_broadcast_to_a_namespace_stays_in_it(cluster: Cluster) -> None:
    for number, client in enumerate(cluster.clients):
        cluster.join(number, "/custom", client)
    cluster.know_each_other("/custom")
    cluster.servers[0].of("/custom").emit("test")
    for client in cluster.clients:
        client.expect("test", "/custom")
    assert cluster.got() == [[], [], []]


def test_a_broadcast_to_a_room(cluster: Cluster) -> None:
    cluster.sockets[1].join("room1")
    cluster.servers[0].to("room1").emit("test")
    assert cluster.got() == [[], ["test"], []]


def test_a_broadcast_to_all_but_a_room(cluster: Cluster) -> None:
    cluster.sockets[1].join("room1")
    cluster.servers[0].except_("room1").emit("test")
    cluster.sockets[0].broadcast.emit("from one")
    assert cluster.got() == [["test"], ["from one"], ["test", "from one"]]


def test_a_local_broadcast_is_not_published(cluster: Cluster) -> None:
    sent = len(cluster.bus.sent)
    cluster.servers[0].local.emit("test")
    cluster.servers[0].local.sockets_join("x")
    cluster.servers[0].local.sockets_leave("x")
    cluster.servers[0].to("nobody").local.disconnect_sockets()
    assert len(cluster.servers[0].local.fetch_sockets()) == 1
    with pytest.raises(AckTimeout):
        cluster.servers[0].local.timeout(0.05).emit_with_ack("test")
    assert len(cluster.bus.sent) == sent
    assert cluster.got() == [["test", "test"], [], []]


@pytest.mark.parametrize("room", [0, 7, "", 1.5, True, b"", b"ab"], ids=repr)
def test_rooms_that_are_no_strings_travel(cluster: Cluster, room: Any) -> None:
    _, two, three = cluster.sockets
    two.join([room, "x"])
    cluster.servers[0].to(room).emit("to")
    cluster.servers[0].except_(room).emit("except")
    assert cluster.got() == [["except"], ["to"], ["except"]]
    (found,) = cluster.servers[0].in_(room).fetch_sockets()
    assert found.rooms == {two.id, room, "x"}
    cluster.servers[0].to(three.id).sockets_join(room)
    eventually(lambda: room in three.rooms, "the room")
    found.leave(room)
    eventually(lambda: room not in two.rooms, "that it is left")
    cluster.servers[0].to(room).emit("again")
    assert cluster.got() == [[], [], ["again"]]


def test_rooms_that_would_be_others_elsewhere_are_refused(cluster: Cluster) -> None:
    """A codec may turn them into text, which names another room."""
    room = uuid.uuid4()
    one, two, _ = cluster.sockets
    two.join(room)
    io = cluster.servers[0]
    for use in (io.to(room).emit, io.except_(room).emit, lambda event: io.timeout(1).to(room).emit_with_ack(event)):
        with pytest.raises(TypeError, match=r"the room UUID\(.*\) cannot be named to other servers"):
            use("test")
    for move in (io.sockets_join, io.sockets_leave):
        with pytest.raises(TypeError, match="cannot be named"):
            move(room)
    io.local.sockets_join(room)
    io.local.to(room).emit("here")
    assert cluster.got() == [["here"], [], []] and room in one.rooms
    (found,) = cluster.servers[0].in_(two.id).fetch_sockets()
    assert found.rooms == {two.id}, "of those whose names can travel"
    assert cluster.open_requests() == 0


def test_nobody_is_not_published(cluster: Cluster) -> None:
    """Other servers would take it to be for everybody."""
    sent, nobody = len(cluster.bus.sent), cluster.servers[0].to([])
    nobody.emit("test")
    nobody.except_(cluster.sockets[0].id).sockets_join("x")
    nobody.sockets_leave("x")
    nobody.disconnect_sockets()
    assert nobody.fetch_sockets() == [] and nobody.timeout(60).emit_with_ack("test") == []
    assert len(cluster.bus.sent) == sent
    assert cluster.got() == [[], [], []]


def test_a_time_out_of_nothing_is_not_the_default(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(request_timeout=60)
    cluster.bus.fate = lambda receiver, message: []  # nothing arrives
    with pytest.raises(AckTimeout):
        Background(cluster.servers[0].timeout(0).fetch_sockets).result()


def test_ones_own_clients_are_reached_when_nothing_can_be_published(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, until it works again; what asks other servers fails at once."""
    cluster.bus.broken = True
    cluster.servers[0].emit("test")
    cluster.servers[0].sockets_join("x")
    assert cluster.clients[0].receive().data == ["test"]
    assert "x" in cluster.sockets[0].rooms and "x" not in cluster.sockets[1].rooms
    with pytest.raises(ConnectionError):
        cluster.servers[0].fetch_sockets()
    with pytest.raises(ConnectionError):
        cluster.servers[0].server_side_emit_with_ack("anybody?")
    cluster.servers[0].disconnect_sockets()
    assert cluster.sockets[0].disconnected
    assert [r.levelname for r in caplog.records if "only its own clients" in r.message] == ["ERROR"]
    assert cluster.open_requests() == 0
    cluster.bus.broken = False
    cluster.servers[0].emit("again")
    cluster.clients[1].expect("again")


# -- acknowledgements --------------------------------------------------------------------------------------------------


def test_acknowledgements_of_all_clients(cluster: Cluster) -> None:
    clients = [cluster.answering(number, number + 1) for number in range(3)]
    told: list[Any] = []
    done = threading.Event()

    def callback(error: Exception | None, responses: list[Any]) -> None:
        told.append((error, sorted(responses)))
        done.set()

    cluster.servers[0].timeout(3).emit("test", "x", callback=callback)
    assert done.wait(5) and told == [(None, [1, 2, 3])]
    assert [client.result() for client in clients] == [["test", "x"]] * 3
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def test_acknowledgements_with_bytes(cluster: Cluster) -> None:
    for number in range(3):
        cluster.answering(number, bytes([number]))
    assert sorted(cluster.servers[0].timeout(3).emit_with_ack("test")) == [b"\x00", b"\x01", b"\x02"]


def test_acknowledgements_of_nobody(cluster: Cluster) -> None:
    assert cluster.servers[0].to("abc").timeout(3).emit_with_ack("test") == []
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def test_acknowledgements_that_take_too_long(cluster: Cluster) -> None:
    """The responses that came are in the error."""
    cluster.answering(0, 1)
    cluster.answering(1, 2)
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].timeout(0.5).emit_with_ack("test")
    assert sorted(caught.value.responses) == [1, 2]
    eventually(lambda: cluster.open_requests() == 0, "no request left")


def test_an_acknowledgement_of_one_client_of_this_server(cluster: Cluster) -> None:
    client = cluster.answering(1, 2)
    assert cluster.sockets[1].emit_with_ack("test", timeout=3) == 2
    assert client.result() == ["test"]
    assert cluster.got() == [[], [], []]


def test_an_acknowledgement_of_one_client_of_another_server(cluster: Cluster) -> None:
    (remote,) = cluster.servers[0].in_(cluster.sockets[1].id).fetch_sockets()
    cluster.answering(1, 2)
    assert remote.timeout(3).emit_with_ack("test") == 2
    assert cluster.got() == [[], [], []]


# -- rooms of others ---------------------------------------------------------------------------------------------------


def in_room(cluster: Cluster, room: str) -> list[int]:
    """Whose sockets are in it, once all servers have acted on what the first one has published."""
    cluster.got()
    return [number for number, socket in enumerate(cluster.sockets) if room in socket.rooms]


def test_all_join_a_room(cluster: Cluster) -> None:
    cluster.servers[0].sockets_join("room1")
    assert in_room(cluster, "room1") == [0, 1, 2]


def test_those_of_a_room_join_another(cluster: Cluster) -> None:
    cluster.sockets[0].join("room1")
    cluster.sockets[2].join("room1")
    cluster.servers[0].in_("room1").sockets_join(["room2", "room3"])
    assert in_room(cluster, "room2") == in_room(cluster, "room3") == [0, 2]


def test_one_joins_a_room(cluster: Cluster) -> None:
    cluster.servers[0].in_(cluster.sockets[1].id).sockets_join("room3")
    assert in_room(cluster, "room3") == [1]


def test_all_leave_a_room(cluster: Cluster) -> None:
    cluster.sockets[0].join("room1")
    cluster.sockets[2].join("room1")
    cluster.servers[0].sockets_leave("room1")
    assert in_room(cluster, "room1") == []


def test_those_of_a_room_leave_another(cluster: Cluster) -> None:
    cluster.sockets[0].join(["room1", "room2"])
    cluster.sockets[1].join(["room1", "room2"])
    cluster.sockets[2].join("room2")
    cluster.servers[0].in_("room1").sockets_leave("room2")
    assert in_room(cluster, "room2") == [2]


def test_one_leaves_a_room(cluster: Cluster) -> None:
    for socket in cluster.sockets:
        socket.join("room3")
    cluster.servers[0].in_(cluster.sockets[1].id).sockets_leave("room3")
    assert in_room(cluster, "room3") == [0, 2]


# -- disconnecting others ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("close", [False, True])
def test_all_are_disconnected(cluster: Cluster, close: bool) -> None:
    reasons: list[str] = []
    for io in cluster.servers:
        io.on("disconnect", lambda socket, reason: reasons.append(reason))
    cluster.servers[0].disconnect_sockets(close)
    for client in cluster.clients:
        if close:
            client.wait_closed()
        else:
            assert client.receive().type == 1
    eventually(lambda: reasons == ["server namespace disconnect"] * 3, "three disconnections")


def test_those_of_a_room_are_disconnected(cluster: Cluster) -> None:
    cluster.sockets[1].join("room1")
    cluster.servers[0].in_("room1").disconnect_sockets()
    assert cluster.clients[1].receive().type == 1
    assert [socket.connected for socket in cluster.sockets] == [True, False, True]


def test_what_was_sent_before_a_disconnection_arrives(cluster: Cluster) -> None:
    cluster.servers[0].emit("bye")
    cluster.servers[0].disconnect_sockets(True)
    for client in cluster.clients:
        client.expect("bye")
        client.wait_closed()


# -- finding sockets ---------------------------------------------------------------------------------------------------


def test_all_sockets_are_found(cluster: Cluster) -> None:
    found = cluster.servers[0].fetch_sockets()
    assert sorted(socket.id for socket in found) == sorted(socket.id for socket in cluster.sockets)
    assert cluster.sockets[0] in found
    assert sorted(type(socket).__name__ for socket in found) == ["RemoteSocket", "RemoteSocket", "Socket"]
    assert cluster.open_requests() == 0


def test_one_socket_is_found_with_handshake_data_and_rooms(cluster: Cluster) -> None:
    there = cluster.sockets[1]
    there.data.update(name="Ann", photo=b"\x00\xff", tags=("a", "b"), db=object(), deep={"f": print, "n": 1})
    there.data["me"] = there.data
    there.join("room1")
    (found,) = cluster.servers[0].in_("room1").fetch_sockets()
    assert isinstance(found, RemoteSocket) and not isinstance(found, Socket)
    assert (found.id, found.nsp) == (there.id, cluster.servers[0].sockets)
    assert asdict(found.handshake) == {name: getattr(there.handshake, name) for name in asdict(found.handshake)}
    assert found.handshake.headers["host"] == "127.0.0.1" and found.handshake.query["EIO"] == "4"
    assert found.rooms == there.rooms == {there.id, "room1"}
    assert found.data == {"name": "Ann", "photo": b"\x00\xff", "tags": ["a", "b"], "deep": {"n": 1}}
    found.data["name"] = "Bob"
    assert there.data["name"] == "Ann"


def test_sockets_of_this_server_only_are_found(cluster: Cluster) -> None:
    assert cluster.servers[0].local.fetch_sockets() == [cluster.sockets[0]]


# -- events between the servers ----------------------------------------------------------------------------------------


def test_an_event_reaches_the_other_servers_only(cluster: Cluster) -> None:
    got: list[Any] = []
    for number, io in enumerate(cluster.servers):
        io.of("/").on_server_side("hello", lambda *args, number=number: got.append((number, args)))
    cluster.servers[0].server_side_emit("hello", "world", 1, b"2")
    eventually(lambda: len(got) == 2, "two events")
    assert sorted(got) == [(1, ("world", 1, b"2")), (2, ("world", 1, b"2"))]
    assert cluster.got() == [[], [], []]


def test_an_event_is_answered_by_the_other_servers(cluster: Cluster) -> None:
    for number, io in enumerate(cluster.servers):
        io.on_server_side("hello", lambda name, number=number: f"{name} {number}")
    assert sorted(cluster.servers[0].server_side_emit_with_ack("hello", "I am")) == ["I am 1", "I am 2"]
    told: list[Any] = []
    cluster.servers[1].server_side_emit("hello", "me", callback=lambda error, answers: told.append((error, answers)))
    eventually(lambda: told, "the callback")
    assert told[0][0] is None and sorted(told[0][1]) == ["me 0", "me 2"]
    assert cluster.open_requests() == 0


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("counting", "timeout reached: only 1 responses received out of 2"),
        ("heartbeat", "timeout reached: missing 1 responses"),
    ],
)
def test_an_event_is_not_answered_in_time_by_one(make_cluster: MakeCluster, kind: str, text: str) -> None:
    cluster = make_cluster(kind, request_timeout=0.5)
    stuck = threading.Event()
    cluster.servers[1].on_server_side("hello", lambda: 2)
    cluster.servers[2].on_server_side("hello", lambda: stuck.wait(5))
    told: list[Any] = []
    cluster.servers[0].server_side_emit("hello", callback=lambda error, answers: told.append((error, answers)))
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].server_side_emit_with_ack("hello")
    stuck.set()
    assert str(caught.value) == text and caught.value.responses == [2]
    eventually(lambda: told, "the callback")
    assert str(told[0][0]) == text and told[0][1] == [2]
    assert cluster.open_requests() == 0


def test_an_event_is_answered_though_a_server_leaves_the_cluster(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("heartbeat")
    cluster.servers[1].on_server_side("hello", lambda: 2)
    cluster.servers[2].on_server_side("hello", cluster.adapter(2).close)
    call = Background(cluster.servers[0].server_side_emit_with_ack, "hello")
    assert call.result(3) == [2]
    assert cluster.adapter(0).server_count() == 2
