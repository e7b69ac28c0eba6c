"""The server as a whole: its options, its threads, what it forgets."""

from __future__ import annotations

import gc
import inspect
import io as io_module
import threading
import time
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Background, InProcess, eventually, open_descriptors
from tests.support.world import WORLD
from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.adapters import MemoryAdapter, RecoveringWorkersAdapter, SessionAwareAdapter, WorkersAdapter
from wsgi_sio.engineio import Session
from wsgi_sio.socketio.connection import Connection


def test_a_misspelt_option_is_refused_with_the_closest_name() -> None:
    with pytest.raises(TypeError, match=r"'ping_intervall'.*did you mean 'ping_interval'"):
        Server(ping_intervall=3)
    with pytest.raises(TypeError, match="unknown option 'zzz'"):
        Server(zzz=1)
    for options in (
        {"ping_timeout": 0},
        {"max_outbox": -1},
        {"max_workers": 0},
        {"transports": ("carrier pigeon",)},
        {"transports": ()},
    ):
        with pytest.raises(ValueError):
            Server(**options)  # type: ignore[arg-type]


def test_an_option_can_be_read_and_not_set() -> None:
    """Parts of the server are made of it, and others would be made of the new one."""
    io = Server(connect_timeout=5, max_mailbox=6000)
    assert (io.connect_timeout, io.max_mailbox) == (5, 6000)
    names = {name for name in inspect.signature(Server).parameters if hasattr(io, name)} | {"recovery", "make_adapter"}
    assert len(names) == 10
    for name in names:
        with pytest.raises(AttributeError):
            setattr(io, name, getattr(io, name))
    with pytest.raises(AttributeError):
        io.engine.config.path = "/elsewhere"  # type: ignore[misc]


class Falsy:
    """An application or a factory may be a container that is empty."""

    def __len__(self) -> int:
        return 0

    def __call__(self, *args: Any) -> Any:
        return ["here", *args]


def test_what_is_given_is_taken_though_it_is_false() -> None:
    assert WSGIApp(Server(), Falsy())({"PATH_INFO": "/"}, None) == ["here", {"PATH_INFO": "/"}, None]  # type: ignore

    class Adapters(Falsy):
        def __call__(self, *args: Any) -> Any:
            made.append(MemoryAdapter(*args))
            return made[-1]

    made: list[MemoryAdapter] = []
    assert Server(adapter=Adapters()).sockets.adapter is made[0]


def test_the_adapter_that_a_server_has_unless_it_is_given_one() -> None:
    """That of the processes that serve together; of one, if that is wanted, or as soon as sessions are to be kept."""
    io = Server()
    assert type(io.of("/").adapter) is type(io.of("/chat").adapter) is WorkersAdapter
    assert type(Server(siblings=False).sockets.adapter) is MemoryAdapter
    assert type(Server(connection_state_recovery=True, siblings=False).sockets.adapter) is SessionAwareAdapter
    assert type(Server(connection_state_recovery=True).sockets.adapter) is RecoveringWorkersAdapter


def test_making_a_server_makes_no_thread() -> None:
    """gunicorn --preload forks after the import of the application."""
    before, descriptors = set(threading.enumerate()), open_descriptors()
    io = Server()
    io.on("x", lambda socket: None)
    io.of("/b")
    WSGIApp(io)
    assert not set(threading.enumerate()) - before
    assert open_descriptors() <= descriptors


def test_of_makes_each_namespace_once_even_from_many_threads() -> None:
    from tests.support.inprocess import at_once

    io = Server()
    made = at_once(16, lambda n: io.of("/same" if n % 2 else "same"))
    assert len({id(namespace) for namespace in made}) == 1
    assert io.of("/") is io.sockets


@pytest.mark.slow
def test_a_client_that_has_left_is_forgotten_altogether(serve: Serve) -> None:
    """Session, Socket and Connection are garbage soon after the end, however it came; handlers' closures too."""
    io = Server()
    io.on("connection", lambda socket: socket.join(["a", "b"]))
    io.on("echo", lambda socket, value: value)

    @io.on("ask")
    def ask(socket: Socket) -> None:
        socket.on("x", lambda: socket.id)
        socket.timeout(60).emit("q", callback=lambda error, *args: None)

    process = serve(io)

    def visit(transport: str, leave: Any) -> None:
        client = process.client(transport)
        client.connect()
        assert client.call("echo", 1) == [1]
        client.emit("ask")
        client.expect("q")
        leave(client)

    def alive() -> list[Any]:
        gc.collect()
        # A finished worker may keep its last job until the next one.
        return [o for o in gc.get_objects() if issubclass(type(o), (Session, Connection, Socket))]  # no proxy's class

    before = len(alive())
    for _ in range(3):
        visit("websocket", lambda c: c.close())
        visit("websocket", lambda c: c.wire.send_close())
        visit("websocket", lambda c: c.wire.send("1"))
        visit("websocket", lambda c: [s.disconnect(True) for s in io.fetch_sockets()])
    last = process.client()
    last.connect()
    assert last.call("echo", 1) == [1]
    last.close()
    # Each look takes so long that the linger of a closed connection sees stalls, which its time does not count.
    eventually(lambda: len(alive()) - before <= 3, f"garbage: {alive()}", timeout=60)


def test_emit_from_a_background_task_and_sleep(serve: Serve) -> None:
    io = Server()
    client = serve(io).client()
    client.connect()

    def task(word: str, *, count: int) -> None:
        for number in range(count):
            io.sleep(0.001)
            io.emit("tick", word, number)

    running = io.start_background_task(task, "w", count=3)
    assert [client.expect("tick") for _ in range(3)] == [["w", 0], ["w", 1], ["w", 2]]
    running.join(DEADLINE)
    assert not running.is_alive()


def test_emit_from_native_threads(serve: Serve) -> None:
    """Under gevent these are real threads beside the hub: their emits go out at once, not with the hub's next event."""
    if WORLD == "gevent":
        import gevent.monkey

        start_new_thread = gevent.monkey.get_original("_thread", "start_new_thread")
    else:
        import _thread

        start_new_thread = _thread.start_new_thread
    io = Server()
    process = serve(io)
    clients = [process.client() for _ in range(2)]
    for client in clients:
        client.connect()

    def emit(number: int) -> None:
        for i in range(50):
            io.emit("n", number, i)

    for number in range(4):
        start_new_thread(emit, (number,))
    for client in clients:
        got: dict[int, list[int]] = {n: [] for n in range(4)}
        for _ in range(200):
            sender, i = client.expect("n", timeout=2)
            got[sender].append(i)
        assert got == {n: list(range(50)) for n in range(4)}


def test_an_ack_awaited_in_a_native_thread(serve: Serve) -> None:
    if WORLD == "gevent":
        import gevent.monkey

        start_new_thread = gevent.monkey.get_original("_thread", "start_new_thread")
    else:
        import _thread

        start_new_thread = _thread.start_new_thread
    io = Server()
    client = serve(io).client()
    sid = client.connect()
    socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")
    outcome: list[Any] = []
    start_new_thread(lambda: outcome.append(socket.emit_with_ack("q", timeout=DEADLINE)), ())
    client.answer(client.receive(), "yes")
    eventually(lambda: outcome, "the answer")
    assert outcome == ["yes"]


def test_the_middleware_serves_its_path_and_passes_everything_else_on() -> None:
    io = Server(path="/live")

    def wrapped(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    app = WSGIApp(io, wrapped)

    def get(path: str, application: Any = app) -> tuple[str, bytes]:
        statuses: list[str] = []
        environ = InProcess(io).environ("GET", transport="polling")
        environ["PATH_INFO"] = path
        body = application(environ, lambda status, headers: statuses.append(status))
        return statuses[0], b"".join(body)

    assert get("/live") == ("200 OK", b"/live")  # as in the reference the slash is part of the path
    assert get("/lively/") == ("200 OK", b"/lively/")
    status, body = get("/live/")
    assert status == "200 OK" and body.startswith(b'0{"sid":"')
    assert get("/live/anything/below")[1].startswith(b'0{"sid":"')
    assert get("/else", WSGIApp(io))[0] == "404 Not Found"
    io.close()
    io.engine.reactor.close()


def test_an_own_json_codec_is_used_both_ways(serve: Serve) -> None:
    import json

    class Codec:
        dumped = loaded = 0

        def dumps(self, value: Any) -> str:
            self.dumped += 1
            return json.dumps(value, default=str)

        def loads(self, text: str) -> Any:
            self.loaded += 1
            return json.loads(text)

    codec = Codec()
    io = Server(json=codec)
    io.on("get", lambda socket, value: {"value": value, "path": io_module.BytesIO})
    client = serve(io).client()
    client.connect()
    assert client.call("get", 5) == [{"value": 5, "path": "<class '_io.BytesIO'>"}]
    assert codec.dumped and codec.loaded


def test_two_hundred_clients_come_and_go_and_leave_no_descriptor(serve: Serve) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    warm = process.client()
    warm.connect()
    before = open_descriptors()
    for number in range(200):
        client = process.client()
        client.connect()
        if number % 4 == 0:
            assert client.call("echo", number) == [number]
        if number % 4 == 1:
            io.disconnect_sockets(close=number % 8 == 1)
        client.close()
    eventually(lambda: not [s for s in process.engine.sessions.values() if s.open], "the end")
    deadline = time.monotonic() + DEADLINE
    while open_descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert open_descriptors() <= before


def test_draining_spreads_the_end_and_refuses_newcomers(serve: Serve) -> None:
    io = Server()
    reasons: list[str] = []
    io.on("disconnect", lambda socket, reason: reasons.append(reason))
    process = serve(io)
    clients = [process.client() for _ in range(4)]
    for client in clients:
        client.connect()
    began = time.monotonic()
    draining = Background(io.drain, 0.4)
    eventually(lambda: process.request("GET", EIO="4", transport="polling").status == 503, "the refusal")
    draining.result()
    assert time.monotonic() - began >= 0.4
    eventually(lambda: reasons == ["server shutting down"] * 4, "the handlers")
    for client in clients:
        client.wait_closed()
