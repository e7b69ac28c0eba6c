"""Connections that are lost, and made again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.client.wire import Clients, WireServer
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import ConnectionFailed, Disconnected
from wsgi_sio.client import Client, Manager
from wsgi_sio.socketio.packet import CONNECT, Packet

EVENTS = ("open", "error", "close", "reconnect_attempt", "reconnect", "reconnect_error", "reconnect_failed")


def record(manager: Manager) -> list[tuple[Any, ...]]:
    """What the manager tells from now on; errors by their types."""
    told: list[tuple[Any, ...]] = []
    for event in EVENTS:
        manager.on(
            event,
            lambda *args, event=event: told.append(
                (event, *(type(arg) if isinstance(arg, Exception) else arg for arg in args))
            ),
        )
    return told


def test_a_lost_connection_is_made_again(clients: Clients, wire: WireServer) -> None:
    client = clients()
    life: list[Any] = []
    client.on("connect", lambda: life.append(client.id))
    client.on("disconnect", life.append)
    peer = clients.connect(client)
    eventually(lambda: life == ["sid"], "the connect handler")
    told = record(client.io)
    peer.drop()
    wire.accept().welcome(sid="second")
    eventually(lambda: client.id == "second", "the second connection")
    eventually(lambda: life == ["sid", "transport close", "second"], "the handlers")
    assert [event[0] for event in told] == ["close", "reconnect_attempt", "open", "reconnect"]
    assert told[0][1] == "transport close" and told[1] == ("reconnect_attempt", 1) and told[3] == ("reconnect", 1)
    assert not client.recovered


def test_attempts_are_counted_and_told_until_one_succeeds(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    told = record(client.io)
    errors: list[ConnectionFailed] = []
    client.on("connect_error", errors.append)
    peer.drop()
    for _ in range(2):
        wire.answer("502 Bad Gateway", "try later")
    peer = wire.accept()
    peer.welcome()
    eventually(lambda: told[-1] == ("reconnect", 3), "reconnect")
    failure = [("error", ConnectionFailed), ("reconnect_error", ConnectionFailed)]
    assert told[1:] == [
        ("reconnect_attempt", 1), *failure, ("reconnect_attempt", 2), *failure, ("reconnect_attempt", 3),
        ("open",), ("reconnect", 3),
    ]  # fmt: skip
    assert [(error.description, error.context) for error in errors] == [(502, "try later")] * 2
    told.clear()
    peer.drop()
    wire.accept().welcome()
    eventually(lambda: told[-1] == ("reconnect", 1), "a count that began anew")


def test_attempts_are_used_up(clients: Clients, wire: WireServer) -> None:
    """connect() raises the last error; reconnect_failed is told; by hand it may be tried again."""
    client = clients(reconnection_attempts=2)
    told = record(client.io)
    call = Background(client.connect)
    for _ in range(3):
        wire.answer("500 Oops", "no")
    with pytest.raises(ConnectionFailed):
        call.result()
    assert client.wait(0)
    eventually(lambda: told[-1][0] == "reconnect_error", "the last error")
    assert [event[0] for event in told].count("reconnect_attempt") == 2
    assert told[-2:] == [("reconnect_failed",), ("reconnect_error", ConnectionFailed)]
    clients.connect(client)


def test_without_reconnection_the_first_loss_is_the_end(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected(reconnection=False)
    told = record(client.io)
    assert not client.wait(0)
    peer.drop()
    assert client.wait(DEADLINE)
    eventually(lambda: told, "close")
    assert [event[0] for event in told] == ["close"]
    clients.connect(client)
    assert not client.wait(0)


def test_no_reconnection_after_the_server_has_thrown_us_out(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    told = record(client.io)
    peer.throw_out()
    peer.wait_gone()
    assert client.wait(DEADLINE)
    time.sleep(0.1)  # ten times the delay
    assert [event[0] for event in told] == ["close"]


def test_a_socket_thrown_out_does_not_come_back_with_the_others(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    other = client.io.socket("/other")
    call = Background(other.connect)
    peer.welcome("/other")
    call.result()
    peer.throw_out("/other")
    assert other.wait(DEADLINE)
    peer.drop()
    peer = wire.accept()
    peer.welcome("/")
    peer.expect_silence(0.05)
    assert client.connected and not other.active


def test_nonsense_from_the_server_is_a_parse_error(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    life: list[Any] = []
    client.on("disconnect", lambda *args: life.append(args))
    peer.send_text("4hello")
    peer.wait_gone()
    wire.accept().welcome()
    eventually(lambda: client.connected, "the next connection")
    assert [reason for reason, _ in life] == ["parse error"]
    assert isinstance(life[0][1], ValueError)


def test_a_server_that_stops_pinging_is_left(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected({"pingInterval": 100, "pingTimeout": 100})
    reasons: list[str] = []
    client.on("disconnect", reasons.append)
    peer.wait_gone()
    eventually(lambda: reasons == ["ping timeout"], "the loss")
    wire.accept().welcome()
    eventually(lambda: client.connected, "the next connection")


def test_closing_while_waiting_for_the_next_attempt(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected(reconnection_delay=30, reconnection_delay_max=30)
    peer.drop()
    eventually(lambda: not client.connected, "the loss")
    assert client.active and not client.wait(0)
    client.disconnect()
    assert client.wait(0) and not client.active


def test_switching_reconnection_off_while_waiting(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected(reconnection_delay=30, reconnection_delay_max=30)
    peer.drop()
    eventually(lambda: not client.connected, "the loss")
    assert not client.wait(0.05)
    call = Background(client.connect)  # it waits for the next attempt
    client.io.reconnection = False
    with pytest.raises(Disconnected, match="switched off"):
        call.result()
    assert client.wait(0)


def test_open_by_hand_does_not_wait_for_the_delay(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected(reconnection_delay=30, reconnection_delay_max=30)
    told = record(client.io)
    peer.drop()
    eventually(lambda: not client.connected, "the loss")
    client.io.open()
    wire.accept().welcome()
    eventually(lambda: client.connected and told[-1][0] == "reconnect", "the connection")


def test_a_handler_of_reconnect_attempt_may_change_auth_or_stop(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected(auth={"token": "old"})

    @client.io.on("reconnect_attempt")
    def attempt(number: int) -> None:
        if client.auth == {"token": "new"}:
            client.disconnect()
        client.auth = {"token": "new"}

    peer.drop()
    peer = wire.accept()
    assert peer.welcome() == {"token": "new"}
    eventually(lambda: client.connected, "the connection")
    peer.drop()
    assert client.wait(DEADLINE)
    wire._listener.settimeout(0.1)  # type: ignore[union-attr]
    with pytest.raises(TimeoutError):
        wire.accept()


def test_delays_follow_the_options(clients: Clients, wire: WireServer) -> None:
    wire.stop()
    client = clients(
        reconnection_attempts=3, reconnection_delay=0.05, reconnection_delay_max=0.1, randomization_factor=0
    )
    assert (client.io.reconnection_delay, client.io.reconnection_delay_max) == (0.05, 0.1)
    times: list[float] = []
    client.on("connect_error", lambda: times.append(time.monotonic()))
    started = time.monotonic()
    with pytest.raises(ConnectionFailed):
        client.connect()
    eventually(lambda: len(times) == 4, "four errors")
    for wanted, is_ in zip((0.0, 0.05, 0.15, 0.25), times, strict=True):
        assert wanted <= is_ - started < wanted + 0.2


def test_fifty_clients_survive_a_flapping_server(wire: WireServer) -> None:
    """Many connections lost at once, again and again: every client ends up connected, and none twice."""
    clients = [Client(wire.url, transports=["websocket"], reconnection_delay=0.01) for _ in range(50)]
    for client in clients:
        client.connect(wait=False)
    for _ in range(3):
        peers = [wire.accept() for _ in clients]
        for peer in peers:
            peer.expect_connect()
        for number, peer in enumerate(peers):
            peer.send(Packet(CONNECT, "/", {"sid": f"s{number}"}))
        eventually(lambda: all(client.connected for client in clients), "all connected")
        for peer in peers:
            peer.drop()
        eventually(lambda: not any(client.connected for client in clients), "all lost")
    calls = [Background(client.disconnect) for client in clients]
    for call in calls:
        call.result(10)
