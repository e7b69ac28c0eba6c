"""The benchmark of very many clients, with a few: all connected, told, lost and back, and the table of it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.crowd import Crowd
from benchmarks.install import Cache, Unavailable
from benchmarks.limits import SPARE, allow_descriptors, most_clients
from benchmarks.measure import AVAILABLE
from benchmarks.plan import run_all
from benchmarks.probe import Probe
from benchmarks.report import SCALE_LINES, Results, scale_table
from benchmarks.scenarios import Scenario, Setting
from benchmarks.servers import KINDS, Ready, RunningServer
from tests.support.require import require
from tests.support.world import one_world

SETTING = Setting(seconds=0.1, rounds=1, cores=None, cache=Cache(Path()))
GTHREAD = {kind.name: kind for kind in KINDS}["ours-gthread"]

pytestmark = one_world


@contextmanager
def server() -> Iterator[RunningServer]:
    require(find_spec("gunicorn"), "gunicorn")
    require(AVAILABLE, "Linux")
    with RunningServer(GTHREAD.prepare(Cache(Path())), None) as running:
        yield running


@pytest.mark.slow
def test_connect_tell_restart_and_come_back() -> None:
    require(find_spec("gunicorn"), "gunicorn")
    require(AVAILABLE, "Linux")
    scenario = Scenario("scale", "scale", "Scale", "connection", clients=30)
    (sample,) = run_all([scenario], {GTHREAD: GTHREAD.prepare(Cache(Path()))}, SETTING)
    assert (sample.error, sample.faults, sample.count) == ("", {}, 30)
    table = scale_table(Results({GTHREAD.name: "Ours"}, [sample]))
    assert [row[0] for row in table.rows] == [line.title for line in SCALE_LINES]
    assert [row for row in table.rows if row[1] == "–"] == []
    assert sample.figures["all back, s"] > 0.5  # nobody comes at once


@pytest.mark.slow
def test_a_crowd_is_told_everything_once_and_counts_who_is_lost() -> None:
    with server() as running, closing(Crowd(running.port, 10)) as crowd:
        assert crowd.connect(20.0) and crowd.up == 10
        crowd.publish(b"news")
        assert crowd.run(20.0, until=lambda: crowd.heard >= 10)
        crowd.run(0.1)
        assert crowd.heard == 10
        running.stop()
        assert crowd.run(20.0, until=lambda: crowd.up == 0)
        assert crowd.events == {"lost": 10}


def test_a_crowd_that_is_not_let_in_says_so() -> None:
    require(AVAILABLE, "Linux")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with closing(Crowd(port, 3)) as crowd:
        assert not crowd.connect(0.2)
        assert crowd.events == {"not let in (Connection refused)": 3}


def test_a_server_waits_for_a_port_that_its_predecessor_still_has() -> None:
    """A process with thousands of connections takes a while to end."""
    broken = Ready(lambda fd, websockets, pollers: ["false"], {})
    with socket.create_server(("127.0.0.1", 0)) as predecessor:
        port = predecessor.getsockname()[1]
        ending = threading.Timer(0.1, predecessor.close)
        ending.start()
        with pytest.raises(Unavailable, match="the server does not answer"):
            RunningServer(broken, None, port=port)
        ending.join()


@pytest.mark.slow
def test_a_probe_tells_the_longest_answer_since_it_was_asked_last() -> None:
    with server() as running, Probe(running.port) as probe:
        assert 0.0 <= probe.lap() < 20.0
        os.killpg(running.pid, signal.SIGSTOP)
        time.sleep(0.3)
        assert probe.lap() >= 0.25, "what is still to come counts"
        os.killpg(running.pid, signal.SIGCONT)
        time.sleep(0.1)
        assert probe.lap() >= 0.25, "it has come only now"
        running.stop()
        with pytest.raises(Unavailable, match="has ended"):
            while True:
                probe.lap()


def test_a_limit_that_is_too_low_is_told() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    require(hard != resource.RLIM_INFINITY, "a limit of open files")
    assert most_clients() == hard - SPARE
    with pytest.raises(Unavailable, match=rf"needs {hard + 1} open files, the system allows {hard} \(ulimit -n\)"):
        allow_descriptors(hard + 1)
