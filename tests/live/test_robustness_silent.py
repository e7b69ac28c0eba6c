"""Clients whose network is gone: the connection is open and nothing comes. Told in time, and everything is freed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conformance.raw import Endpoint
from tests.live.kinds import WEBSOCKET_KINDS, WEBSOCKET_SERVERS, first_everyday, serve
from tests.live.peers import Peer, ask, eventually, fetch, wait_for_end
from tests.support.freezing import freeze
from tests.support.scenario import assert_clean
from tests.support.servers import ROOT, SERVERS, RunningServer

INTERVAL, TIMEOUT = 0.5, 0.5  # seconds
SLACK = 0.5  # seconds; a busy machine
LINGER = 2.0  # seconds a peer may take to answer the close frame
SPARE_THREADS = 6  # the pools' own: a handful that does not depend on the number of clients
CLIENTS = 40

ANSWERING_CLIENT = """
import json, sys, websocket
client = websocket.create_connection(sys.argv[1], timeout=20)
client.recv(), client.send("40")
print(json.loads(client.recv()[2:])["sid"], flush=True)
while True:
    if client.recv() == "2":
        client.send("3")
        print("answered", flush=True)
"""


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serve(request.param, ping_interval=INTERVAL, ping_timeout=TIMEOUT) as running:
        assert fetch(running, "/").startswith(b"hello")
        if request.param in WEBSOCKET_KINDS:
            Peer(running).join().leave()  # the runtime's threads and descriptors are there from now on
        yield running
        assert_clean(running)


@pytest.mark.parametrize("server", first_everyday(WEBSOCKET_KINDS), indirect=True)
@pytest.mark.slow
def test_silent_websockets(server: RunningServer) -> None:
    """All end with "ping timeout" in time; sockets, threads and memory are free again."""
    files, threads = server.fd_count(), server.thread_count()
    clients, held = (CLIENTS, 0) if server.url.startswith("http:") else (8, 8)  # TLS holds a request's thread each
    joined = {peer.sid: (peer, time.monotonic()) for peer in (Peer(server).join() for _ in range(clients))}
    for sid, (_, since) in joined.items():
        reason, when = wait_for_end(server, sid)
        assert reason == "ping timeout"
        assert INTERVAL + TIMEOUT - 0.1 < when - since < INTERVAL + TIMEOUT + SLACK
    eventually(server.fd_count, lambda count: count <= files, LINGER + SLACK)
    eventually(server.thread_count, lambda count: count <= threads + held + SPARE_THREADS, LINGER + SLACK)
    census = eventually(lambda: ask(server, "census"), lambda count: not count["Session"] and not count["Socket"], 8)
    assert not census["WebSocketTransport"] and not census["Connection"]
    for peer, _ in joined.values():
        peer.socket.close()


@pytest.mark.parametrize("server", first_everyday(SERVERS), indirect=True)
def test_silent_polling_clients(server: RunningServer) -> None:
    """The same for clients that poll no more, be it before a poll or in the middle of one."""
    threads = server.thread_count()
    endpoint = Endpoint(server.url, "/socket.io")
    since: dict[str, float] = {}
    polls = []
    for number in range(10):
        opened = time.monotonic()
        session = endpoint.open_polling()
        session.post("40")
        since[session.poll()[0].removeprefix('40{"sid":"').removesuffix('"}')] = opened
        if number % 2:
            polls.append(session.start_get())  # never read
    for sid, opened in since.items():
        reason, when = wait_for_end(server, sid)
        assert reason == "ping timeout"
        assert when - opened < INTERVAL + TIMEOUT + SLACK
    eventually(lambda: ask(server, "census")["Socket"], lambda count: count == 0)
    assert server.thread_count() <= threads + 10 + SPARE_THREADS  # that many requests were made at a time
    for poll in polls:
        poll.abort()


@pytest.mark.parametrize("server", first_everyday(WEBSOCKET_SERVERS), indirect=True)
@pytest.mark.slow
def test_a_client_process_that_is_stopped(server: RunningServer) -> None:
    """While it answers it stays; once its process is stopped, it is gone within one interval and one time-out."""
    url = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    client = subprocess.Popen([sys.executable, "-c", ANSWERING_CLIENT, url], stdout=subprocess.PIPE, cwd=ROOT)
    assert client.stdout is not None
    try:
        sid = client.stdout.readline().decode().strip()
        for _ in range(3):
            assert client.stdout.readline() == b"answered\n"
        assert sid not in ask(server, "journal")
        freeze(client.pid)
        stopped = time.monotonic()
        reason, when = wait_for_end(server, sid)
        assert reason == "ping timeout"
        assert when - stopped < INTERVAL + TIMEOUT + SLACK
    finally:
        client.kill()
        client.wait()
