"""A server that goes silent, and a machine that slept."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

import pytest

from tests.client.conftest import TRANSPORTS, Connect, ServeLocally, answer, echo
from tests.support.inprocess import DEADLINE, eventually
from tests.support.servers import SERVERS, start_server
from wsgi_sio.client.engineio.watchdog import Watchdog
from wsgi_sio.engineio import MESSAGE, Packet
from wsgi_sio.runtime import Reactor, sleepless_clock

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@each_transport
def test_pings_are_answered_and_told(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(ping_interval=0.1, ping_timeout=0.5)
    opened = client(server.url, transports=transport).open()
    eventually(lambda: opened.told.count(("ping",)) >= 8, "pings")
    assert server.reasons == [] and opened.engine.check_alive()


@each_transport
def test_a_stopped_server_is_noticed_in_time(client: Connect, transport: str) -> None:
    """SIGSTOP: its kernel still answers, nobody else does. Interval and time-out make half a second."""
    with start_server(SERVERS[0], "tests.apps.protocol_engineio:app") as server:
        opened = client(server.url, path="/engine.io", transports=transport).open()
        eventually(lambda: ("ping",) in opened.told, "a ping")
        os.kill(server.worker_pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            opened.engine.send([Packet(MESSAGE, "into the void")])
            assert opened.wait_end(3)[0] == "ping timeout"
            assert time.monotonic() - began < 1.5
        finally:
            os.kill(server.worker_pid, signal.SIGCONT)


def test_a_server_that_takes_and_says_nothing_is_noticed_in_time(scripted: Any, client: Connect) -> None:
    """A wire that is dead from the first moment: a GET that is never answered, a POST that hangs."""
    stop = threading.Event()
    handshake = '0{"sid":"abc","upgrades":[],"pingInterval":200,"pingTimeout":100}'

    def script(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(handshake))
        else:
            stop.wait(DEADLINE)

    opened = client(scripted(script).url, transports="polling").open()
    opened.send("x" * 1000)
    assert opened.wait_end(2)[0] == "ping timeout"
    stop.set()


@each_transport
def test_a_machine_that_slept_finds_out_before_it_sends(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(echo)
    opened = client(server.url, transports=transport).open()
    assert opened.engine.check_alive()
    opened.engine._watchdog._clock = lambda: sleepless_clock() + 3600
    assert not opened.engine.check_alive()
    assert opened.wait_end()[0] == "ping timeout"
    assert not opened.engine.check_alive()


def test_the_watchdog_waits_anew_after_each_feeding(reactor: Reactor) -> None:
    now = [100.0]
    barks: list[float] = []
    watchdog = Watchdog(reactor, lambda: barks.append(now[0]), lambda: False, clock=lambda: now[0])
    assert not watchdog.expired
    watchdog.start(10)
    for later in (105.0, 109.9, 110.0):
        now[0] = later
        assert not watchdog.expired
    watchdog.feed()
    now[0] = 119.9
    assert not watchdog.expired
    now[0] = 120.1
    assert watchdog.expired and barks == []
    watchdog._judge()
    assert barks == [120.1]
    watchdog.stop()
    assert not watchdog.expired


def test_the_watchdogs_own_timer(reactor: Reactor) -> None:
    barked = threading.Event()
    watchdog = Watchdog(reactor, barked.set, lambda: False)
    began = time.monotonic()
    watchdog.start(0.1)
    assert barked.wait(DEADLINE) and time.monotonic() - began >= 0.1
    watchdog.stop()
