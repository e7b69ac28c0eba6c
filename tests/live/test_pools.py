"""The number of requests that each server runs at once, as a request finds it out; clients that use it up."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.conformance.raw import Endpoint, PollingSession
from tests.live.kinds import serve
from tests.live.peers import Peer, fetch
from tests.support.inprocess import Background, eventually
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer, start_server
from tests.support.world import WORLD

POOLS = "tests.apps.pools:app"
IDLE = 8


def pool_of(kind: str, **options: Any) -> str:
    with start_server(kind, POOLS, options=options) as server:
        return fetch(server, "/").decode()


@pytest.mark.skipif(WORLD == "gevent", reason="servers of threads")
@pytest.mark.parametrize(
    ("kind", "options", "pool"),
    [
        ("gunicorn-gthread", {"threads": 5}, "5; gunicorn's --threads"),
        ("waitress", {"threads": 5}, "5; waitress's --threads"),
        ("a2wsgi", {"workers": 5}, "5; workers= of the WSGIMiddleware"),
        (
            "asgiref",
            {},
            "1; the workers (asgiref's WsgiToAsgi has one: a2wsgi's WSGIMiddleware takes workers=N)",
        ),
        ("werkzeug", {}, "None; "),
        ("werkzeug", {"threaded": False}, "1; the number of the server's threads, which is one"),
        ("wsgiref", {}, "None; "),
    ],
)
def test_the_pool_of_a_server_of_threads(kind: str, options: dict[str, Any], pool: str) -> None:
    assert pool_of(kind, **options) == pool


@pytest.mark.skipif(WORLD == "threads", reason="servers of greenlets")
@pytest.mark.parametrize(
    ("kind", "options", "pool"),
    [
        ("gunicorn-gevent", {"worker_connections": 50}, "50; gunicorn's --worker-connections"),
        ("pywsgi", {"spawn": 50}, "50; the size of WSGIServer's spawn= pool"),
        ("pywsgi", {}, "None; the size of WSGIServer's spawn= pool"),
    ],
)
def test_the_pool_of_a_server_of_greenlets(kind: str, options: dict[str, Any], pool: str) -> None:
    assert pool_of(kind, **options) == pool


class IdleClients:
    """So many clients that do nothing but wait for packets, each with a GET under way at any time."""

    def __init__(self, server: RunningServer, count: int) -> None:
        self._endpoint = Endpoint(server.url, "/socket.io")
        self._over = False
        self._waiting = [Background(self._wait, self._endpoint.open_polling()) for _ in range(count)]

    def _wait(self, session: PollingSession) -> None:
        while not self._over:
            connection = HTTPConnection(self._endpoint.host, int(self._endpoint.port), timeout=60)
            connection.request("GET", f"/socket.io/?{session.query}")
            assert connection.getresponse().read() in (b"6", b"1")
            connection.close()

    @property
    def all_waiting(self) -> bool:
        return not any(call.done for call in self._waiting)

    def leave(self) -> None:
        self._over = True
        self._endpoint.hang_up()
        for call in self._waiting:
            call.result()


SMALL: list[tuple[str, dict[str, Any]]] = (
    [("gunicorn-gevent", {"worker_connections": 4}), ("pywsgi", {"spawn": 4})]
    if WORLD == "gevent"
    else [("waitress", {"threads": 4}), ("a2wsgi", {"workers": 4}), ("asgiref", {})]
)


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_idle_clients_leave_the_site_room(kind: str, options: dict[str, Any]) -> None:
    """More clients wait than the server runs requests at once: pages come all the same, and the log has the cure."""
    with serve(kind, options) as server:
        clients = IdleClients(server, IDLE)
        server.wait_for_log("refused (requests that wait)", 30)
        for _ in range(5):
            began = time.monotonic()
            fetch(server, "/")
            assert time.monotonic() - began < 3  # a GET that waits as it likes takes 25 s
        assert clients.all_waiting
        clients.leave()
        assert_clean(server)


def test_clients_within_the_bound_wait_as_long_as_they_like() -> None:
    """No polling back and forth where the server has room."""
    kind = "gunicorn-gevent" if WORLD == "gevent" else "waitress"
    with serve(kind, {"worker_connections" if WORLD == "gevent" else "threads": IDLE * 2}) as server:
        endpoint = Endpoint(server.url, "/socket.io")
        polls = [Background(endpoint.open_polling().get) for _ in range(IDLE)]
        time.sleep(1.0)  # longer than anybody waits where there is none
        assert not any(poll.done for poll in polls)
        endpoint.hang_up()
        assert [poll.result().text for poll in polls] == ["6"] * IDLE
        assert "requests that wait" not in server.log()
        assert_clean(server)


def upgrades(server: RunningServer) -> list[str]:
    """What a handshake offers."""
    offered: list[str] = json.loads(fetch(server, "/socket.io/?EIO=4&transport=polling")[1:])["upgrades"]
    return offered


@pytest.mark.skipif(WORLD == "gevent", reason="a greenlet is spared for each")
def test_websockets_over_tls_leave_threads_for_the_site() -> None:
    """Each keeps a thread, so there are no more of them than can be spared; when one has left there is room again."""
    with serve("gunicorn-gthread-tls", {"threads": 4}) as server:
        peers = [Peer(server).join() for _ in range(3)]
        with pytest.raises(AssertionError, match="HTTP/1.1 400"):
            Peer(server)
        server.wait_for_log("let a proxy end TLS")
        assert fetch(server, "/")
        assert upgrades(server) == []
        peers.pop().leave()
        eventually(lambda: upgrades(server) == ["websocket"], "room for another")
        Peer(server).join().leave()
        for peer in peers:
            peer.leave()
        assert_clean(server)
