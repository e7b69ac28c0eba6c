"""Clients of Socket.IO v2, in raw packets: they join, are refused, leave and share broadcasts with today's clients."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Closed, InProcess, WebSocket, eventually
from wsgi_sio import ConnectRefused, Server, Socket


class ClientV2:
    """One such client over WebSocket; what it receives is text of Socket.IO packets, or bytes."""

    def __init__(self, process: InProcess, query: str = "") -> None:
        self.wire: WebSocket = process.websocket(extra={"QUERY_STRING": f"EIO=3&transport=websocket{query}"})
        self.wire.answer_pings = False
        self.sid: str = json.loads(str(self.wire.receive())[1:])["sid"]

    def send(self, *packets: str | bytes) -> None:
        self.wire.send(*[f"4{packet}" if isinstance(packet, str) else b"\x04" + packet for packet in packets])

    def receive(self, timeout: float = DEADLINE) -> str | bytes:
        message = self.wire.receive(timeout)
        assert message[:1] in ("4", b"\x04"), message
        return message[1:]

    def expect(self, *packets: str | bytes) -> None:
        assert [self.receive() for _ in packets] == list(packets)

    def joined(self) -> ClientV2:
        self.expect("0")
        return self


def server(**options: Any) -> Server:
    return Server(allow_eio3=True, **options)


def test_it_is_in_the_main_namespace_without_asking(serve: Serve) -> None:
    """With no payload in the answer, the engine's id as its own, no auth, and the query in the handshake."""
    io = server()
    gate: list[Any] = []
    io.on("connect", lambda socket, auth: gate.append((auth, socket.connected)))
    io.on("connection", lambda socket: socket.emit("hello", socket.id, socket.handshake.query["token"]))
    io.on("sum", lambda socket, a, b: a + b)
    client = ClientV2(serve(io), "&token=t")
    client.expect("0", f'2["hello","{client.sid}","t"]')
    client.send('27["sum",1,2]')
    client.expect("37[3]")
    assert gate == [({}, False)]
    assert list(io.sockets.sockets) == [client.sid]


def test_over_polling_the_answer_comes_with_the_handshake_or_next(serve: Serve) -> None:
    process = serve(server())
    query = {"EIO": "3", "transport": "polling"}
    opened = process.request("GET", **query).body.decode()
    if not opened.endswith("2:40"):
        sid = json.loads(opened[opened.index("{") :])["sid"]
        assert process.request("GET", **query, sid=sid).body == b"2:40"


def test_other_namespaces_take_auth_from_the_query(serve: Serve) -> None:
    io = server()
    io.of("/chat").on("connection", lambda socket: socket.emit("you", socket.id, socket.handshake.auth))
    io.of("/chat").on("echo", lambda socket, *args: args)
    client = ClientV2(serve(io)).joined()
    client.send("0/chat?tok=1&name=J%C3%B6rg&tok=2,")
    client.expect("0/chat,", f'2/chat,["you","/chat#{client.sid}",{{"tok":"2","name":"Jörg"}}]')
    client.send('2/chat,0["echo",{"a":[1]}]')
    client.expect('3/chat,0[{"a":[1]}]')


def test_dynamic_namespaces_do_not_see_the_query_in_their_name(serve: Serve) -> None:
    io = server()
    asked: list[Any] = []
    io.of(lambda name, auth: not asked.append((name, auth)))  # type: ignore[func-returns-value]
    client = ClientV2(serve(io)).joined()
    client.send("0/room-7?tok=1")
    client.expect("0/room-7,")
    assert asked == [("/room-7", {"tok": "1"})]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ConnectRefused("no"), '"no"'),
        (ConnectRefused("no", {"a": 1}), '{"a":1}'),
        (ConnectRefused("no", []), "[]"),
        (ConnectRefused("no", 0), '"no"'),
        (ConnectRefused("no", ""), '"no"'),
        (ValueError("broken"), '"Internal error"'),
    ],
)
def test_a_refusal_is_the_bare_data_or_message(serve: Serve, error: Exception, answer: str) -> None:
    io = server()

    def refuse(socket: Socket) -> None:
        raise error

    io.use(refuse)
    io.of("/chat").use(refuse)
    client = ClientV2(serve(io))
    client.expect(f"4{answer}")
    client.send("0/chat,")
    client.expect(f"4/chat,{answer}")


def test_an_unknown_namespace(serve: Serve) -> None:
    client = ClientV2(serve(server())).joined()
    client.send("0/nowhere?a=1,")
    client.expect('4/nowhere,{"message":"Invalid namespace"}')


@pytest.mark.parametrize("packet", ["0", "0/", "0/?a=1", "2/chat,[1]", "4", "0/chat?" + "a&" * 200, "x"])
def test_a_violation_ends_the_connection(serve: Serve, packet: str) -> None:
    io = server()
    io.of("/chat")
    reasons: list[str] = []
    io.on("disconnect", lambda socket, reason: reasons.append(reason))
    client = ClientV2(serve(io)).joined()
    client.send(packet)
    client.wire.wait_closed()
    eventually(lambda: reasons, "the disconnection")
    assert reasons == ["forced close"]


def test_leaving_and_coming_back_keeps_the_id_and_the_order(serve: Serve) -> None:
    """The id is the same, so the new socket must not come in before the handlers of the old one have finished."""
    io = server()
    leave = threading.Event()
    events: list[str] = []

    @io.of("/chat").on("connection")
    def connection(socket: Socket) -> None:
        socket.join("room")
        events.append("connection")

    @io.of("/chat").on("disconnect")
    def disconnect(socket: Socket, reason: str) -> None:
        leave.wait(DEADLINE)
        events.append(reason)

    client = ClientV2(serve(io)).joined()
    for time in range(3):
        leave.clear()
        client.send("0/chat,")
        client.expect("0/chat,")
        client.send("1/chat,", "0/chat,")
        with pytest.raises(TimeoutError):
            client.receive(0.05)
        leave.set()
        client.expect("0/chat,")
        io.of("/chat").to(f"/chat#{client.sid}").emit("here")
        client.expect('2/chat,["here"]')
        client.send("1/chat,")
        eventually(lambda count=4 * (time + 1): len(events) == count, "the end of the socket")
    assert events == ["connection", "client namespace disconnect"] * 6
    adapter: Any = io.of("/chat").adapter
    assert adapter._rooms == {} == adapter._members


def test_being_refused_and_trying_again(serve: Serve) -> None:
    io = server()
    tries: list[str] = []

    @io.of("/chat").use
    def second_time(socket: Socket) -> None:
        tries.append(socket.id)
        if len(tries) == 1:
            raise ConnectRefused("not yet")

    client = ClientV2(serve(io)).joined()
    client.send("0/chat,")
    client.expect('4/chat,"not yet"')
    client.send("0/chat,")
    client.expect("0/chat,")
    assert tries == [f"/chat#{client.sid}"] * 2 and list(io.of("/chat").sockets) == tries[:1]


def test_the_server_disconnects_it(serve: Serve) -> None:
    io = server()
    io.on("bye", lambda socket: socket.disconnect())
    io.on("go", lambda socket: socket.disconnect(close=True))
    process = serve(io)
    client, other = ClientV2(process).joined(), ClientV2(process).joined()
    client.send('2["bye"]')
    client.expect("1")
    other.send('2["go"]')
    other.expect("1")
    with pytest.raises(Closed):
        other.receive()


def test_binary_both_ways(serve: Serve) -> None:
    io = server()
    io.on("echo", lambda socket, *args: args)
    client = ClientV2(serve(io)).joined()
    text = '{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}'
    client.send(f'52-1["echo",{text}]', b"\x01\x02", b"")
    client.expect(f"62-1[{text}]", b"\x01\x02", b"")


def test_broadcasts_reach_both_kinds_of_clients(serve: Serve) -> None:
    """In whichever order they are served, each gets text and bytes in its own protocol."""
    io = server()
    io.on("connection", lambda socket: socket.join("room"))
    process = serve(io)
    old = ClientV2(process).joined()
    new = process.client()
    new.connect()
    older = ClientV2(process, "&b64=1").joined()
    eventually(lambda: io.sockets.adapter.room_size("room") == 3, "everybody in the room")
    text = '51-["bytes",{"_placeholder":true,"num":0}]'
    for emit in (io.emit, io.to("room").emit, io.except_("nowhere").emit):
        emit("text", "é")
        emit("bytes", b"\x01")
        old.expect('2["text","é"]', text, b"\x01")
        assert [new.expect("text"), new.expect("bytes")] == [["é"], [b"\x01"]]
        assert [older.wire.receive() for _ in range(3)] == ['42["text","é"]', f"4{text}", "b4AQ=="]


def test_acks_of_a_mixed_crowd(serve: Serve) -> None:
    io = server()
    process = serve(io)
    old = ClientV2(process).joined()
    new = process.client()
    new.connect()
    answers: list[Any] = []
    io.timeout(DEADLINE).emit("ask", callback=lambda *args: answers.append(args))
    old.expect('20["ask"]')
    old.send('30["old"]')
    new.answer(new.receive(), "new")
    eventually(lambda: answers, "the answers")
    ((error, collected),) = answers
    assert error is None and sorted(collected) == ["new", "old"]


def test_recovery_is_not_for_it(serve: Serve) -> None:
    """No offset behind its events, and nothing is kept when it goes."""
    io = server(connection_state_recovery=True)
    io.on("connection", lambda socket: socket.emit("hello", 1))
    kept: list[Any] = []
    io.sockets.adapter.persist_session = kept.append  # type: ignore[method-assign]
    process = serve(io)
    client = ClientV2(process, "&pid=x&offset=y")
    client.expect("0", '2["hello",1]')
    client.wire.close()
    eventually(lambda: not io.sockets.sockets, "the end")
    assert kept == []


def test_the_connect_time_out_is_for_those_who_are_not_let_in(serve: Serve) -> None:
    io = server(connect_timeout=0.2)
    process = serve(io)
    inside = ClientV2(process).joined()
    io.use(lambda socket: (_ for _ in ()).throw(ConnectRefused()))
    outside = ClientV2(process)
    outside.expect('4"Connection refused"')
    outside.wire.wait_closed()
    inside.send("0/nowhere")
    inside.expect('4/nowhere,{"message":"Invalid namespace"}')
