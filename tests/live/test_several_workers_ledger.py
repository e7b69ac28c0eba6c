"""The proof by numbers: several workers lose, double and reorder nothing, and nobody has to connect anew.

Every request is on a connection of its own.  When workers end, by whatever cause, only their own clients reconnect; the
last four characters of a session's id tell whose it is.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.live.crowd import Plan, has_ended
from tests.live.peers import eventually
from tests.live.several import SeveralWorkers, children, crowd, gunicorn, wait_for_siblings
from tests.support.freezing import freeze, thaw
from tests.support.scenario import assert_clean
from tests.support.world import WORLD

slow = pytest.mark.slow
WORKER = "-k gevent" if WORLD == "gevent" else "-k gthread --threads 8"
SECONDS = float(os.environ.get("LEDGER_SECONDS", "24"))
CLIENTS = int(os.environ.get("LEDGER_CLIENTS", "200"))
WORKERS = 4
# How many requests a worker serves, and how many clients there are for each: often with few, or seldom with many.
MAX_REQUESTS = (300, CLIENTS // WORKERS // 5) if WORLD == "gevent" else (1500, CLIENTS // WORKERS)
BROKEN = re.compile("end of file|reset by peer|broken pipe|0 bytes read", re.IGNORECASE)


def show(title: str, report: dict[str, Any]) -> None:
    """What the run was like; pytest shows it with -s, or on failure."""
    counts = report["counts"]
    print(
        f"\n{title}: {counts['echoes']} numbers came back, {counts.get('broadcasts', 0)} broadcasts,"
        f" {counts['requests']} requests; {len(report['lost'])} sessions ended, {report['wrongs']} promises broken;"
        f" clients of each worker {sorted(report['tags'].values())};"
        f" {report['cpu']:.0f} s of CPU here in {report['wall']:.0f} s"
    )


@contextmanager
def ledger(options: str, workers: int, plan_clients: int, seconds: float, **plan: Any) -> Iterator[Any]:
    """Workers that broadcast, and a crowd that has joined."""
    with gunicorn(f"{WORKER} -w {workers} {options}", env={"SHOUT": "1.5"}) as server:
        wait_for_siblings(server, server.port, workers)
        with crowd(Plan((server.port,), plan_clients, seconds, broadcasts=True, **plan)) as clients:
            yield server, clients


def assert_undisturbed(server: SeveralWorkers, report: dict[str, Any]) -> None:
    assert not report["wrongs"], report["wrong"]
    assert not report["lost"], report["lost"]
    assert not server.warnings()
    assert_clean(server)


def assert_only_theirs(report: dict[str, Any], tags: set[str], most: int) -> None:
    """Only clients of those workers have reconnected, but for those whose request was just being read by one that died.

    These have seen their connection break; nobody is told that a session is unknown which lives, and no session's
    WebSocket breaks.
    """
    assert not report["wrongs"], report["wrong"]
    others = [lost for lost in report["lost"] if lost[1] not in tags]
    print(f"of others: {others}")
    alive = [lost for lost in others if (lost[1] and lost[2] == "websocket") or BROKEN.search(lost[3]) is None]
    assert not alive, others
    assert len(others) <= most, others


@pytest.mark.timeout(90)
def test_three_workers() -> None:
    """Twelve clients, a third each of polling, WebSocket and upgrade, for three seconds."""
    with ledger("", 3, 12, 3.0) as (server, clients):
        report = clients.report()
        show("3 workers", report)
        assert_undisturbed(server, report)
        assert len(report["newest"]) == 3 and report["counts"]["broadcasts"] > 12 * 3


@slow
@pytest.mark.crowd
@pytest.mark.timeout(240)
def test_four_workers_and_two_hundred_clients() -> None:
    with ledger("", WORKERS, CLIENTS, SECONDS, period=1.0, arrive=3.0) as (server, clients):
        report = clients.report()
        show("undisturbed", report)
        assert_undisturbed(server, report)
        counts = sorted(report["tags"].values())
        assert len(counts) == WORKERS and counts[-1] <= 1.2 * counts[0] + 2
        assert len(report["newest"]) == WORKERS


@slow
@pytest.mark.crowd
@pytest.mark.timeout(240)
def test_a_worker_is_killed_every_five_seconds() -> None:
    """Each time the clients of that one reconnect, and nobody else; gunicorn starts another, which joins."""
    with ledger("", WORKERS, CLIENTS, SECONDS, period=1.0, arrive=3.0) as (server, clients):
        killed = []
        while time.monotonic() < clients.began + SECONDS - 6:
            time.sleep(5)
            victim = server.worker_pids[0]
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
        report = clients.report()
        show(f"{len(killed)} killed", report)
        tags = {report["pids"][str(pid)] for pid in killed if str(pid) in report["pids"]}
        assert_only_theirs(report, tags, most=len(killed) * CLIENTS // 10)
        assert len(report["lost"]) >= len(killed)


@slow
@pytest.mark.crowd
@pytest.mark.timeout(240)
def test_a_stopped_worker() -> None:
    """It stands still for six seconds and goes on: nobody loses anything, whosever clients they are."""
    with ledger("", WORKERS, CLIENTS, SECONDS / 2, period=1.0, arrive=3.0) as (server, clients):
        before = clients.joined["tags"]
        stopped = server.worker_pids[1]
        time.sleep(3)
        freeze(stopped)
        try:
            time.sleep(6)
        finally:
            thaw(stopped)
        report = clients.report()
        show("stopped", report)
        assert_undisturbed(server, report)
        assert report["tags"] == before


@slow
@pytest.mark.crowd
@pytest.mark.timeout(240)
def test_a_reload() -> None:
    """HUP: all workers are replaced, so everybody reconnects, once; the old and the new ones are siblings meanwhile."""
    with ledger("", WORKERS, CLIENTS, SECONDS / 2, period=1.0, arrive=3.0) as (server, clients):
        old = server.worker_pids
        time.sleep(3)
        os.kill(server.pid, signal.SIGHUP)
        report = clients.report()
        show("reloaded", report)
        assert all(has_ended(pid) for pid in old)
        assert_replaced(report, old)
        assert_clean(server)


@slow
@pytest.mark.crowd
@pytest.mark.timeout(240)
def test_an_upgrade_of_gunicorn() -> None:
    """USR2: a second master starts its workers, which are siblings of the first one's; those are told to go then."""
    with ledger("", WORKERS, CLIENTS, 1.5 * SECONDS, period=1.0, arrive=3.0) as (server, clients):
        old = server.worker_pids
        time.sleep(2)
        os.kill(server.pid, signal.SIGUSR2)
        masters = eventually(lambda: [pid for pid in children(server.pid) if pid not in old], bool, 10)
        eventually(lambda: len(children(masters[0])), lambda count: count == WORKERS, 20)
        time.sleep(max(4, SECONDS / 4))
        os.kill(server.pid, signal.SIGTERM)
        report = clients.report()
        show("upgraded", report)
        assert_replaced(report, old)


def assert_replaced(report: dict[str, Any], old: list[int]) -> None:
    """Every session of the old workers has ended, and none of the new ones."""
    tags = {report["pids"][str(pid)] for pid in old}
    assert not report["wrongs"], report["wrong"]
    assert not tags & set(report["tags"])
    others = [lost for lost in report["lost"] if lost[1] not in tags]
    assert len(others) <= CLIENTS / 20, others  # what was being read by a worker when it had to go
    assert len(report["tags"]) > 1  # all come back at once, before some of the new workers can be given any


@slow
@pytest.mark.crowd
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("requests", "clients_each"), [MAX_REQUESTS])
def test_workers_that_serve_so_many_requests(requests: int, clients_each: int) -> None:
    """``--max-requests``: workers end all the time, each with its own clients, who go on elsewhere.

    Coming back costs a client four requests or so.  If all those of one worker use up what the next may serve, that one
    ends as well, and so on without end; here it is some seventh of it.  A worker is at so many for some 20 seconds.
    """
    options = f"--max-requests {requests} --max-requests-jitter {requests // 4}"
    with ledger(options, WORKERS, WORKERS * clients_each, 2.5 * SECONDS, period=1.0, arrive=3.0) as (server, clients):
        report = clients.report()
        show(f"max_requests {requests}", report)
        alive = {tag for pid, tag in report["pids"].items() if not has_ended(int(pid))}
        ended = {lost[1] for lost in report["lost"]} - alive
        assert len(ended) >= 2
        assert_only_theirs(report, ended, most=len(ended))
        assert_clean(server)
