"""Middlewares of namespaces: order, refusals, and what a client's socket is meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve, join
from wsgi_sio import ConnectRefused, Server, Socket
from wsgi_sio.socketio.packet import CONNECT_ERROR, Packet


@TRANSPORTS
def test_the_middlewares_of_a_namespace_run_in_order_and_those_of_others_do_not(serve: Serve, transport: str) -> None:
    """Each takes its time; the client is told only after the last."""
    io = Server()
    ran: list[Any] = []
    io.use(lambda socket: ran.append("not of this namespace"))
    for number in (1, 2, 3):

        @io.of("/chat").use
        def middleware(socket: Socket, number: int = number) -> None:
            io.sleep(0.02)
            ran.append((number, type(socket)))

    join(serve(io), io, "/chat", transport)
    assert ran == [(number, Socket) for number in (1, 2, 3)]


@TRANSPORTS
@pytest.mark.parametrize("data", [None, {"a": "b", "c": 3}])
def test_after_a_refusal_no_other_middleware_runs_nor_the_connection_handler(
    serve: Serve, transport: str, data: Any
) -> None:
    io = Server()
    ran: list[str] = []

    @io.use
    def refuse(socket: Socket) -> None:
        raise ConnectRefused("Authentication error", data)

    io.use(lambda socket: ran.append("second middleware"))
    io.on("connect", lambda socket: ran.append("connect"))
    io.on("connection", lambda socket: ran.append("connection"))
    client = serve(io).client(transport)
    client.send(Packet(0, "/", None))
    answer = client.receive()
    expected = {"message": "Authentication error"} | ({} if data is None else {"data": data})
    assert (answer.type, answer.data) == (CONNECT_ERROR, expected)
    client.expect_silence(0.03)
    assert ran == []


def test_what_a_middleware_notes_is_there_in_the_connection_handler(serve: Serve) -> None:
    io = Server()
    names: list[str] = []
    io.use(lambda socket: socket.data.update(name="guillermo"))
    io.on("connection", lambda socket: names.append(socket.data["name"]))
    io.on("name", lambda socket: socket.data["name"])
    client, _ = join(serve(io), io)
    assert client.call("name") == ["guillermo"] and names == ["guillermo"]


@TRANSPORTS
def test_a_socket_is_connected_and_counted_only_after_its_middlewares(serve: Serve, transport: str) -> None:
    io = Server()
    seen: list[Any] = []

    def look(socket: Socket) -> None:
        seen.append((socket.connected, socket.disconnected, len(io.sockets.sockets), len(io.fetch_sockets())))

    io.use(look)
    io.on("connect", look)
    io.on("connection", look)
    io.on("look", look)
    client, _ = join(serve(io), io, transport=transport)
    client.call("look")
    assert seen == [(False, True, 0, 0)] * 2 + [(True, False, 1, 1)] * 2


@TRANSPORTS
def test_namespaces_with_and_without_middlewares_on_one_connection(serve: Serve, transport: str) -> None:
    io = Server()
    ran: list[str] = []
    io.of("/chat").use(lambda socket: ran.append(socket.nsp.name))
    client = serve(io).client(transport)
    client.connect("/")
    client.connect("/chat")
    assert ran == ["/chat"]
