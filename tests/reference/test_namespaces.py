"""Namespaces: how they are named and found, who is in them, and what reaches them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve, join, sync
from tests.support.inprocess import eventually
from wsgi_sio import BroadcastOperator, Server, Socket
from wsgi_sio.socketio.packet import CONNECT


def test_the_server_speaks_for_its_main_namespace() -> None:
    io = Server()
    assert io.sockets is io.of("/")
    operators = (
        io.to("a"), io.in_(["a", "b"]), io.except_("a"), io.local, io.volatile, io.compress(True), io.timeout(1),
    )  # fmt: skip
    assert {operator.namespace for operator in operators} == {io.sockets}
    for name in ("use", "on", "once", "off", "emit", "send", "fetch_sockets", "disconnect_sockets"):
        assert callable(getattr(io, name)) and callable(getattr(io.sockets, name))


def test_the_slash_in_front_of_a_name_may_be_missing() -> None:
    io = Server()
    assert io.of("") is io.of("/")
    assert io.of("abc") is io.of("/abc")


@pytest.mark.parametrize("packet", ["40", "40/,"])
def test_a_client_may_name_the_main_namespace_or_not(serve: Serve, packet: str) -> None:
    io = Server()
    joined: list[Socket] = []
    io.of("/").on("connection", joined.append)
    client = serve(io).client()
    client.wire.send(packet)
    answer = client.receive()
    assert (answer.type, answer.nsp) == (CONNECT, "/")
    eventually(lambda: joined, "the connection")


@TRANSPORTS
def test_one_connection_carries_several_namespaces_and_each_runs_all_its_handlers(serve: Serve, transport: str) -> None:
    io = Server()
    seen: dict[str, list[Any]] = {"/chat": [], "/news": []}
    for name, told in seen.items():
        for turn in (1, 2):
            io.of(name).on("connection", lambda socket, turn=turn, told=told: told.append((turn, socket)))
    client = serve(io).client(transport)
    sids = {name: client.connect(name) for name in seen}
    eventually(lambda: all(len(told) == 2 for told in seen.values()), "the handlers")
    for name, told in seen.items():
        assert [(turn, socket.id) for turn, socket in told] == [(1, sids[name]), (2, sids[name])]
        assert all(type(socket) is Socket and socket.nsp is io.of(name) for _, socket in told)


@TRANSPORTS
def test_two_connections_to_one_namespace_are_two_sockets(serve: Serve, transport: str) -> None:
    io = Server()
    process = serve(io)
    (one, first), (two, second) = (join(process, io, transport=transport) for _ in range(2))
    assert first is not second and first.id != second.id and first.conn is not second.conn
    assert set(io.sockets.sockets) == {first.id, second.id}
    first.emit("only one")
    assert (sync(one, first), sync(two, second)) == ([["only one"]], [])


def test_who_is_in_a_namespace_and_in_its_rooms(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    sockets = [join(process, io, nsp)[1] for nsp in ("/chat", "/chat", "/chat", "/other")]
    for socket, rooms in zip(sockets, (["foo"], ["bar"], ["foo", "bar"], ["foo"]), strict=True):
        socket.join(rooms)
    chat = io.of("/chat")

    def found(source: Any) -> list[int]:
        return sorted(sockets.index(socket) for socket in source.fetch_sockets())

    assert found(chat) == found(chat.in_(["foo", "bar"])) == found(chat.in_("foo").in_("bar")) == [0, 1, 2]
    assert found(chat.in_("foo")) == [0, 2]
    assert found(chat.in_("foo").except_("bar")) == [0]
    assert found(io.of("/other").in_("foo")) == [3] and found(io) == []
    assert set(chat.sockets) == chat.adapter.sockets(frozenset()) == {socket.id for socket in sockets[:3]}


@pytest.mark.parametrize("nsp", ["/", "/chat"])
def test_sockets_and_rooms_can_be_left_out(serve: Serve, nsp: str) -> None:
    """By id, by room, and from inside a handler that has just made the room."""
    io = Server()
    process = serve(io)
    (one, first), (two, second) = (join(process, io, nsp) for _ in range(2))
    namespace = io.of(nsp)

    @namespace.on("broadcast")
    def broadcast(socket: Socket) -> None:
        socket.join("room")
        namespace.except_("room").emit("by room")

    namespace.except_(second.id).emit("by id")
    two.emit("broadcast", nsp=nsp)
    eventually(lambda: "room" in second.rooms, "the handler")
    assert one.expect("by id", nsp) == one.expect("by room", nsp) == []
    assert sync(two, second) == []
    namespace.except_([first.id, "room"]).emit("nobody left")
    assert (sync(one, first), sync(two, second)) == ([], [])


@pytest.mark.parametrize("way", ["server", "namespace", "socket"])
def test_an_operator_never_changes(serve: Serve, way: str) -> None:
    """Whatever is made from it, and however often it has sent."""
    io = Server()
    client, socket = join(serve(io), io)
    origin: Any = {"server": io, "namespace": io.of("/"), "socket": socket}[way]
    operator = origin.compress(False).local.to(["room1", "room2"]).except_("room3")
    kept = operator.options
    operator.compress(True).emit("hello")
    operator.volatile.emit("hello")
    operator.timeout(1).emit("hello", callback=lambda error, responses: None)
    operator.to("room4").emit("hello")
    operator.except_("room5").emit("hello")
    origin.to("room6").emit("hello")
    assert isinstance(operator, BroadcastOperator) and operator.options is kept
    assert kept.rooms == {"room1", "room2"}
    assert kept.except_ == {"room3"} | ({socket.id} if way == "socket" else set())
    assert (kept.local, kept.compress, kept.volatile, kept.timeout) == (True, False, False, None)
    assert sync(client, socket) == []
