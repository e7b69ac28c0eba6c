"""Where sessions of several workers begin, what becomes of them when their worker dies, and bad surroundings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.raw import Endpoint, PollingSession, Response
from tests.live.crowd import Plan, has_ended
from tests.live.peers import eventually
from tests.live.several import SeveralWorkers, crowd, exchange, fetch_at, free_ports, gunicorn, wait_for_siblings
from tests.support.scenario import assert_clean
from tests.support.world import WORLD

slow = pytest.mark.slow
GTHREAD = "-k gthread --threads 8"
WORKER = "-k gevent" if WORLD == "gevent" else GTHREAD
PLACEMENT = [("-k gevent", 4), ("-k gevent", 2)] if WORLD == "gevent" else [(GTHREAD, 4), ("-k sync", 4)]
NOT_ALONE = "cannot reach each other"
# A user that nobody is.
STRANGER = 54321


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory for everybody, as /tmp is, with a short name."""
    with tempfile.TemporaryDirectory(prefix="sio") as directory:
        os.chmod(directory, 0o1777)
        yield Path(directory)


def owner_of(server: SeveralWorkers, session: PollingSession) -> int:
    """The process in which a session lives."""
    session.post("40")
    packets: list[str] = []
    while not any('"welcome"' in packet for packet in packets):
        packets += session.poll()
    (welcome,) = (json.loads(packet[2:]) for packet in packets if '"welcome"' in packet)
    return int(welcome[1])


# --- placement ---


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("kind", "workers"), [PLACEMENT[0], *(pytest.param(*each, marks=slow) for each in PLACEMENT[1:])]
)
def test_workers_share_the_clients(kind: str, workers: int) -> None:
    """Whoever accepts most connections: of 200 clients each has as many as the others, within a fifth."""
    with gunicorn(f"{kind} -w {workers}") as server:
        wait_for_siblings(server, server.port, workers)
        with crowd(Plan((server.port,), 200, 0.5, period=10.0, arrive=2.0)) as clients:
            report = clients.report()
        counts = sorted(report["tags"].values())
        print(f"\n{kind} -w {workers}: {counts}")
        assert len(counts) == workers and sum(counts) == 200
        assert counts[-1] <= 1.2 * counts[0] + 2
        assert not report["wrongs"] and not report["lost"], report
        assert_clean(server)


@pytest.mark.parametrize(
    "options",
    ["", *(pytest.param(each, marks=slow) for each in ("--preload", "--config python:tests.apps.draining_conf"))],
)
def test_workers_join_without_a_request(base: Path, options: str) -> None:
    """As soon as they serve, so that the first who comes can be given to any of them; the hooks do no harm."""
    drain = json.dumps({"server": "tests.apps.many:io", "seconds": 0})
    with gunicorn(f"{WORKER} -w 3 {options}", env={"RUNTIME_DIRECTORY": str(base), "DRAIN": drain}) as server:
        eventually(lambda: len(list(base.glob("*/*/*"))), lambda count: count == 3, 30)
        eventually(lambda: json.loads(fetch_at(server.port))["siblings"], lambda count: count == 2, 30)
        assert not server.warnings()
        assert_clean(server)


# --- death ---


def test_a_poll_after_its_owner_s_death_is_told_at_once() -> None:
    """The poll that was with the owner breaks off; the next one, by way of a sibling, is refused without any wait."""
    with gunicorn(f"{WORKER} -w 3") as server:
        wait_for_siblings(server, server.port, 3)
        endpoint = Endpoint(server.url, "/socket.io")
        took = []
        for _ in range(3):
            wait_for_siblings(server, server.port, 3)
            session = endpoint.open_polling()
            owner = owner_of(server, session)
            waiting = session.start_get()
            fetch_at(server.port)  # so that it is not in a backlog any more, but with its owner
            time.sleep(0.3)
            assert not waiting.answered
            os.kill(owner, signal.SIGKILL)
            with pytest.raises((ConnectionError, EOFError, OSError)):
                waiting.response()
            began = time.monotonic()
            answer = retry(session)
            took.append(time.monotonic() - began)
            assert (answer.status, answer.json()["code"]) == (400, 1)
        print(f"\n{WORKER}: code 1 after {', '.join(f'{1000 * seconds:.1f}' for seconds in took)} ms")
        assert min(took) < 1


def retry(session: PollingSession) -> Response:
    """Poll; a connection may have been in the hands of the worker that died."""
    for _ in range(5):
        try:
            return session.get()
        except (ConnectionError, EOFError):
            continue
    raise AssertionError("the server does not answer")


def test_a_worker_that_was_killed_is_replaced_by_one_that_joins() -> None:
    """gunicorn starts another; it takes requests of all sessions, and gets new ones."""
    with gunicorn(f"{WORKER} -w 2") as server:
        wait_for_siblings(server, server.port, 2)
        victim = server.worker_pids[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: server.worker_pids, lambda pids: len(pids) == 2 and victim not in pids, 30)
        wait_for_siblings(server, server.port, 2)
        report = exchange(Plan((server.port,), clients=9, seconds=2))
        assert len(report["tags"]) == 2
        assert not server.warnings()


# --- surroundings ---


def assert_alone(server: SeveralWorkers) -> None:
    """Each worker serves whoever's requests all reach it, and says once why it is alone."""
    with crowd(Plan((server.port,), 6, 1.0, modes=("websocket",))) as clients:
        report = clients.report()
    assert not report["wrongs"] and not report["lost"], report
    told = [line for line in server.warnings() if NOT_ALONE in line]
    assert 1 <= len(told) <= 2, server.log()
    assert len(server.warnings()) == len(told), server.warnings()
    assert_clean(server)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@slow
@needs_root
def test_no_directory_at_all(base: Path) -> None:
    """One place is read-only, all others are another user's: the workers are alone, which each says in one line."""
    shared = Path(f"/dev/shm/wsgi_sio-{STRANGER}")
    assert not shared.exists()
    shared.mkdir(0o700)  # ours, hence not that of the user who serves
    try:
        (base / f"wsgi_sio-{STRANGER}").mkdir(0o700)
        with tempfile.TemporaryDirectory(prefix="sio") as read_only:
            os.chmod(read_only, 0o755)
            env = {"RUNTIME_DIRECTORY": read_only, "TMPDIR": str(base), "XDG_RUNTIME_DIR": ""}
            # Preloaded, since that user may not be allowed to read our modules.
            options = f"-w 2 --preload --user {STRANGER} --group {STRANGER} --worker-tmp-dir /dev/shm"
            with gunicorn(f"{WORKER} {options}", env=env) as server:
                assert_alone(server)
                told = next(line for line in server.warnings() if NOT_ALONE in line)
                assert f"{read_only} (RUNTIME_DIRECTORY): Permission denied" in told
                assert f"{base} (" in told and "/dev/shm (" in told and told.count("another user") == 2
    finally:
        shared.rmdir()


@slow
@needs_root
def test_the_next_place_is_taken(base: Path) -> None:
    """A runtime directory that another user has spoilt: the workers meet elsewhere, and there is nothing to say."""
    squatted = base / f"wsgi_sio-{os.geteuid()}"
    squatted.mkdir()
    os.chown(squatted, STRANGER, STRANGER)
    with gunicorn(f"{WORKER} -w 2", env={"RUNTIME_DIRECTORY": str(base)}) as server:
        wait_for_siblings(server, server.port, 2)
        exchange(Plan((server.port,), clients=6, seconds=1))
        assert not server.warnings()
        assert not list(squatted.iterdir())


@slow
def test_the_files_are_removed_while_it_runs(base: Path) -> None:
    """Whoever tidies up in /tmp: those who know each other go on, without a word."""
    with gunicorn(f"{WORKER} -w 3", env={"RUNTIME_DIRECTORY": str(base)}) as server:
        wait_for_siblings(server, server.port, 3)
        with crowd(Plan((server.port,), 9, 3.0)) as clients:
            (home,) = base.glob("wsgi_sio-*")
            shutil.rmtree(home)
            report = clients.report()
        assert not report["wrongs"] and not report["lost"], report
        exchange(Plan((server.port,), 9, 1.0))
        assert not server.warnings()
        assert_clean(server)


def test_siblings_can_be_switched_off(base: Path) -> None:
    """Then all is as it was: no directory, no tag, and a session is known to its own process only."""
    with gunicorn(f"{WORKER} -w 2", env={"RUNTIME_DIRECTORY": str(base)}, siblings=False) as server:
        sessions = [Endpoint(server.url, "/socket.io").open_polling() for _ in range(20)]
        answers = [session.post("40") for _ in range(3) for session in sessions]
        assert {answer.status for answer in answers} == {200, 400}
        assert not list(base.iterdir())
        assert [line for line in server.warnings() if "several processes" in line]
        assert_clean(server)


@slow
def test_a_name_joins_two_servers(base: Path) -> None:
    """Two gunicorns on different ports, told to be one: each gets requests of the other's sessions."""
    ports = free_ports(2)
    env = {"RUNTIME_DIRECTORY": str(base), "TELL": "1"}
    with (
        gunicorn(f"{WORKER} -w 1", env=env, ports=ports[:1], siblings="one") as first,
        gunicorn(f"{WORKER} -w 2", env=env, ports=ports[1:], siblings="one") as second,
    ):
        wait_for_siblings(second, ports[1], 3)
        report = exchange(Plan(tuple(ports), clients=12))
        assert len(report["tags"]) == 3
        assert first.held()[1] and second.held()[1]
        assert not first.warnings() and not second.warnings()
    assert has_ended(first.pid) and has_ended(second.pid)
