"""A process that forks while it serves: the child reaches nobody, is told so, and disturbs nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.forking import forked
from tests.support.inprocess import InProcess, tcp_pair
from wsgi_sio import Server, Socket

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="about fork")

TOLD = "refused (emit in a forked process)"
TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


@pytest.fixture
def io() -> Server:
    io = Server(ping_interval=0.1, ping_timeout=5)
    io.on("echo", lambda socket, value: value)
    return io


@TRANSPORTS
def test_what_a_child_emits_reaches_nobody_and_it_is_told_so_once(
    serve: Serve, io: Server, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(io).client(transport)
    socket = io.sockets.sockets[client.connect()]

    def child() -> Any:
        for _ in range(3):
            io.emit("from the child")
            assert not socket.emit("from the child")
            io.to(socket.id).emit("from the child")
            time.sleep(0.1)  # its hub gets a turn, if there is one
        assert not io.sockets.sockets and io.fetch_sockets() == [] and not socket.connected
        io.disconnect_sockets(close=True)
        socket.disconnect(close=True)
        io.close()
        return [record.levelname for record in caplog.records if TOLD in record.getMessage()]

    with forked(child) as it:
        assert client.call("echo", "meanwhile") == ["meanwhile"]
        assert it.outcome() == "['WARNING']"
        assert client.call("echo", "after it") == ["after it"]
    assert socket.connected
    assert TOLD not in caplog.text


@TRANSPORTS
def test_a_handlers_child_reaches_nobody_and_its_client_is_served_on(serve: Serve, io: Server, transport: str) -> None:
    @io.on("fork")
    def fork(socket: Socket) -> str:
        with forked(lambda: [io.emit("from the child"), socket.emit("from the child"), io.sleep(0.1)]) as it:
            return it.outcome()

    client = serve(io).client(transport)
    client.connect()
    assert client.call("fork") == ["[True, False, None]"]
    assert client.call("echo", 1) == [1]


def test_a_large_message_of_the_parent_is_not_torn_by_a_child(serve: Serve, io: Server) -> None:
    client = serve(io).client(buffers=4096)
    client.connect()

    def child() -> None:
        for _ in range(100):
            io.emit("from the child")
            time.sleep(0.001)

    io.emit("large", "x" * 3_000_000)
    with forked(child) as it:
        assert client.expect("large") == ["x" * 3_000_000]
        assert it.outcome() == "None"
    assert client.call("echo", 1) == [1]


@pytest.mark.parametrize("recovery", [False, True])
def test_locks_that_other_threads_held_do_not_stop_the_child(serve: Serve, recovery: bool) -> None:
    io = Server(connection_state_recovery=recovery)
    client = serve(io).client()
    socket = io.sockets.sockets[client.connect()]
    locks: list[Any] = [io._lock, io.engine.lock, io.sockets.adapter._lock, io._handlers._lock]  # type: ignore[attr-defined]
    locks += [socket._lock, socket.conn._lock, socket.conn.session.lock]
    locks += [io.sockets.recovery._lock] if io.sockets.recovery else []
    for lock in locks:
        release = hold(lock)
        with forked(lambda: use(io, socket)) as it:
            assert it.outcome() == "None"
        release()


def hold(lock: Any) -> Callable[[], None]:
    """Have another thread hold a lock."""
    from tests.runtime.test_jobs import native_thread

    held, free = threading.Event(), threading.Event()
    done: list[bool] = []

    def run() -> None:
        lock._lock.acquire() if hasattr(lock, "_lock") else lock.acquire()
        held.set()
        while not done:
            time.sleep(0.001)
        lock._lock.release() if hasattr(lock, "_lock") else lock.release()
        free.set()

    native_thread(run)
    assert held.wait(5)
    return lambda: (done.append(True), free.wait(5))[0]


def use(io: Server, socket: Socket) -> None:
    io.emit("x")
    io.on("late", print)
    socket.emit("x", callback=print)
    socket.join("room")
    socket.disconnect(close=True)
    io.of("/other")
    io.close()


def test_a_child_that_serves_itself_is_a_server_like_any_other(
    serve: Serve, io: Server, caplog: pytest.LogCaptureFixture
) -> None:
    parent = serve(io).client()
    parent.connect()
    joined: list[str] = []
    io.sockets.adapter.on("create-room", joined.append)

    def child() -> str:
        client = InProcess(io).client()
        sid = client.connect()
        assert list(io.sockets.sockets) == [sid] and joined[1:] == [sid]
        io.emit("from the child")
        client.expect("from the child")
        assert client.call("echo", 1) == [1]
        assert TOLD not in caplog.text
        return "served"

    joined.append("")
    with forked(child) as it:
        assert it.outcome() == "served"
    assert parent.call("echo", 1) == [1]


def test_a_child_of_a_process_that_has_served_nobody_yet_is_told_nothing(
    io: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def child() -> bool:
        io.emit("x")
        return TOLD in caplog.text

    io.reactor.call_later(600, lambda: None)
    with forked(child) as it:
        assert it.outcome() == "False"
    io.reactor.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="looks at the descriptors")
@TRANSPORTS
def test_a_child_does_not_hold_the_parents_connections(serve: Serve, io: Server, transport: str) -> None:
    """Nor that of a GET that waits, be it the WSGI server's: under gevent a copy of its greenlet would answer."""
    process = serve(io)
    near, far = tcp_pair()
    connection = os.fstat(far.fileno()).st_ino
    if transport == "websocket":
        process.websocket(pair=(near, far)).receive()
    else:
        process.polling().start_get(extra={"gunicorn.socket": far})
    assert connection in sockets()
    with forked(lambda: connection in sockets()) as it:
        assert it.outcome() == "False"
    near.close()
    far.close()


def sockets() -> set[int]:
    """The inodes of the sockets that this process has open."""
    names = os.listdir("/proc/self/fd")
    open_files = [os.readlink(path) for path in (f"/proc/self/fd/{name}" for name in names) if os.path.lexists(path)]
    return {int(file[8:-1]) for file in open_files if file.startswith("socket:[")}


def test_a_childs_child_is_told_as_well(serve: Serve, io: Server, caplog: pytest.LogCaptureFixture) -> None:
    serve(io).client().connect()

    def child() -> str:
        with forked(grandchild) as it:
            return it.outcome()

    def grandchild() -> bool:
        io.emit("x")
        return TOLD in caplog.text

    with forked(child) as it:
        assert it.outcome() == "True"


def test_what_a_process_broadcast_before_it_forked_does_not_weigh_on_its_workers() -> None:
    """As with gunicorn --preload: recovery's events and the timer that drops them are the parent's."""
    io = Server(connection_state_recovery={"max_disconnection_duration": 0.3})
    adapter: Any = io.sockets.adapter
    joined: list[str] = []
    adapter.on("join-room", lambda room, sid: joined.append(room))
    io.emit("before any worker")
    assert adapter._kept.log._entries

    def child() -> Any:
        own: Any = io.sockets.adapter
        assert own is not adapter and not own._kept.log._entries
        own.open("sid")
        own.add_all("sid", frozenset(["room"]))
        io.emit("in the worker")
        kept = len(own._kept.log._entries)
        deadline = time.monotonic() + 5
        while own._kept.log._entries and time.monotonic() < deadline:
            time.sleep(0.05)
        return kept, len(own._kept.log._entries), joined

    with forked(child) as it:
        assert it.outcome() == "(1, 0, ['room'])"
    io.engine.reactor.close()


@pytest.mark.parametrize("started", [True, False])
def test_a_worker_is_told_of_tasks_that_were_started_before_it_was_forked(
    started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As with gunicorn --preload, once it has a client: they run in a process that serves nobody."""
    io = Server()
    if started:
        io.start_background_task(time.sleep, 0).join(5)

    def child() -> Any:
        io.start_background_task(time.sleep, 0)  # its own are none of these
        process = InProcess(io)
        for _ in range(2):
            process.client().connect()
        return sum("background tasks before a fork" in record.getMessage() for record in caplog.records)

    with forked(child) as it:
        assert it.outcome() == str(int(started))
    io.engine.reactor.close()
