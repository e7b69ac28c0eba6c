"""Acknowledgements, both ways."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.client.wire import Clients, WireServer
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import AckTimeout, Disconnected
from wsgi_sio.socketio.packet import ACK


@pytest.mark.parametrize(
    ("answer", "expected"), [((), None), ((1,), 1), ((None,), None), (([1],), [1]), ((1, b"2"), (1, b"2"))]
)
def test_emit_with_ack_gives_none_one_value_or_a_tuple(clients: Clients, answer: Any, expected: Any) -> None:
    client, peer = clients.connected()
    call = Background(lambda: client.emit_with_ack("q", "x", timeout=DEADLINE))
    peer.acknowledge(peer.expect("q", "x"), *answer)
    assert call.result() == expected


def test_a_callback_gets_the_arguments_in_order_with_the_events(clients: Clients) -> None:
    client, peer = clients.connected()
    told: list[Any] = []

    @client.on("slow")
    def slow() -> None:
        time.sleep(0.03)
        told.append("slow")

    client.emit("q", callback=lambda *args: told.append(args))
    ack_id = peer.expect("q")
    peer.emit("slow")
    peer.acknowledge(ack_id, 1, "b")
    peer.emit("slow")
    eventually(lambda: len(told) == 3, "the callback")
    assert told == ["slow", (1, "b"), "slow"]


def test_a_late_acknowledgement_is_ignored(clients: Clients) -> None:
    client, peer = clients.connected()
    told: list[Any] = []
    with pytest.raises(AckTimeout):
        client.emit_with_ack("q", timeout=0.02)
    client.timeout(0.02).emit("r", callback=lambda *args: told.append(args))
    first, second = peer.expect("q"), peer.expect("r")
    eventually(lambda: told, "the time-out")
    peer.acknowledge(first, 1)
    peer.acknowledge(second, 2)
    peer.emit("unknown", ack=3)
    client.emit("after")
    peer.expect("after")
    assert len(told) == 1 and isinstance(told[0][0], AckTimeout)


def test_a_timed_out_event_leaves_the_buffer(clients: Clients) -> None:
    client = clients()
    told: list[Any] = []
    with pytest.raises(AckTimeout):
        client.emit_with_ack("blocking", timeout=0.02)
    client.timeout(0.02).emit("callback", callback=told.append)
    client.emit("kept")
    eventually(lambda: told, "the time-out")
    clients.connect(client).expect("kept")


def test_losing_the_connection_fails_acknowledgements(clients: Clients, wire: WireServer) -> None:
    """Blocked callers and callbacks that take an error are told, the others dropped."""
    client, peer = clients.connected()
    told: list[Any] = []
    call = Background(lambda: client.emit_with_ack("a"))
    peer.expect("a")
    client.emit("b", callback=lambda *args: told.append(("plain", args)))
    client.timeout(30).emit("c", callback=lambda error: told.append(("timed", type(error))))
    peer.expect("b")
    peer.expect("c")
    peer.drop()
    with pytest.raises(Disconnected):
        call.result()
    wire.accept().welcome()
    eventually(lambda: client.connected, "the next connection")
    assert told == [("timed", Disconnected)]


def test_acknowledgements_of_buffered_events_survive(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    peer.drop()
    eventually(lambda: not client.connected, "the loss")
    call = Background(lambda: client.emit_with_ack("q", timeout=DEADLINE))
    peer = wire.accept()
    peer.expect_connect()
    peer.drop()
    peer = wire.accept()
    peer.welcome()
    peer.acknowledge(peer.expect("q"), "late but there")
    assert call.result() == "late but there"


def test_ack_timeout_is_for_all(clients: Clients) -> None:
    client, peer = clients.connected(ack_timeout=0.05)
    told: list[Any] = []
    client.emit("a", callback=lambda *args: told.append(args))
    peer.acknowledge(peer.expect("a"), 1)
    eventually(lambda: told == [(None, 1)], "an error of None in front")
    client.emit("b", callback=lambda *args: told.append(args))
    eventually(lambda: len(told) == 2, "the time-out")
    assert isinstance(told[1][0], AckTimeout)
    with pytest.raises(AckTimeout):
        client.emit_with_ack("c")


def test_disconnect_releases_whoever_is_blocked(clients: Clients, wire: WireServer) -> None:
    """Even for an event that was still waiting to be sent: nobody is going to send it."""
    client, peer = clients.connected()
    call = Background(lambda: client.emit_with_ack("q"))
    peer.expect("q")
    client.disconnect()
    with pytest.raises(Disconnected):
        call.result()
    other = clients()
    other.connect(wait=False)
    peer = wire.accept()
    peer.expect_connect()
    call = Background(lambda: other.emit_with_ack("q"))
    eventually(lambda: len(other._sender._acks._expected) == 1, "the caller")
    other.disconnect()
    with pytest.raises(Disconnected):
        call.result()
    peer.wait_gone()
    clients.connect(other).expect_silence(0.05)


@pytest.mark.parametrize(
    ("result", "sent"), [(None, []), (1, [1]), ((1, 2), [1, 2]), ([1, 2], [[1, 2]]), (b"x", [b"x"]), (False, [False])]
)
def test_what_a_handler_returns_acknowledges(clients: Clients, result: Any, sent: list[Any]) -> None:
    client, peer = clients.connected()
    client.on("q", lambda *args: result)
    peer.emit("q", 1, b"2", ack=7)
    packet = peer.receive()
    assert (packet.type, packet.id, packet.data) == (ACK, 7, sent)


def test_no_handler_and_a_failing_one_do_not_acknowledge(clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    """The client survives, and the log names the event."""
    client, peer = clients.connected()

    @client.on("fails")
    def fails() -> None:
        raise RuntimeError("oops")

    client.on("object", object)
    client.on("works", lambda: 1)
    for number, event in enumerate(("nobody", "fails", "object", "works")):
        peer.emit(event, ack=number)
    packet = peer.receive()
    assert (packet.id, packet.data) == (3, [1])
    assert "'fails'" in caplog.text and "oops" in caplog.text and "'object'" in caplog.text


def test_emit_with_ack_inside_a_handler(clients: Clients) -> None:
    """The acknowledgement overtakes what waits behind the running handler."""
    client, peer = clients.connected()

    @client.on("ask back")
    def ask_back() -> Any:
        return client.emit_with_ack("back", timeout=DEADLINE)

    peer.emit("ask back", ack=1)
    ack_id = peer.expect("back")
    peer.emit("ask back")
    peer.acknowledge(ack_id, "answer")
    packet = peer.receive()
    assert (packet.type, packet.id, packet.data) == (ACK, 1, ["answer"])
    peer.acknowledge(peer.expect("back"))


def test_an_acknowledgement_does_not_go_to_the_next_connection(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    over: list[int] = []

    @client.on("slow")
    def slow() -> int:
        eventually(lambda: client.id == "second", "the next connection")
        over.append(1)
        return 1

    peer.emit("slow", ack=1)
    peer.drop()
    peer = wire.accept()
    peer.welcome(sid="second")
    eventually(lambda: over, "the handler")
    peer.expect_silence(0.05)


def test_without_a_connection_to_come_nobody_waits_for_ever(clients: Clients) -> None:
    client, _ = clients.connected()
    client.disconnect()
    for forgetful in (client, clients(), clients(retries=3)):
        with pytest.raises(Disconnected, match="nobody is connecting"):
            Background(lambda forgetful=forgetful: forgetful.emit_with_ack("q")).result()
        with pytest.raises(AckTimeout):
            forgetful.emit_with_ack("q", timeout=0.02)
    again = clients.connect(client)
    again.expect_silence(0.05)


def test_too_many_attachments_are_refused_where_they_are_emitted(clients: Clients) -> None:
    client, peer = clients.connected()
    with pytest.raises(ValueError, match="11 attachments .* max_attachments=10"):
        client.emit("many", [b"x"] * 11, callback=lambda: None)
    with pytest.raises(ValueError, match="max_attachments"):
        client.emit_with_ack("many", [b"x"] * 11)
    client.emit("after", b"x")
    peer.expect("after", b"x")


def test_the_limit_of_attachments_is_the_client_s_option(clients: Clients) -> None:
    client, _ = clients.connected(max_attachments=9)
    with pytest.raises(ValueError, match="max_attachments=9"):
        client.emit("many", [b"x"] * 10)
    with pytest.raises(ValueError, match="max_attachments must be greater than 0"):
        clients.connected(max_attachments=0)
