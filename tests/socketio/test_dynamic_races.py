"""Dynamic namespaces that are forgotten, that several clients ask for at once, or that are long in coming."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.socketio.test_dynamic_namespaces import ROOMS, TRANSPORTS, members, refusal
from tests.support.inprocess import DEADLINE, at_once, eventually
from wsgi_sio import ConnectRefused, Namespace, Server, Socket
from wsgi_sio.socketio.packet import CONNECT, EVENT, Packet


def forgotten(io: Server, name: str) -> bool:
    return name not in io._namespaces and not any(name in parent.children for parent in io._parents)


# -- cleaning up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cleanup", [True, False])
@pytest.mark.parametrize("way", ["closes", "leaves", "is thrown out", "is refused"])
def test_an_empty_child_is_forgotten_if_that_is_wanted(serve: Serve, cleanup: bool, way: str) -> None:
    io = Server(cleanup_empty_child_namespaces=cleanup)
    rooms = io.of(ROOMS)
    gone = threading.Event()
    rooms.on("disconnect", lambda socket: gone.set())

    @rooms.use
    def middleware(socket: Socket) -> None:
        if way == "is refused":
            raise ConnectRefused("no")

    client = serve(io).client()
    if way == "is refused":
        assert refusal(client, "/room-1") == "no"
    else:
        client.connect("/room-1")
        child = io.of("/room-1")
        match way:
            case "closes":
                client.close()
            case "leaves":
                client.wire.send("41/room-1,")
            case "is thrown out":
                child.disconnect_sockets()
        assert gone.wait(DEADLINE)
    if cleanup:
        eventually(lambda: forgotten(io, "/room-1"), "the cleaning")
    else:
        assert io._namespaces["/room-1"] is rooms.children["/room-1"] and not io.of("/room-1").sockets


def test_a_child_with_another_client_stays_when_one_is_refused_or_leaves(serve: Serve) -> None:
    io = Server(cleanup_empty_child_namespaces=True)
    rooms = io.of(ROOMS)
    rooms.on("connect", lambda socket, auth: not auth)
    process = serve(io)
    one, two = members(process, "/room-1", "/room-1")
    child = rooms.children["/room-1"]
    assert refusal(process.client(), "/room-1", {"wrong": True}) == "Connection refused"
    one.close()
    eventually(lambda: len(child.sockets) == 1, "the leaving")
    assert rooms.children["/room-1"] is child
    two.close()
    eventually(lambda: forgotten(io, "/room-1"), "the cleaning")


def test_a_cleaned_up_namespace_is_made_anew_for_the_next_client(serve: Serve) -> None:
    io = Server(cleanup_empty_child_namespaces=True)
    told: list[Namespace] = []
    io.on("new_namespace", told.append)
    io.of(ROOMS).on("x", lambda socket: "again")
    process = serve(io)
    for _ in range(2):
        (client,) = members(process, "/room-1")
        client.emit("x", nsp="/room-1", ack=1)
        assert client.receive().data == ["again"]
        client.close()
        eventually(lambda: forgotten(io, "/room-1"), "the cleaning")
    assert [namespace.name for namespace in told] == ["/room-1"] * 2 and told[0] is not told[1]


def test_namespaces_that_are_nobodys_children_stay(serve: Serve) -> None:
    io = Server(cleanup_empty_child_namespaces=True)
    gone = threading.Event()
    fixed = io.of("/fixed")
    fixed.on("disconnect", lambda socket: gone.set())
    io.of(re.compile("."))
    (client,) = members(serve(io), "/fixed")
    client.connect("/")
    client.close()
    assert gone.wait(DEADLINE)
    eventually(lambda: not (fixed.clients or io.sockets.clients), "the end")
    assert io.of("/fixed") is fixed and io.of("/") is io.sockets


# -- races ------------------------------------------------------------------------------------------------------------


def test_clients_that_ask_at_once_end_in_the_same_namespace(serve: Serve) -> None:
    """The test lets nobody pass until all have asked."""
    io = Server()
    together = threading.Barrier(2)
    told: list[Namespace] = []
    joined: list[Namespace] = []
    io.on("new_namespace", told.append)

    def test(name: str, auth: dict[str, Any]) -> bool:
        together.wait(DEADLINE)
        return True

    parent = io.of(test)
    parent.on("connection", lambda socket: joined.append(socket.nsp))
    process = serve(io)
    clients = [process.client() for _ in range(2)]
    at_once(2, lambda number: clients[number].connect("/a"))
    eventually(lambda: len(joined) == 2)
    assert told == [io.of("/a")] and set(joined) == {io.of("/a")}
    io.of("/a").emit("hello")
    for client in clients:
        client.expect("hello", "/a")


def test_many_threads_get_one_namespace_however_they_ask(serve: Serve) -> None:
    io = Server()
    told: list[str] = []
    io.on("new_namespace", lambda namespace: told.append(namespace.name))
    io.of(ROOMS)
    process = serve(io)
    clients = [process.client() for _ in range(6)]
    for turn in range(10):
        name = f"/room-{turn}"

        def ask(number: int, name: str = name) -> Namespace:
            if number % 2:
                return io.of(name)
            return io.of(name).sockets[clients[number].connect(name)].nsp

        assert len(set(at_once(6, ask))) == 1
    assert told == [f"/room-{turn}" for turn in range(10)]


def test_coming_and_going_at_once_never_loses_a_client(serve: Serve) -> None:
    """With cleaning up: whoever is in, is in the namespace that is known by the name."""
    io = Server(cleanup_empty_child_namespaces=True)
    io.of(ROOMS).on("where", lambda socket: socket.nsp is io.of("/room-1"))
    process = serve(io)

    def visit(number: int) -> list[Any]:
        client = process.client()
        found = []
        for _ in range(15):
            client.connect("/room-1")
            client.emit("where", nsp="/room-1", ack=1)
            found += client.receive().data
            client.wire.send("41/room-1,")
        client.close()
        return found

    assert at_once(4, visit, timeout=2 * DEADLINE) == [[True] * 15] * 4
    eventually(lambda: forgotten(io, "/room-1"), "the cleaning")


# -- tests that take their time ---------------------------------------------------------------------------------------


class Gate:
    """A test function that says nothing until it is released."""

    def __init__(self) -> None:
        self.asked, self.release = threading.Event(), threading.Event()

    def __call__(self, name: str, auth: dict[str, Any]) -> bool:
        self.asked.set()
        return self.release.wait(DEADLINE)


@TRANSPORTS
def test_a_test_that_blocks_delays_nobody_else(serve: Serve, transport: str) -> None:
    io = Server()
    gate = Gate()
    io.of(gate)
    io.on("x", lambda socket: "x")
    process = serve(io)
    client, other = process.client(transport), process.client(transport)
    client.send(Packet(CONNECT, "/slow", None))
    assert gate.asked.wait(DEADLINE)
    for each in (client, other):  # not even the same client in another namespace
        each.connect()
        assert each.call("x") == ["x"]
    gate.release.set()
    assert (client.receive().nsp, io.of("/slow").clients) == ("/slow", 1)


@pytest.mark.parametrize("then", ["asks again", "sends an event"])
def test_a_client_that_does_not_wait_for_the_answer_is_closed(serve: Serve, then: str) -> None:
    io = Server(cleanup_empty_child_namespaces=True)
    gate = Gate()
    io.of(gate)
    client = serve(io).client()
    client.send(Packet(CONNECT, "/slow", None))
    assert gate.asked.wait(DEADLINE)
    client.send(Packet(CONNECT, "/slow", None) if then == "asks again" else Packet(EVENT, "/slow", ["x"]))
    if then == "asks again":
        gate.release.set()  # both are asked for in parallel; whoever comes second is one too many
    client.wait_closed()
    gate.release.set()
    eventually(lambda: forgotten(io, "/slow"), "the cleaning")


@pytest.mark.parametrize("cleanup", [True, False])
def test_a_client_that_leaves_while_it_is_tested_becomes_no_zombie(serve: Serve, cleanup: bool) -> None:
    io = Server(cleanup_empty_child_namespaces=cleanup)
    gate = Gate()
    parent = io.of(gate)
    seen: list[str] = []
    parent.use(lambda socket: seen.append("middleware"))
    for event in ("connect", "connection", "disconnecting", "disconnect"):
        parent.on(event, lambda socket, event=event: seen.append(event))
    told: list[Namespace] = []
    io.on("new_namespace", told.append)
    client = serve(io).client()
    client.send(Packet(CONNECT, "/slow", None))
    assert gate.asked.wait(DEADLINE)
    client.close()
    eventually(lambda: not io.engine.sessions, "the end")
    gate.release.set()
    eventually(lambda: told and told[0].clients == 0, "the answer")
    if cleanup:
        eventually(lambda: forgotten(io, "/slow"), "the cleaning")
    adapter: Any = told[0].adapter
    assert seen == [] and not (told[0].sockets or adapter._rooms or adapter._members)


def test_a_server_that_closes_meanwhile_lets_nobody_in(serve: Serve) -> None:
    io = Server()
    gate = Gate()
    seen: list[Socket] = []
    io.of(gate).on("connection", seen.append)
    client = serve(io).client()
    client.send(Packet(CONNECT, "/slow", None))
    assert gate.asked.wait(DEADLINE)
    io.close()
    gate.release.set()
    client.wait_closed()
    assert seen == []
