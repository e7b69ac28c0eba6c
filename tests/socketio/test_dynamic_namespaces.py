"""Namespaces that are made when clients ask for them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Background, Client, InProcess, eventually
from wsgi_sio import AckTimeout, LocalProtocolError, Namespace, Server
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, Packet

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])
ROOMS = re.compile(r"^/room-\d+$")


def refusal(client: Client, nsp: str, auth: dict[str, Any] | None = None) -> Any:
    """What a client is told that may not join."""
    client.send(Packet(CONNECT, nsp, auth))
    packet = client.receive()
    assert (packet.type, packet.nsp) == (CONNECT_ERROR, nsp), packet
    return packet.data["message"]


def members(process: InProcess, *names: str) -> list[Client]:
    """A client in each namespace."""
    clients = [process.client() for _ in names]
    for client, name in zip(clients, names, strict=True):
        client.connect(name)
    return clients


# -- who gets in ------------------------------------------------------------------------------------------------------


@TRANSPORTS
def test_a_pattern_admits_the_names_it_finds_itself_in(serve: Serve, transport: str) -> None:
    io = Server()
    rooms = io.of(ROOMS)
    client = serve(io).client(transport)
    client.connect("/room-101")
    assert refusal(client, "/room-x") == "Invalid namespace"
    assert refusal(client, rooms.name) == "Invalid namespace"  # nor has the parent a name for clients
    assert list(rooms.children) == ["/room-101"] and rooms.children["/room-101"] is io.of("/room-101")
    client.connect()


@TRANSPORTS
def test_a_function_decides_by_name_and_auth(serve: Serve, transport: str) -> None:
    io = Server()
    asked: list[Any] = []

    def test(name: str, auth: dict[str, Any]) -> bool:
        asked.append((name, auth))
        return auth.get("key") == name

    io.of(test)
    client = serve(io).client(transport)
    assert refusal(client, "/a") == refusal(client, "/a", {"key": "/b"}) == "Invalid namespace"
    client.connect("/a", {"key": "/a"})
    assert asked == [("/a", {}), ("/a", {"key": "/b"}), ("/a", {"key": "/a"})]


def test_a_child_that_is_there_needs_no_test(serve: Serve) -> None:
    """As in the reference: who may enter an existing namespace is for its middlewares to say."""
    io = Server()
    asked: list[str] = []
    io.of(lambda name, auth: not asked.append(name))
    members(serve(io), "/a", "/a")
    assert asked == ["/a"]


def test_the_first_parent_that_accepts_a_name_gets_it(serve: Serve) -> None:
    io = Server()
    never = io.of(lambda name, auth: False)
    first, second = io.of(re.compile("^/a")), io.of(re.compile("."))
    members(serve(io), "/abc", "/xyz")
    assert [list(parent.children) for parent in (never, first, second)] == [[], ["/abc"], ["/xyz"]]


def test_a_namespace_made_by_hand_comes_before_all_parents(serve: Serve) -> None:
    io = Server()
    fixed = io.of("/fixed")
    parent = io.of(re.compile("."))
    members(serve(io), "/fixed", "/")
    assert parent.children == {} and len(fixed.sockets) == 1


def test_a_test_that_raises_is_logged_and_the_next_parent_asked(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    io.of(lambda name, auth: {}[name])
    io.of(re.compile("^/a$"))
    client = serve(io).client()
    client.connect("/a")
    assert refusal(client, "/b") == "Invalid namespace"
    assert "KeyError: '/a'" in caplog.text and "KeyError: '/b'" in caplog.text


# -- what a child inherits --------------------------------------------------------------------------------------------


def test_a_child_inherits_handlers_middlewares_and_the_handler_of_errors(serve: Serve) -> None:
    io = Server()
    seen: list[str] = []
    rooms = io.of(ROOMS)
    rooms.use(lambda socket: seen.append(f"use {socket.nsp.name}"))
    rooms.on("connect", lambda socket: seen.append("connect"))
    rooms.on("connection", lambda socket: seen.append("connection"))
    rooms.on("disconnect", lambda socket, reason: seen.append(reason))
    rooms.on("divide", lambda socket, a, b: a / b)
    rooms.on("*", lambda socket, event: f"{event}?")
    rooms.on_error(lambda socket, error, event, args: type(error).__name__)
    client = serve(io).client()
    client.connect("/room-1")
    answers = []
    for event, *args in (["divide", 6, 3], ["divide", 1, 0], ["other"]):
        client.emit(event, *args, nsp="/room-1", ack=0)
        answers += client.receive().data
    assert answers == [2, "ZeroDivisionError", "other?"]
    client.close()
    eventually(lambda: len(seen) == 4, "the end")
    assert seen == ["use /room-1", "connect", "connection", "transport close"]


def test_what_the_parent_is_given_later_is_for_later_children(serve: Serve) -> None:
    io = Server()
    rooms = io.of(ROOMS)
    process = serve(io)
    (early,) = members(process, "/room-1")
    rooms.on("x", lambda socket: "x")
    io.of("/room-1").on("own", lambda socket: "own")
    (late,) = members(process, "/room-2")
    late.emit("own", nsp="/room-2", ack=1)
    late.emit("x", nsp="/room-2", ack=2)
    early.emit("x", nsp="/room-1", ack=3)
    early.emit("own", nsp="/room-1", ack=4)
    assert (late.receive().id, early.receive().id) == (2, 4)


def test_what_runs_once_runs_once_in_each_child(serve: Serve) -> None:
    io = Server()
    seen: list[str] = []
    io.of(ROOMS).once("connection", lambda socket: seen.append(socket.nsp.name))
    members(serve(io), "/room-1", "/room-1", "/room-2")
    eventually(lambda: len(seen) == 2)
    assert sorted(seen) == ["/room-1", "/room-2"]


def test_a_child_may_be_made_by_hand(serve: Serve) -> None:
    """By a pattern; a function cannot be asked without a client."""
    io = Server()
    io.of(lambda name, auth: True)
    rooms = io.of(ROOMS)
    rooms.on("x", lambda socket: "inherited")
    child, stranger = io.of("room-1"), io.of("/stranger")
    assert rooms.children == {"/room-1": child}
    (client, _) = members(serve(io), "/room-1", "/stranger")
    client.emit("x", nsp="/room-1", ack=1)
    assert client.receive().data == ["inherited"] and len(child.sockets) == len(stranger.sockets) == 1


# -- the parent as a sender -------------------------------------------------------------------------------------------


def test_a_parent_emits_to_all_its_children_and_to_nobody_else(serve: Serve) -> None:
    io = Server()
    rooms = io.of(ROOMS)
    io.of("/other")
    one, two, other = members(serve(io), "/room-1", "/room-2", "/other")
    rooms.emit("hello", 1, {"3": b"\x04"})
    assert one.expect("hello", "/room-1") == two.expect("hello", "/room-2") == [1, {"3": b"\x04"}]
    other.expect_silence(0.03)


def test_a_parent_emits_to_rooms_of_its_children(serve: Serve) -> None:
    io = Server()
    rooms = io.of(ROOMS)
    rooms.on("connect", lambda socket, auth: socket.join(auth["rooms"]))
    process = serve(io)
    clients = [process.client() for _ in range(4)]
    for client, nsp, names in zip(clients, ("1", "2", "2", "1"), (["x"], ["x"], ["x", "y"], []), strict=True):
        client.connect(f"/room-{nsp}", {"rooms": names})
    rooms.to("x").except_("y").emit("to x")
    rooms.emit("to all")
    got = [(client.receive().data[0]) for client in clients]
    assert got == ["to x", "to x", "to all", "to all"]
    assert rooms.adapter.room_size("x") == 3 and len(rooms.adapter.sockets(frozenset(["x", "y"]))) == 3


def test_a_parent_collects_the_acknowledgements_of_all_children(serve: Serve) -> None:
    io = Server()
    rooms = io.of(ROOMS)
    clients = members(serve(io), "/room-1", "/room-2", "/room-2")
    asking = Background(rooms.timeout(DEADLINE).emit_with_ack, "ask")
    for number, client in enumerate(clients):
        client.answer(client.receive(), number)
    assert sorted(asking.result()) == [0, 1, 2]
    asking = Background(rooms.timeout(0.1).emit_with_ack, "ask")
    clients[1].answer(clients[1].receive(), "only")
    with pytest.raises(AckTimeout) as caught:
        asking.result()
    assert caught.value.responses == ["only"]


def test_a_parent_moves_and_disconnects_the_sockets_of_its_children(serve: Serve) -> None:
    io = Server()
    rooms = io.of(ROOMS)
    clients = members(serve(io), "/room-1", "/room-2")
    rooms.sockets_join(["x", "y"])
    rooms.to("x").sockets_leave("y")
    assert (rooms.adapter.room_size("x"), rooms.adapter.room_size("y")) == (2, 0)
    rooms.disconnect_sockets(close=True)
    for client in clients:
        client.wait_closed()


def test_a_parent_has_no_sockets_itself(serve: Serve) -> None:
    io = Server()
    rooms = io.of(ROOMS)
    assert rooms.timeout(DEADLINE).emit_with_ack("nobody there") == []
    members(serve(io), "/room-1")
    for ask in (rooms.fetch_sockets, rooms.to("x").fetch_sockets):
        with pytest.raises(LocalProtocolError, match="parent"):
            ask()
    assert rooms.sockets == {}
    for act in (rooms.adapter.open, rooms.adapter.del_all):
        with pytest.raises(LocalProtocolError):
            act("sid")


# -- new_namespace ----------------------------------------------------------------------------------------------------


def test_each_new_namespace_is_told_once(serve: Serve) -> None:
    io = Server()
    told: list[Namespace] = []
    io.on("new_namespace", told.append)
    fixed = io.of("/fixed")
    io.of("/fixed")
    io.of("/")
    rooms = io.of(ROOMS)
    members(serve(io), "/room-1", "/room-1", "/fixed", "/room-2")
    assert told == [fixed, rooms.children["/room-1"], rooms.children["/room-2"]]


def test_a_handler_of_new_namespace_is_told_before_the_client_is_in_and_may_add_handlers(serve: Serve) -> None:
    io = Server()
    io.on("new_namespace", lambda namespace: namespace.on("x", lambda socket: namespace.name))
    io.of(ROOMS)
    (client,) = members(serve(io), "/room-1")
    client.emit("x", nsp="/room-1", ack=1)
    assert client.receive().data == ["/room-1"]


def test_a_handler_of_new_namespace_may_be_for_once_or_raise(caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    told: list[str] = []

    @io.once("new_namespace")
    def first(namespace: Namespace) -> None:
        told.append(f"first {namespace.name}")
        raise ValueError("broken handler")

    io.on("new_namespace", lambda namespace: told.append(namespace.name))
    io.of("/a"), io.of("/b")
    assert told == ["first /a", "/a", "/b"] and caplog.text.count("ValueError: broken handler") == 1


@pytest.mark.parametrize("nsp", ["/", "/room-1"])
def test_no_client_can_call_the_handler_of_new_namespace(serve: Serve, nsp: str) -> None:
    io = Server()
    told: list[Any] = []
    rooms = io.of(ROOMS)
    for target in (io, rooms):
        target.on("new_namespace", lambda *all: told.append(all))
        target.on("sync", lambda socket: None)
    (client,) = members(serve(io), nsp)
    told.clear()
    client.emit("new_namespace", "x", nsp=nsp, ack=1)
    client.emit("sync", nsp=nsp, ack=2)
    assert client.receive().id == 2 and told == []
