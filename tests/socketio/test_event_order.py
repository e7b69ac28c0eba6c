"""In which order the handlers of events run, what waits for what, and what runs beside each other."""

from __future__ import annotations

import sys
import threading

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Background, event_packet, eventually
from wsgi_sio import Server, Socket

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


@TRANSPORTS
def test_a_clients_events_run_in_order_one_at_a_time(serve: Serve, transport: str) -> None:
    """Two hundred events in one write; a handler that pauses does not let the next one in."""
    io = Server()
    seen: list[int] = []
    inside = 0
    most = 0

    @io.on("n")
    def handler(socket: Socket, number: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if number % 20 == 0:
            io.sleep(0.001)
        seen.append(number)
        inside -= 1

    client = serve(io).client(transport)
    client.connect()
    client.send(*[event_packet("n", number) for number in range(200)])
    eventually(lambda: len(seen) == 200, "all events")
    assert seen == list(range(200))
    assert most == 1


def test_a_blocked_handler_delays_only_its_own_client(serve: Serve) -> None:
    io = Server()
    go = threading.Event()
    io.on("block", lambda socket: go.wait(DEADLINE))
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    blocked = [process.client() for _ in range(5)]
    for client in blocked:
        client.connect()
        client.emit("block", ack=1)
    other = process.client()
    other.connect()
    assert other.call("echo", "x", timeout=1) == ["x"]
    blocked[0].emit("echo", "y", ack=2)
    blocked[0].expect_silence(0.05)
    go.set()
    assert [packet.id for packet in (blocked[0].receive(), blocked[0].receive())] == [1, 2]


def test_concurrent_handlers_run_beside_each_other_even_from_one_write(serve: Serve) -> None:
    """The first of two events that arrive in one chunk waits for something that the second one does."""
    io = Server()
    second_ran = threading.Event()

    @io.on("first", concurrent=True)
    def first(socket: Socket) -> bool:
        return second_ran.wait(2)

    @io.on("second", concurrent=True)
    def second(socket: Socket) -> None:
        second_ran.set()

    client = serve(io).client()
    client.connect()
    client.send(event_packet("first", ack=1), event_packet("second"))
    assert client.receive().data == [True]


def test_with_async_handlers_all_handlers_are_concurrent(serve: Serve) -> None:
    io = Server(async_handlers=True)
    go = threading.Event()
    io.on("wait", lambda socket: go.wait(2))
    io.on("go", lambda socket: bool(go.set()))
    client = serve(io).client()
    client.connect()
    client.emit("wait", ack=1)
    client.emit("go")
    assert client.receive().data == [True]


def test_the_namespaces_of_one_client_do_not_wait_for_each_other(serve: Serve) -> None:
    """Two namespaces, two mailboxes: an event for the second gets through although it came in the same chunk."""
    io = Server()
    go = threading.Event()
    io.on("wait", lambda socket: go.wait(2))
    io.of("/b").on("go", lambda socket: bool(go.set()))
    client = serve(io).client()
    client.connect()
    client.connect("/b")
    client.send(event_packet("wait", ack=1), event_packet("go", nsp="/b"))
    assert client.receive().data == [True]


def test_once_runs_once_under_concurrency(serve: Serve) -> None:
    io = Server(async_handlers=True)
    ran: list[int] = []
    io.once("x", lambda socket, number: ran.append(number))
    io.on("sync", lambda socket: True)
    process = serve(io)
    clients = [process.client() for _ in range(8)]
    for client in clients:
        client.connect()
    calls = [
        Background(lambda c: c.send(*[event_packet("x", n) for n in range(20)], event_packet("sync", ack=1)), client)
        for client in clients
    ]
    for call in calls:
        call.result()
    for client in clients:
        client.receive()
    assert len(ran) == 1


def test_events_behind_the_connect_packet_wait_for_a_slow_gate(serve: Serve) -> None:
    """A client that does not wait for the CONNECT answer loses nothing."""
    io = Server()
    go = threading.Event()
    io.on("connect", lambda socket, auth: go.wait(DEADLINE) and None)
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.wire.send("40", '421["echo","early"]')
    client.expect_silence(0.05)
    go.set()
    assert client.receive().data.keys() == {"sid"}
    assert client.receive().data == ["early"]


def test_the_interpreter_may_switch_threads_at_any_instruction(serve: Serve) -> None:
    """Ten clients, a thousand events each way under the least switch interval: every echo comes, in order."""
    io = Server()
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def talk(number: int) -> list[int]:
            client = process.client()
            client.connect()
            got = []
            for first in range(0, 100, 10):
                client.send(*[event_packet("echo", n, ack=n) for n in range(first, first + 10)])
                for _ in range(10):
                    packet = client.receive()
                    assert packet.data == [packet.id]
                    got.append(packet.id)
            return got

        calls = [Background(talk, number) for number in range(10)]
        for call in calls:
            assert call.result(20) == list(range(100))
    finally:
        sys.setswitchinterval(before)
