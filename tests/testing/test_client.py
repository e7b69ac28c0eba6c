"""TestClient: a client in memory that goes through the real handshake, codec and dispatcher."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from threading import get_ident
from typing import Any

import pytest

from tests.support.inprocess import Background, at_once, eventually
from wsgi_sio import AckTimeout, ConnectionFailed, ConnectRefused, Disconnected, Server, Socket, WSGIApp
from wsgi_sio.testing import Received, TestClient

Connect = Callable[..., TestClient]


@pytest.fixture
def io() -> Iterator[Server]:
    io = Server()
    io.on("echo", lambda socket, *args: args)
    io.on("back", lambda socket, *args: socket.emit("echoed", *args))
    yield io
    io.close()
    io.reactor.close()


def test_handlers_have_run_when_emit_returns(io: Server, sio_client: Connect) -> None:
    done: list[Any] = []
    io.on("do", lambda socket, value: done.append(value))
    client = sio_client(io)
    for number in range(100):
        client.emit("do", number)
        assert done[-1] == number


def test_acknowledgements(io: Server, sio_client: Connect) -> None:
    client = sio_client(io)
    assert client.call("echo") is None
    assert client.call("echo", b"\x01") == b"\x01"
    assert client.call("echo", 1, [2, {"b": b"\x03"}]) == (1, [2, {"b": b"\x03"}])
    with pytest.raises(AckTimeout, match="nobody has acknowledged 'nothing'"):
        client.call("nothing")


def test_what_has_been_received(io: Server, sio_client: Connect) -> None:
    one, two = sio_client(io), sio_client(io)
    one.emit("back", 1, b"\x02")
    io.emit("all")
    assert one.received() == [Received("echoed", [1, b"\x02"], "/"), Received("all", [], "/")]
    assert two.received() == [Received("all", [], "/")]
    assert one.received() == []


def test_refusals(io: Server, sio_client: Connect) -> None:
    @io.use
    def check(socket: Socket) -> None:
        if socket.handshake.auth.get("name") != "ada":
            raise ConnectRefused("not you", {"code": 7})

    client = sio_client(io, None)
    with pytest.raises(ConnectRefused, match="not you") as caught:
        client.connect()
    assert caught.value.data == {"code": 7} and not client.is_connected()
    sid = client.connect(auth={"name": "ada"})
    assert client.is_connected() and client.sid() == sid == next(iter(io.sockets.sockets))
    with pytest.raises(ConnectRefused, match="Invalid namespace"):
        client.connect("/unknown")


def test_a_handshake_may_be_refused(sio_client: Connect) -> None:
    io = Server(allow_request=lambda environ: environ["HTTP_X"] == environ["QUERY_STRING"][-1:] or "no")
    sio_client(io, query_string={"x": "1"}, headers={"X": "1"})
    with pytest.raises(ConnectionFailed, match='403.*"no"') as caught:
        sio_client(io, query_string="?x=2", headers={"X": "1"})
    assert caught.value.description == 403
    io.close()
    with pytest.raises(ConnectionFailed, match="503"):
        sio_client(io, query_string="x=1", headers={"X": "1"})


def test_leaving_and_being_thrown_out(io: Server, sio_client: Connect) -> None:
    reasons: list[str] = []
    io.of("/chat")
    io.on("disconnect", lambda socket, reason: reasons.append(reason))
    io.on("go", lambda socket, close: socket.disconnect(close))
    client = sio_client(io)
    client.connect("/chat")
    client.disconnect()
    assert reasons == ["client namespace disconnect"]
    assert client.is_connected("/chat") and not client.is_connected()
    client.connect()
    client.emit("go", False)
    assert reasons[1:] == ["server namespace disconnect"] and client.is_connected("/chat")
    client.connect()
    client.emit("go", True)
    assert not client.is_connected("/chat") and not client.session.open
    for use in (lambda: client.emit("x"), client.sid, client.disconnect):
        with pytest.raises(Disconnected, match=r"connect\('/'\) first"):
            use()
    with pytest.raises(Disconnected, match="has closed the connection"):
        client.connect()


def test_closing_ends_all_namespaces(io: Server) -> None:
    reasons: list[str] = []
    io.on("disconnect", lambda socket, reason: reasons.append(reason))
    with TestClient(io) as client:
        client.connect()
    assert reasons == ["transport close"] and io.engine.sessions == {}
    client.close()


def test_answering_the_server(io: Server, sio_client: Connect) -> None:
    """By a handler while the server waits, or later by hand."""
    answers: list[Any] = []
    io.on("ask", lambda socket: socket.emit_with_ack("question", 21) * 2)
    io.on("ask later", lambda socket: socket.emit("later", callback=lambda *args: answers.append(args)))
    client = sio_client(io)
    client.on("question", lambda number: number)
    assert client.call("ask") == 42
    client.emit("ask later")
    (event,) = client.received()
    assert answers == [] and event.acknowledge is not None
    event.acknowledge(1, b"\x02")
    assert answers == [(1, b"\x02")]
    assert io.timeout(1).emit_with_ack("question", 1) == [1]


def test_a_conversation_settles_before_emit_returns(io: Server, sio_client: Connect) -> None:
    """What a client's handler answers, and what that leads to, has happened too."""
    seen: list[int] = []

    def again(socket: Socket, n: int) -> None:
        seen.append(n)
        if n:
            socket.emit("down", n, callback=lambda m: again(socket, m))

    io.on("count", again)
    client = sio_client(io)
    client.on("down", lambda n: n - 1)
    client.emit("count", 5)
    assert seen == [5, 4, 3, 2, 1, 0]


def test_a_handler_of_the_client_that_blocks_is_told(io: Server) -> None:
    gate = io.reactor.event()
    io.on("block", lambda socket: socket.emit("block") and None)
    client = TestClient(io, timeout=0.05)
    client.on("block", lambda: gate.wait(10))
    client.connect()
    with pytest.raises(TimeoutError, match="this client's own handlers: does one of them block"):
        client.emit("block")
    gate.set()
    client.close()


@pytest.mark.parametrize("concurrent", [False, True])
def test_handlers_run_in_the_thread_and_a_copy_of_the_context_of_the_caller(
    io: Server, sio_client: Connect, concurrent: bool
) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    seen: dict[str, Any] = {}

    def note(event: str) -> None:
        seen[event] = (get_ident(), variable.get())
        variable.set("of a handler")

    def ask(socket: Socket) -> None:
        note("event")
        socket.emit("question", callback=lambda: note("callback"))

    io.on("connect", lambda socket: note("connect"))
    io.on("event", ask, concurrent=concurrent)
    io.on("disconnect", lambda socket: note("disconnect"))
    variable.set("of the test")
    client = sio_client(io)
    client.on("question", lambda: None)
    client.emit("event")
    client.disconnect()
    assert seen == dict.fromkeys(("connect", "event", "callback", "disconnect"), (get_ident(), "of the test"))
    assert variable.get() == "of the test"


def test_the_end_of_another_client_runs_in_the_thread_of_who_has_caused_it(io: Server, sio_client: Connect) -> None:
    threads: list[int] = []
    io.on("connection", lambda socket: socket.join(socket.handshake.auth.get("name", "anybody")))
    io.on("disconnect", lambda socket: threads.append(get_ident()))
    io.on("throw out", lambda socket, name: io.in_(name).disconnect_sockets())
    bob = sio_client(io, auth={"name": "bob"})
    sio_client(io).emit("throw out", "bob")
    assert threads == [get_ident()] and not bob.is_connected()


def test_what_nobody_here_has_caused_runs_on_a_worker(io: Server, sio_client: Connect) -> None:
    """A client that is thrown out by a background task, while the test does something else."""
    threads: list[int] = []
    io.on("disconnect", lambda socket: threads.append(get_ident()))
    sio_client(io)
    io.start_background_task(io.disconnect_sockets)
    eventually(lambda: threads, "the end")
    assert threads != [get_ident()]


def test_a_handler_may_use_a_client(io: Server, sio_client: Connect) -> None:
    """Another's events are handled before it goes on; its own come behind it, so it is never waited for."""
    seen: list[Any] = []
    one, two = sio_client(io), sio_client(io)

    @io.on("use")
    def use(socket: Socket) -> None:
        seen.append(two.call("echo", 2))
        one.emit("note", "behind")
        with pytest.raises(AckTimeout):
            one.call("echo", 1)
        seen.append("end")

    io.on("note", lambda socket, what: seen.append(what))
    one.emit("use")
    assert seen == [2, "end", "behind"]


def test_an_answer_that_cannot_be_sent_is_why_there_is_none(io: Server, sio_client: Connect) -> None:
    io.on("what", lambda socket: object())
    client = sio_client(io)
    with pytest.raises(AckTimeout) as caught:
        client.call("what")
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_flood_waits_for_the_handlers(sio_client: Connect) -> None:
    """Back-pressure holds for clients in memory: a paused session is not written to."""
    io = Server(max_mailbox=2000)
    gate = io.reactor.event()
    io.on("wait", lambda socket: gate.wait(5))
    seen: list[int] = []
    io.on("n", lambda socket, n: seen.append(n))
    client = sio_client(io)

    def flood() -> None:
        client.emit("wait")
        for n in range(50):
            client.emit("n", n)

    sending = Background(flood)
    eventually(lambda: client.session.open and not sending.done, "the flood")
    gate.set()
    sending.result()
    assert seen == list(range(50))


def test_heartbeats_are_answered(sio_client: Connect) -> None:
    io = Server(ping_interval=0.02, ping_timeout=0.2)
    io.on("x", lambda socket: "still here")
    client = sio_client(io)
    pings: list[Any] = []
    deliver = client._on_packet
    client.session.transport._deliver = lambda packet: (pings.append(packet), deliver(packet))  # type: ignore[attr-defined]
    eventually(lambda: len(pings) > 3, "some pings")
    assert client.call("x") == "still here"


def test_through_the_application_around_it(io: Server, sio_client: Connect) -> None:
    io.on("path", lambda socket: socket.handshake.url)
    client = sio_client(WSGIApp(io))
    assert client.call("path").startswith("/socket.io/?EIO=4")
    with pytest.raises(TypeError, match=r"needs a wsgi_sio\.Server"):
        TestClient(WSGIApp(io.engine))


def test_dynamic_namespaces_and_recovery(sio_client: Connect) -> None:
    io = Server(connection_state_recovery=True)
    io.of(lambda name, auth: name.startswith("/dyn")).on("x", lambda socket: socket.nsp.name)
    client = sio_client(io, "/dyn-1")
    assert client.call("x", namespace="/dyn-1") == "/dyn-1"
    io.of("/dyn-1").emit("news")
    assert [event.name for event in client.received("/dyn-1")] == ["news"]


def test_many_clients_in_many_threads(io: Server, sio_client: Connect) -> None:
    io.on("all", lambda socket, n: io.emit("n", n))
    clients = [sio_client(io) for _ in range(10)]

    def use(number: int) -> None:
        client = clients[number]
        for n in range(30):
            assert client.call("echo", number, b"x" * n) == (number, b"x" * n)
        client.emit("all", number)

    at_once(10, use)
    assert all(sorted(event.args[0] for event in client.received()) == list(range(10)) for client in clients)


def test_closing_after_the_server_is_at_once() -> None:
    io = Server()
    client = TestClient(io)
    client.connect()
    io.close()
    io.reactor.close()
    client.close()


def test_events_that_come_meanwhile_are_not_lost(io: Server, sio_client: Connect) -> None:
    client = sio_client(io)
    sending = Background(lambda: [io.emit("n", number) for number in range(2000)])
    got: list[int] = []
    while not sending.done:
        got += [event.args[0] for event in client.received()]
        time.sleep(0)
    got += [event.args[0] for event in client.received()]
    assert got == list(range(2000))
