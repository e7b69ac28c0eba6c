"""What a handler raises, or cannot be called with, is logged; the client and its connection live on."""

from __future__ import annotations

import logging

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import eventually
from tests.support.world import WORLD
from wsgi_sio import NO_ACK, Server, Socket


def test_the_handler_of_errors_may_leave_it_unacknowledged(serve: Serve) -> None:
    io = Server()
    io.on("x", lambda socket, silent: 1 / 0)
    io.on_error(lambda socket, error, event, args: NO_ACK if args == [True] else "failed")
    client = serve(io).client()
    client.connect()
    client.emit("x", True, ack=1)
    assert client.call("x", False, ack=2) == ["failed"]


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
