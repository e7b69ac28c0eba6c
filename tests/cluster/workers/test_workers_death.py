"""Workers that are processes, and die."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import WORKERS, MakeCluster
from tests.support.forking import forked
from tests.support.freezing import freeze, thaw
from tests.support.inprocess import Background, eventually
from tests.support.world import WORLD

ROOT = Path(__file__).parents[3]


class Worker:
    """Another process, with a client."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.workers.worker_process"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self.tag = self.read()

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def add_worker() -> Iterator[Callable[[], Worker]]:
    made: list[Worker] = []
    yield lambda: made.append(Worker()) or made[-1]
    for worker in made:
        if worker.process.returncode is None:
            worker.kill()


def test_a_worker_that_is_killed_ends_what_it_has_been_asked(
    make_cluster: MakeCluster, add_worker: Callable[[], Worker]
) -> None:
    cluster = make_cluster(WORKERS, 2, request_timeout=60)
    io, worker = cluster.servers[0], add_worker()
    eventually(lambda: len(io.fetch_sockets()) == 3, "the other process, with its client")
    assert worker.tag in [socket.id[-4:] for socket in io.fetch_sockets()]
    cluster.servers[1].on_server_side("hello", lambda: 2)
    asked = Background(io.server_side_emit_with_ack, "hello")
    assert worker.read() == "hello"
    acks = Background(io.timeout(60).emit_with_ack, "q")
    assert worker.read() == "q"
    for number in (0, 1):
        cluster.answering(number, number).result()
    began = time.monotonic()
    worker.kill()
    assert asked.result(10) == [2] and sorted(acks.result(10)) == [0, 1]
    assert time.monotonic() - began < 5
    assert len(io.fetch_sockets()) == 2 and cluster.open_requests() == 0


def test_a_worker_that_is_halted_delays_only_what_it_is_asked(
    make_cluster: MakeCluster, add_worker: Callable[[], Worker]
) -> None:
    cluster = make_cluster(WORKERS, 2, request_timeout=60)
    io, worker = cluster.servers[0], add_worker()
    eventually(lambda: len(io.fetch_sockets()) == 3, "the other process, with its client")
    freeze(worker.process.pid)
    asked = Background(io.fetch_sockets)
    for number in range(100):
        io.emit("x", number)
        assert cluster.clients[1].expect("x") == [number]
    assert not asked.done
    thaw(worker.process.pid)
    assert len(asked.result(10)) == 3
    assert [worker.read() for _ in range(100)] == ["x"] * 100


@pytest.mark.skipif(WORLD != "threads" or not hasattr(os, "fork"), reason="about threads and fork")
def test_a_forked_child_of_a_worker_has_nothing_of_it(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(WORKERS, 2)
    io = cluster.servers[0]

    def child() -> str:
        io.emit("from the child")
        adapter = io.sockets.adapter
        return f"{adapter.server_count()} {io.engine.tag!r} {io.fetch_sockets()} {io.server_side_emit_with_ack('x')}"

    with forked(child) as it:
        assert it.outcome() == "1 '' [] []"
    assert cluster.adapter(0).server_count() == cluster.adapter(1).server_count() == 2
    assert cluster.got() == [[], []]
