"""What the network may do to a reader, by a server that is none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.bus.conftest import Listener
from tests.support.inprocess import DEADLINE, Background, eventually
from tests.support.redis import told_of
from tests.support.world import WORLD, one_world
from wsgi_sio.cluster.bus import redis_reader
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

    def accept(self, *, confirms: bool = True) -> socket.socket:
        """The connection, once it has subscribed."""
        connection, _ = self._server.accept()
        connection.settimeout(DEADLINE)
        while b"SUBSCRIBE" not in (said := connection.recv(4096)):
            connection.sendall(b"+PONG\r\n" if b"PING" in said else b"+OK\r\n" * said.count(b"*"))
        if confirms:
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


@one_world  # gevent's reader is held up as well
def test_a_server_is_not_blamed_for_what_a_listener_takes(
    bus: RedisBus, pretender: Pretender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_reader, "_LOOK", 0.02)
    monkeypatch.setattr(redis_reader, "_ASK", 1000.0)
    monkeypatch.setattr(redis_reader, "_DEAD", 0.2)
    heard: list[bytes] = []

    def listen(channel: str, payload: bytes) -> None:
        time.sleep(0.5)
        heard.append(payload)

    call = Background(pretender.accept)
    bus.subscribe(["c"], [], listen)
    connection = call.result()
    connection.sendall(message(b"long"))
    eventually(lambda: heard or bus.outage.lasts, "the message")
    assert heard == [b"long"] and not bus.outage.lasts
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
    assert sum("does not work" in line for line in told_of(bus.url.shown, caplog)) == 1
    connection.close()
    again.close()


def test_what_came_before_a_refusal_is_heard(bus: RedisBus, pretender: Pretender) -> None:
    listener, call = Listener(), Background(pretender.accept)
    bus.subscribe(["c"], [], listener)
    connection = call.result()
    connection.sendall(message(b"1") + message(b"2") + b"-ERR no more\r\n")
    eventually(lambda: bus.outage.lasts, "that it is told")
    assert listener.payloads == [b"1", b"2"]
    pretender.accept().close()
    connection.close()


def test_a_channel_that_was_given_up_is_heard_when_that_is_confirmed_again(bus: RedisBus, pretender: Pretender) -> None:
    """Between the two the server does not send what is published there."""
    first, call = bus.subscribe(["c"], [], Listener()), Background(lambda: pretender.accept(confirms=False))
    connection = call.result()
    first.close()
    second = bus.subscribe(["c"], [], Listener())
    connection.sendall(CONFIRMATION + message(b"1"))
    assert not second.wait_subscribed(0.3)
    connection.sendall(b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n" + CONFIRMATION)
    assert second.wait_subscribed(DEADLINE)
    connection.close()


def test_a_command_that_comes_too_late_makes_no_connection(
    bus: RedisBus, pretender: Pretender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody is about to write when the connection ends: nobody would read one that is made for that."""
    call = Background(pretender.accept)
    assert bus.subscribe(["c"], [], Listener()).wait_subscribed(DEADLINE)
    connection, late = call.result(), threading.Event()
    real, goes_on, outcomes = redis_reader.write_to, threading.Event(), []

    def write(connection: Any, command: bytes) -> None:
        if b"d" in command and not late.is_set():
            late.set()
            goes_on.wait(DEADLINE)
        try:
            real(connection, command)
        except OSError as error:
            outcomes.append(error)
            raise

    monkeypatch.setattr(redis_reader, "write_to", write)
    subscription = bus.subscribe(["d"], [], Listener())
    assert late.wait(DEADLINE)
    connection.close()
    eventually(lambda: bus.outage.lasts, "the end of the connection")
    again = Background(pretender.accept)
    eventually(lambda: bus._reader._connection is not None, "the next one")
    goes_on.set()
    connection = again.result()
    eventually(lambda: outcomes, "that it cannot be written")
    connection.sendall(CONFIRMATION.replace(b"\nc\r", b"\nd\r"))
    assert subscription.wait_subscribed(DEADLINE)
    pretender._server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        pretender._server.accept()
    connection.close()


@pytest.mark.skipif(WORLD == "gevent", reason="there who listens must not wait")
def test_a_listener_that_takes_its_time_keeps_nobody_else_from_being_read(bus: RedisBus, pretender: Pretender) -> None:
    reactor = bus._reader._reactor
    ours, theirs = socket.socketpair()
    read, listened = threading.Event(), []

    class Other:
        def fileno(self) -> int:
            return ours.fileno()

        def on_readable(self) -> None:
            ours.recv(1)
            read.set()

        def on_writable(self) -> None:
            """Nobody writes."""

    def listen(channel: str, payload: bytes) -> None:
        theirs.sendall(b"x")
        listened.append(read.wait(DEADLINE))

    watch, call = reactor.watch(Other()), Background(pretender.accept)
    assert bus.subscribe(["c"], [], listen).wait_subscribed(DEADLINE)
    connection = call.result()
    connection.sendall(message(b"1"))
    eventually(lambda: listened, "that the listener ends")
    assert listened == [True]
    watch.close(ours.close)
    theirs.close()
    connection.close()
