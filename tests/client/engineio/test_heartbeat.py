"""A server that goes silent, and a machine that slept."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import Any

import pytest

from tests.client.conftest import TRANSPORTS, Connect, ServeLocally, answer, echo
from tests.live.kinds import make_certificate
from tests.support.clock import ManualClock
from tests.support.freezing import freeze, thaw
from tests.support.inprocess import AT_ONCE, DEADLINE, eventually
from tests.support.servers import SERVERS, start_server
from wsgi_sio.client.engineio.heartbeat import Heartbeat
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
        freeze(server.worker_pid)
        began = time.monotonic()
        try:
            opened.engine.send([Packet(MESSAGE, "into the void")])
            assert opened.wait_end()[0] == "ping timeout"
            assert time.monotonic() - began < AT_ONCE
        finally:
            thaw(server.worker_pid)


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
    opened.engine._heartbeat._clock = lambda: sleepless_clock() + 3600
    assert not opened.engine.check_alive()
    assert opened.wait_end()[0] == "ping timeout"
    assert not opened.engine.check_alive()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_connection_whose_pings_lie_unread_is_kept(serve: ServeLocally, client: Connect, secure: bool) -> None:
    """A machine that slept sends before it has read what has come."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if secure:
        context.load_cert_chain(f"{make_certificate()}/cert.pem", f"{make_certificate()}/key.pem")
    server = serve(echo, context if secure else None, ping_interval=0.1, ping_timeout=30)
    engine = (opened := client(server.url, transports="websocket", verify=False).open()).engine
    eventually(lambda: ("ping",) in opened.told, "the first ping")
    engine._transport.pause()
    read = opened.told.count(("ping",))
    eventually(engine._unread, "a ping that nobody reads")
    engine._heartbeat._clock = lambda: sleepless_clock() + 3600
    assert engine.check_alive()
    engine._transport.resume()
    eventually(lambda: opened.told.count(("ping",)) > read and not engine._heartbeat._overdue(), "the ping")
    assert engine.check_alive()
    opened.send("x")
    opened.expect("x")


class Watched:
    """A heartbeat on a clock of its own, and when it has barked."""

    def __init__(self, clock: ManualClock, patience: float) -> None:
        self.barks: list[float] = []
        self.unread = False
        self.dog = Heartbeat(clock, lambda: self.barks.append(clock.now), lambda: self.unread, clock)  # type: ignore[arg-type]
        self.dog.start(patience)


@pytest.mark.parametrize("patience", [0.3, 10.0, 45.0])
def test_the_watchdog_waits_anew_after_each_feeding(patience: float) -> None:
    clock = ManualClock()
    watched = Watched(clock, patience)
    for _ in range(5):
        clock.advance(patience * 0.9)
        assert not watched.dog.expired
        watched.dog.feed()
    fed = clock.now
    clock.advance(patience * 0.99)
    assert not watched.dog.expired and watched.barks == []
    clock.advance(patience * 0.02)
    assert watched.dog.expired
    assert watched.barks == [pytest.approx(fed + patience, abs=0.01)]
    watched.dog.stop()
    assert not watched.dog.expired and clock.pending == []


def test_a_watchdog_that_is_fed_costs_a_timer_for_each_feeding_at_most() -> None:
    clock = ManualClock()
    watched = Watched(clock, 45)
    for _ in range(100):
        clock.advance(25)
        watched.dog.feed()
    assert watched.barks == [] and clock.ticks <= 100


@pytest.mark.parametrize("length", [10.0, 46.0, 3600.0])
@pytest.mark.parametrize("ran", [1.0, 43.0, 44.5])
def test_the_watchdog_of_a_process_that_stood_still_lets_it_read_first(length: float, ran: float) -> None:
    clock = ManualClock()
    watched = Watched(clock, 45)
    clock.advance(ran)
    clock.stall(length)
    clock.advance(0.9 if ran < 44.1 else 0.12)  # what has come is read
    assert watched.barks == []
    watched.dog.feed()
    clock.advance(44)
    assert watched.barks == []


@pytest.mark.parametrize("length", [46.0, 3600.0])
@pytest.mark.parametrize("ran", [1.0, 43.0, 44.5])
def test_a_server_that_died_in_such_a_stall_is_noticed_within_about_a_second(length: float, ran: float) -> None:
    clock = ManualClock()
    watched = Watched(clock, 45)
    clock.advance(ran)
    clock.stall(length)
    woke = clock.now
    clock.advance(2)
    assert watched.barks and watched.barks[0] <= woke + 1.2


def test_the_watchdog_does_not_bark_while_something_lies_unread() -> None:
    clock = ManualClock()
    watched = Watched(clock, 45)
    watched.unread = True
    clock.advance(60)
    assert watched.barks == [] and not watched.dog.expired
    watched.unread = False
    assert watched.dog.expired
    clock.advance(1.2)
    assert len(watched.barks) == 1


def test_what_is_read_while_the_watchdog_looks_counts() -> None:
    """The reader has fed it between the look at the clock and that at the kernel, where nothing lies any more."""
    clock = ManualClock()
    heartbeat = Heartbeat(clock, lambda: None, lambda: bool(heartbeat.feed()), clock)  # type: ignore[arg-type, func-returns-value]
    heartbeat.start(45)
    clock.stall(60)
    assert not heartbeat.expired


def test_the_watchdogs_own_timer(reactor: Reactor) -> None:
    barked = threading.Event()
    heartbeat = Heartbeat(reactor, barked.set, lambda: False)
    began = time.monotonic()
    heartbeat.start(0.1)
    assert barked.wait(DEADLINE) and time.monotonic() - began >= 0.1
    heartbeat.stop()
