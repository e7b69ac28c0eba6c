"""What handlers raise, and who is told."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import Client, eventually
from wsgi_sio import Namespace, Server, Socket
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, Packet

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])
ERROR = ValueError("bad value")


def fail(*args: Any) -> None:
    raise ERROR


@pytest.fixture
def io() -> Server:
    io = Server()
    io.on("fail", fail)
    io.on("sync", lambda socket: None)
    return io


def joined(serve: Serve, io: Server, transport: str = "websocket") -> tuple[Client, Socket]:
    client = serve(io).client(transport)
    return client, io.sockets.sockets[client.connect()]


@TRANSPORTS
def test_the_handler_of_errors_gets_all_about_it_and_may_tell_the_client(
    serve: Serve, io: Server, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    @io.on_error
    def on_error(socket: Socket, error: Exception, event: str, args: list[Any]) -> tuple[str, str]:
        seen.append((socket, error, event, args))
        return "failed", str(error)

    client, socket = joined(serve, io, transport)
    assert client.call("fail", 1, b"\x00") == ["failed", "bad value"]
    assert seen == [(socket, ERROR, "fail", [1, b"\x00"])]
    assert "a handler of 'fail' failed" in caplog.text


def test_what_returns_none_acknowledges_nothing(serve: Serve, io: Server) -> None:
    io.on_error(lambda socket, error, event, args: None)
    client, _ = joined(serve, io)
    client.emit("fail", ack=1)
    assert client.call("sync") == []


def test_without_a_handler_of_errors_nothing_is_acknowledged(
    serve: Serve, io: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client, _ = joined(serve, io)
    client.emit("fail", ack=1)
    assert client.call("sync") == []
    assert "bad value" in caplog.text


def test_a_handler_of_errors_that_raises_is_logged(serve: Serve, io: Server, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*all: Any) -> None:
        raise TypeError("worse")

    io.on_error(broken)
    client, _ = joined(serve, io)
    with caplog.at_level(logging.ERROR, "wsgi_sio.socketio"):
        client.emit("fail", ack=1)
        assert client.call("sync") == []
    assert "bad value" in caplog.text and "worse" in caplog.text


def test_the_last_handler_of_errors_counts(serve: Serve, io: Server) -> None:
    io.on_error(lambda *all: "first")
    io.on_error(lambda *all: "last")
    client, _ = joined(serve, io)
    assert client.call("fail") == ["last"]


def test_listeners_of_a_socket_and_the_catch_all_fail_into_it_as_well(serve: Serve, io: Server) -> None:
    io.on_error(lambda socket, error, event, args: [event, *args])
    io.on("*", fail)
    client, socket = joined(serve, io)
    socket.on("own", fail)
    assert client.call("own", 1) == [["own", 1]]
    assert client.call("unknown", 1) == [["unknown", 1]]


def test_each_namespace_has_its_own(serve: Serve, io: Server) -> None:
    io.on_error(lambda *all: "main")
    other = io.of("/other")
    other.on("fail", fail)
    client, _ = joined(serve, io)
    client.connect("/other")
    client.emit("fail", nsp="/other", ack=1)
    assert client.call("fail") == ["main"]
    other.on_error(lambda *all: "other")
    client.emit("fail", nsp="/other", ack=1)
    assert client.receive().data == ["other"]


def test_handlers_of_a_clients_life_are_logged_only(serve: Serve, io: Server, caplog: pytest.LogCaptureFixture) -> None:
    """They have no event that could be acknowledged."""
    seen: list[Any] = []
    io.on_error(lambda *all: seen.append(all))
    io.on("connection", fail)
    client, _ = joined(serve, io)
    client.call("sync")
    assert seen == [] and "a handler of 'connection' failed" in caplog.text


def test_it_may_disconnect_the_client(serve: Serve, io: Server) -> None:
    io.on_error(lambda socket, *rest: socket.disconnect(True))
    client, _ = joined(serve, io)
    client.emit("fail")
    client.wait_closed()


def test_it_can_be_set_on_a_namespace_by_decorator(serve: Serve, io: Server) -> None:
    def tell(*all: Any) -> str:
        return "told"

    chat: Namespace = io.of("/chat")
    assert chat.on_error(tell) is tell and io.on_error(tell) is tell


def leave(*args: Any) -> None:
    sys.exit("on purpose")


def test_a_handler_that_calls_sys_exit_has_failed_and_ends_nothing_else(
    serve: Serve, io: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it handles; the handler of errors is told as well."""
    io.on("leave", leave)
    io.on("disconnect", leave)
    io.on_error(lambda socket, error, event, args: str(error))

    @io.on("connection")
    def connection(socket: Socket) -> None:
        socket.on("disconnect", leave)
        socket.on_any(leave)
        socket.on_any_outgoing(leave)

    @io.on("ask")
    def ask(socket: Socket) -> None:
        socket.emit("question", callback=leave)

    process = serve(io)
    ann, bob = process.client(), process.client()
    ann.connect()
    bob.connect()
    assert ann.call("leave") == ["on purpose"]
    ann.emit("ask")
    ann.answer(ann.receive())
    assert ann.call("sync") == []
    ann.close()
    eventually(lambda: len(io.sockets.sockets) == 1, "ann's end")
    assert bob.call("sync") == []
    eventually(lambda: caplog.text.count("a handler of 'disconnect' failed") == 2, "the log")
    for told in ("a handler of 'leave' failed", "a listener to everything failed", "a job in a mailbox failed"):
        assert told in caplog.text


@pytest.mark.parametrize("register", [Server.use, lambda io, handler: io.on("connect", handler)])
def test_a_gate_that_calls_sys_exit_refuses_its_client_only(serve: Serve, io: Server, register: Any) -> None:
    register(io, lambda socket: leave() if socket.handshake.auth else None)
    process = serve(io)
    ann, bob = process.client(), process.client()
    ann.send(Packet(CONNECT, "/", {"exit": True}))
    assert ann.receive().type == CONNECT_ERROR
    bob.connect()
    assert bob.call("sync") == []


def test_a_test_for_namespaces_that_calls_sys_exit_accepts_none(serve: Serve, io: Server) -> None:
    io.of(lambda name, auth: leave())  # type: ignore[arg-type,func-returns-value,return-value]
    client = serve(io).client()
    client.send(Packet(CONNECT, "/any"))
    assert client.receive().type == CONNECT_ERROR
