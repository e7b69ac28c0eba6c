"""The option ``retries``: at least once, in order, one in flight."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.client.wire import Clients, WireServer
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import AckTimeout, Disconnected, LocalProtocolError


def test_one_is_in_flight(clients: Clients) -> None:
    client, peer = clients.connected(retries=3)
    for number in range(3):
        assert client.emit("count", number)
    for number in range(3):
        ack_id = peer.expect("count", number)
        peer.expect_silence(0.03)
        peer.acknowledge(ack_id)


def test_volatile_events_pass_by(clients: Clients) -> None:
    client, peer = clients.connected(retries=3)
    client.emit("queued", 0)
    client.emit("queued", 1)
    client.volatile.emit("now")
    peer.expect("queued", 0)
    assert peer.expect("now") is None


def test_an_unanswered_event_is_sent_again_and_then_given_up(clients: Clients) -> None:
    client, peer = clients.connected(retries=2, ack_timeout=0.03)
    told: list[Any] = []
    client.emit("first", callback=lambda *args: told.append(args))
    client.emit("second", callback=lambda *args: told.append(args))
    for _ in range(3):
        peer.expect("first")
    ack_id = peer.expect("second")
    peer.acknowledge(ack_id, "fine")
    eventually(lambda: len(told) == 2, "the callbacks")
    assert isinstance(told[0][0], AckTimeout)
    assert told[1] == (None, "fine")
    peer.expect_silence(0.05)


def test_the_answer_to_an_earlier_attempt_counts(clients: Clients) -> None:
    client, peer = clients.connected(retries=5, ack_timeout=0.05)
    call = Background(lambda: client.emit_with_ack("slow"))
    first = peer.expect("slow")
    peer.expect("slow")
    peer.acknowledge(first, "late")
    assert call.result() == "late"
    client.emit("next")
    while (packet := peer.receive()).data == ["slow"]:
        pass
    assert packet.data == ["next"]


def test_it_is_sent_again_on_the_next_connection(clients: Clients, wire: WireServer) -> None:
    """Without a time-out, a lost connection does not count as an attempt."""
    client, peer = clients.connected(retries=1)
    told: list[Any] = []
    client.emit("a", callback=lambda *args: told.append(args))
    client.emit("b", callback=lambda *args: told.append(args))
    for _ in range(4):
        peer.expect("a")
        peer.drop()
        peer = wire.accept()
        peer.welcome()
    peer.acknowledge(peer.expect("a"), 1)
    peer.acknowledge(peer.expect("b"), 2)
    eventually(lambda: told == [(None, 1), (None, 2)], "the callbacks")
    peer.expect_silence(0.05)


def test_with_a_time_out_a_lost_connection_counts(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected(retries=1, ack_timeout=30)
    told: list[Any] = []
    client.emit("a", callback=lambda error: told.append(type(error)))
    for _ in range(2):
        peer.expect("a")
        peer.drop()
        peer = wire.accept()
        peer.welcome()
    eventually(lambda: told == [Disconnected], "giving up")
    client.emit("b")
    peer.expect("b")


def test_events_wait_for_the_first_connection(clients: Clients) -> None:
    client = clients(retries=1)
    client.emit("a")
    client.emit("b")
    peer = clients.connect(client)
    peer.acknowledge(peer.expect("a"))
    peer.acknowledge(peer.expect("b"))


def test_an_event_that_is_too_large_does_not_block_the_others(clients: Clients) -> None:
    client, peer = clients.connected({"maxPayload": 1000}, retries=3)
    told: list[Any] = []
    client.emit("big", "x" * 2000, callback=lambda error: told.append(type(error)))
    client.emit("small")
    peer.acknowledge(peer.expect("small"))
    eventually(lambda: told == [LocalProtocolError], "the callback")


def test_the_time_out_of_emit_with_ack_is_for_all_attempts(clients: Clients) -> None:
    """It is withdrawn then, wherever it is in the queue; what follows goes out."""
    client = clients(retries=1000, ack_timeout=0.03)
    with pytest.raises(AckTimeout):
        client.emit_with_ack("not connected", timeout=0.05)
    client.emit("first")
    peer = clients.connect(client)
    with pytest.raises(AckTimeout):
        client.emit_with_ack("second", timeout=0.05)
    call = Background(lambda: client.emit_with_ack("third", timeout=0.2))
    while (packet := peer.receive()).data == ["first"] and not call.done:
        peer.acknowledge(packet.id)
    assert packet.data == ["third"]
    with pytest.raises(AckTimeout):
        call.result()
    client.emit("fourth")
    while (packet := peer.receive()).data == ["third"]:
        pass
    assert packet.data == ["fourth"]


def test_the_queue_is_bounded_too(clients: Clients) -> None:
    client, peer = clients.connected(retries=3, max_send_buffer=2, send_buffer_policy="drop_oldest")
    told: list[Any] = []
    for number in range(3):
        client.emit("count", number, callback=lambda error, number=number: told.append((number, type(error))))
    ack_id = peer.expect("count", 0)  # in flight, hence not dropped
    eventually(lambda: told == [(1, Disconnected)], "the callback")
    peer.acknowledge(ack_id)
    peer.expect("count", 2)


def test_disconnect_releases_whoever_is_blocked_but_keeps_the_rest(clients: Clients) -> None:
    client, peer = clients.connected(retries=3)
    client.emit("a")
    call = Background(lambda: client.emit_with_ack("b"))
    peer.expect("a")
    eventually(lambda: len(client._sender._queue._entries) == 2, "both")  # type: ignore[union-attr]
    client.disconnect()
    with pytest.raises(Disconnected):
        call.result()
    peer = clients.connect(client)
    peer.acknowledge(peer.expect("a"))
    peer.expect_silence(0.05)


def test_threads_that_emit_while_the_server_comes_and_goes(clients: Clients, wire: WireServer) -> None:
    """Every event arrives at least once, each thread's in order; what is acknowledged does not come again."""
    client = clients(retries=1000)
    client.connect(wait=False)
    each = 40

    def emit(name: str) -> None:
        for number in range(each):
            client.emit("count", name, number)

    calls = [Background(emit, name) for name in "abc"]
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    while sum(map(len, seen.values())) < 3 * each:
        peer = wire.accept()
        peer.welcome()
        for turn in range(25):
            if sum(map(len, seen.values())) == 3 * each:
                break
            packet = peer.receive(DEADLINE)
            _, name, number = packet.data
            if number not in seen[name]:
                seen[name].append(number)
            if turn != 24:
                peer.acknowledge(packet.id)
        peer.drop()
    for call in calls:
        call.result()
    assert seen == {name: list(range(each)) for name in "abc"}


def test_a_queue_of_a_thousand_acknowledged_by_itself(clients: Clients) -> None:
    """No recursion: each acknowledgement sends the next event from an I/O thread."""
    client, peer = clients.connected(retries=1)
    done = threading.Event()
    for number in range(1000):
        client.emit("count", number, callback=lambda error, number=number: number == 999 and done.set())
    for number in range(1000):
        peer.acknowledge(peer.expect("count", number))
    assert done.wait(DEADLINE)
