"""Messages both ways: order, sizes, limits, and a server that takes nothing."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.client.conftest import TRANSPORTS, Connect, ScriptedServer, ServeLocally, answer, echo
from tests.client.engineio.test_opening import OPEN
from tests.support.inprocess import DEADLINE, at_once, eventually
from wsgi_sio.client.engineio.polling import split_payload
from wsgi_sio.engineio import MESSAGE, Packet
from wsgi_sio.exceptions import ConnectionFailed, LocalProtocolError

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@each_transport
def test_text_and_bytes_both_ways(serve: ServeLocally, client: Connect, transport: str) -> None:
    opened = client(serve(echo).url, transports=transport).open()
    messages = ["", "héllo €😀", b"", bytes(range(256)), "x" * 70_000, b"y" * 200_000, "2", "4"]
    for message in messages:
        opened.send(message)
    opened.expect(*messages)


@each_transport
def test_batches_of_several_threads_stay_whole_and_in_order(
    serve: ServeLocally, client: Connect, transport: str
) -> None:
    server = serve()
    opened = client(server.url, transports=transport).open()

    def emit(thread: int) -> None:
        for number in range(100):
            opened.send(f"{thread} {number}", bytes([thread, number]))

    at_once(4, emit)
    eventually(lambda: len(server.received) == 800, "the messages", 15)
    seen = dict.fromkeys(range(4), 0)
    for text, data in zip(server.received[::2], server.received[1::2], strict=True):
        thread, number = map(int, str(text).split())
        assert data == bytes([thread, number]) and seen[thread] == number
        seen[thread] += 1


@each_transport
def test_messages_of_megabytes(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(echo, max_http_buffer_size=30_000_000, max_outbox=100_000_000)
    opened = client(server.url, transports=transport).open()
    data = b"0123456789" * 400_000
    opened.send(data, data.decode(), "small")
    opened.expect(data, data.decode(), "small", timeout=20)


@each_transport
def test_a_message_over_max_message_size_ends_the_connection(
    serve: ServeLocally, client: Connect, transport: str
) -> None:
    server = serve()
    opened = client(server.url, transports=transport, max_message_size=1000).open()
    server.sessions[0].send_message("x" * 900)
    opened.expect("x" * 900)
    server.sessions[0].send_message("x" * 1001)
    assert opened.wait_end()[0] == "transport error"
    assert opened.messages == []


def test_a_flood_of_small_messages_is_split_over_posts(serve: ServeLocally, client: Connect) -> None:
    server = serve(max_http_buffer_size=1000)
    opened = client(server.url, transports="polling").open()
    messages: list[str | bytes] = [f"{number} " + "é" * (number % 300) for number in range(300)]
    messages += [b"x" * 700, b"y" * 700]
    opened.send(*messages)
    eventually(lambda: len(server.received) == len(messages), "the messages", 15)
    assert server.received == messages
    sizes = [int(request["CONTENT_LENGTH"]) for request in server.requests if request["REQUEST_METHOD"] == "POST"]
    assert max(sizes) <= 1000 and len(sizes) < 140  # as full as they may be


def test_answers_without_a_body_are_fine(scripted: Any, client: Connect) -> None:
    """The status of a POST's answer is what counts, and a refusal need not say more than that."""
    posted, refused = threading.Event(), threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(OPEN))
        elif head.startswith("POST"):
            posted.set()
            connection.sendall(answer(""))
        else:
            refused.wait(DEADLINE)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    opened = client(scripted(script).url, transports="polling").open()
    opened.send("one")
    assert posted.wait(DEADLINE)
    opened.send("two")
    refused.set()
    reason, error = opened.wait_end()
    assert reason == "transport error" and isinstance(error, ConnectionFailed) and error.description == 400


def test_no_post_has_more_than_16_packets() -> None:
    """More are refused by python-engineio."""
    bodies = split_payload([Packet(MESSAGE, str(number)) for number in range(40)], 1_000_000)
    assert [len(body.split(b"\x1e")) for body in bodies] == [16, 16, 8]


def test_payloads_are_split_at_the_limit_exactly() -> None:
    packets = [Packet(MESSAGE, "x" * 8), Packet(MESSAGE, "é" * 4), Packet(MESSAGE, b"abc")]  # 9, 9 and 5 bytes
    for limit, lengths in ((25, [25]), (24, [19, 5]), (19, [19, 5]), (18, [9, 15]), (9, [9, 9, 5]), (1, [9, 9, 5])):
        assert [len(body) for body in split_payload(packets, limit)] == lengths


@pytest.mark.parametrize(
    ("transport", "largest", "too_large"),
    [
        ("polling", "x" * 999, "x" * 1000),
        ("polling", "é" * 499, "é" * 500),
        ("polling", b"x" * 747, b"x" * 750),
        ("websocket", "x" * 999, "x" * 1000),
        ("websocket", b"x" * 1000, b"x" * 1001),
    ],
)
def test_a_packet_over_max_payload_is_refused_here(
    serve: ServeLocally, client: Connect, transport: str, largest: Any, too_large: Any
) -> None:
    """The error names both sizes, nothing of the batch is sent, and the connection goes on."""
    server = serve(echo, max_http_buffer_size=1000)
    opened = client(server.url, transports=transport).open()
    opened.send(largest)
    opened.expect(largest)
    with pytest.raises(LocalProtocolError, match=r"over the 1000 .*maxPayload"):
        opened.send("not sent either", too_large)
    opened.send("after")
    opened.expect("after")


@each_transport
def test_what_waits_for_a_server_that_takes_nothing_is_bounded(
    scripted: Any, serve: ServeLocally, client: Connect, transport: str
) -> None:
    stop = threading.Event()

    def never_read(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(OPEN.replace("1000}", "100000}")))
        else:
            stop.wait(2 * DEADLINE)

    server = serve(echo) if transport == "websocket" else None
    url = scripted(never_read).url if server is None else server.url
    opened = client(url, transports=transport, max_outbox=1_000_000).open()
    if server is not None:
        server.sessions[0].pause()
    packet = Packet(MESSAGE, "x" * 10_000)
    with pytest.raises(LocalProtocolError, match="max_outbox=1000000"):
        for _ in range(3000):
            opened.engine.send([packet])
    assert opened.engine.state == "open"
    assert not opened.engine.send([packet], volatile=True)
    stop.set()
    if server is not None:
        server.sessions[0].resume()
        eventually(lambda: opened.engine.send([packet], volatile=True), "the server takes again")


def test_volatile_packets_go_out_only_at_once(scripted: Any, client: Connect) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(OPEN))
        elif head.startswith("POST"):
            asked.set()
            assert go_on.wait(DEADLINE)
            connection.sendall(answer("ok"))
        else:
            go_on.wait(DEADLINE)
            connection.sendall(answer("6"))

    opened = client(scripted(script).url, transports="polling").open()
    assert opened.engine.send([Packet(MESSAGE, "first")], volatile=True)
    assert asked.wait(DEADLINE)
    assert not opened.engine.send([Packet(MESSAGE, "second")], volatile=True)
    go_on.set()
    eventually(lambda: opened.engine.send([Packet(MESSAGE, "third")], volatile=True), "the transport to be idle")


def test_nothing_is_sent_before_it_is_open_or_after_the_end(serve: ServeLocally, client: Connect) -> None:
    server = serve()
    opened = client(server.url)
    assert not opened.engine.send([Packet(MESSAGE, "early")])
    opened.open().close()
    assert not opened.engine.send([Packet(MESSAGE, "late")])
    assert server.received == []


# -- what a server may send --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason", "messages"),
    [
        ("6\x1e4a\x1e6\x1e4b", None, ["a", "b"]),
        ("4a\x1e3\x1e5\x1e0{}\x1e4b", None, ["a", "b"]),
        ("4a\x1ex\x1e4b", "parse error", ["a"]),
        ("4a\x1e", "parse error", ["a"]),
        ("", "parse error", []),
        ("4a\x1ebA", "parse error", ["a"]),
        ("4a\x1e1\x1e4b", "transport close", ["a"]),
        (b"4\xff\xfe", None, ["\ufffd\ufffd"]),
    ],
)
def test_payloads_good_and_bad(
    scripted: Any, client: Connect, payload: Any, reason: str | None, messages: list[str]
) -> None:
    stop = threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(OPEN))
        elif len(server.heads) == 2:
            connection.sendall(answer(payload))
        else:
            stop.wait(DEADLINE)

    server: ScriptedServer = scripted(script)
    opened = client(server.url, transports="polling").open()
    if reason is None:
        opened.expect(*messages)
    else:
        assert opened.wait_end()[0] == reason
        assert opened.messages == messages
    stop.set()


def test_what_comes_with_the_handshake_is_delivered(scripted: Any, client: Connect) -> None:
    stop = threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        if "sid=" not in head:
            connection.sendall(answer(OPEN + "\x1e4early\x1ebAQI="))
        else:
            stop.wait(DEADLINE)

    opened = client(scripted(script).url, transports="polling").open()
    opened.expect("early", b"\x01\x02")
    stop.set()


def test_a_callback_that_raises_does_not_end_the_connection(
    serve: ServeLocally, client: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    opened = client(serve(echo).url, transports="websocket").open()

    def fail(data: object) -> None:
        opened._inside -= 1
        raise RuntimeError("in a callback")

    opened.on_each = fail
    opened.send("one")
    eventually(lambda: "in a callback" in caplog.text, "the log")
    opened.on_each = None
    opened.send("two")
    opened.expect("one", "two")


def test_a_pong_overtakes_the_messages_that_wait(serve: ServeLocally, client: Connect) -> None:
    """A server that takes one slow POST after the other does not miss it."""
    slow = threading.Event()

    def refuse(environ: dict[str, Any]) -> None:
        if environ["REQUEST_METHOD"] == "POST":
            slow.wait(0.05)

    server = serve(refuse=refuse, ping_interval=0.1, ping_timeout=0.3)
    opened = client(server.url, transports="polling").open()
    messages: list[str | bytes] = [str(number) for number in range(400)]
    for message in messages:
        opened.send(message)
    eventually(lambda: len(server.received) == 400, "the messages")
    assert server.received == messages and server.reasons == []
