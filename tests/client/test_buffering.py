"""What is emitted while there is no connection."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.client.wire import Clients, Peer, WireServer
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import Disconnected, LocalProtocolError
from wsgi_sio.client.send_buffer import BoundedBuffer
from wsgi_sio.socketio.packet import CONNECT, Packet


def test_events_emitted_before_connecting_go_out_in_order(clients: Clients, wire: WireServer) -> None:
    client = clients()
    for number in range(3):
        assert client.emit("count", number, bytes([number]))
    client.on("connect", lambda: client.emit("count", 3))
    peer = clients.connect(client)
    for number in range(3):
        peer.expect("count", number, bytes([number]))
    peer.expect("count", 3)


def test_events_emitted_while_disconnected_go_out_on_reconnection(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    peer.drop()
    eventually(lambda: not client.connected, "the loss")
    for number in range(100):
        client.emit("count", number)
    peer = wire.accept()
    peer.welcome()
    for number in range(100):
        peer.expect("count", number)


def test_volatile_events_are_dropped(clients: Clients, wire: WireServer) -> None:
    client = clients()
    assert client.volatile.emit("lost") is False
    with pytest.raises(Disconnected):
        client.volatile.emit_with_ack("lost", timeout=1)
    peer = clients.connect(client)
    assert client.volatile.emit("seen") is True
    peer.expect("seen")


def test_what_was_mutated_after_emit_goes_out_as_it_was(clients: Clients, wire: WireServer) -> None:
    client = clients()
    items = [1]
    client.emit("items", items)
    items.append(2)
    clients.connect(client).expect("items", [1])


def test_what_is_not_json_is_refused_at_once(clients: Clients) -> None:
    with pytest.raises(TypeError):
        clients().emit("bad", object())
    with pytest.raises(LocalProtocolError, match="reserved"):
        clients().emit("connect")


def test_a_bounded_buffer_raises(clients: Clients, wire: WireServer) -> None:
    client = clients(max_send_buffer=2)
    client.emit("count", 0)
    client.emit("count", 1)
    with pytest.raises(Disconnected, match="max_send_buffer=2"):
        client.emit("count", 2)
    peer = clients.connect(client)
    peer.expect("count", 0)
    peer.expect("count", 1)
    peer.expect_silence(0.05)
    client.emit("count", 3)
    peer.expect("count", 3)


@pytest.mark.parametrize(("policy", "kept", "dropped"), [("drop_oldest", [1, 2], 0), ("drop_newest", [0, 1], 2)])
def test_a_bounded_buffer_drops_and_tells(
    clients: Clients, wire: WireServer, policy: str, kept: list[int], dropped: int
) -> None:
    """Who waits for the acknowledgement of a dropped event is told."""
    client = clients(max_send_buffer=2, send_buffer_policy=policy, ack_timeout=30)
    told: list[Any] = []
    taken = [
        client.emit("count", number, callback=lambda error, number=number: told.append((number, type(error))))
        for number in range(3)
    ]
    assert taken == [True, True, policy == "drop_oldest"]
    eventually(lambda: told, "the callback")
    assert told == [(dropped, Disconnected)]
    peer = clients.connect(client)
    for number in kept:
        peer.expect("count", number)
    peer.expect_silence(0.05)


def test_a_packet_larger_than_the_server_takes_is_refused(clients: Clients, wire: WireServer) -> None:
    """At once if it can be known, else in the log and to its callback; what follows it goes out."""
    client = clients(ack_timeout=30)
    told: list[Any] = []
    client.emit("big", "x" * 2000, callback=lambda error: told.append(type(error)))
    client.emit("small")
    peer = clients.connect(client, maxPayload=1000)
    peer.expect("small")
    eventually(lambda: told == [LocalProtocolError], "the callback")
    with pytest.raises(LocalProtocolError, match="1000"):
        client.emit("big", "x" * 2000)
    with pytest.raises(LocalProtocolError, match="1000"):
        client.emit_with_ack("big", b"x" * 2000)
    client.emit("small")
    peer.expect("small")


def test_listeners_hear_of_an_event_when_it_goes_out(clients: Clients, wire: WireServer) -> None:
    client = clients()
    told: list[Any] = []
    client.on_any_outgoing(lambda *args: told.append(args))
    client.emit("buffered", 1)
    assert told == []
    clients.connect(client)
    eventually(lambda: told == [("buffered", 1)], "the listener")
    client.emit("direct", 2)
    assert told == [("buffered", 1), ("direct", 2)]


def test_threads_keep_their_order_over_reconnections(clients: Clients, wire: WireServer) -> None:
    """Each emits numbers while the connection flaps: some may be lost with it, but none overtakes another."""
    client = clients()
    client.connect(wait=False)
    over = threading.Event()

    def emit(name: str) -> None:
        number = 0
        while not over.wait(0.0005):
            client.emit(name, number)
            number += 1

    calls = [Background(emit, name) for name in "abc"]
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for _ in range(5):
        peer = wire.accept()
        peer.welcome()
        for _ in range(60):
            name, number = peer.receive().data
            seen[name].append(number)
        peer.drop()
    over.set()
    for call in calls:
        call.result()
    for numbers in seen.values():
        assert numbers == sorted(set(numbers)) and len(numbers) > 10


def test_the_buffer_keeps_what_is_pinned() -> None:
    buffer: BoundedBuffer[int] = BoundedBuffer(2, "drop_oldest")
    assert [buffer.add(number, pinned=1) for number in range(4)] == [None, None, 1, 2]
    assert list(buffer) == [0, 3]
    full: BoundedBuffer[int] = BoundedBuffer(1, "drop_oldest")
    assert [full.add(number, pinned=1) for number in range(2)] == [None, 1]
    full.put_back([7, 8])
    assert full.take_all() == [7, 8, 0] and len(full) == 0


def test_what_waited_for_the_connection_may_be_more_than_the_outbox_takes(clients: Clients, wire: WireServer) -> None:
    """It was in memory already; max_outbox is for what comes on top."""
    client = clients(max_outbox=1000)
    for number in range(100):
        client.emit("large", number, "x" * 90_000)
    client.connect(wait=False)
    peer = wire.accept()
    peer.welcome()
    assert [peer.receive().data[1] for _ in range(100)] == list(range(100))


class DeafPeer(Peer):
    def _read(self) -> None:
        """Leave everything in the socket."""


def test_a_client_whose_outbox_is_full_can_leave(clients: Clients, wire: WireServer) -> None:
    client = clients(max_outbox=100_000)
    client.connect(wait=False)
    peer = DeafPeer(*wire._next())
    peer.send(Packet(CONNECT, "/", {"sid": "sid"}))
    client.connect(timeout=DEADLINE)
    with pytest.raises(LocalProtocolError, match="max_outbox"):
        for _ in range(10_000):
            client.emit("x", "x" * 10_000)
    other = client.io.socket("/other")
    other.connect(wait=False)
    assert other.active
    client.disconnect()
    assert client.wait(0) and not client.connected
    other.disconnect()
    assert other.wait(0) and not client.io.connected
