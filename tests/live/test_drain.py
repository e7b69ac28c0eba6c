"""The end of a gunicorn worker: how long it takes, what its clients and handlers see; ``wsgi_sio.gunicorn``."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.conformance.raw import Endpoint, Exchange, PollingSession
from tests.live.kinds import serve as serve_robustness
from tests.live.peers import Peer, eventually, fetch
from tests.support.node import start_node
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer, start_server
from tests.support.world import WORLD

WORKER = "gunicorn-gevent" if WORLD == "gevent" else "gunicorn-gthread"
LEFT = "has seen the end: server shutting down"
CLOSED = ("1", "6\x1e1")  # the second for a GET that has come late
CONFIGURATION = "python:tests.apps.draining_conf"


def serve(drain: Mapping[str, Any] | None, options: Mapping[str, Any] = {}, **env: str) -> RunningServer:
    """Serve ``tests/apps/draining.py`` with these arguments of the hooks; None for no hooks."""
    settings = {"graceful_timeout": 20, **options}
    if drain is not None:
        settings["config"] = CONFIGURATION
        env["DRAIN"] = json.dumps(drain)
    return start_server(WORKER, "tests.apps.draining:app", env, settings)


def ends_of(peers: Sequence[Peer], within: float) -> list[float]:
    """When the connections end, in seconds from now, in order; each by a close frame."""
    began = time.monotonic()
    ends: list[float] = []
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer.socket, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(began + within - time.monotonic())
            assert ready, f"{len(selector.get_map())} of {len(peers)} connections have not ended"
            for key, _ in ready:
                selector.unregister(key.fileobj)
                ends.append(time.monotonic() - began)
    assert {peer.wait_closed().code for peer in peers} == {1005}
    return ends


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that has not been collected yet."""
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def tell(server: RunningServer, signum: signal.Signals) -> int:
    """Send a signal, SIGTERM to the worker itself; the worker's process id."""
    old = server.worker_pid
    os.kill(old if signum == signal.SIGTERM else server.pid, signum)
    return old


def wait_for_events(server: RunningServer) -> tuple[PollingSession, Exchange]:
    """A polling client that has joined, and its GET that waits."""
    session = Endpoint(server.url, "/socket.io").open_polling()
    session.post("40")
    assert session.poll()[0].startswith("40")
    waiting = session.start_get()
    fetch(server, "/")  # its connection comes behind the GET's, which is not in the listener's backlog any more then
    return session, waiting


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("drain", [None, {"seconds": 0}, {"seconds": 0.5}], ids=["plain", "at once", "spread"])
def test_a_worker_with_1000_idle_websockets_restarts_at_once(
    drain: dict[str, Any] | None, signum: signal.Signals
) -> None:
    """The old worker is gone and a new one serves; with the hooks all clients and all handlers have been told."""
    with serve(drain) as server:
        peers = [Peer(server).join() for _ in range(1000)]
        began = time.monotonic()
        old = tell(server, signum)
        eventually(lambda: has_ended(old), bool)
        assert int(fetch(server, "/")) != old
        assert time.monotonic() - began < 10  # not gunicorn's 20, for requests that do not end
        if drain is not None:
            ends_of(peers, 10)
            assert server.log().count(LEFT) == len(peers)
        with Peer(server).join() as newcomer:
            assert newcomer.call("echo", 1) == [1]
        assert_clean(server)


@pytest.mark.slow
def test_the_ends_are_spread_over_the_time_given() -> None:
    with serve({"seconds": 2}) as server:
        peers = [Peer(server).join() for _ in range(200)]
        old = tell(server, signal.SIGTERM)
        ends = ends_of(peers, 4)
        quarters = [sum(1 for end in ends if quarter / 2 <= end < (quarter + 1) / 2) for quarter in range(4)]
        assert min(quarters) >= 30, ends
        eventually(lambda: has_ended(old), bool)
        assert server.log().count(LEFT) == len(peers)
        assert_clean(server)


@pytest.mark.slow
def test_the_spread_fits_into_gunicorns_time() -> None:
    """However long a drain is wanted, the worker ends by itself before it would be killed."""
    with serve({"seconds": 60}, {"graceful_timeout": 3}) as server:
        peers = [Peer(server).join() for _ in range(20)]
        os.kill(server.pid, signal.SIGTERM)
        ends = ends_of(peers, 3)
        assert ends[0] < 0.3  # the drain does not wait until gunicorn's loop has noticed
        server.process.wait(30)
        assert server.log().count(LEFT) == len(peers)
        assert "Worker exiting" in server.log() and "SIGKILL" not in server.log()
        assert_clean(server)


def test_the_worker_waits_for_the_handlers_of_disconnect() -> None:
    with serve({"seconds": 0}, LAST_WORDS="0.7") as server:
        peers = [Peer(server).join() for _ in range(5)]
        os.kill(server.pid, signal.SIGTERM)
        ends_of(peers, 10)
        server.process.wait(30)
        assert server.log().count(LEFT) == len(peers)
        assert_clean(server)


def test_a_waiting_poll_is_answered_and_does_not_keep_the_worker() -> None:
    """Its client is told that the session is over; under gevent such a GET is a request that gunicorn waits for."""
    with serve({"seconds": 0.2}) as server:
        _, waiting = wait_for_events(server)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert waiting.response().text in CLOSED
        server.process.wait(30)
        assert time.monotonic() - began < 10  # not gunicorn's 20
        assert LEFT in server.log()
        assert_clean(server)


def test_websockets_over_tls_do_not_keep_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds its request's thread or greenlet, and gunicorn would wait for that."""
    monkeypatch.setenv("DRAIN", json.dumps({"server": "tests.apps.robustness:io", "seconds": 0.2}))
    with serve_robustness(f"{WORKER}-tls", {"graceful_timeout": 20, "config": CONFIGURATION}) as server:
        peers = [Peer(server).join() for _ in range(10)]
        os.kill(server.pid, signal.SIGTERM)
        assert {peer.wait_closed().code for peer in peers} == {1005}
        server.process.wait(30)
        assert_clean(server)


@pytest.mark.parametrize("in_a_drain", [False, True])
def test_an_impatient_end_is_not_spread(in_a_drain: bool) -> None:
    """Ctrl-C, even in the middle of a drain: the handlers run, and that is all there is time for."""
    with serve({"seconds": 60}, {"graceful_timeout": 60}) as server:
        peers = [Peer(server).join() for _ in range(20)]
        if in_a_drain:
            os.kill(server.pid, signal.SIGTERM)
            server.wait_for_log(LEFT)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGINT)
        server.process.wait(30)
        assert time.monotonic() - began < 15
        assert server.log().count(LEFT) == len(peers)


@pytest.mark.slow
def test_a_worker_that_has_served_its_requests_drains_too() -> None:
    """gunicorn's ``max_requests`` restarts workers without any signal, and they too would wait for polls."""
    with serve({"seconds": 0.2}, {"max_requests": 12}) as server, Peer(server).join() as peer:
        _, waiting = wait_for_events(server)
        old = server.worker_pid
        eventually(lambda: int(fetch(server, "/")), lambda pid: pid != old)
        assert waiting.response().text in CLOSED
        ends_of([peer], 10)
        assert server.log().count(LEFT) == 2
        assert_clean(server)


@pytest.mark.parametrize("name", ["tests.apps.draining:logger", "tests.apps.draining:nothing"])
def test_a_wrong_name_is_told_when_the_worker_boots(name: str) -> None:
    """And not when it is told to stop."""
    with pytest.raises(RuntimeError, match="is no wsgi_sio.Server|has no attribute 'nothing'"):
        serve({"server": name})


def test_the_server_of_the_flask_extension_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the extension."""
    monkeypatch.setenv("DRAIN", json.dumps({"server": "tests.apps.draining_flask:socketio", "seconds": 0}))
    with start_server(WORKER, "tests.apps.draining_flask:app", None, {"config": CONFIGURATION}) as server:
        with Peer(server).join() as peer:
            os.kill(server.pid, signal.SIGTERM)
            assert peer.wait_closed().code == 1005
        server.process.wait(30)
        assert_clean(server)


@pytest.mark.slow
@pytest.mark.usefixtures("node_modules")
@pytest.mark.timeout(60)
def test_a_crowd_of_javascript_clients_survives_reloads() -> None:
    """Half of them poll. Everybody gets the notice, is told to go, and is served by the new worker soon after."""
    count = 100
    with (
        serve({"seconds": 1, "notice": ["notice", "back soon"]}) as server,
        start_node("crowd.js", server.url, str(count)) as crowd,
    ):
        assert crowd.next_line()["clients"] == count
        for _ in range(2):
            old = tell(server, signal.SIGHUP)
            returned = crowd.next_line()
            assert returned["clients"] == count
            assert old not in returned["pids"]
            assert returned["notices"] >= count * 0.9  # a client that is between two polls cannot be reached
        assert_clean(server)
