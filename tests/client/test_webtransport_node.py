"""The client's WebTransport against Node's server, its stream carried by TCP: all above QUIC is the real thing."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import start_node
from tests.support.servers import free_port
from tests.support.stream_connection import Stream
from tests.support.waiting import eventually
from wsgi_sio import Client

pytestmark = pytest.mark.usefixtures("node_modules")

ALL = ["polling", "websocket", "webtransport"]


@pytest.fixture(scope="module")
def reference(node_modules: object) -> Iterator[tuple[str, int]]:
    """The server's URL, and where its WebTransport is."""
    port = free_port()
    env = {
        "WEBTRANSPORT_TCP_PORT": str(port),
        "NODE_OPTIONS": "--require ./fake_webtransport_server.js",
        "SIO_OPTIONS": json.dumps({"transports": ALL}),
    }
    with start_node("reference_server.js", env=env) as script:
        yield script.next_line()["url"], port


@pytest.fixture
def url(reference: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a server that is dialled by TCP."""
    url, port = reference

    def dial(reactor: Any, family: int, where: Any, configuration: Any, make_user: Any) -> Stream:
        return Stream(reactor, socket.create_connection(("127.0.0.1", port)), make_user, is_client=True)

    monkeypatch.setattr("wsgi_sio.client.engineio.webtransport.Dialler", dial)
    return url


def test_directly(url: str) -> None:
    with Client(url, transports=["webtransport"], verify=False) as client:
        assert client.io.transport_name == "webtransport"
        for value in ("text €", b"\x01" * 200_000, {"nested": [b"\x02", 1]}, "x" * 100_000, b""):
            assert client.emit_with_ack("echo", value) == value
        got: list[Any] = []
        client.on("echoed", got.append)
        for number in range(200):
            client.emit("echo event", number)
        eventually(lambda: len(got) == 200, "the echoes")
        assert got == list(range(200))


def test_it_stays_alive(url: str) -> None:
    """The server pings each second."""
    with Client(url, transports=["webtransport"], verify=False) as client:
        time.sleep(2.5)
        assert client.connected and client.emit_with_ack("echo", 1) == 1


def test_an_upgrade_under_traffic(url: str) -> None:
    got: list[Any] = []
    with Client(url, transports=["polling", "webtransport"], verify=False) as client:
        client.on("number", got.append)
        client.emit("tick", 100, 0.003)
        number = 0
        while client.io.transport_name == "polling" or number < 100:
            client.emit("count", number)
            number += 1
            time.sleep(0.002)
        assert client.io.transport_name == "webtransport"
        assert client.emit_with_ack("counted") == list(range(number))
        eventually(lambda: len(got) == 100, "the numbers")
        assert got == list(range(100))


def test_the_server_ends_it(url: str) -> None:
    client = Client(url, transports=["webtransport"], verify=False, reconnection=False)
    ends: list[str] = []
    client.on("disconnect", ends.append)
    client.connect()
    client.emit("drop connection")
    eventually(lambda: ends == ["transport close"], "the end")


def test_the_client_ends_it(url: str) -> None:
    with Client(url, transports=["websocket"]) as watching:
        left: list[Any] = []
        watching.on("left", lambda *args: left.append(args[:2]))
        watching.emit_with_ack("join", "watching who leaves")
        with Client(url, transports=["webtransport"], verify=False, auth={"name": "who leaves"}):
            pass
        # Node may see the end of the session before what was sent last.
        eventually(lambda: left, "the word")
        assert left[0][0] == "who leaves" and left[0][1] in ("client namespace disconnect", "transport close")
