"""Connection state recovery, from the client's side."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.client.wire import Clients, WireServer
from tests.support.inprocess import eventually
from wsgi_sio.socketio.packet import CONNECT, Packet


def test_it_says_who_it_was_and_what_it_has_seen(clients: Clients, wire: WireServer) -> None:
    """The missed events come before the answer, and their offsets count as well."""
    client = clients(auth={"token": 1})
    told: list[Any] = []
    client.on("news", lambda text, offset: told.append((text, offset)))
    client.connect(wait=False)
    peer = wire.accept()
    assert peer.welcome(pid="private", sid="same") == {"token": 1}
    peer.emit("news", "a", "offset 1")
    peer.emit("news", "b", "offset 2")
    eventually(lambda: len(told) == 2, "the events")
    assert not client.recovered
    peer.drop()
    peer = wire.accept()
    assert peer.expect_connect() == {"pid": "private", "offset": "offset 2", "token": 1}
    peer.emit("news", "c", "offset 3")
    peer.send(Packet(CONNECT, "/", {"sid": "same", "pid": "private"}))
    eventually(lambda: client.connected, "the connection")
    assert client.recovered and client.id == "same"
    assert told == [("a", "offset 1"), ("b", "offset 2"), ("c", "offset 3")]
    peer.drop()
    peer = wire.accept()
    assert peer.welcome(pid="new")["offset"] == "offset 3"
    eventually(lambda: client.connected, "the connection")
    assert not client.recovered


def test_without_a_pid_nothing_is_remembered(clients: Clients, wire: WireServer) -> None:
    client = clients()
    peer = clients.connect(client)
    peer.emit("news", "looks like an offset")
    peer.drop()
    assert wire.accept().welcome() is None
    eventually(lambda: client.connected, "the connection")
    assert not client.recovered


def test_what_is_no_offset(clients: Clients, wire: WireServer) -> None:
    """The last argument of an event that asks for no acknowledgement, if it is a string; never the event's name."""
    client = clients()
    client.connect(wait=False)
    peer = wire.accept()
    peer.welcome(pid="private")
    peer.emit("name only")
    peer.emit("number", 5)
    peer.emit("asks", "text", ack=1)
    client.on("last", lambda: 1)
    peer.emit("last", ack=2)
    assert peer.receive().id == 2
    peer.drop()
    assert wire.accept().welcome() == {"pid": "private"}


def test_a_handler_may_do_without_the_offset(
    clients: Clients, wire: WireServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that switches recovery on does not break the handlers of its clients."""
    caplog.set_level(logging.WARNING)
    client = clients()
    told: list[Any] = []
    client.on("news", lambda text: told.append([text]))
    client.on("news", lambda *args: told.append(args))
    client.on("bare", lambda: told.append("bare"))
    client.connect(wait=False)
    peer = wire.accept()
    peer.welcome(pid="private")
    peer.emit("news", "a", "offset 1")
    peer.emit("bare", "offset 2")
    eventually(lambda: len(told) == 3, "the handlers")
    assert told == [["a"], ("a", "offset 1"), "bare"]
    assert caplog.text == ""
    peer.emit("bare", "one too many", "offset 3")
    eventually(lambda: "'bare'" in caplog.text, "the warning")


def test_who_has_left_on_purpose_begins_anew(clients: Clients, wire: WireServer) -> None:
    """What had come and was not handled yet has been dropped: the server must not believe that it was received."""
    client = clients()
    client.connect(wait=False)
    peer = wire.accept()
    peer.welcome(pid="private")
    eventually(lambda: client.connected, "the connection")
    client.disconnect()
    client.connect(wait=False)
    assert not wire.accept().welcome(pid="new")
    eventually(lambda: client.connected, "the connection")
    assert not client.recovered
