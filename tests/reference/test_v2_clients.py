"""Clients of Socket.IO v2, over raw packets of their protocols: Engine.IO 3 and Socket.IO 4."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.reference.conftest import TRANSPORTS, Serve
from tests.support.inprocess import InProcess, Refused, WebSocket, eventually
from wsgi_sio import Server, Socket
from wsgi_sio.engineio.packet_v3 import decode_payload_v3


def over_websocket(process: InProcess) -> tuple[WebSocket, str]:
    """A connection and the engine's id of it."""
    wire = process.websocket(extra={"QUERY_STRING": urlencode({"EIO": "3", "transport": "websocket"})})
    wire.answer_pings = False
    opened = wire.receive()
    assert isinstance(opened, str) and opened[0] == "0"
    return wire, json.loads(opened[1:])["sid"]


def over_polling(process: InProcess) -> tuple[list[str], str]:
    """The packets of the first answers until there is a CONNECT, and the engine's id."""
    packets, query = [], {"EIO": "3", "transport": "polling"}
    while len(packets) < 2:
        answer = process.request("GET", **query)
        assert answer.status == 200
        decoded, error = decode_payload_v3(answer.body.decode())
        assert error is None
        packets += [packet.text() for packet in decoded]
        query["sid"] = json.loads(packets[0][1:])["sid"]
    return packets[1:], query["sid"]


@TRANSPORTS
def test_a_v2_client_is_in_the_main_namespace_with_the_id_of_its_connection(serve: Serve, transport: str) -> None:
    io = Server(allow_eio3=True)
    joined: list[Socket] = []
    io.on("connection", joined.append)
    process = serve(io)
    if transport == "polling":
        packets, sid = over_polling(process)
        assert packets == ["40"]
    else:
        wire, sid = over_websocket(process)
        assert wire.receive() == "40"
    (socket,) = eventually(lambda: joined, "the connection")
    assert socket.id == sid and set(io.sockets.sockets) == {sid}


def test_a_v2_client_s_query_of_a_namespace_becomes_its_auth(serve: Serve) -> None:
    io = Server(allow_eio3=True)
    namespace = io.of("/the-namespace")
    joined: list[Socket] = []
    namespace.on("connection", joined.append)
    wire, sid = over_websocket(serve(io))
    assert wire.receive() == "40"
    wire.send("40/the-namespace?test=123,")
    answer = wire.receive()
    assert isinstance(answer, str) and answer.startswith("40/the-namespace")
    (socket,) = eventually(lambda: joined, "the connection")
    assert socket.handshake.auth == {"test": "123"} and socket.id == f"/the-namespace#{sid}"


def test_a_v2_client_is_refused_by_default(serve: Serve) -> None:
    process = serve(Server())
    answer = process.request("GET", EIO="3", transport="polling")
    assert (answer.status, json.loads(answer.body)["code"]) == (400, 5)
    with pytest.raises(Refused):
        over_websocket(process)
