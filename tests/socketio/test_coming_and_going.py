"""Coming in and going at once, and handlers that end their thread: nobody stays behind, and everybody is told of."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.socketio.test_recovery_races import nobody_is_left, serve_sockets
from tests.socketio.test_v2_clients import ClientV2
from tests.support.inprocess import DEADLINE, Background, eventually
from tests.support.world import WORLD
from wsgi_sio import Server, Socket
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, Packet
from wsgi_sio.socketio.socket import CONNECTING


@pytest.fixture
def leave() -> Callable[..., None]:
    """A handler that raises what is no Exception, and yet no wish to end the process."""
    if WORLD == "gevent":
        from gevent import Timeout

        error: type[BaseException] = Timeout
    else:
        error = SystemExit

    def leave(socket: Socket) -> None:
        raise error()

    return leave


@pytest.mark.parametrize("recovery", [False, True])
def test_who_leaves_the_moment_it_is_let_in_is_told_of_as_one_that_was_in(serve: Serve, recovery: bool) -> None:
    ending = threading.Event()
    sockets: list[Socket] = []

    class Late(Socket):
        """Has just been let in whenever it ends."""

        __slots__ = ()

        def _end(self) -> Any:
            ending.set()
            eventually(lambda: self._state != CONNECTING, "the admission")
            return super()._end()

    io = serve_sockets(Late, connection_state_recovery=recovery)
    told: list[str] = []

    @io.on("connect")
    def connect(socket: Socket) -> None:
        sockets.append(socket)
        ending.wait(DEADLINE)

    io.on("connection", lambda socket: told.append("connection"))
    io.on("disconnect", lambda socket, reason: told.append(reason))
    client = serve(io).client()
    client.send(Packet(CONNECT))
    eventually(lambda: sockets, "its admission")
    Background(sockets[0].disconnect).result()
    eventually(lambda: nobody_is_left(io), "an empty namespace")
    assert told == ["connection", "server namespace disconnect"]
    if io.sockets.recovery is not None:
        assert not io.sockets.recovery._live


@pytest.mark.parametrize("recovery", [False, True])
@pytest.mark.parametrize("event", ["disconnecting", "disconnect"])
def test_a_last_handler_that_ends_its_thread_does_not_keep_its_client(
    serve: Serve, recovery: bool, event: str, leave: Callable[..., None]
) -> None:
    io = Server(connection_state_recovery=recovery)
    io.on(event, leave)
    client = serve(io).client()
    client.connect()
    client.close()
    eventually(lambda: nobody_is_left(io), "an empty namespace")


def test_a_handler_of_connect_that_ends_its_thread_refuses(serve: Serve, leave: Callable[..., None]) -> None:
    io = Server()
    io.on("connect", leave)
    client = serve(io).client()
    client.send(Packet(CONNECT))
    assert client.receive(timeout=2).type == CONNECT_ERROR
    eventually(lambda: nobody_is_left(io), "an empty namespace")


def test_a_v2_client_that_leaves_while_it_waits_to_be_let_in_leaves_nothing_behind(serve: Serve) -> None:
    io = Server(allow_eio3=True)
    chat = io.of("/chat")
    started, go = threading.Event(), threading.Event()

    @chat.on("slow")
    def slow(socket: Socket) -> None:
        started.set()
        go.wait(DEADLINE)

    client = ClientV2(serve(io)).joined()
    client.send("0/chat")
    client.expect("0/chat,")
    client.send('2/chat,["slow"]')
    assert started.wait(DEADLINE)
    io.on("echo", lambda socket: True)
    client.send("1/chat", "0/chat", "1/chat", '27["echo"]')
    client.expect("37[true]")
    eventually(lambda: chat.clients == 1, "the end of the second one")
    go.set()
    adapter: Any = chat.adapter
    eventually(lambda: not (chat.clients or chat.sockets or adapter._rooms or adapter._members), "an empty namespace")


def test_a_v2_client_keeps_no_socket_that_it_has_left(serve: Serve) -> None:
    io = Server(allow_eio3=True)
    made: list[weakref.ref[Socket]] = []
    chat = io.of("/chat")
    chat.on("connection", lambda socket: made.append(weakref.ref(socket)))
    client = ClientV2(serve(io)).joined()
    client.send("0/chat")
    client.expect("0/chat,")
    client.send("1/chat")
    eventually(lambda: not chat.clients, "the end")
    eventually(lambda: gc.collect() is not None and made[0]() is None, "a forgotten socket")
