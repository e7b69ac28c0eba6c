"""What the network may do to a reader, by a server that is none."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.cluster.bus.conftest import Listener
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio.cluster.bus.redis_bus import RedisBus
from wsgi_sio.runtime import create_reactor

CONFIRMATION = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"


def message(payload: bytes) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%b\r\n" % (len(payload), payload)


class Pretender:
    """Takes one connection, that of who listens, and says what it is told to."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(DEADLINE)
        self.port = self._server.getsockname()[1]

    def accept(self) -> socket.socket:
        """The connection, once it has subscribed."""
        connection, _ = self._server.accept()
        connection.settimeout(DEADLINE)
        while b"SUBSCRIBE" not in (said := connection.recv(4096)):
            connection.sendall(b"+PONG\r\n" if b"PING" in said else b"+OK\r\n" * said.count(b"*"))
        connection.sendall(CONFIRMATION)
        return connection

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def pretender() -> Iterator[Pretender]:
    pretender = Pretender()
    yield pretender
    pretender.close()


@pytest.fixture(params=["redis", "valkey"])
def bus(request: pytest.FixtureRequest, pretender: Pretender) -> Iterator[RedisBus]:
    reactor = create_reactor()
    bus = RedisBus(reactor, f"{request.param}://127.0.0.1:{pretender.port}")
    yield bus
    bus.close()
    reactor.close()


def test_a_message_that_comes_in_pieces(bus: RedisBus, pretender: Pretender) -> None:
    """With longer pauses than the reader waits: nothing is lost, and nothing read twice."""
    listener, call = Listener(), Background(pretender.accept)
    subscription = bus.subscribe(["c"], [], listener)
    connection = call.result()
    assert subscription.wait_subscribed(DEADLINE)
    packed = message(b"first\r\n" * 10) + message(b"second")
    for start, end in ((0, 3), (3, 25), (25, 70), (70, len(packed))):
        connection.sendall(packed[start:end])
        time.sleep(1.2)  # seconds; the reader's own wait is one
    eventually(lambda: len(listener.heard) == 2, "both messages")
    assert listener.payloads == [b"first\r\n" * 10, b"second"] and not bus.outage.lasts
    connection.close()


def test_what_is_no_redis_is_left(bus: RedisBus, pretender: Pretender, caplog: pytest.LogCaptureFixture) -> None:
    listener, call = Listener(), Background(pretender.accept)
    bus.subscribe(["c"], [], listener)
    connection = call.result()
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    eventually(lambda: bus.outage.lasts, "that it is no Redis")
    again = pretender.accept()
    again.sendall(message(b"good"))
    eventually(lambda: listener.payloads == [b"good"], "a message on the next connection")
    assert len([record for record in caplog.records if "does not work" in record.message]) == 1
    connection.close()
    again.close()
