"""What is particular to gunicorn: its restart, its preloading, its sync worker, its bookkeeping under TLS."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.conformance.raw import Endpoint
from tests.live.kinds import serve
from tests.live.peers import Peer, ask, eventually, fetch
from tests.support.scenario import assert_clean
from tests.support.world import WORLD

ASYNC_WORKER = "gunicorn-gevent" if WORLD == "gevent" else "gunicorn-gthread"
threads_only = pytest.mark.skipif(WORLD == "gevent", reason="a server of the world of threads")


def test_termination_with_idle_websockets() -> None:
    """SIGTERM ends the server promptly, whatever grace it has for requests; every client sees its connection end."""
    with serve(ASYNC_WORKER, {"graceful_timeout": 20}) as server:
        peers = [Peer(server).join() for _ in range(50)]
        os.kill(server.pid, signal.SIGTERM)
        began = time.monotonic()
        server.process.wait(10)
        assert time.monotonic() - began < 3
        for peer in peers:
            peer.wait_closed(1)
        assert_clean(server)


def test_termination_with_a_parked_poll() -> None:
    """A poll that waits is a request, so it has the grace that gunicorn gives requests, but no more than that."""
    with serve(ASYNC_WORKER, {"graceful_timeout": 1}) as server:
        session = Endpoint(server.url, "/socket.io").open_polling()
        poll = session.start_get()
        fetch(server, "/")  # comes behind it: it waits in the worker now, not in the listener's backlog
        os.kill(server.pid, signal.SIGTERM)
        server.process.wait(5)
        poll.abort()


def test_a_websocket_is_a_line_of_the_log_and_no_broken_pipe() -> None:
    """gunicorn is told that it has answered: it does not try to."""
    with serve(ASYNC_WORKER, {"log_level": "debug"}) as server:
        with Peer(server).join() as peer:
            assert peer.call("echo", 1) == [1]
        eventually(server.log, lambda log: 'transport=websocket HTTP/1.1" 101 ' in log)
        log = server.log()
        assert log.count('" 101 ') == 1 and "epipe" not in log.lower()


def test_preloaded_application() -> None:
    """The application may be imported before the fork: what belongs to a process is made in the worker."""
    with serve(ASYNC_WORKER, {"preload": True}) as server:
        with Peer(server).join() as peer:
            assert peer.call("echo", 1) == [1]
        assert_clean(server)


def test_two_preloaded_workers() -> None:
    """Each worker has its own reactor: clients of both are served at the same time."""
    with serve(ASYNC_WORKER, {"preload": True, "workers": 2}) as server:
        peers = [Peer(server).join() for _ in range(30)]
        for number, peer in enumerate(peers):
            assert peer.call("echo", number) == [number]
            peer.leave()
        assert_clean(server)


@threads_only
def test_sync_worker_polls_without_blocking() -> None:
    """One request at a time: a waiting poll leaves the worker, and pages are served in between."""
    with serve("gunicorn-sync") as server:
        session = Endpoint(server.url, "/socket.io").open_polling()
        session.post("40")
        assert session.poll()[0].startswith("40")
        waiting = session.start_get()
        for _ in range(5):
            began = time.monotonic()
            assert fetch(server, "/").startswith(b"hello")
            assert time.monotonic() - began < 1
        session.post('420["echo","over polling"]')
        assert waiting.response().text == '430["over polling"]'
        assert_clean(server)


@threads_only
def test_sync_worker_gives_websockets_away() -> None:
    """A WebSocket leaves its request at once, so that even a worker for one request at a time holds many."""
    with serve("gunicorn-sync") as server:
        peers = [Peer(server).join() for _ in range(30)]
        assert fetch(server, "/").startswith(b"hello")
        for number, peer in enumerate(peers):
            assert peer.call("echo", number) == [number]
            peer.leave()
        assert_clean(server)


@threads_only
def test_tls_holds_a_thread_and_gives_it_back() -> None:
    """A TLS connection stays with its request: 16 threads carry 12 WebSockets and pages, again and again."""
    with serve("gunicorn-gthread-tls") as server:
        for _ in range(3):
            peers = [Peer(server).join() for _ in range(12)]
            for number, peer in enumerate(peers):
                assert peer.call("echo", number, "x" * 100_000) == [number, "x" * 100_000]
            assert fetch(server, "/").startswith(b"hello")
            for peer in peers:
                peer.leave()
            eventually(lambda: ask(server, "connections"), lambda count: count == 1)
        assert_clean(server)


def test_two_servers_in_one_process() -> None:
    """Two Server objects on two paths of one application know nothing of each other's clients."""
    with serve(ASYNC_WORKER) as server, Peer(server).join() as first, Peer(server, path="/second").join() as second:
        assert first.call("echo", 1) == [1]
        assert second.call("echo", 1) == ["second", 1]
        second.emit("shout", "to all of the second")
        assert second.receive_event() == ["shouted", "to all of the second"]
        assert first.call("echo", 2) == [2]
        fetch(server, f"/debug/emit?sid={second.sid}&event=lost")  # the first server has no such client
        assert second.call("echo", 3) == ["second", 3]
        assert_clean(server)


def test_pages_while_websockets_are_open() -> None:
    """The wrapped application is served beside, to many at a time."""
    with serve(ASYNC_WORKER) as server, Peer(server).join() as peer:
        pages: list[bytes] = []
        clients = [threading.Thread(target=lambda: pages.append(fetch(server, "/"))) for _ in range(20)]
        for client in clients:
            client.start()
        assert peer.call("echo", "beside") == ["beside"]
        for client in clients:
            client.join()
        assert pages == [b"hello over HTTP/1.1"] * 20


@pytest.mark.skipif(WORLD != "gevent", reason="in the world of threads every thread is a native one")
@pytest.mark.parametrize("kind", ["gunicorn-gevent", "pywsgi"])
def test_emission_from_a_native_thread(kind: str) -> None:
    """Where gevent has patched everything, a thread it knows nothing of may emit, and the event leaves at once."""
    with serve(kind) as server, Peer(server).join() as peer:
        for _ in range(20):
            emitted = ask(server, f"emit-from-native-thread?sid={peer.sid}")
            assert peer.receive_event() == ["from a thread", 1]
            assert time.monotonic() - emitted < 0.5
        assert_clean(server)
