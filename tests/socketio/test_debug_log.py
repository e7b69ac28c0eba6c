"""At level DEBUG the log tells the life of each connection and of each event; otherwise nothing of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import InProcess, eventually
from wsgi_sio import ConnectRefused, Server, Socket
from wsgi_sio.socketio.packet import CONNECT, Packet

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.DEBUG, "wsgi_sio")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("wsgi_sio")]


def expect(lines: Lines, pattern: str) -> None:
    eventually(lambda: any(re.fullmatch(pattern, line) for line in lines()), f"{pattern} in {lines()}")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_client_comes_and_goes(serve: Serve, lines: Lines, transport: str) -> None:
    io = Server()
    process = serve(io)
    client = process.client(transport)
    sid = client.connect()
    secrets = list(process.engine.sessions)
    io.sockets.sockets[sid].disconnect(close=True)
    socket = f"<Socket {re.escape(sid)} of '/'>"
    expect(lines, f"a session with '?[0-9a-z.]+'? has begun over {transport}")
    expect(lines, f"{socket} has connected over {transport}")
    expect(lines, f"{socket} has disconnected: server namespace disconnect")
    expect(lines, f"a session over {transport} has ended: forced close")
    assert not [line for line in lines() if any(secret in line for secret in secrets)]


def test_an_event_is_told_with_its_name_size_and_time(serve: Serve, lines: Lines) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    assert client.call("echo", "xy") == ["xy"]
    expect(lines, r"event 'echo' of <Socket \S+ of '/'>, 15 bytes, ended in \d+\.\d\d ms")


def test_an_event_that_nothing_handles(serve: Serve, lines: Lines) -> None:
    client = serve(Server()).client()
    client.connect()
    client.emit("misspelt\n", 1)
    expect(lines, r"nothing handles the event 'misspelt\\n' of <Socket \S+ of '/'>")


def test_clients_that_are_refused(serve: Serve, lines: Lines) -> None:
    io = Server()

    @io.on("connect")
    def refuse(socket: Socket) -> Any:
        raise ConnectRefused("members only")

    client = serve(io).client()
    client.send(Packet(CONNECT, "/", None), Packet(CONNECT, "/nowhere", None))
    expect(lines, r"<Socket \S+ of '/'> is refused: 'members only'")
    expect(lines, "a client is refused: there is no namespace '/nowhere'")


def _upgrade(process: InProcess, *messages: str) -> None:
    websocket = process.websocket(process.polling().sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    websocket.send(*messages)


def test_upgrades(serve: Serve, lines: Lines) -> None:
    process = serve(Server())
    _upgrade(process, "5")
    expect(lines, "a session has gone from polling to WebSocket")
    _upgrade(process, "what?")
    expect(lines, "an upgrade to WebSocket is given up, so the session stays on polling")


def test_nothing_is_told_otherwise(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsgi_sio")
    io = Server()
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    sid = client.connect()
    assert client.call("echo", 1) == [1]
    io.sockets.sockets[sid].disconnect(close=True)
    eventually(lambda: not io.engine.sessions, "the end")
    assert caplog.records == []
