"""Work beside the handlers: background tasks, native threads, timers and signal handlers that emit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, eventually
from tests.support.servers import ROOT
from tests.support.world import WORLD
from wsgi_sio import Server, Socket

SOON = 0.1  # seconds within which what is emitted elsewhere must arrive: a sleeping hub would take up to its next ping


def start_native_thread(target: Callable[[], None]) -> None:
    """Run ``target`` in a thread of the operating system, which gevent knows nothing of."""
    if WORLD == "gevent":
        import gevent.monkey

        gevent.monkey.get_original("_thread", "start_new_thread")(target, ())
    else:
        threading.Thread(target=target, daemon=True).start()


def start_in_threadpool(target: Callable[[], None]) -> None:
    """Likewise, in gevent's own pool of native threads."""
    if WORLD == "gevent":
        import gevent

        gevent.get_hub().threadpool.spawn(target)
    else:
        threading.Thread(target=target, daemon=True).start()


def native_sleep(seconds: float) -> None:
    """Sleep without giving way to the hub."""
    if WORLD == "gevent":
        import gevent.monkey

        gevent.monkey.get_original("time", "sleep")(seconds)
    else:
        time.sleep(seconds)


@pytest.mark.parametrize("start", [start_native_thread, start_in_threadpool])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_what_another_thread_emits_arrives_at_once(
    serve: Serve, start: Callable[[Callable[[], None]], None], transport: str
) -> None:
    """Although nothing else happens in the process that would wake the event loop."""
    io = Server()
    client = serve(io).client(transport)
    client.connect()
    emitted: list[float] = []

    def emit() -> None:
        for _ in range(5):
            native_sleep(0.05)  # the hub has long gone to sleep
            emitted.append(time.monotonic())
            io.emit("now", len(emitted))

    start(emit)
    for number in range(1, 6):
        assert client.expect("now") == [number]
        assert time.monotonic() - emitted[number - 1] < SOON


@pytest.mark.parametrize("start", [start_native_thread, start_in_threadpool])
def test_another_thread_may_do_whatever_a_handler_may(
    serve: Serve, start: Callable[[Callable[[], None]], None]
) -> None:
    """Rooms, acknowledgements, callbacks, tasks and disconnections; the client's handlers run where they always do."""
    io = Server()
    done: list[Any] = []
    io.on("disconnect", lambda socket, reason: done.append(reason))
    client = serve(io).client()
    sid = client.connect()
    socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")

    def work() -> None:
        socket.join("room")
        io.to("room").emit("joined")
        done.append(socket.emit_with_ack("question", timeout=DEADLINE))
        socket.emit("second", callback=done.append)
        io.start_background_task(lambda: io.emit("from a task"))

    start(work)
    client.expect("joined")
    client.answer(client.receive(), "first answer")
    packets = [client.receive(), client.receive()]
    assert sorted(packet.data[0] for packet in packets) == ["from a task", "second"]
    client.answer(next(packet for packet in packets if packet.id is not None), "second answer")
    eventually(lambda: done == ["first answer", "second answer"], "both answers")
    start(lambda: socket.disconnect(close=True))
    client.wait_closed()
    eventually(lambda: done[2:] == ["server namespace disconnect"], "the handler")


def test_what_a_slow_client_has_not_taken_follows_at_once(serve: Serve) -> None:
    """The event loop, which sleeps, has to be told by the thread that emits; the client reads beside it."""
    io = Server(max_outbox=1 << 30)
    client = serve(io).client(buffers=8192)
    client.connect()
    took: list[float] = []
    done = io.reactor.event()

    def take(size: int) -> None:
        deadline = time.monotonic() + 1
        while size > 0 and time.monotonic() < deadline:
            try:
                size -= len(os.read(client.wire.sock.fileno(), 1000))  # type: ignore[union-attr]
            except BlockingIOError:
                native_sleep(0.001)

    def emit_and_take() -> None:
        for _ in range(5):
            native_sleep(0.05)  # the loop is asleep by now
            io.emit("blob", "x" * 50_000)
            began = time.monotonic()
            take(50_000)
            took.append(time.monotonic() - began)
        done.set()

    start_native_thread(emit_and_take)
    assert done.wait(2 * DEADLINE)
    assert median(took) < SOON, took


def test_many_threads_and_tasks_emit_to_the_same_clients(serve: Serve) -> None:
    """Each one's events arrive complete and in its order, with their attachments."""
    io = Server()
    process = serve(io)
    clients = [process.client(transport) for transport in ("websocket", "polling")]
    for client in clients:
        client.connect()

    def emit(number: int) -> None:
        for i in range(40):
            io.emit("n", number, i, bytes([number, i]))

    for number in range(3):
        start_native_thread(lambda number=number: emit(number))  # type: ignore[misc]
        io.start_background_task(emit, number + 3)
    for client in clients:
        got: dict[int, list[int]] = {number: [] for number in range(6)}
        for _ in range(240):
            sender, i, data = client.expect("n")
            assert data == bytes([sender, i])
            got[sender].append(i)
        assert got == {number: list(range(40)) for number in range(6)}


def test_a_timer_emits(serve: Serve) -> None:
    """The standard library's timer, and one of ours, whose callbacks may not block."""
    io = Server()
    client = serve(io).client()
    client.connect()
    timer = threading.Timer(0.05, io.emit, ["tick", 1])
    timer.start()
    assert client.expect("tick") == [1]
    io.reactor.call_later(0.05, lambda: io.emit("tick", 2))
    assert client.expect("tick") == [2]


@pytest.mark.parametrize("start", [start_native_thread, start_in_threadpool])
def test_a_task_outlives_the_thread_that_started_it(serve: Serve, start: Callable[[Callable[[], None]], None]) -> None:
    """Under gevent such a thread has a hub of its own, which ends with it."""
    io = Server()
    client = serve(io).client()
    client.connect()
    tasks: list[Any] = []

    def work(word: str) -> None:
        io.sleep(0.1)
        io.emit("done", word)

    start(lambda: tasks.append(io.start_background_task(work, "later")))
    assert client.expect("done") == ["later"]
    tasks[0].join(DEADLINE)
    assert not tasks[0].is_alive()


def test_a_task_may_be_started_where_nothing_may_block(serve: Serve) -> None:
    """In a timer's callback, and in the handler of a signal that finds the process asleep."""
    io = Server()
    client = serve(io).client()
    client.connect()
    failures: list[Exception] = []

    def start(*args: object) -> None:
        try:
            io.start_background_task(io.emit, "started")
        except Exception as error:
            failures.append(error)

    io.reactor.call_later(0.01, start)
    assert client.expect("started") == []
    earlier = signal.signal(signal.SIGALRM, start)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert client.expect("started") == []
    finally:
        signal.signal(signal.SIGALRM, earlier)
    assert not failures


def test_a_background_task_goes_on_when_its_client_has_left(serve: Serve) -> None:
    """Emits to who has gone are told, not raised."""
    io = Server()
    outcomes: list[bool] = []
    gone = threading.Event()
    io.on("disconnect", lambda socket: gone.set())

    @io.on("start")
    def start(socket: Socket) -> str:
        io.start_background_task(work, socket)
        return "started"

    def work(socket: Socket) -> None:
        outcomes.append(socket.emit("progress", 50))
        gone.wait(DEADLINE)
        outcomes.append(socket.emit("progress", 100))

    client = serve(io).client()
    client.connect()
    client.emit("start", ack=1)
    eventually(lambda: outcomes == [True], "the first event")
    client.close()
    eventually(lambda: outcomes == [True, False], "the second")


def test_sleep_lets_others_run(serve: Serve) -> None:
    """In a handler, in a task, wherever: a hundred sleeps take as long as one."""
    io = Server()
    io.on("nap", lambda socket: io.sleep(0.2))
    process = serve(io)
    clients = [process.client() for _ in range(5)]
    for client in clients:
        client.connect()
    began = time.monotonic()
    tasks = [io.start_background_task(io.sleep, 0.2) for _ in range(50)]
    for client in clients:
        client.emit("nap", ack=1)
    for client in clients:
        client.receive()
    for task in tasks:
        task.join(DEADLINE)
    assert 0.2 <= time.monotonic() - began < 5  # one after the other they take 11


@pytest.mark.parametrize(
    "mode",
    ["all", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("callback", "room", "each"))],
)
def test_a_signal_handler_emits_while_its_own_thread_does(mode: str) -> None:
    """It may interrupt us anywhere, even inside a lock: nothing hangs, is lost, damaged or overtaken.

    The check of the locks' order is off: it takes the re-entrance, which is the point here, for an error.
    """
    environment = {name: value for name, value in os.environ.items() if name != "WSGI_SIO_CHECK_LOCKS"}
    command = [sys.executable, "-m", "tests.apps.interrupted", mode, "2", *(["gevent"] if WORLD == "gevent" else [])]
    outcome = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert outcome.returncode == 0, outcome.stderr[-5000:]
    result = json.loads(outcome.stdout)
    sent = result["sent"]
    assert sent["handler"] > 100 and sent["main"] > 100  # so that they have met, however busy the machine is
    for number, got in enumerate(result["got"]):
        assert got["wrong"] == 0, result
        if mode != "room" or number == 0:  # the handler moves the others in and out
            assert got["came"] == {**sent, "over": 1}, result
