"""When the server cannot be reached or refuses the handshake: who is told, when, and of what cause."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.client.wire import FAST, Clients, WireServer
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import ConnectionFailed, TimedOut
from wsgi_sio.client import SimpleClient


def test_without_an_end_to_it_one_failed_attempt_is_enough(clients: Clients, wire: WireServer) -> None:
    """``with Client(url)`` fails where nobody listens, or the handshake is refused, instead of waiting for ever."""
    client = clients()
    errors: list[Exception] = []
    client.on("connect_error", errors.append)
    call = Background(client.__enter__)
    wire.answer("403 Forbidden", '{"code":4,"message":"Forbidden"}')
    with pytest.raises(ConnectionFailed, match="403") as caught:
        call.result()
    eventually(lambda: errors == [caught.value], "connect_error")
    assert not client.active and client.wait(0)
    wire.stop()
    with pytest.raises(ConnectionFailed, match="refused"):
        SimpleClient(wire.url, **FAST).__enter__()
    wire.start()
    clients.connect(client)  # by hand it may try again
    assert client.connected


def test_a_time_out_tells_why_there_is_no_connection(clients: Clients, wire: WireServer) -> None:
    client = clients(reconnection_delay=60, reconnection_delay_max=60)
    call = Background(lambda: client.connect(timeout=2))
    wire.answer("400 Bad Request", '{"code":1,"message":"Session ID unknown"}')
    with pytest.raises(TimedOut, match="within 2 s: .*400.*Session ID unknown") as caught:
        call.result()
    assert isinstance(caught.value.__cause__, ConnectionFailed) and caught.value.__cause__.description == 400


def test_the_first_failed_attempt_is_a_warning_with_its_cause(
    clients: Clients, wire: WireServer, caplog: pytest.LogCaptureFixture
) -> None:
    """So nobody waits in silence; the others are for those who look, until there has been a connection."""
    caplog.set_level(logging.DEBUG, "wsgi_sio.client")
    client = clients()
    client.connect(wait=False)
    for outage in range(2):
        for status in ("503 First", "502 Second", "502 Third"):
            wire.answer(status, "<b>\r\nnobody\x1b")
        peer = wire.accept()
        peer.welcome()
        eventually(lambda: client.connected, "the connection")
        lines = [record for record in caplog.records if record.name == "wsgi_sio.client.outage" and record.args]
        failures = [record for record in lines if "answered" in record.getMessage()]
        assert [record.levelname for record in failures] == ["WARNING", "DEBUG", "DEBUG"] * (outage + 1)
        peer.drop()
    text = failures[0].getMessage()
    assert "127.0.0.1" in text and "answered 503: <b>\\r\\nnobody\\x1b" in text and "timeout=" in text


def test_that_no_attempt_is_left_is_a_warning(
    clients: Clients, wire: WireServer, caplog: pytest.LogCaptureFixture
) -> None:
    wire.stop()
    for options, why in (({"reconnection": False}, "at once"), ({"reconnection_attempts": 1}, "attempts=1")):
        caplog.clear()
        client = clients(**options)
        client.connect(wait=False)
        assert client.wait(DEADLINE)
        text = caplog.records[-1].getMessage()
        assert "gives up" in text and why in text and "refused" in text


def test_with_attempts_to_spare_connect_uses_them(clients: Clients, wire: WireServer) -> None:
    client = clients(reconnection_attempts=1)
    call = Background(client.connect)
    wire.answer("500 First", "broken")
    wire.answer("501 Second", "broken")
    with pytest.raises(ConnectionFailed, match="501"):
        call.result()
    call = Background(lambda: client.connect(timeout=DEADLINE, retry=False))
    wire.answer("500 Third", "broken")
    with pytest.raises(ConnectionFailed, match="500"):
        call.result()
    assert not client.active


def test_who_tries_once_does_not_end_the_attempts_of_others(clients: Clients, wire: WireServer) -> None:
    patient = clients()
    patient.connect(wait=False)
    other = patient.io.socket("/other")
    call = Background(other.connect)
    eventually(lambda: other.active, "the wish")
    wire.answer("500 Oops", "broken")
    with pytest.raises(ConnectionFailed):
        call.result()
    assert patient.active and not other.active
    wire.accept().welcome()
    eventually(lambda: patient.connected, "the connection")


def test_connect_joins_the_attempts_that_are_under_way(clients: Clients, wire: WireServer) -> None:
    """A connection that was lost is being made again: asking for it too neither hastens nor ends that."""
    client, peer = clients.connected()
    lost = threading.Event()
    client.on("disconnect", lambda reason: lost.set())
    peer.drop()
    assert lost.wait(DEADLINE)
    call = Background(client.connect)
    wire.answer("500 Oops", "broken")
    wire.accept().welcome()
    assert call.result() is client and client.connected
