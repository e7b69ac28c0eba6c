"""How a client's events reach the handlers."""

from __future__ import annotations

import logging
import re
import sys
import threading
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Background, Closed, event_packet, eventually
from tests.support.world import WORLD
from wsgi_sio import NO_ACK, NoAck, Server, Socket

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


@TRANSPORTS
def test_a_handler_gets_the_socket_and_the_arguments(serve: Serve, transport: str) -> None:
    io = Server()
    seen: list[Any] = []

    @io.on("all")
    def handler(socket: Socket, *args: Any) -> str:
        seen.append((socket.id, args))
        return "done"

    client = serve(io).client(transport)
    sid = client.connect()
    assert client.call("all", 1, "zwei€😀", [None, {"a": b"\x00\xff"}], b"raw") == ["done"]
    assert seen == [(sid, (1, "zwei€😀", [None, {"a": b"\x00\xff"}], b"raw"))]


@TRANSPORTS
def test_what_a_handler_returns_becomes_the_arguments_of_the_acknowledgement(serve: Serve, transport: str) -> None:
    io = Server()
    results = {"none": None, "one": 1, "tuple": (1, "b", b"c"), "empty": (), "list": [1, 2], "false": False, "zero": 0}
    io.on("get", lambda socket, key: results[key])
    client = serve(io).client(transport)
    client.connect()
    got = {key: client.call("get", key) for key in results}
    assert got == {
        "none": [], "one": [1], "tuple": [1, "b", b"c"], "empty": [], "list": [[1, 2]], "false": [False], "zero": [0],
    }  # fmt: skip


@TRANSPORTS
def test_a_handler_may_leave_its_event_unacknowledged(serve: Serve, transport: str) -> None:
    io = Server()

    @io.on("seen")
    def seen(socket: Socket, busy: bool) -> str | NoAck:
        return NO_ACK if busy else "yes"

    client = serve(io).client(transport)
    client.connect()
    client.emit("seen", True, ack=1)
    assert client.call("seen", False, ack=2) == ["yes"], "the first has been acknowledged"


@pytest.mark.parametrize("of_socket", [False, True])
@pytest.mark.parametrize("first", [NO_ACK, None, "answer"])
@pytest.mark.parametrize("second", [NO_ACK, None, "answer"])
def test_what_one_handler_returns_counts_more_than_another_s_no_ack(
    serve: Serve, of_socket: bool, first: Any, second: Any
) -> None:
    """In whatever order, and whether the other belongs to the namespace or to the socket; None is no objection."""
    io = Server()
    client = serve(io).client()
    socket = io.sockets.sockets[client.connect()]
    io.on("x", lambda socket: first)
    if of_socket:
        socket.on("x", lambda: second)
    else:
        io.on("x", lambda socket: second)
    io.on("next", lambda socket: "next")
    client.emit("x", ack=1)
    client.emit("next", ack=2)
    acks = [client.receive()]
    if acks[0].id == 1:
        acks.append(client.receive())
    expected = next((each for each in ("answer", NO_ACK) if each in (first, second)), None)
    assert [ack.data for ack in acks[:-1]] == {"answer": [["answer"]], NO_ACK: [], None: [[]]}[expected]


def test_the_handler_of_errors_may_leave_it_unacknowledged(serve: Serve) -> None:
    io = Server()
    io.on("x", lambda socket, silent: 1 / 0)
    io.on_error(lambda socket, error, event, args: NO_ACK if args == [True] else "failed")
    client = serve(io).client()
    client.connect()
    client.emit("x", True, ack=1)
    assert client.call("x", False, ack=2) == ["failed"]


@TRANSPORTS
def test_a_clients_events_run_in_order_one_at_a_time(serve: Serve, transport: str) -> None:
    """Two hundred events in one write; a handler that pauses does not let the next one in."""
    io = Server()
    seen: list[int] = []
    inside = 0
    most = 0

    @io.on("n")
    def handler(socket: Socket, number: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if number % 20 == 0:
            io.sleep(0.001)
        seen.append(number)
        inside -= 1

    client = serve(io).client(transport)
    client.connect()
    client.send(*[event_packet("n", number) for number in range(200)])
    eventually(lambda: len(seen) == 200, "all events")
    assert seen == list(range(200))
    assert most == 1


def test_a_blocked_handler_delays_only_its_own_client(serve: Serve) -> None:
    io = Server()
    go = threading.Event()
    io.on("block", lambda socket: go.wait(DEADLINE))
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    blocked = [process.client() for _ in range(5)]
    for client in blocked:
        client.connect()
        client.emit("block", ack=1)
    other = process.client()
    other.connect()
    assert other.call("echo", "x", timeout=1) == ["x"]
    blocked[0].emit("echo", "y", ack=2)
    blocked[0].expect_silence(0.05)
    go.set()
    assert [packet.id for packet in (blocked[0].receive(), blocked[0].receive())] == [1, 2]


def test_concurrent_handlers_run_beside_each_other_even_from_one_write(serve: Serve) -> None:
    """The first of two events that arrive in one chunk waits for something that the second one does."""
    io = Server()
    second_ran = threading.Event()

    @io.on("first", concurrent=True)
    def first(socket: Socket) -> bool:
        return second_ran.wait(2)

    @io.on("second", concurrent=True)
    def second(socket: Socket) -> None:
        second_ran.set()

    client = serve(io).client()
    client.connect()
    client.send(event_packet("first", ack=1), event_packet("second"))
    assert client.receive().data == [True]


def test_with_async_handlers_all_handlers_are_concurrent(serve: Serve) -> None:
    io = Server(async_handlers=True)
    go = threading.Event()
    io.on("wait", lambda socket: go.wait(2))
    io.on("go", lambda socket: bool(go.set()))
    client = serve(io).client()
    client.connect()
    client.emit("wait", ack=1)
    client.emit("go")
    assert client.receive().data == [True]


def test_the_namespaces_of_one_client_do_not_wait_for_each_other(serve: Serve) -> None:
    """Two namespaces, two mailboxes: an event for the second gets through although it came in the same chunk."""
    io = Server()
    go = threading.Event()
    io.on("wait", lambda socket: go.wait(2))
    io.of("/b").on("go", lambda socket: bool(go.set()))
    client = serve(io).client()
    client.connect()
    client.connect("/b")
    client.send(event_packet("wait", ack=1), event_packet("go", nsp="/b"))
    assert client.receive().data == [True]


def test_a_wrong_number_of_arguments_is_logged_with_handler_place_and_what_came(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    io = Server()

    @io.on("two")
    def takes_two(socket: Socket, a: int, b: int = 0) -> None:
        raise AssertionError("not to be called")

    client = serve(io).client()
    sid = client.connect()
    client.emit("two", 1, "b", {"c": 3}, ack=1)
    messages = eventually(lambda: [r.getMessage() for r in caplog.records if "takes_two" in r.getMessage()], "the log")
    assert f"{__file__}:{takes_two.__code__.co_firstlineno}" in messages[0]
    assert "'two'" in messages[0] and "1 to 2 arguments" in messages[0]
    assert sid in messages[0] and "sent 3 (int, str, dict)" in messages[0], (
        "the socket is not among what the client sent"
    )


def test_a_type_error_inside_a_handler_is_logged_as_what_it_is(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Only the call's arity is judged: a TypeError from deeper down keeps its traceback and is not retried."""
    io = Server()
    calls: list[int] = []

    @io.on("bad")
    def bad(socket: Socket, value: int) -> None:
        calls.append(value)
        len(value)  # type: ignore[arg-type]

    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    client.emit("bad", 5, ack=1)
    assert client.call("echo", "alive") == ["alive"]  # and no acknowledgement came before it
    assert calls == [5]
    (record,) = [r for r in caplog.records if r.exc_info]
    assert record.exc_info is not None and record.exc_info[0] is TypeError
    assert "bad" in record.getMessage()


@pytest.mark.parametrize("error", [ValueError, KeyError, RecursionError, TimeoutError, OSError])
def test_an_exception_in_a_handler_keeps_the_connection(
    serve: Serve, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    io = Server()

    @io.on("fail")
    def fail(socket: Socket) -> None:
        raise error("on purpose")

    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    for _ in range(3):
        client.emit("fail", ack=1)
    assert client.call("echo", 1) == [1]
    assert sum(r.exc_info is not None for r in caplog.records) == 3


def test_a_handler_may_end_its_thread_without_taking_the_server_along(serve: Serve) -> None:
    """SystemExit (or gevent.Timeout, a BaseException too) ends the handler, not the client's mailbox, not the pool."""
    io = Server(max_workers=4)
    if WORLD == "gevent":
        from gevent import Timeout

        error: type[BaseException] = Timeout
    else:
        error = SystemExit

    @io.on("leave")
    def leave(socket: Socket) -> None:
        raise error()

    io.on("echo", lambda socket, value: value)
    process = serve(io)
    client = process.client()
    client.connect()
    for _ in range(8):
        client.emit("leave")
    assert client.call("echo", 1, timeout=2) == [1]
    other = process.client()
    other.connect()
    assert other.call("echo", 2, timeout=2) == [2]


def test_an_answer_that_is_no_json_is_logged_and_the_connection_lives_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    io = Server()
    io.on("bad", lambda socket: object())
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    client.emit("bad", ack=1)
    assert client.call("echo", 1) == [1]
    assert any(r.levelno == logging.ERROR for r in caplog.records)


def test_once_off_and_several_handlers(serve: Serve) -> None:
    io = Server()
    seen: list[str] = []

    @io.once("x")
    def once(socket: Socket) -> str:
        seen.append("once")
        return "from once"

    @io.on("x")
    def always(socket: Socket) -> str:
        seen.append("always")
        return "from always"

    client = serve(io).client()
    client.connect()
    assert client.call("x") == ["from once"]
    assert client.call("x") == ["from always"]
    assert seen == ["once", "always", "always"]
    io.off("x", always)
    client.emit("x", ack=1)
    io.on("x", always)
    io.off("x")
    client.emit("x", ack=2)
    client.expect_silence(0.03)  # nobody listens, so nobody acknowledges
    assert seen == ["once", "always", "always"]


def test_once_runs_once_under_concurrency(serve: Serve) -> None:
    io = Server(async_handlers=True)
    ran: list[int] = []
    io.once("x", lambda socket, number: ran.append(number))
    io.on("sync", lambda socket: True)
    process = serve(io)
    clients = [process.client() for _ in range(8)]
    for client in clients:
        client.connect()
    calls = [
        Background(lambda c: c.send(*[event_packet("x", n) for n in range(20)], event_packet("sync", ack=1)), client)
        for client in clients
    ]
    for call in calls:
        call.result()
    for client in clients:
        client.receive()
    assert len(ran) == 1


def test_listeners_of_one_socket_get_no_socket_argument(serve: Serve) -> None:
    io = Server()
    seen: list[Any] = []

    @io.on("connection")
    def connection(socket: Socket) -> None:
        socket.on("mine", lambda *args: seen.append(args))
        socket.once("mine", lambda *args: "answer")
        socket.on("disconnect", seen.append)

    client = serve(io).client()
    client.connect()
    assert client.call("mine", 1, 2) == ["answer"]
    assert client.call("mine") == []
    client.close()
    eventually(lambda: len(seen) == 3, "the disconnect listener")
    assert seen == [(1, 2), (), "transport close"]


def test_event_registers_by_function_name_and_message_by_send(serve: Serve) -> None:
    io = Server()

    @io.event
    def greet(socket: Socket, name: str) -> None:
        socket.send("hello", name)

    client = serve(io).client()
    client.connect()
    client.emit("greet", "you")
    assert client.expect("message") == ["hello", "you"]


def test_a_client_cannot_call_the_handlers_of_its_life_cycle(serve: Serve) -> None:
    """ "connection" is not reserved on the wire, yet in the reference no client can trigger io.on("connection")."""
    io = Server()
    seen: list[str] = []
    io.on("connection", lambda socket: seen.append("connection"))
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    eventually(lambda: seen, "the connection handler")
    client.emit("connection", {"admin": True})
    assert client.call("echo", 1) == [1]
    assert seen == ["connection"]


@pytest.mark.parametrize("name", ["connect", "disconnect", "disconnecting", "connect_error", "newListener"])
def test_a_reserved_event_from_a_client_closes_the_connection(serve: Serve, name: str) -> None:
    io = Server()
    seen: list[str] = []
    io.on("disconnect", lambda socket, reason: seen.append(reason))
    client = serve(io).client()
    client.connect()
    client.wire.send(f'42["{name}"]')
    client.wait_closed()
    eventually(lambda: seen, "disconnect")
    assert seen == ["forced close"]


def test_an_event_whose_name_is_a_number_finds_no_handler_and_does_no_harm(serve: Serve) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    client.wire.send("42[5,1]")
    assert client.call("echo", 1) == [1]


def test_an_unknown_event_with_an_acknowledgement_does_not_end_the_connection(serve: Serve) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.connect()
    client.emit("nobody listens")
    assert client.call("echo", 1) == [1]


def test_events_behind_the_connect_packet_wait_for_a_slow_gate(serve: Serve) -> None:
    """A client that does not wait for the CONNECT answer loses nothing."""
    io = Server()
    go = threading.Event()
    io.on("connect", lambda socket, auth: go.wait(DEADLINE) and None)
    io.on("echo", lambda socket, value: value)
    client = serve(io).client()
    client.wire.send("40", '421["echo","early"]')
    client.expect_silence(0.05)
    go.set()
    assert client.receive().data.keys() == {"sid"}
    assert client.receive().data == ["early"]


def test_the_handshake_tells_how_the_client_came(serve: Serve) -> None:
    io = Server()
    seen: list[Socket] = []
    io.on("connection", seen.append)
    process = serve(io)
    client = process.client(
        headers={"X-Test": "yes", "Origin": "https://127.0.0.1"}, extra={"wsgi.url_scheme": "https"}
    )
    client.connect(auth={"token": "abc"})
    handshake = eventually(lambda: seen, "connection")[0].handshake
    assert handshake.auth == {"token": "abc"}
    assert handshake.headers["x-test"] == "yes"
    assert handshake.query["transport"] == "websocket"
    assert re.fullmatch(r"/socket\.io/\?EIO=4&transport=websocket", handshake.url)
    assert handshake.address == "127.0.0.1"
    assert handshake.xdomain
    assert not any(key.startswith("gunicorn.") for key in handshake.environ)
    assert handshake.secure


def test_a_flood_is_held_back_while_a_handler_is_slow(serve: Serve) -> None:
    """Back-pressure: the client's writes stall, other clients are served, and nothing is lost in the end."""
    io = Server(max_mailbox=100_000)
    go = threading.Event()
    seen: list[int] = []

    @io.on("n")
    def handler(socket: Socket, number: int, padding: str) -> None:
        go.wait(DEADLINE)
        seen.append(number)

    io.on("echo", lambda socket, value: value)
    process = serve(io)
    client = process.client(buffers=20_000)
    client.connect()
    total = 300

    def flood() -> None:
        for number in range(total):
            client.emit("n", number, "x" * 10_000)

    flooding = Background(flood)
    other = process.client()
    other.connect()
    assert other.call("echo", 1) == [1]
    eventually(lambda: _stalled(process.engine), "a paused session")
    assert not flooding.done
    go.set()
    flooding.result()
    eventually(lambda: len(seen) == total, "all events")
    assert seen == list(range(total))


def test_a_flood_of_concurrent_events_is_held_back_as_well(serve: Serve) -> None:
    """A client may not fill the memory by events whose handlers are concurrent and do not keep up."""
    io = Server(max_mailbox=100_000, max_workers=2)
    go = threading.Event()
    seen: list[int] = []

    @io.on("n", concurrent=True)
    def handler(socket: Socket, number: int, padding: str) -> None:
        go.wait(DEADLINE)
        seen.append(number)

    process = serve(io)
    client = process.client(buffers=20_000)
    client.connect()
    total = 500

    def flood() -> None:
        for number in range(total):
            client.emit("n", number, "x" * 10_000)

    flooding = Background(flood)
    try:
        with pytest.raises(TimeoutError):
            flooding.result(0.7)
    finally:
        go.set()
    flooding.result()
    eventually(lambda: len(seen) == total, "all events")


def test_a_flood_that_came_with_the_handshake_is_held_back(serve: Serve) -> None:
    """Events in the bytes that the server had read already fill the mailbox: reading must not begin after them."""
    io = Server(max_mailbox=5_000)
    go = threading.Event()
    seen: list[int] = []

    @io.on("n")
    def handler(socket: Socket, number: int, padding: str) -> None:
        go.wait(DEADLINE)
        seen.append(number)

    process = serve(io)
    from tests.support.inprocess import frame_of

    class Unreader:
        """As gunicorn keeps what it has read too much."""

        def __init__(self, data: bytes) -> None:
            import io as io_module

            self.unreader = self
            self.reader = self
            self.buf = io_module.BytesIO(data)

    behind = b"".join([frame_of("40"), *[frame_of(f'42["n",{n},"{"x" * 1000}"]') for n in range(10)]])
    wire = process.websocket(buffers=20_000, extra={"wsgi.input": Unreader(behind)})

    def flood() -> None:
        for number in range(10, 300):
            wire.send(f'42["n",{number},"{"x" * 10_000}"]')

    flooding = Background(flood)
    try:
        with pytest.raises(TimeoutError):
            flooding.result(0.7)
    finally:
        go.set()
    flooding.result()
    eventually(lambda: len(seen) == 300, "all events")
    assert seen == list(range(300))


def _stalled(engine: Any) -> bool:
    return any(session._pauses > 0 for session in engine.sessions.values())


def test_a_client_that_sends_garbage_is_told_nothing_and_closed(serve: Serve) -> None:
    io = Server()
    client = serve(io).client()
    client.connect()
    client.wire.send("4nonsense")
    assert client.wait_closed() in (1000, 1005)


def test_the_interpreter_may_switch_threads_at_any_instruction(serve: Serve) -> None:
    """Ten clients, a thousand events each way under the least switch interval: every echo comes, in order."""
    io = Server()
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def talk(number: int) -> list[int]:
            client = process.client()
            client.connect()
            got = []
            for first in range(0, 100, 10):
                client.send(*[event_packet("echo", n, ack=n) for n in range(first, first + 10)])
                for _ in range(10):
                    packet = client.receive()
                    assert packet.data == [packet.id]
                    got.append(packet.id)
            return got

        calls = [Background(talk, number) for number in range(10)]
        for call in calls:
            assert call.result(20) == list(range(100))
    finally:
        sys.setswitchinterval(before)


def test_closed_is_raised_for_a_client_that_was_never_let_in(serve: Serve) -> None:
    """An event for a namespace that was not joined ends the connection."""
    io = Server()
    client = serve(io).client()
    client.emit("x")
    with pytest.raises(Closed):
        client.receive()
