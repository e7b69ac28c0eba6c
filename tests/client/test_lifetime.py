"""Threads, descriptors and memory: there while they are needed, gone afterwards."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from tests.client.wire import FAST, Clients, WireServer
from tests.support.inprocess import AT_ONCE, DEADLINE, Background, eventually, open_descriptors
from tests.support.servers import SERVERS, start_server
from wsgi_sio.client import Client, SimpleClient
from wsgi_sio.runtime import create_reactor, shared_reactor


def test_disconnect_joins_the_threads(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reactor, "_JOIN", DEADLINE)
    threads, files = threading.active_count(), open_descriptors()
    client = clients()
    assert threading.active_count() <= threads  # none before they are needed
    peer = clients.connect(client)
    started = time.monotonic()
    client.disconnect()
    assert time.monotonic() - started < AT_ONCE
    peer.wait_gone()
    eventually(lambda: threading.active_count() <= threads, "the threads' end")
    del client
    peer.sock.close()
    eventually(lambda: open_descriptors() <= files, "the descriptors' end")


def test_an_answered_event_holds_no_timer(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reactor, "_JOIN", DEADLINE)
    threads = threading.active_count()
    client, peer = clients.connected()
    call = Background(lambda: client.timeout(30).emit_with_ack("q"))
    peer.acknowledge(peer.expect("q"))
    call.result()
    client.timeout(30).emit("q", callback=lambda error: None)
    peer.acknowledge(peer.expect("q"))
    started = time.monotonic()
    client.disconnect()
    assert time.monotonic() - started < AT_ONCE
    peer.wait_gone()
    eventually(lambda: threading.active_count() <= threads, "the threads' end")


def test_disconnect_in_a_handler_does_not_wait_for_itself(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reactor, "_JOIN", DEADLINE)
    client, peer = clients.connected()
    took: list[float] = []

    @client.on("stop")
    def stop() -> None:
        started = time.monotonic()
        client.disconnect()
        took.append(time.monotonic() - started)

    peer.emit("stop")
    peer.wait_gone()
    eventually(lambda: took, "the handler")
    assert took[0] < AT_ONCE


def test_a_handler_that_never_ends_costs_a_second_at_most(clients: Clients) -> None:
    client, peer = clients.connected()
    go_on, entered = threading.Event(), threading.Event()

    @client.on("block")
    def block() -> None:
        entered.set()
        go_on.wait(DEADLINE)

    peer.emit("block")
    assert entered.wait(DEADLINE)
    started = time.monotonic()
    client.disconnect()
    assert time.monotonic() - started < AT_ONCE
    go_on.set()


@pytest.mark.parametrize("end", ["server", "refused", "gave up"])
def test_a_client_at_rest_has_no_threads(clients: Clients, wire: WireServer, end: str) -> None:
    """However it came to rest: nobody has to call disconnect."""
    threads = threading.active_count()
    client = clients(reconnection=False)
    call = Background(lambda: client.connect(timeout=DEADLINE))
    peer = wire.accept()
    if end == "refused":
        peer.refuse("no")
    else:
        peer.welcome()
        if end == "server":
            peer.throw_out()
        else:
            peer.drop()
    assert client.wait(DEADLINE)
    eventually(lambda: call.done and threading.active_count() <= threads, "the threads' end")


def test_a_timer_of_an_event_that_waits_needs_no_connection(clients: Clients) -> None:
    threads = threading.active_count()
    client, told = clients(), []
    client.timeout(0.05).emit("q", callback=told.append)
    eventually(lambda: told, "the time-out")
    eventually(lambda: threading.active_count() <= threads, "the threads' end")


def test_a_shared_reactor_is_left_alone(wire: WireServer) -> None:
    reactor = create_reactor()
    try:
        for _ in range(2):
            client = Client(wire.url, reactor=reactor, **FAST)
            client.connect(wait=False)
            wire.accept().welcome()
            client.connect(timeout=DEADLINE)
            client.disconnect()
        fired = threading.Event()
        reactor.call_later(0.01, fired.set)
        assert fired.wait(DEADLINE)
    finally:
        reactor.close()


def test_a_forgotten_client_is_collected(clients: Clients) -> None:
    """Nothing of the package keeps one alive that has disconnected."""
    client = Client(clients.server.url, **FAST)
    client.on("x", client.emit)
    peer = clients.connect(client)
    client.disconnect()
    peer.wait_gone()
    ghost = weakref.ref(client)
    del client
    eventually(lambda: gc.collect() >= 0 and ghost() is None, "the collection")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_nothing_leaks_over_a_thousand_connects(transport: str) -> None:
    """Threads, descriptors, and objects of ours."""
    with start_server(SERVERS[0], "tests.apps.main:app") as server:

        def once() -> None:
            with SimpleClient(server.url, transports=[transport]) as client:
                assert client.call("echo", 1, timeout=DEADLINE) == 1

        def ours() -> int:
            gc.collect()
            return sum(str(type(thing).__module__).startswith("wsgi_sio.client") for thing in gc.get_objects())

        for _ in range(20):
            once()
        threads, files, objects = threading.active_count(), open_descriptors(), ours()
        for _ in range(1000):
            once()
        eventually(lambda: threading.active_count() <= threads, "the threads' end")
        eventually(lambda: open_descriptors() <= files, "the descriptors' end")
        assert ours() <= objects
        assert server.problems() == []
