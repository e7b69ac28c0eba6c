"""POSTs of clients whose handlers do not keep up, or that never send them whole: the site is served all the same."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conformance.raw import SEPARATOR, Endpoint
from tests.live.kinds import first_everyday, serve
from tests.live.peers import ask, eventually, fetch
from tests.support.scenario import assert_clean
from tests.support.servers import SERVERS, RunningServer
from tests.support.world import WORLD

CLIENTS = 20  # more than the servers have threads
EVENTS = 5000
BODY_TIMEOUT = 2.0  # seconds

# One by one their events fill the mailbox; the last of each waits for room.
FLOOD = SEPARATOR.join(f'42["gated",{number},""]' for number in range(EVENTS))


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serve(request.param, http_request_body_timeout=BODY_TIMEOUT, ping_interval=20) as running:
        yield running
        assert_clean(running)


def assert_site_is_served(server: RunningServer) -> None:
    for _ in range(5):
        began = time.monotonic()
        assert fetch(server, "/")
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("server", first_everyday([kind for kind in SERVERS if kind != "waitress"]), indirect=True)
def test_posts_that_wait_for_their_handlers(server: RunningServer) -> None:
    """In the end every event has been handled, in its order."""
    endpoint = Endpoint(server.url, "/socket.io")
    clients = []
    for _ in range(CLIENTS):
        client = endpoint.open_polling()
        client.post("40")
        sid = client.poll()[0].removeprefix('40{"sid":"').removesuffix('"}')
        clients.append((client, sid, endpoint.start("POST", client.query, FLOOD)))
    time.sleep(0.5)  # they fill their mailboxes
    assert_site_is_served(server)
    assert not any(post.answered for _, _, post in clients)
    ask(server, "open-gate")
    for client, sid, post in clients:
        assert post.response().text == "ok"
        eventually(lambda sid=sid: ask(server, f"received?sid={sid}"), lambda count: count == EVENTS, timeout=30)
        client.post('421["numbers"]')
        assert client.poll()[-1] == f"431[[{','.join(map(str, range(EVENTS)))}]]"


@pytest.mark.parametrize(
    "server", first_everyday([kind for kind in SERVERS if kind not in ("waitress", "wsgiref")]), indirect=True
)
def test_posts_that_never_come_whole(server: RunningServer) -> None:
    """Each is given up after a while, and with it its session; the threads that read are free again."""
    endpoint = Endpoint(server.url, "/socket.io")
    sessions = [endpoint.open_polling() for _ in range(CLIENTS)]
    with ExitStack() as stack:
        posts = []
        for session in sessions:
            post = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            head = f"POST /socket.io/?EIO=4&transport=polling&sid={session.sid} HTTP/1.1\r\nHost: x\r\n"
            post.sendall(f"{head}Content-Type: text/plain\r\nContent-Length: 100\r\n\r\n42".encode())
            posts.append(post)
        if WORLD == "gevent":
            assert_site_is_served(server)
        time.sleep(BODY_TIMEOUT)
        for post in posts[:4]:  # what is behind these in a queue of the server's has its own time
            post.settimeout(5 * BODY_TIMEOUT)
            assert post.recv(1000).startswith(b"HTTP/1.1 408 ")
        eventually(lambda: ask(server, "census")["Session"], lambda count: count == 0, timeout=5 * BODY_TIMEOUT)
        assert_site_is_served(server)
    assert "http_request_body_timeout=2" in server.log()
