"""How a client is admitted to a namespace, or refused; and what happens when it leaves meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Background, Closed, eventually
from wsgi_sio import ConnectRefused, Server, Socket
from wsgi_sio.socketio.packet import CONNECT_ERROR, DISCONNECT, Packet

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


def nothing_left(io: Server, nsp: str = "/") -> bool:
    """Whether no socket, room or member of the namespace is remembered."""
    namespace = io.of(nsp)
    adapter: Any = namespace.adapter
    return not (namespace.sockets or adapter._rooms or adapter._members)


@TRANSPORTS
def test_middlewares_then_gate_then_connection_in_order(serve: Serve, transport: str) -> None:
    io = Server()
    seen: list[Any] = []
    io.use(lambda socket: seen.append(("first", socket.connected)))
    io.use(lambda socket: seen.append(("second", socket.connected)))
    io.on("connect", lambda socket, auth: seen.append(("connect", auth, socket.connected)))
    io.on("connect", lambda socket: seen.append(("connect", socket.connected)))

    @io.on("connection")
    def connection(socket: Socket) -> None:
        seen.append(("connection", socket.connected, socket.rooms == {socket.id}))
        socket.emit("welcome")

    client = serve(io).client(transport)
    client.connect(auth={"k": 1})
    client.expect("welcome")
    assert seen == [
        ("first", False), ("second", False), ("connect", {"k": 1}, False), ("connect", False),
        ("connection", True, True),
    ]  # fmt: skip


class Unprintable(Exception):
    """There are such in the wild: their text refers to what is gone."""

    def __str__(self) -> str:
        raise LookupError("no text")


@TRANSPORTS
@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ConnectRefused("no", {"code": 7}), {"message": "no", "data": {"code": 7}}),
        (ConnectRefused(), {"message": "Connection refused"}),
        (ConnectRefused("no", data=0), {"message": "no", "data": 0}),
        (ValueError("bad token"), {"message": "Internal error"}),
        (Unprintable(), {"message": "Internal error"}),
    ],
)
@pytest.mark.parametrize("where", ["middleware", "gate"])
def test_a_refusal_reaches_the_client_and_leaves_nothing(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    transport: str,
    error: Exception,
    answer: dict[str, Any],
    where: str,
) -> None:
    io = Server()
    late: list[str] = []

    def refuse(socket: Socket) -> None:
        socket.join("room")
        raise error

    if where == "middleware":
        io.use(refuse)
    else:
        io.on("connect", refuse)
    for event in ("connection", "disconnecting", "disconnect"):
        io.on(event, lambda socket, event=event: late.append(event))
    io.of("/other").on("echo", lambda socket, value: value)
    client = serve(io).client(transport)
    client.send(Packet(0, "/", None))
    packet = client.receive()
    assert (packet.type, packet.nsp, packet.data) == (CONNECT_ERROR, "/", answer)
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert logged == ([] if isinstance(error, ConnectRefused) else [error]), "what the client is not told, the log is"
    assert nothing_left(io)
    client.connect("/other")  # the connection lives on
    client.close()
    eventually(lambda: nothing_left(io, "/other"), "the end")
    assert late == []


def test_a_gate_that_returns_false_refuses(serve: Serve) -> None:
    io = Server()
    io.on("connect", lambda socket: False)
    client = serve(io).client()
    client.wire.send("40")
    assert client.receive().data == {"message": "Connection refused"}


def test_a_refused_client_may_try_again(serve: Serve) -> None:
    io = Server()

    @io.on("connect")
    def gate(socket: Socket, auth: dict[str, Any]) -> bool:
        return auth.get("token") == "right"

    client = serve(io).client()
    client.send(Packet(0, "/", {"token": "wrong"}))
    assert client.receive().type == CONNECT_ERROR
    client.connect(auth={"token": "right"})


def test_a_namespace_that_nobody_made_is_invalid(serve: Serve) -> None:
    io = Server()
    client = serve(io).client()
    client.wire.send("40/nobody,")
    packet = client.receive()
    assert (packet.type, packet.nsp, packet.data) == (CONNECT_ERROR, "/nobody", {"message": "Invalid namespace"})
    client.connect()


def test_rooms_joined_by_a_middleware_count_from_admission_on(serve: Serve) -> None:
    io = Server()
    release = threading.Event()

    @io.use
    def middleware(socket: Socket) -> None:
        socket.join(["a", "b"])
        io.to("a").emit("too early")
        release.wait(DEADLINE)

    client = serve(io).client()
    client.wire.send("40")
    client.expect_silence(0.03)
    release.set()
    sid = client.receive().data["sid"]
    io.to("a").emit("now")
    client.expect("now")
    assert io.sockets.sockets[sid].rooms == {sid, "a", "b"}


@TRANSPORTS
def test_a_client_that_leaves_while_its_gate_runs_becomes_no_zombie(serve: Serve, transport: str) -> None:
    io = Server()
    running, release, over = threading.Event(), threading.Event(), threading.Event()
    seen: list[str] = []

    @io.on("connect")
    def gate(socket: Socket) -> None:
        socket.join("room")
        running.set()
        release.wait(DEADLINE)
        over.set()

    for event in ("connection", "disconnecting", "disconnect"):
        io.on(event, lambda socket, event=event: seen.append(event))
    process = serve(io)
    client = process.client(transport)
    client.send(Packet(0, "/", None))
    assert running.wait(DEADLINE)
    (session,) = process.engine.sessions.values()
    client.close()
    eventually(lambda: not session.open, "the session's end")
    release.set()
    assert over.wait(DEADLINE)
    eventually(lambda: nothing_left(io), "the socket to be forgotten")
    assert seen == []


def test_disconnect_inside_the_gate(serve: Serve) -> None:
    io = Server()
    seen: list[str] = []
    io.on("connect", lambda socket: socket.disconnect())
    for event in ("connection", "disconnecting", "disconnect"):
        io.on(event, lambda socket, event=event: seen.append(event))
    client = serve(io).client()
    client.wire.send("40")
    assert client.receive().type == DISCONNECT
    eventually(lambda: nothing_left(io), "the socket to be forgotten")
    client.expect_silence(0.03)
    assert seen == []


def test_disconnect_with_close_inside_the_gate(serve: Serve) -> None:
    io = Server()
    io.on("connect", lambda socket: socket.disconnect(close=True))
    process = serve(io)
    client = process.client()
    client.wire.send("40")
    client.wait_closed()
    eventually(lambda: nothing_left(io) and not process.engine.sessions, "the socket to be forgotten")


def test_a_second_connect_while_the_first_is_pending_breaks_the_protocol(serve: Serve) -> None:
    """The reference makes two sockets of it; here there is never more than one."""
    io = Server()
    release = threading.Event()
    count: list[str] = []

    @io.use
    def slow(socket: Socket) -> None:
        count.append(socket.id)
        release.wait(DEADLINE)

    client = serve(io).client()
    client.wire.send("40", "40")
    client.wait_closed()
    release.set()
    eventually(lambda: nothing_left(io), "the sockets to be forgotten")
    assert len(count) <= 1


def test_the_first_packet_a_client_sees_is_the_answer_to_its_connect(serve: Serve) -> None:
    """Threads broadcast all the time; no event overtakes the CONNECT."""
    io = Server()
    stop = threading.Event()

    def broadcast() -> None:
        while not stop.is_set():
            io.emit("news")
            io.sleep(0)

    broadcasting = [Background(broadcast) for _ in range(2)]
    process = serve(io)
    try:
        for _ in range(60):
            client = process.client()
            client.connect()  # asserts that the first packet is the CONNECT
            client.close()
    finally:
        stop.set()
    for call in broadcasting:
        call.result()


def test_a_session_that_closes_while_its_connect_is_being_read_leaves_nothing(serve: Serve) -> None:
    """The session ends (in another thread) between the CONNECT's arrival and the socket's making."""

    class Codec:
        """JSON whose loads ends the session that is being read."""

        def dumps(self, value: Any) -> str:
            import json

            return json.dumps(value)

        def loads(self, text: str) -> Any:
            import json

            if "last words" in text:
                Background(end).result()
            return json.loads(text)

    def end() -> None:
        for session in list(process.engine.sessions.values()):
            session.close("transport close", abort=True)

    io = Server(json=Codec())
    ran: list[str] = []
    io.use(lambda socket: ran.append(socket.id))
    process = serve(io)
    client = process.client()
    client.send(Packet(0, "/", {"last words": True}))
    client.wait_closed()
    eventually(lambda: nothing_left(io), "the socket to be forgotten", timeout=1)


@TRANSPORTS
def test_a_client_that_joins_no_namespace_is_closed_after_connect_timeout(serve: Serve, transport: str) -> None:
    io = Server(connect_timeout=0.1)
    io.of("/b")
    process = serve(io)
    idle, refused, joined = (process.client(transport) for _ in range(3))
    refused.send(Packet(0, "/nobody", None))
    joined.connect("/b")
    idle.wait_closed()
    refused.wait_closed()
    joined.expect_silence(0.15)
    joined.send(Packet(DISCONNECT, "/b"))
    joined.expect_silence(0.15)  # who has joined once may stay without a namespace
    joined.connect("/b")


def test_leaving_while_connecting_a_hundred_times(serve: Serve) -> None:
    """Clients that reset at random moments of their connecting leave nothing behind."""
    io = Server()
    io.use(lambda socket: io.sleep(0.001))
    io.on("connection", lambda socket: socket.join("room"))
    balance: list[int] = []
    io.on("connection", lambda socket: balance.append(1))
    io.on("disconnect", lambda socket: balance.append(-1))
    process = serve(io)
    for number in range(100):
        client = process.client(tcp=True)
        client.wire.send("40", '421["x"]')
        if number % 3 == 0:
            client.receive()
        client.wire.reset()
    eventually(lambda: nothing_left(io) and not process.engine.sessions, "everything to be forgotten")
    eventually(lambda: sum(balance) == 0, "a disconnect for each connection")


def test_packets_after_the_end_are_ignored(serve: Serve) -> None:
    io = Server()
    seen: list[Any] = []
    io.on("x", lambda socket: seen.append("x"))
    io.on("disconnect", lambda socket, reason: seen.append(reason))
    client = serve(io).client()
    client.connect()
    client.wire.send("41", '42["x"]')
    with pytest.raises(Closed):
        client.receive()
    eventually(lambda: seen, "disconnect")
    assert seen == ["client namespace disconnect"]
