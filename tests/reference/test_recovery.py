"""Connection state recovery: what a client that comes back is given, over raw packets.

With an id, a private id and an offset it asks for its old self; the server answers with what it has missed, and then
with the same ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve
from tests.support.inprocess import Client, InProcess, eventually
from wsgi_sio import Server, Socket
from wsgi_sio.adapters import MemoryAdapter
from wsgi_sio.socketio.broadcast_options import EVERYBODY
from wsgi_sio.socketio.packet import ACK, CONNECT, EVENT, Packet


@dataclass
class Lost:
    """What a client keeps of a connection that it has lost."""

    sid: str
    pid: str
    offset: str

    @property
    def auth(self) -> dict[str, str]:
        return {"pid": self.pid, "offset": self.offset}


def visit(process: InProcess, io: Server, transport: str) -> Lost:
    """Connect, get one event, and lose the connection."""
    client = process.client(transport)
    client.send(Packet(CONNECT, "/", None))
    answer = client.receive().data
    assert set(answer) == {"sid", "pid"}
    io.emit("hello")
    (offset,) = client.expect("hello")
    assert isinstance(offset, str)
    client.close()
    eventually(lambda: answer["sid"] not in io.sockets.sockets, "the loss")
    return Lost(answer["sid"], answer["pid"], offset)


def come_back(process: InProcess, lost: Lost, transport: str) -> tuple[Client, list[Any], dict[str, str]]:
    """Connect with what was kept: the events in front of the answer, without their offsets, and the answer."""
    client = process.client(transport)
    client.send(Packet(CONNECT, "/", lost.auth))
    missed = []
    while (packet := client.receive()).type == EVENT:
        missed.append(packet.data[:-1])
    assert packet.type == CONNECT
    return client, missed, packet.data


@TRANSPORTS
def test_the_same_ids_and_in_front_of_them_what_was_missed(serve: Serve, transport: str) -> None:
    io = Server(connection_state_recovery=True)
    sockets: list[Socket] = []

    @io.once("connection")
    def connection(socket: Socket) -> None:
        socket.join("room1")
        sockets.append(socket)

    process = serve(io)
    lost = visit(process, io, transport)
    io.emit("hello1", b"\x01")
    io.to("room1").emit("hello2")
    sockets[0].emit("hello3")  # by whoever has kept the socket, though its connection is lost
    io.to("room2").emit("for others")
    io.except_("room1").emit("for others")
    io.except_("room2").emit("hello4")
    io.volatile.emit("volatile")
    io.timeout(0.1).emit("with an acknowledgement", callback=lambda error, responses: None)
    for packet in (Packet(EVENT, "/", ["with an id"], 0), Packet(ACK, "/", ["no event"], 0)):
        io.sockets.adapter.broadcast(packet, EVERYBODY)
    _, missed, answer = come_back(process, lost, transport)
    assert missed == [["hello1", b"\x01"], ["hello2"], ["hello3"], ["hello4"]]
    assert answer == {"sid": lost.sid, "pid": lost.pid}


def test_the_packets_that_are_missed_come_in_one_answer_to_a_poll(serve: Serve) -> None:
    io = Server(connection_state_recovery=True)
    process = serve(io)
    lost = visit(process, io, "polling")
    for event in ("hello1", "hello2"):
        io.emit(event)
    polling = process.polling()
    polling.send("40" + json.dumps(lost.auth))
    eventually(lambda: lost.sid in io.sockets.sockets, "the return")
    packets = polling.get().body.decode().split("\x1e")
    assert len(packets) == 3 and packets[0].startswith('42["hello1","') and packets[1].startswith('42["hello2","')
    assert packets[2] == f'40{{"sid":"{lost.sid}","pid":"{lost.pid}"}}'


@TRANSPORTS
def test_rooms_and_data_are_given_back(serve: Serve, transport: str) -> None:
    io = Server(connection_state_recovery={})
    sockets: list[Socket] = []
    io.on("connection", sockets.append)

    @io.once("connection")
    def first(socket: Socket) -> None:
        socket.join(["room1", "room2"])
        socket.data["foo"] = "bar"

    process = serve(io)
    lost = visit(process, io, transport)
    client, missed, _ = come_back(process, lost, transport)
    assert missed == []
    before, after = eventually(lambda: len(sockets) == 2 and sockets, "the second connection")
    assert (before.recovered, after.recovered) == (False, True)
    assert after.id == lost.sid and after.data == {"foo": "bar"}
    assert after.rooms == {lost.sid, "room1", "room2"}
    io.to("room2").emit("again")
    assert client.receive().data[0] == "again"


@TRANSPORTS
@pytest.mark.parametrize("skip", [None, True, False])
def test_middlewares_run_again_only_if_that_is_wanted(serve: Serve, transport: str, skip: bool | None) -> None:
    io = Server(connection_state_recovery={} if skip is None else {"skip_middlewares": skip})
    process = serve(io)
    lost = visit(process, io, transport)
    called: list[bool] = []
    io.use(lambda socket: called.append(socket.recovered))
    come_back(process, lost, transport)
    assert io.sockets.sockets[lost.sid].recovered
    assert called == ([True] if skip is False else [])


@TRANSPORTS
@pytest.mark.parametrize(
    "change", [{"pid": "foo", "offset": "bar"}, {"pid": "foo"}, {"offset": "bar"}, {"pid": 5, "offset": 5}], ids=repr
)
def test_an_unknown_session_or_offset_begins_anew(serve: Serve, transport: str, change: dict[str, Any]) -> None:
    io = Server(connection_state_recovery=True)
    process = serve(io)
    lost = visit(process, io, transport)
    client = process.client(transport)
    client.send(Packet(CONNECT, "/", {**lost.auth, **change}))
    answer = client.receive().data
    assert set(answer) == {"sid", "pid"}
    assert answer["sid"] != lost.sid and answer["pid"] not in (lost.pid, change.get("pid"))
    assert not io.sockets.sockets[answer["sid"]].recovered


class Watchful(MemoryAdapter):
    """Counts what it is asked to keep and to give back."""

    asked = 0

    def persist_session(self, session: Any) -> None:
        self.asked += 1

    def restore_session(self, pid: str, offset: str) -> Any:
        self.asked += 1


@TRANSPORTS
def test_without_the_option_there_is_no_private_id_and_the_adapter_is_never_asked(serve: Serve, transport: str) -> None:
    io = Server(adapter=Watchful)
    process = serve(io)
    for auth in (None, {"pid": "foo", "offset": "bar"}):
        client = process.client(transport)
        client.send(Packet(CONNECT, "/", auth))
        assert set(client.receive().data) == {"sid"}
        io.emit("hello")
        assert client.expect("hello") == []
        client.close()
        eventually(lambda: not io.sockets.sockets, "the end")
    adapter = io.sockets.adapter
    assert isinstance(adapter, Watchful) and adapter.asked == 0
