"""How connections end, from either side and in between, and that nothing is left of them."""

from __future__ import annotations

import socket
import threading
import time
from functools import partial
from typing import Any

import pytest

from tests.client.conftest import TRANSPORTS, Connect, ServeLocally, answer, echo
from tests.client.engineio.test_opening import OPEN
from tests.client.engineio.test_upgrade import Meddler
from tests.support.inprocess import DEADLINE, at_once, eventually, open_descriptors
from wsgi_sio.engineio import MESSAGE, Packet
from wsgi_sio.exceptions import ConnectionFailed

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@each_transport
def test_the_server_closes(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve()
    opened = client(server.url, transports=transport).open()
    server.sessions[0].send_message("goodbye")
    server.sessions[0].close()
    assert opened.wait_end()[0] == "transport close"
    assert opened.messages == ["goodbye"]
    assert opened.engine.state == "closed"


@each_transport
def test_all_that_was_sent_before_closing_arrives(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(max_http_buffer_size=100_000)
    opened = client(server.url, transports=transport).open()
    messages: list[str | bytes] = [f"{number} " + "x" * 5000 for number in range(200)]
    for message in messages:
        opened.send(message)
    assert opened.engine.close()
    assert not opened.engine.close() and opened.engine.state in ("closing", "closed")
    assert not opened.engine.send([Packet(MESSAGE, "too late")])
    assert opened.wait_end() == ("forced close", None)
    eventually(lambda: server.received == messages, "the messages")
    eventually(lambda: server.reasons == ["transport close"], "the server to notice")


def test_polling_says_goodbye(scripted: Any, client: Connect) -> None:
    """The reference: a ``1`` in a POST of its own, behind everything else."""
    bodies: list[str] = []
    go_on = threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(OPEN))
        elif head.startswith("POST"):
            bodies.append(head)
            connection.sendall(answer("ok"))
        else:
            go_on.wait(DEADLINE)

    opened = client(scripted(script).url, transports="polling").open()
    began = time.monotonic()
    assert opened.close()[0] == "forced close"
    assert time.monotonic() - began < 1, "the GET that waits was cut off"
    assert len(bodies) == 1 and "Content-Length: 1\r\n" in bodies[0]
    go_on.set()


@each_transport
@pytest.mark.parametrize("how", [pytest.param("close", marks=pytest.mark.slow), "abort"])
def test_a_server_that_takes_nothing_cannot_delay_the_end(
    scripted: Any, serve: ServeLocally, client: Connect, transport: str, how: str
) -> None:
    stop = threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(OPEN.replace("1000}", "1000000}")))
        else:
            stop.wait(2 * DEADLINE)

    if transport == "polling":
        opened = client(scripted(script).url, transports=transport).open()
    else:
        server = serve()
        opened = client(server.url, transports=transport).open()
        server.sessions[0].pause()
    packet = Packet(MESSAGE, "x" * 100_000)
    for _ in range(100):
        assert opened.engine.send([packet])
    began = time.monotonic()
    getattr(opened.engine, how)()
    assert opened.wait_end()[0] == "forced close"
    assert time.monotonic() - began < (0.5 if how == "abort" else 3)
    stop.set()


@each_transport
def test_closing_inside_a_callback(serve: ServeLocally, client: Connect, transport: str) -> None:
    """The end is told behind the callback, and nothing more is received."""
    server = serve(echo)
    opened = client(server.url, transports=transport).open()
    opened.on_each = lambda data: opened.engine.close()
    opened.send("one", "two", "three")
    assert opened.wait_end() == ("forced close", None)
    assert opened.messages == ["one"]


@each_transport
def test_the_end_is_told_once_whoever_asks(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(echo)
    for _ in range(10):
        opened = client(server.url, transports=transport).open()
        engine, session = opened.engine, server.sessions[-1]
        enders = (engine.close, engine.abort, session.close, partial(engine.abort, "ping timeout"))
        at_once(4, lambda number, enders=enders: enders[number]())  # type: ignore[misc]
        opened.wait_end()
        assert opened.names == ["open", "close"]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (b"\x88\x02\x03\xe8", "transport close"),
        (b"\x88\x00", "transport close"),
        (b"\x81\x011", "transport close"),
        (b"\x81\x01x", "parse error"),
        (b"\x81\x00", "parse error"),
        (b"\x81\x85\x00\x00\x00\x004mask", "transport error"),
        (b"\xc1\x014", "transport error"),
        (b"\x81\x024\xff", "transport error"),
        (b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "transport error"),
    ],
)
def test_frames_that_end_a_websocket(serve: ServeLocally, client: Connect, frames: bytes, reason: str) -> None:
    server = serve()
    opened = client(server.url, transports="websocket").open()
    server.sessions[0].send([Packet(MESSAGE, frame=b"\x81\x024a" + frames)])
    assert opened.wait_end()[0] == reason
    assert opened.messages == ["a"]


def test_websocket_pings_and_fragments(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo)
    opened = client(server.url, transports="websocket").open()
    server.sessions[0].send([Packet(MESSAGE, frame=b"\x89\x02hi\x01\x024a\x89\x00\x80\x01b\x8a\x00")])
    opened.expect("ab")
    opened.send("after")
    opened.expect("after")


@each_transport
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_the_wire_breaks(serve: ServeLocally, client: Connect, transport: str, how: str) -> None:
    server = serve(echo)
    relay = Meddler(server.port, lambda head, to_client, to_server: False)
    opened = client(relay.url, transports=transport).open()
    opened.send("x")
    opened.expect("x")
    relay.close(reset=how == "reset")
    reason, detail = opened.wait_end()
    assert reason == ("transport error" if transport == "polling" else "transport close")
    assert transport == "websocket" or isinstance(detail, ConnectionFailed)


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_a_poll_that_is_refused_ends_it_with_the_answer(serve: ServeLocally, client: Connect, status: int) -> None:
    refusing = threading.Event()

    def refuse(environ: dict[str, Any]) -> Any:
        if not refusing.is_set():
            return None
        return f"{status} No", [("Content-Length", "5")], b"sorry"

    server = serve(refuse=refuse)
    opened = client(server.url, transports="polling").open()
    eventually(lambda: len(server.requests) == 2, "the first poll")
    refusing.set()
    server.sessions[0].send_message("the last")
    reason, error = opened.wait_end()
    assert opened.messages == ["the last"] and reason == "transport error"
    assert isinstance(error, ConnectionFailed) and (error.description, error.context) == (status, "sorry")


def test_a_session_that_the_server_forgot(serve: ServeLocally, client: Connect) -> None:
    """A wrong sid: what a restarted server, or another of several, answers."""
    server = serve()
    opened = client(server.url, transports="polling").open()
    opened.engine.id = "unknownunknownunknow"
    server.sessions[0].send_message("next poll")
    reason, error = opened.wait_end()
    assert reason == "transport error" and isinstance(error, ConnectionFailed)
    assert error.description == 400 and error.context is not None and "Session ID unknown" in error.context


@pytest.mark.parametrize("transports", ["polling", "websocket", ("polling", "websocket")])
def test_nothing_is_left_of_many_connections(serve: ServeLocally, client: Connect, transports: Any) -> None:
    server = serve(echo)

    def once() -> None:
        opened = client(server.url, transports=transports).open()
        opened.send("x")
        opened.expect("x")
        opened.close()

    once()
    threads, files = threading.active_count(), open_descriptors()
    for _ in range(25):
        once()
    eventually(lambda: threading.active_count() <= threads + 1, "the threads to end")
    eventually(lambda: open_descriptors() <= files + 1, "the descriptors to be closed")


@pytest.mark.slow
def test_nothing_is_left_of_a_thousand_connections(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo)
    client(server.url).open().close()
    threads, files = threading.active_count(), open_descriptors()
    for number in range(1000):
        opened = client(server.url, transports=("websocket", TRANSPORTS, "polling")[number % 3]).open()
        if number % 2:
            opened.engine.abort()
            opened.wait_end()
        else:
            opened.close()
    eventually(lambda: threading.active_count() <= threads + 8, "the threads to end", 15)
    eventually(lambda: open_descriptors() <= files + 1, "the descriptors to be closed", 15)
