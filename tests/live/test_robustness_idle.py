"""Many WebSockets that do nothing: they cost memory, and little of it; no thread, no greenlet."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.live.kinds import WEBSOCKET_SERVERS, first_everyday, serve
from tests.live.peers import Memory, Peer, ask, eventually, fetch
from tests.support.require import require
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer

PER_CLIENT = 8 * 1024  # bytes
SPARE_FILES = 200


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """Let this process and its children open ``count`` files and some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    require(hard >= count + SPARE_FILES, f"{count + SPARE_FILES} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + SPARE_FILES), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "count", [1000, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)])]
)
@pytest.mark.parametrize("kind", first_everyday(WEBSOCKET_SERVERS))
@pytest.mark.alone
def test_idle_websockets(kind: str, count: int) -> None:
    """gthread holds them with 8 threads; everywhere HTTP requests are still answered."""
    options = {"threads": 8} if kind == "gunicorn-gthread" else {}
    with many_files(count), serve(kind, options, ping_interval=300) as server:
        hold(server, count)
        assert_clean(server)


def hold(server: RunningServer, count: int) -> None:
    warm = [Peer(server).join() for _ in range(100)]  # pools, caches and allocator arenas are there from now on
    greenlets = ask(server, "census")["greenlets"]
    threads = server.thread_count()
    memory = Memory(server)
    peers = [Peer(server).join() for _ in range(count)]
    assert memory.growth() / count < PER_CLIENT
    assert server.thread_count() <= threads + 8
    assert ask(server, "census")["greenlets"] <= greenlets + 8
    for _ in range(20):
        assert fetch(server, "/").startswith(b"hello")
    for peer in (peers[0], peers[count // 2], peers[-1], warm[0]):
        assert peer.call("echo", "awake") == ["awake"]
    for peer in (*warm, *peers):
        peer.socket.close()
    eventually(lambda: ask(server, "census")["Socket"], lambda left: left == 0, 20)
