"""Jobs on pooled workers: blocking ones, failing ones, floods of them, from everywhere."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.runtime.conftest import Conn, MakeReactor
from tests.runtime.test_mailbox import Owner
from tests.support.inprocess import DEADLINE, at_once, eventually
from tests.support.servers import ROOT
from tests.support.world import WORLD
from wsgi_sio.runtime import SerialQueue

threads_only = pytest.mark.skipif(WORLD != "threads", reason="about the pool of threads")


def native_thread(target: Callable[[], Any]) -> None:
    """Run ``target`` in a real thread, under gevent beside the hub's."""
    if WORLD == "gevent":
        import gevent.monkey

        gevent.monkey.get_original("_thread", "start_new_thread")(target, ())
    else:
        threading.Thread(target=target, daemon=True).start()


def test_a_job_runs_on_a_worker_and_not_in_the_caller(reactor: Any) -> None:
    ran: list[Any] = []
    reactor.submit(lambda: ran.append(threading.get_ident()))
    eventually(lambda: ran, "the job")
    assert ran[0] != threading.get_ident()


def test_failing_jobs_are_logged_and_the_others_run(reactor: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    done: list[int] = []
    for number in range(10):
        reactor.submit(fail)
        reactor.submit(lambda n=number: done.append(n))
    eventually(lambda: len(done) == 10, "the others")
    eventually(lambda: sum(r.exc_info is not None for r in caplog.records) == 10, "the log")
    assert all(r.levelno == logging.ERROR for r in caplog.records if r.exc_info)


def endings() -> list[type[BaseException]]:
    """What a job may raise that is meant to end more than the job."""
    found: list[type[BaseException]] = [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException]
    if WORLD == "gevent":
        from gevent import GreenletExit, Timeout

        found += [GreenletExit, Timeout]
    return found


@pytest.fixture
def ctrl_c_is_somebody_elses() -> Iterator[None]:
    """As under gunicorn: Python does not raise KeyboardInterrupt by itself."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_somebody_elses")
@pytest.mark.parametrize("error", endings())
def test_jobs_that_end_their_worker_do_not_shrink_the_pool(
    make_reactor: MakeReactor, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    reactor = make_reactor(max_workers=2)

    def leave() -> None:
        raise error()

    for _ in range(10):
        reactor.submit(leave)
    done = threading.Event()
    reactor.submit(done.set)
    assert done.wait(2)
    eventually(lambda: sum(r.exc_info is not None for r in caplog.records) == 10, "the log")


@pytest.mark.usefixtures("ctrl_c_is_somebody_elses")
@pytest.mark.parametrize("error", endings())
def test_a_job_that_ends_its_worker_does_not_stop_its_mailbox(
    make_reactor: MakeReactor, error: type[BaseException]
) -> None:
    reactor = make_reactor(max_workers=1)
    queue = SerialQueue(reactor.submit, limit=100, owner=Owner())
    ran: list[int] = []

    def leave(number: int) -> None:
        ran.append(number)
        raise error()

    for number in range(5):
        queue.put(leave, number)
    eventually(lambda: ran == [0, 1, 2, 3, 4], "all jobs")


@pytest.mark.usefixtures("ctrl_c_is_somebody_elses")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_task_that_calls_sys_exit_ends_nothing_else(
    reactor: Any, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    def leave() -> None:
        raise error()

    task = reactor.spawn(leave)
    task.join(DEADLINE)
    assert not task.is_alive()
    assert error is KeyboardInterrupt or "a background task failed" in caplog.text
    done = threading.Event()
    reactor.submit(done.set)
    assert done.wait(DEADLINE)


@pytest.mark.skipif(WORLD != "gevent", reason="threads of ours are never interrupted")
def test_ctrl_c_ends_the_program_whatever_job_it_hits() -> None:
    program = """if True:
        from gevent import monkey
        monkey.patch_all()
        import os, signal, time
        from wsgi_sio.runtime import create_reactor
        create_reactor().submit(lambda: os.kill(os.getpid(), signal.SIGINT))
        try:
            time.sleep(20)
        except KeyboardInterrupt:
            print("interrupted")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert done.stdout == "interrupted\n", done.stderr


def test_blocking_jobs_run_side_by_side_up_to_the_limit(make_reactor: MakeReactor) -> None:
    """Five jobs that wait for each other in groups of the limit's size: fewer workers would hang, more are not made."""
    reactor = make_reactor(max_workers=5)
    barrier = threading.Barrier(5)
    inside = 0
    most = 0
    lock = threading.Lock()
    done: list[int] = []

    def job() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        barrier.wait(DEADLINE)
        with lock:
            inside -= 1
            done.append(1)

    for _ in range(15):
        reactor.submit(job)
    eventually(lambda: len(done) == 15, "all jobs")
    assert most == 5


def test_io_goes_on_while_every_worker_is_blocked_and_more_jobs_wait(make_reactor: MakeReactor) -> None:
    """One thread keeps polling: what is read (heartbeats, acks, closes) is handled at once, without a busy loop."""
    reactor = make_reactor(max_workers=2)
    go = threading.Event()
    got: list[bytes] = []
    ran: list[int] = []

    def read(conn: Conn) -> None:
        got.append(conn.sock.recv(100))
        reactor.submit(lambda: ran.append(len(got)))

    conn = Conn(reactor, read)
    for _ in range(10):
        reactor.submit(lambda: go.wait(DEADLINE))
    time.sleep(0.05)
    began = time.process_time()
    for number in range(20):
        conn.peer.send(b"x")
        eventually(lambda n=number: len(got) == n + 1, "the read")
    time.sleep(0.2)
    assert time.process_time() - began < 0.2
    assert ran == []
    go.set()
    eventually(lambda: len(ran) == 20, "the jobs that were read meanwhile")
    assert ran == sorted(ran)
    conn.close()


def test_another_worker_comes_soon_when_the_only_one_blocks(make_reactor: MakeReactor) -> None:
    """Time and again, also after rests in which the clock of the pool has gone to sleep."""
    reactor = make_reactor(max_workers=50)
    release: list[threading.Event] = []
    for _ in range(10):
        go = threading.Event()
        release.append(go)
        blocked = threading.Event()
        reactor.submit(lambda go=go, blocked=blocked: (blocked.set(), go.wait(DEADLINE)))
        assert blocked.wait(1)
        done = threading.Event()
        reactor.submit(done.set)
        assert done.wait(1)
    for go in release:
        go.set()


@threads_only
def test_the_pool_grows_while_jobs_block_and_shrinks_when_idle(
    make_reactor: MakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsgi_sio.runtime import thread_reactor

    monkeypatch.setattr(thread_reactor, "_IDLE", 0.1)
    reactor = make_reactor(max_workers=6)
    go = threading.Event()
    for _ in range(30):
        reactor.submit(lambda: go.wait(DEADLINE))
    eventually(lambda: reactor._threads == 7, "one thread for each worker and one that polls")
    time.sleep(0.05)
    assert reactor._threads == 7
    go.set()
    eventually(lambda: reactor._threads == 1, "all but the last to leave")
    time.sleep(0.3)
    assert reactor._threads == 1
    done = threading.Event()
    reactor.submit(done.set)
    assert done.wait(1)


@threads_only
def test_short_jobs_need_one_thread_only(make_reactor: MakeReactor) -> None:
    reactor = make_reactor()
    idents: set[int] = set()
    done = threading.Event()
    for _ in range(1000):
        reactor.submit(lambda: idents.add(threading.get_ident()))
    reactor.submit(done.set)
    assert done.wait(DEADLINE)
    assert len(idents) <= 3


def test_nothing_is_made_before_it_is_used(make_reactor: MakeReactor) -> None:
    before = set(threading.enumerate())
    make_reactor()
    assert not set(threading.enumerate()) - before


def test_jobs_that_beget_jobs_do_not_keep_the_reactor_from_reading(reactor: Any) -> None:
    stop = False
    got: list[bytes] = []

    def again() -> None:
        if not stop:
            reactor.submit(again)

    conn = Conn(reactor, lambda conn: got.append(conn.sock.recv(1)))
    for _ in range(3):
        reactor.submit(again)
    try:
        for number in range(5):
            conn.peer.send(b"x")
            eventually(lambda n=number: len(got) == n + 1, "the read", timeout=1)
    finally:
        stop = True
    conn.close()


def test_a_busy_descriptor_does_not_starve_the_others(reactor: Any) -> None:
    """One peer sends without end; another's single byte is read soon."""
    conn = Conn(reactor, lambda conn: conn.sock.recv(10) and None)
    quiet_got: list[bytes] = []
    quiet = Conn(reactor, lambda conn: quiet_got.append(conn.sock.recv(1)))
    conn.peer.settimeout(DEADLINE)
    conn.peer.send(b"x" * 100_000)
    quiet.peer.send(b"q")
    eventually(lambda: quiet_got, "the quiet one", timeout=1)
    conn.close()
    quiet.close()


def test_jobs_from_many_threads_all_run(reactor: Any) -> None:
    ran: list[tuple[int, int]] = []
    at_once(8, lambda n: [reactor.submit(lambda i=i: ran.append((n, i))) for i in range(300)])
    eventually(lambda: len(ran) == 2400, "all jobs")
    assert len(set(ran)) == 2400


def test_a_native_threads_job_starts_at_once(reactor: Any) -> None:
    """Nothing else happens that could wake the reactor by chance."""
    for _ in range(10):
        done = threading.Event()
        began: list[float] = []

        def submit(done: threading.Event = done, began: list[float] = began) -> None:
            time.sleep(0)
            began.append(time.monotonic())
            reactor.submit(done.set)

        native_thread(submit)
        assert done.wait(2)
        assert time.monotonic() - began[0] < 0.5


def test_a_native_thread_may_watch_write_and_set_timers(reactor: Any) -> None:
    conn = Conn(reactor, lambda conn: got.append(conn.sock.recv(10)), reading=False)
    got: list[bytes] = []
    fired: list[int] = []

    def act() -> None:
        conn.watch.resume()
        conn.watch.want_write()
        reactor.call_later(0.01, lambda: fired.append(1))

    native_thread(act)
    conn.peer.send(b"x")
    eventually(lambda: got == [b"x"] and fired == [1] and conn.writable == 1, "all three")
    native_thread(conn.close)
    eventually(lambda: conn.fileno() == -1, "the end")


def test_an_event_set_by_a_native_thread_wakes_a_worker(reactor: Any) -> None:
    event = reactor.event()
    woken: list[bool] = []
    reactor.submit(lambda: woken.append(event.wait(DEADLINE)))
    time.sleep(0.02)
    native_thread(event.set)
    eventually(lambda: woken, "the worker", timeout=1)
    assert woken == [True] and event.is_set()
    assert reactor.event().wait(0.01) is False


def test_spawn_gives_a_task_to_join(reactor: Any) -> None:
    seen: list[Any] = []
    task = reactor.spawn(lambda a, b: seen.append((a, b)), 1, b=2)
    task.join(DEADLINE)
    assert not task.is_alive() and seen == [(1, 2)]


@pytest.mark.skipif(WORLD == "gevent", reason="about threads")
def test_without_more_threads_those_that_there_are_go_on(
    make_reactor: MakeReactor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock goes on as well, and there are more as soon as the system has some."""
    reactor = make_reactor()
    blocked, blocking, done = threading.Event(), threading.Event(), threading.Event()
    reactor.submit(lambda: (blocking.set(), blocked.wait(DEADLINE)))
    reactor.call_later(0, lambda: None)
    assert blocking.wait(DEADLINE)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        reactor.submit(done.set)
        eventually(lambda: "none can be started" in caplog.text, "the log")
        ticked = threading.Event()
        reactor.call_later(0.01, ticked.set)
        assert ticked.wait(DEADLINE)
        assert not done.is_set()
        assert caplog.text.count("none can be started") == 1
    assert done.wait(DEADLINE)
    blocked.set()


@pytest.mark.skipif(WORLD == "gevent", reason="about threads")
def test_a_reactor_that_cannot_have_its_first_thread_can_have_it_later(
    make_reactor: MakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reactor = make_reactor()
    kept = threading.Event()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for begin in (lambda: Conn(reactor, lambda conn: None), lambda: reactor.call_later(0, kept.set)):
            with pytest.raises(RuntimeError):
                begin()
    ticked, read = threading.Event(), threading.Event()
    reactor.call_later(0, ticked.set)
    conn = Conn(reactor, lambda conn: conn.sock.recv(10) and read.set())
    conn.peer.send(b"x")
    assert ticked.wait(DEADLINE) and read.wait(DEADLINE)
    assert kept.wait(DEADLINE)  # it was told that it could not be, but others may count on it
