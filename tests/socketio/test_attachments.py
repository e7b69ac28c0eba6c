"""How many bytes values a packet may hold: JavaScript's end closes the connection above ten, so nobody is sent more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from wsgi_sio import Server, Socket

ELEVEN = [b"x"] * 11


def by_socket(io: Server, socket: Socket) -> Any:
    socket.emit("many", ELEVEN)


def by_socket_with_ack(io: Server, socket: Socket) -> Any:
    socket.emit_with_ack("many", ELEVEN)


def to_everybody(io: Server, socket: Socket) -> Any:
    io.emit("many", {"deep": [{"er": ELEVEN}]})


def to_a_room(io: Server, socket: Socket) -> Any:
    io.to(socket.id).emit("many", *ELEVEN)


def with_acks(io: Server, socket: Socket) -> Any:
    io.timeout(1).emit_with_ack("many", ELEVEN)


@pytest.mark.parametrize("recovery", [False, True])
@pytest.mark.parametrize("emit", [by_socket, by_socket_with_ack, to_everybody, to_a_room, with_acks])
def test_the_sender_of_too_many_gets_an_error_and_nothing_is_sent(
    serve: Serve, emit: Callable[[Server, Socket], Any], recovery: bool
) -> None:
    io = Server(connection_state_recovery=recovery)
    client = serve(io).client()
    socket = io.sockets.sockets[client.connect()]
    with pytest.raises(ValueError, match="11 attachments .* max_attachments=10"):
        emit(io, socket)
    io.emit("after", ELEVEN[:10])
    assert client.expect("after")[0] == ELEVEN[:10]


def test_an_acknowledgement_of_too_many_is_named_in_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    io.on("ask", lambda socket: ELEVEN)
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    with caplog.at_level(logging.ERROR, "wsgi_sio"):
        client.emit("ask", ack=1)
        assert client.call("echo", "on", ack=2) == ["on"]
    assert "what the handler of 'ask' returned cannot be sent" in caplog.text
    assert "11 attachments" in caplog.text and "max_attachments=10" in caplog.text


def test_the_option_allows_more_both_ways(serve: Serve) -> None:
    io = Server(max_attachments=11)
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    client = process.client(max_attachments=11)
    client.connect()
    assert client.call("echo", ELEVEN) == [ELEVEN]
    io.emit("many", ELEVEN)
    assert client.expect("many") == [ELEVEN]
    with pytest.raises(ValueError, match="12 attachments .* max_attachments=11"):
        io.emit("many", [*ELEVEN, b"y"])


def test_a_client_that_sends_too_many_is_closed_and_the_log_has_the_option(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(Server()).client(max_attachments=11)
    client.connect()
    with caplog.at_level(logging.WARNING, "wsgi_sio"):
        client.emit("many", ELEVEN)
        client.wait_closed()
    assert "max_attachments=10" in caplog.text


def test_a_limit_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="max_attachments must be greater than 0, not 0"):
        Server(max_attachments=0)
