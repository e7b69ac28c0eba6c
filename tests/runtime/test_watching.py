"""Descriptors in the reactor: no lost wake-up, never two readers, pausing, closing."""

# ruff: noqa: B023  (the closures run before the loop goes on)

from __future__ import annotations

import gc
import os
import re
import socket
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import Conn, MakeReactor
from tests.support.inprocess import DEADLINE, Background, at_once, eventually, open_descriptors
from tests.support.world import WORLD
from wsgi_sio.runtime import create_reactor


@contextmanager
def least_switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_ping_pong_on_many_descriptors_while_everything_else_races(reactor: Any) -> None:
    """Each byte is echoed although other threads keep asking for writability and pausing and resuming. A lost wake-up
    would stop a descriptor for good."""

    def echo(conn: Conn) -> None:
        try:
            conn.sock.send(conn.sock.recv(100))
        except BlockingIOError:
            pass  # a spurious call is allowed

    conns = [Conn(reactor, echo) for _ in range(12)]
    stop = threading.Event()

    def disturb(number: int) -> None:
        while not stop.is_set():
            for conn in conns[number::3]:
                conn.watch.want_write()
                conn.watch.pause()
                conn.watch.want_write()
                conn.watch.resume()
            time.sleep(0)

    def play(conn: Conn) -> int:
        conn.peer.settimeout(DEADLINE)
        for number in range(100):
            conn.peer.send(bytes([number]))
            assert conn.peer.recv(1) == bytes([number])
        return 100

    with least_switch_interval():
        disturbing = [Background(disturb, number) for number in range(3)]
        playing = [Background(play, conn) for conn in conns]
        try:
            assert [call.result(20) for call in playing] == [100] * 12
        finally:
            stop.set()
        for call in disturbing:
            call.result()
    for conn in conns:
        eventually(lambda conn=conn: conn.writable, "a call of on_writable")
        conn.close()


def test_never_two_readers_at_once(reactor: Any) -> None:
    """on_readable blocks a little on purpose while others re-arm the descriptor in every way they can."""
    inside: dict[int, int] = {}
    most = 0
    got = bytearray()

    def read(conn: Conn) -> None:
        nonlocal most
        key = conn.fileno()
        inside[key] = inside.get(key, 0) + 1
        most = max(most, inside[key])
        deadline = time.perf_counter() + 0.0005
        while time.perf_counter() < deadline:
            pass
        try:
            got.extend(conn.sock.recv(1))
        except BlockingIOError:
            pass
        inside[key] -= 1

    conns = [Conn(reactor, read) for _ in range(3)]
    stop = threading.Event()

    def disturb(number: int) -> None:
        while not stop.is_set():
            conns[number].watch.want_write()
            conns[number].watch.resume()
            time.sleep(0)

    with least_switch_interval():
        disturbing = [Background(disturb, number) for number in range(3)]
        for conn in conns:
            conn.peer.send(b"x" * 100)
        eventually(lambda: len(got) == 300, "all bytes")
        stop.set()
        for call in disturbing:
            call.result()
    assert most == 1
    for conn in conns:
        conn.close()


def test_writability_is_told_once_for_each_wish(reactor: Any) -> None:
    conn = Conn(reactor, lambda conn: None, reading=False)
    time.sleep(0.02)
    assert conn.writable == 0
    for count in (1, 2, 3):
        conn.watch.want_write()
        eventually(lambda: conn.writable == count, "on_writable")
        time.sleep(0.02)
        assert conn.writable == count
    conn.close()


def test_writability_waits_for_room(reactor: Any) -> None:
    conn = Conn(reactor, lambda conn: None)
    with pytest.raises(BlockingIOError):
        while True:
            conn.sock.send(b"x" * 65536)
    conn.watch.want_write()
    time.sleep(0.03)
    assert conn.writable == 0
    conn.peer.settimeout(DEADLINE)
    received = 0
    while not conn.writable and received < 50_000_000:
        received += len(conn.peer.recv(1 << 20))
        time.sleep(0.001)
    assert conn.writable == 1
    conn.close()


def test_a_callback_may_wish_to_write_again(reactor: Any) -> None:
    """on_writable asks once more, as after another partial write."""
    conn = Conn(
        reactor, lambda conn: None, lambda conn: conn.watch.want_write() if conn.writable < 50 else None, reading=False
    )
    conn.watch.want_write()
    eventually(lambda: conn.writable == 50, "fifty calls")
    conn.close()


def test_a_paused_descriptor_is_silent_and_tells_all_after_resuming(reactor: Any) -> None:
    got = bytearray()

    def read(conn: Conn) -> None:
        try:
            got.extend(conn.sock.recv(100))
        except BlockingIOError:
            pass

    conn = Conn(reactor, read, reading=False)
    conn.peer.send(b"early")
    time.sleep(0.03)
    assert not got
    conn.watch.resume()
    eventually(lambda: got == b"early", "the bytes")
    conn.watch.pause()
    time.sleep(0.01)
    conn.peer.send(b" late")
    conn.watch.want_write()
    eventually(lambda: conn.writable == 1, "writing goes on meanwhile")
    assert got == b"early"
    conn.watch.resume()
    eventually(lambda: got == b"early late", "the rest")
    conn.close()


def test_pausing_from_within_the_callback(reactor: Any) -> None:
    got: list[bytes] = []

    def read(conn: Conn) -> None:
        conn.watch.pause()
        got.append(conn.sock.recv(1))

    conn = Conn(reactor, read)
    conn.peer.send(b"abc")
    for count in (1, 2, 3):
        eventually(lambda: len(got) == count, "a byte")
        time.sleep(0.01)
        assert len(got) == count
        conn.watch.resume()
    conn.close()


@pytest.mark.parametrize("paused", [False, True])
def test_the_end_of_a_stream_costs_no_processor_time_while_nobody_reads(reactor: Any, paused: bool) -> None:
    conn = Conn(reactor, lambda conn: None, reading=False)
    if not paused:
        conn.watch.want_write()
        eventually(lambda: conn.writable, "on_writable")
    conn.peer.close()
    time.sleep(0.02)
    began = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - began < 0.1
    conn.close()


def test_a_wish_to_write_is_heard_on_a_paused_descriptor_whose_peer_is_gone(reactor: Any) -> None:
    """The writer must meet its broken pipe, or it keeps the flush baton for ever."""
    conn = Conn(reactor, lambda conn: None, reading=False)
    conn.peer.close()
    conn.watch.want_write()
    eventually(lambda: conn.writable, "on_writable", timeout=1)
    conn.close()


def test_closing_runs_release_once_and_nothing_after_it(reactor: Any) -> None:
    for _ in range(20):
        released: list[int] = []
        calls: list[int] = []
        conn = Conn(reactor, lambda conn: calls.append(1))

        def release(conn: Conn = conn, released: list[int] = released) -> None:
            released.append(1)
            conn.sock.close()

        at_once(4, lambda n: conn.watch.close(release))
        eventually(lambda: released, "the release")
        before = len(calls)
        conn.peer.close()
        conn.watch.want_write()
        conn.watch.pause()
        conn.watch.resume()
        time.sleep(0.002)
        assert (released, len(calls)) == ([1], before)


def test_closing_inside_its_own_callback(reactor: Any) -> None:
    conn = Conn(reactor, lambda conn: conn.watch.close(conn.sock.close))
    conn.peer.send(b"x")
    eventually(lambda: conn.fileno() == -1, "the end")


def test_a_descriptor_number_may_be_used_again_at_once(reactor: Any) -> None:
    """Old registrations never reach the connection that has got their number."""
    for number in range(100):
        got: list[bytes] = []
        conn = Conn(reactor, lambda conn, got=got: got.append(conn.sock.recv(10)) if conn.fileno() >= 0 else None)
        conn.peer.send(b"%d" % number)
        eventually(lambda got=got: got, "the byte")
        assert got[0] == b"%d" % number
        conn.close()


def test_a_failing_callback_is_logged_and_the_descriptor_is_watched_on(
    reactor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[bytes] = []

    def read(conn: Conn) -> None:
        calls.append(conn.sock.recv(1))
        raise ValueError("on purpose")

    conn = Conn(reactor, read)
    conn.peer.send(b"abc")
    eventually(lambda: len(calls) == 3, "all calls")
    eventually(lambda: sum(r.exc_info is not None for r in caplog.records) == 3, "the log")
    conn.close()


def test_callbacks_never_run_after_the_reactor_was_closed(make_reactor: MakeReactor) -> None:
    reactor = make_reactor()
    called: list[str] = []
    conn = Conn(reactor, lambda conn: called.append("read"))
    reactor.call_later(0.02, lambda: called.append("timer"))
    reactor.close()
    time.sleep(0.01)
    conn.peer.send(b"x")
    reactor.submit(lambda: called.append("job"))
    reactor.call_later(0.0, lambda: called.append("late timer"))
    time.sleep(0.06)
    conn.close()
    assert called == []


def test_closed_reactors_leave_no_descriptor_and_no_thread() -> None:
    def live() -> None:
        reactor = create_reactor()
        done = threading.Event()
        conn = Conn(reactor, lambda conn: done.set())
        conn.peer.send(b"x")
        assert done.wait(DEADLINE)
        reactor.submit(done.set)
        reactor.call_later(0.001, done.set)
        conn.close()
        reactor.close()
        reactor.close()

    live()
    descriptors, threads = open_descriptors(), threading.active_count()
    for _ in range(10):
        live()
        create_reactor().close()
    eventually(lambda: open_descriptors() <= descriptors, "the descriptors to be closed")
    eventually(lambda: threading.active_count() <= threads, "the threads to end")


def test_nothing_keeps_what_a_closed_reactor_has_watched() -> None:
    peers: list[socket.socket] = []

    def watched_by(reactor: Any) -> Any:
        conn = Conn(reactor, lambda conn: None)
        peers.append(conn.peer)  # which is quiet
        return weakref.ref(conn)

    reactor = create_reactor()
    conn = watched_by(reactor)
    reactor.close()
    late = watched_by(reactor) if reactor.one_thread else conn  # that of threads has no poller any more
    del reactor
    eventually(lambda: gc.collect() >= 0 and conn() is late() is None, "the end of what was watched")
    for peer in peers:
        peer.close()


def test_closing_a_connection_after_its_reactor_still_releases_it(make_reactor: MakeReactor) -> None:
    reactor = make_reactor()
    conn = Conn(reactor, lambda conn: None)
    reactor.close()
    time.sleep(0.05)
    conn.close()
    eventually(lambda: conn.fileno() == -1, "the release")


def test_a_reactor_closed_twice_touches_no_descriptor_of_others(make_reactor: MakeReactor) -> None:
    """Its own were closed the first time, and their numbers may be somebody else's now."""
    reactor = make_reactor()
    done = threading.Event()
    reactor.submit(done.set)
    assert done.wait(DEADLINE)
    before = open_descriptors()
    reactor.close()
    eventually(lambda: open_descriptors() <= before, "the end")
    time.sleep(0.05)
    pairs = [socket.socketpair() for _ in range(6)]
    reactor.close()
    ends = [end for pair in pairs for end in pair]
    for end in ends:
        end.settimeout(0.01)
        with pytest.raises(TimeoutError):
            end.recv(1)
    for end in ends:
        end.close()


@pytest.mark.skipif(WORLD != "gevent" or not sys.platform.startswith("linux"), reason="about libev and epoll")
def test_what_another_process_is_to_have_is_not_heard_of_any_more(reactor: Any) -> None:
    """Its file lives on there; libev would make its epoll set anew for each such connection that is heard of."""
    import gevent

    mine, peer = socket.socketpair()
    with gevent.Timeout(0.05, False):
        mine.recv(1)  # as a server that waits for the next request
    elsewhere = os.dup(mine.fileno())
    descriptor = mine.detach()
    watched = Path(f"/proc/self/fdinfo/{gevent.get_hub().loop.fileno()}")
    assert re.search(rf"tfd:\s+{descriptor}\b", watched.read_text())
    reactor.disregard(descriptor)
    reactor.disregard(descriptor)  # harmless
    assert not re.search(rf"tfd:\s+{descriptor}\b", watched.read_text())
    os.close(descriptor)
    os.close(elsewhere)
    peer.close()
