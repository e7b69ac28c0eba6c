"""A client that has left leaves nothing that only the garbage collector could free: that may be made to look seldom."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.inprocess import DEADLINE, Client, Closed, InProcess, Polling, eventually
from tests.support.world import WORLD
from wsgi_sio import AckTimeout, Disconnected, Server, Socket
from wsgi_sio.engineio import Session
from wsgi_sio.socketio.connection import Connection

# How many sockets, connections and sessions a client has that is in two namespaces.
EACH = 4


def living(process: InProcess) -> int:
    """How many of these a server has; the compiled wheel's have no weak references."""
    engine = process.engine
    count = 0
    for each in gc.get_objects():
        if type(each) is Session:
            count += each._server is engine
        elif type(each) in (Socket, Connection):
            connection: Any = each.conn if type(each) is Socket else each
            count += connection.session._server is engine
    return count


@pytest.fixture
def process(caplog: pytest.LogCaptureFixture) -> Iterator[InProcess]:
    caplog.set_level(logging.CRITICAL, "wsgi_sio")  # pytest keeps records, and so the exceptions in them
    io = Server()
    io.of("/chat")

    @io.on("connection")
    def connection(socket: Socket) -> None:
        socket.join(["one", "another"])
        socket.on("own", lambda *args: args)
        socket.on("disconnect", lambda reason: socket.leave("one"))

    @io.on("ask")
    def ask(socket: Socket) -> None:
        socket.emit("question", callback=lambda *args: socket)
        socket.timeout(60).emit("question", callback=lambda *args: socket)
        io.timeout(0.01).emit("question", callback=lambda *args: None)  # it is kept until then

    @io.on("give up")
    def give_up(socket: Socket) -> None:
        with pytest.raises(AckTimeout):
            socket.emit_with_ack("question", timeout=0.01)

    @io.on("fail")
    def fail(socket: Socket) -> None:
        try:
            raise ValueError("within")
        except ValueError as error:
            raise LookupError("without") from error

    @io.on("wait")
    def wait(socket: Socket) -> None:
        with pytest.raises(Disconnected):
            socket.emit_with_ack("question")

    process = InProcess(io)
    gc.collect()
    gc.disable()
    yield process
    gc.enable()
    process.close()
    if WORLD == "threads":
        assert process.engine.reactor.join(DEADLINE)


def open_websocket(process: InProcess) -> Client:
    return process.client()


def open_polling(process: InProcess) -> Client:
    return process.client("polling")


def open_upgraded(process: InProcess) -> Client:
    polling = process.polling()
    get = polling.start_get()
    websocket = process.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    assert get.result(5).body == b"6"
    websocket.send("5")
    return Client(websocket)


def talk(client: Client) -> None:
    client.connect("/chat")
    client.connect()
    assert client.call("own", 1) == [1]
    client.emit("ask")
    client.emit("give up")
    client.emit("fail")
    client.emit("wait")
    for _ in range(5):
        client.expect("question")


def say_goodbye(client: Client) -> None:
    client.wire.close()


def send_nonsense(client: Client) -> None:
    client.wire.send("4nonsense")
    end_of(client)


def leave_namespaces_first(client: Client) -> None:
    client.wire.send("41/chat,", "41")
    client.wire.close()


def end_of(client: Client) -> None:
    """Take what comes until the server ends it."""
    with pytest.raises(Closed):
        while True:
            client.wire.receive()


@pytest.mark.parametrize("open_client", [open_websocket, open_polling, open_upgraded])
@pytest.mark.parametrize("leave", [say_goodbye, send_nonsense, leave_namespaces_first])
def test_who_has_left_is_freed_at_once(
    process: InProcess, open_client: Callable[[InProcess], Client], leave: Callable[[Client], None]
) -> None:
    client = open_client(process)
    talk(client)
    assert living(process) == EACH
    leave(client)
    if isinstance(client.wire, Polling):
        process.engine.abort(client.wire.sid, "transport close")
    other = process.client()  # a worker may keep its last job until the next one
    other.connect("/chat")
    other.connect()

    def forgotten() -> bool:
        other.call("own", 1)
        return living(process) <= EACH

    eventually(forgotten, "the end of all of it")


def test_the_collector_finds_nothing_of_ours(process: InProcess) -> None:
    gc.freeze()  # the servers of former tests, which go as a whole, are none of a client's
    for open_client in (open_websocket, open_polling, open_upgraded):
        client = open_client(process)
        talk(client)
        client.wire.close()
    eventually(lambda: not process.engine.sessions, "their end")
    eventually(lambda: living(process) <= EACH, "most of them", 5)
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found = [type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("wsgi_sio")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert found == []
