"""Broadcasts: who gets them, in which namespaces, and the acknowledgements of many."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve, join, sync
from tests.support.inprocess import Background, Client, eventually
from wsgi_sio import AckTimeout, Server, Socket

PAYLOADS = pytest.mark.parametrize("payload", [["b"], [b"\x00" * 10, {"deep": [b"\xff"]}]], ids=["text", "binary"])


class Crowd:
    """Three clients in ``/`` and one, the last, in ``/test``; the second and the third are in the room."""

    def __init__(self, serve: Serve, transport: str) -> None:
        self.io = Server()
        process = serve(self.io)
        self.clients: list[Client] = []
        self.sockets: list[Socket] = []
        for nsp in ("/", "/", "/", "/test"):
            client, socket = join(process, self.io, nsp, transport)
            self.clients.append(client)
            self.sockets.append(socket)
        for socket in self.sockets[1:]:
            socket.join("room")

    def got(self) -> list[list[Any]]:
        """What each client was sent since the last call."""
        return [sync(client, socket) for client, socket in zip(self.clients, self.sockets, strict=True)]


@pytest.fixture(params=["websocket", "polling"])
def crowd(serve: Serve, request: pytest.FixtureRequest) -> Crowd:
    return Crowd(serve, request.param)


@PAYLOADS
def test_a_broadcast_stays_in_its_namespace(crowd: Crowd, payload: list[Any]) -> None:
    event = ["event", *payload]
    crowd.io.emit(*event)
    assert crowd.got() == [[event], [event], [event], []]
    crowd.io.of("/test").emit(*event)
    assert crowd.got() == [[], [], [], [event]]


@PAYLOADS
def test_everybody_else_and_everybody_else_in_a_room(crowd: Crowd, payload: list[Any]) -> None:
    """From inside the handler of one of them."""

    @crowd.io.on("broadcast")
    def broadcast(socket: Socket) -> None:
        socket.broadcast.emit("to the rest", *payload)
        socket.broadcast.to("room").emit("to the room", *payload)
        socket.emit("to itself", *payload)

    crowd.clients[2].emit("broadcast")
    assert crowd.clients[2].expect("to itself") == payload
    rest, room = ["to the rest", *payload], ["to the room", *payload]
    assert crowd.got() == [[rest], [rest, room], [], []]


def test_rooms_and_several_rooms_reach_each_socket_once(crowd: Crowd) -> None:
    """A handler puts its socket into rooms and sends to them at once."""

    @crowd.io.on("join and emit")
    def handler(socket: Socket) -> None:
        socket.join(["woot", "test"])
        crowd.io.in_("woot").emit("a")
        crowd.io.in_("woot").in_("test").to(["woot", socket.id]).emit("b")

    crowd.clients[0].emit("join and emit")
    assert crowd.clients[0].expect("a") == crowd.clients[0].expect("b") == []
    assert crowd.got() == [[], [], [], []]


def test_the_rest_without_certain_sockets_or_rooms(crowd: Crowd) -> None:
    one, two, three, _ = crowd.sockets
    three.broadcast.except_(two.id).emit("without the second")
    three.broadcast.except_("room").emit("without the room")
    one.broadcast.except_([two.id, three.id]).emit("without all")
    assert crowd.got() == [[["without the second"], ["without the room"]], [], [], []]


def test_rooms_are_kept_book_of_and_forgotten_when_empty(serve: Serve) -> None:
    io = Server()
    client, socket = join(serve(io), io)
    adapter: Any = io.sockets.adapter
    for room in ("a", "b", "c"):
        socket.join(room)
    assert socket.rooms == {socket.id, "a", "b", "c"}
    socket.leave("b")
    socket.leave("unknown")
    assert socket.rooms == {socket.id, "a", "c"} and adapter.room_size("b") == 0
    client.close()
    eventually(lambda: not socket.rooms, "the leaving")
    assert adapter.sockets(frozenset()) == set() == adapter.sockets(frozenset(["a", "c"]))


# -- acknowledgements of many -----------------------------------------------------------------------------------------


def asked(crowd: Crowd, timeout: float, callback: bool) -> Background:
    """Ask all three of ``/``: what comes of it is (error, responses), whichever way they are told."""
    outcome: list[tuple[Any, list[Any]]] = []
    if callback:
        crowd.io.timeout(timeout).emit("ask", b"\x01", callback=lambda *told: outcome.append(told))
        return Background(lambda: eventually(lambda: outcome, "the callback")[0])

    def block() -> tuple[Any, list[Any]]:
        try:
            return None, crowd.io.timeout(timeout).emit_with_ack("ask", b"\x01")
        except AckTimeout as error:
            return error, error.responses

    return Background(block)


@pytest.mark.parametrize("callback", [True, False], ids=["callback", "blocking"])
def test_all_answer(crowd: Crowd, callback: bool) -> None:
    asking = asked(crowd, 3, callback)
    for number, client in enumerate(crowd.clients[:3]):
        client.answer(client.receive(), number, "and more")
    error, responses = asking.result()
    assert error is None and sorted(responses) == [0, 1, 2]
    assert crowd.got() == [[]] * 4


@pytest.mark.parametrize("callback", [True, False], ids=["callback", "blocking"])
def test_one_does_not_answer_and_nothing_waits_for_it_afterwards(crowd: Crowd, callback: bool) -> None:
    asking = asked(crowd, 0.3, callback)
    packets = [client.receive() for client in crowd.clients[:3]]
    for number in (0, 1):
        crowd.clients[number].answer(packets[number], number)
    error, responses = asking.result()
    assert isinstance(error, AckTimeout) and sorted(responses) == [0, 1]
    eventually(lambda: not any(socket._acks for socket in crowd.sockets), "the forgetting")
    crowd.clients[2].answer(packets[2], "late")
    assert crowd.got() == [[]] * 4


@TRANSPORTS
@pytest.mark.parametrize("callback", [True, False], ids=["callback", "blocking"])
def test_nobody_is_asked(serve: Serve, transport: str, callback: bool) -> None:
    crowd = Crowd(serve, transport)
    operator = crowd.io.to("room123").timeout(3)
    if callback:
        outcome: list[Any] = []
        operator.emit("ask", callback=lambda *told: outcome.append(told))
        eventually(lambda: outcome, "the callback")
        assert outcome == [(None, [])]
    else:
        assert operator.emit_with_ack("ask") == []
    assert crowd.got() == [[]] * 4
