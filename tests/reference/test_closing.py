"""The end: of the server, of a connection by a handler, and that a process may end after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve, join
from tests.support.inprocess import Closed, eventually
from tests.support.world import WORLD
from wsgi_sio import Server, Socket
from wsgi_sio.socketio.packet import DISCONNECT

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from tests.support.inprocess import InProcess
from wsgi_sio import Server

io = Server()
process = InProcess(io)
websocket, polling = process.client(), process.client("polling")
for client in (websocket, polling):
    client.connect()
polling.wire.start_get()
io.emit("x")
io.close()
websocket.wait_closed()
print("closed")
"""


@TRANSPORTS
def test_closing_the_server_ends_all_sockets(serve: Serve, transport: str) -> None:
    io = Server()
    process = serve(io)
    clients = [join(process, io, transport=transport)[0] for _ in range(2)]
    assert len(io.sockets.sockets) == 2
    io.close()
    for client in clients:
        with pytest.raises(Closed):
            client.receive()
    eventually(lambda: not io.sockets.sockets, "the sockets' end")
    assert not [session for session in process.engine.sessions.values() if session.open]


def test_closing_a_server_that_never_served_does_no_harm() -> None:
    io = Server()
    io.close()
    io.close()
    Server().close()


def test_a_process_ends_after_its_server_has_been_closed() -> None:
    """No thread and no timer holds it back, though a client waits in a GET and heartbeats are due."""
    patch = "from gevent import monkey; monkey.patch_all()\n" if WORLD == "gevent" else ""
    done = subprocess.run(
        [sys.executable, "-c", patch + SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr


@TRANSPORTS
def test_a_connection_handler_may_throw_its_client_out_and_nothing_is_left(serve: Serve, transport: str) -> None:
    """Even what it does afterwards: rooms joined too late, events sent too late."""
    io = Server()
    results: list[Any] = []

    @io.on("connection")
    def connection(socket: Socket) -> None:
        socket.disconnect()
        socket.join("room1")
        results.append((socket.emit("late"), socket.connected))

    client = serve(io).client(transport)
    client.connect()
    assert client.receive().type == DISCONNECT
    adapter: Any = io.sockets.adapter
    eventually(lambda: not (io.sockets.sockets or adapter.sockets(frozenset())), "the end")
    assert results == [(False, False)] and adapter.room_size("room1") == 0
    client.expect_silence(0.03)


@TRANSPORTS
def test_one_handler_ends_all_the_namespaces_of_its_connection(serve: Serve, transport: str) -> None:
    io = Server()
    reasons: list[Any] = []
    for name in ("/", "/foo", "/bar"):
        io.of(name).on("disconnect", lambda socket, reason: reasons.append((socket.nsp.name, reason)))
    io.of("/bar").on("connection", lambda socket: socket.disconnect(close=True))
    client = serve(io).client(transport)
    for name in ("/", "/foo", "/bar"):
        client.connect(name)
    left = {client.receive().nsp for _ in range(3)}
    client.wait_closed()
    eventually(lambda: len(reasons) == 3, "the handlers")
    assert left == {"/", "/foo", "/bar"}
    assert sorted(reasons) == [(name, "server namespace disconnect") for name in ("/", "/bar", "/foo")]
