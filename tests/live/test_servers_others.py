"""The development servers, cheroot and waitress: pages beside Socket.IO, requests that lack what WebSocket needs."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from tests.conformance.raw import Endpoint
from tests.live.kinds import PATCHED, WEBSOCKET_KINDS, serve
from tests.live.peers import Peer, fetch
from tests.support.scenario import assert_clean
from tests.support.servers import SERVERS, RunningServer
from tests.support.world import WORLD

PAGES = {
    "flask-run": b"hello from Flask",
    "flask-run-debugger": b"hello from Flask",
    "django-runserver": b"hello from Django",
}


@pytest.mark.parametrize("kind", (*WEBSOCKET_KINDS, *(PATCHED if WORLD == "gevent" else ())))
def test_websocket_upgrade_and_pages(kind: str) -> None:
    """WebSocket from the start, the upgrade from polling and the application's pages, beside each other."""
    with serve(kind) as server:
        page = PAGES.get(kind.removeprefix("patched-"), b"hello over HTTP/1.1")
        with Peer(server).join() as peer:
            assert fetch(server, "/") == page
            assert peer.call("echo", "direct") == ["direct"]
        if server.url.startswith("http:"):
            assert upgraded_call(server) == ["upgraded"]
        assert fetch(server, "/") == page
        assert_clean(server)


def upgraded_call(server: RunningServer) -> list[str]:
    session = Endpoint(server.url, "/socket.io").open_polling()
    session.post("40")
    assert session.poll()[0].startswith("40")
    with Peer(server, session.upgrade_url()) as peer:
        peer.send("2probe")
        assert peer.receive() == "3probe"
        peer.send("5")
        answer: list[str] = peer.call("echo", "upgraded")
        return answer


@pytest.mark.skipif(WORLD == "gevent", reason="a server of the world of threads")
def test_waitress_polls_only() -> None:
    """The socket cannot be reached: the handshake offers no upgrade, a WebSocket is refused readably, polling works."""
    with serve("waitress") as server:
        endpoint = Endpoint(server.url, "/socket.io")
        assert json.loads(endpoint.request("GET", "EIO=4&transport=polling").text[1:])["upgrades"] == []
        assert endpoint.upgrade("EIO=4&transport=websocket").status == 400
        session = endpoint.open_polling()
        session.post("40")
        session.poll()
        session.post('420["echo","over polling"]')
        assert session.poll() == ['430["over polling"]']
        assert fetch(server, "/").startswith(b"hello")
        assert_clean(server)


@pytest.mark.parametrize("kind", SERVERS)
def test_upgrade_that_a_proxy_has_removed(kind: str) -> None:
    """transport=websocket without the Upgrade header, or over HTTP/1.0: a 400; HTTP/1.0 may poll."""
    with serve(kind) as server:
        endpoint = Endpoint(server.url, "/socket.io")
        assert endpoint.request("GET", "EIO=4&transport=websocket").status == 400
        refused = raw_request(server, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.0", UPGRADE)
        assert refused.split()[1] == b"400", refused
        polled = raw_request(server, "GET /socket.io/?EIO=4&transport=polling HTTP/1.0", "")
        assert polled.split()[1] == b"200", polled
        assert b'0{"sid":"' in polled
        assert raw_request(server, "GET / HTTP/1.0", "").split()[1] == b"200"
        assert_clean(server)


@pytest.mark.parametrize("kind", SERVERS)
def test_refused_requests_leave_no_traceback(kind: str) -> None:
    """Each refusal is a plain answer, on every server."""
    with serve(kind, max_http_buffer_size=1000) as server:
        endpoint = Endpoint(server.url, "/socket.io")
        session = endpoint.open_polling()
        assert endpoint.request("GET", "EIO=4&transport=pigeon").status == 400
        assert endpoint.request("GET", "EIO=3&transport=polling").status == 400
        assert endpoint.request("GET", "EIO=4&transport=polling&sid=unknown").status == 400
        assert endpoint.request("POST", "EIO=4&transport=polling", "40").status == 400
        assert endpoint.upgrade("EIO=3&transport=websocket").status == 400
        assert endpoint.upgrade("EIO=4&transport=websocket&sid=unknown").status == 400
        assert endpoint.upgrade("EIO=4&transport=websocket", headers={"Sec-WebSocket-Version": "8"}).status == 400
        foreign = {"Origin": "http://evil.example"}
        assert endpoint.request("GET", "EIO=4&transport=polling", headers=foreign).status == 403
        assert session.post("4" + "x" * 2000).status == 413
        assert_clean(server)


UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def raw_request(server: RunningServer, line: str, headers: str) -> bytes:
    """Send one request and return all that the server says before it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(f"{line}\r\nHost: 127.0.0.1:{server.port}\r\n{headers}\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.skipif(WORLD == "gevent", reason="a server of the world of threads")
def test_cheroot_holds_more_websockets_than_it_has_threads() -> None:
    """cheroot's pool has ten threads; that does not limit the number of WebSockets."""
    with serve("cheroot") as server:
        peers = [Peer(server).join() for _ in range(30)]
        answers: list[bytes] = []
        page = threading.Thread(target=lambda: answers.append(fetch(server, "/")))
        page.start()
        for number, peer in enumerate(peers):
            assert peer.call("echo", number) == [number]
            peer.leave()
        page.join()
        assert answers == [b"hello over HTTP/1.1"]
        assert_clean(server)
