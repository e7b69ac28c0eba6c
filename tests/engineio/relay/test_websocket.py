"""WebSockets that another process has received than the one in which their session lives, by TLS as well."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engineio.conftest import Engine
from tests.engineio.relay.conftest import (
    Exchange,
    MakeSiblings,
    body_of,
    company,
    freeze,
    get,
    io_threads,
    thaw,
    websocket_with_early_bytes,
)
from tests.engineio.test_hijack import certificate, echo, tls_pair
from tests.support.inprocess import UPGRADE, WebSocket, eventually, frame_of, open_descriptors, tcp_pair
from wsgi_sio.engineio import Response, Session
from wsgi_sio.engineio.relay import tls_proxy as pumping

__all__ = ["certificate"]

Two = tuple[Engine, Engine]


def probe(websocket: WebSocket) -> WebSocket:
    """Go over to it."""
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    websocket.send("5")
    return websocket


def upgraded(holder: Engine, owner: Engine, **options: Any) -> tuple[WebSocket, Session]:
    """A session of ``owner`` that has gone over to a WebSocket through ``holder``."""
    polling, session = owner.over_polling()
    websocket = probe(holder.websocket(polling.sid, **options))
    eventually(lambda: session.transport.name == "websocket", "the switch")
    return websocket, session


@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "unix"])
def test_an_upgrade_through_another_process(make_siblings: MakeSiblings, tcp: bool) -> None:
    holder, owner = make_siblings(2, echo)
    threads, descriptors = io_threads(), open_descriptors()
    websocket, session = upgraded(holder, owner, tcp=tcp)
    assert b" 101 " in websocket.accept
    for size in (1, 200, 70_000, 500_000):
        websocket.send("4" + "x" * size, b"y" * size)
        assert websocket.receive() == "4" + "x" * size
        assert websocket.receive() == b"y" * size
    assert io_threads() <= threads + 1
    assert open_descriptors() <= descriptors + 2  # both ends of the connection, the holder has none
    session.send_message("on")
    assert websocket.receive() == "4on"
    websocket.send_close()
    assert websocket.wait_closed() == 1000
    eventually(lambda: owner.reasons == ["transport close"], "the end")


def test_a_get_that_waits_elsewhere_returns_at_the_switch(make_siblings: MakeSiblings) -> None:
    first, second, owner = make_siblings(3)
    polling, session = owner.over_polling()
    waiting = get(first, polling.sid)
    eventually(lambda: session.transport.idle, "the GET at its owner")
    websocket = second.websocket(polling.sid)
    websocket.send("2probe")
    assert websocket.receive() == "3probe"
    assert body_of(waiting.response()) == "6"
    session.send_message("between")
    websocket.send("5")
    assert websocket.receive() == "4between"


def test_early_bytes(make_siblings: MakeSiblings) -> None:
    """What the client sent behind its handshake, and the holder's server has read, half a frame even."""
    holder, owner = make_siblings(2, echo)
    polling, _ = owner.over_polling()
    early = frame_of("2probe") + frame_of("5") + frame_of("4early")[:4]
    websocket = websocket_with_early_bytes(holder, early, polling.sid)
    assert websocket.receive() == "3probe"
    websocket.send_raw(frame_of("4early")[4:])
    assert websocket.receive() == "4early"
    websocket.close()


def refused(engine: Engine, sid: str, headers: Mapping[str, str] = {}) -> Response:
    return Exchange(engine, "GET", {**UPGRADE, **headers}, transport="websocket", sid=sid).response()


def test_the_owner_refuses(two: Two) -> None:
    holder, owner = two
    unknown = refused(holder, "x" * 16 + owner.engine.tag)
    assert (unknown.status, unknown.body) == (400, b"Session ID unknown")
    polling, session = owner.over_polling()
    answer = Exchange(holder, "GET", UPGRADE, transport="websocket", sid=polling.sid, EIO="3").response()
    assert (answer.status, answer.body) == (400, b"Bad request")
    bad = Exchange(holder, "GET", {**UPGRADE, "Sec-WebSocket-Key": "?"}, transport="websocket", sid=polling.sid)
    assert not bad.moved
    assert bad.response().status == 400
    assert session.open


def test_a_second_upgrade_is_turned_away(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    first = holder.websocket(polling.sid)
    second = holder.websocket(polling.sid)
    second.wait_closed()
    probe(first)
    eventually(lambda: session.transport.name == "websocket", "the switch")
    holder.websocket(polling.sid).wait_closed()
    session.send_message("on")
    assert first.receive() == "4on"


def test_the_server_does_not_show_its_socket(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    answer = holder.request("GET", UPGRADE, transport="websocket", sid=polling.sid)
    assert answer.status == 400
    assert session.open


def test_the_owner_cannot_watch_it(make_siblings: MakeSiblings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is closed, nothing else: neither what it is made of nor the session."""
    holder, owner = make_siblings(2)
    polling, session = owner.over_polling()
    descriptors = open_descriptors()
    client, server = socket.socketpair()

    def no_watch(*args: object, **options: object) -> None:
        raise OSError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(owner.engine.reactor), "watch", no_watch)
        environ = {**holder.environ("GET", UPGRADE, transport="websocket", sid=polling.sid), "gunicorn.socket": server}
        holder.engine.handle(environ)
        environ.clear()
        server.close()
        assert client.recv(1000) == b""
    client.close()
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")
    assert session.open
    session.send_message("on")
    assert body_of(get(holder, polling.sid).response()) == "4on"


# -- TLS, which stays where it is, and is pumped --


def over_tls(holder: Engine, sid: str, certificate: Path) -> tuple[WebSocket, Exchange]:
    """A WebSocket inside TLS: the client's, and the request that holds its thread."""
    client, server = tls_pair(certificate)
    exchange = Exchange(holder, "GET", UPGRADE, pair=(client, server), transport="websocket", sid=sid)
    websocket = WebSocket(client)
    websocket.read_accept()
    return websocket, exchange


def waiting_requests(engine: Engine) -> int:
    return engine.engine.capacity._long


def test_tls_is_pumped(make_siblings: MakeSiblings, certificate: Path) -> None:
    holder, owner = make_siblings(2, echo, max_outbox=20_000_000)
    polling, session = owner.over_polling()
    descriptors = open_descriptors()
    websocket, exchange = over_tls(holder, polling.sid, certificate)
    probe(websocket)
    for size in (1, 1000, 16_384, 16_385, 70_000, 900_000):
        websocket.send(b"x" * size, f"4{size}")
        assert websocket.receive() == b"x" * size
        assert websocket.receive() == f"4{size}"
    session.send_message("z" * 5_000_000)
    assert websocket.receive() == "4" + "z" * 5_000_000
    assert waiting_requests(holder) == 1
    assert not exchange.handled.done
    websocket.send_close()
    assert websocket.wait_closed() == 1000
    websocket.close()
    exchange.handled.result()
    eventually(lambda: owner.reasons == ["transport close"], "the end")
    assert waiting_requests(holder) == 0
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")


@pytest.mark.parametrize("end", ["the owner's", "the client's", "a close frame", "a reset", "a half"])
def test_the_end_of_a_pump(two: Two, certificate: Path, end: str) -> None:
    """The thread of the WSGI server is given back, whoever ends first, and however."""
    holder, owner = two
    polling, session = owner.over_polling()
    descriptors = open_descriptors()
    websocket, exchange = over_tls(holder, polling.sid, certificate)
    probe(websocket)
    eventually(lambda: session.transport.name == "websocket", "the switch")
    if end == "the owner's":
        session.close()
        websocket.wait_closed()
        websocket.close()
    elif end == "the client's":
        websocket.close()
    elif end == "a close frame":
        websocket.send_close()
    elif end == "a reset":
        websocket.reset()
    else:
        socket.socket.shutdown(websocket.sock, socket.SHUT_WR)
    exchange.handled.result()
    eventually(lambda: len(owner.reasons) == 1, "the end")
    websocket.close()
    assert waiting_requests(holder) == 0
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")


def test_a_client_that_does_not_close_is_cut_off(two: Two, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold a thread for ever."""
    monkeypatch.setattr(pumping, "_LINGER", 0.1)
    holder, owner = two
    polling, session = owner.over_polling()
    websocket, exchange = over_tls(holder, polling.sid, certificate)
    probe(websocket)
    eventually(lambda: session.transport.name == "websocket", "the switch")
    session.close(abort=True)
    exchange.handled.result()
    assert waiting_requests(holder) == 0
    websocket.close()


def test_a_client_that_takes_nothing_is_cut_off(make_siblings: MakeSiblings, certificate: Path) -> None:
    """Its session has ended long ago, and what was written before would wait for ever, with a thread."""
    holder, owner = make_siblings(2, ping_interval=0.2, ping_timeout=0.3)
    polling, session = owner.over_polling()
    websocket, exchange = over_tls(holder, polling.sid, certificate)
    probe(websocket)
    eventually(lambda: session.transport.name == "websocket", "the switch")
    for _ in range(30):
        session.send_message("x" * 1_000_000)
    exchange.handled.result()
    assert len(owner.reasons) == 1
    assert waiting_requests(holder) == 0
    websocket.close()


def test_the_owner_refuses_a_pumped_one(two: Two, certificate: Path) -> None:
    holder, owner = two
    descriptors = open_descriptors()
    client, server = tls_pair(certificate)
    exchange = Exchange(
        holder, "GET", UPGRADE, pair=(client, server), transport="websocket", sid="x" * 16 + owner.engine.tag
    )
    data = b""
    while chunk := client.recv(1000):
        data += chunk
    assert data.startswith(b"HTTP/1.1 400 ") and data.endswith(b"Session ID unknown")
    client.close()
    exchange.handled.result()
    assert waiting_requests(holder) == 0
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")


@pytest.mark.parametrize("error", [OSError("no memory"), RuntimeError("can't start new thread")])
@pytest.mark.parametrize("good", [0, 1])
def test_no_thread_is_kept_when_the_pump_cannot_run(
    two: Two, certificate: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, good: int
) -> None:
    """``good`` of its two ends can be watched."""
    holder, owner = two
    polling, session = owner.over_polling()
    kind = type(holder.engine.reactor)
    original, left = kind.watch, [good]

    def watch(*args: Any, **options: Any) -> Any:
        if not left[0]:
            raise error
        left[0] -= 1
        return original(*args, **options)

    client, server = tls_pair(certificate)
    environ = {**holder.environ("GET", UPGRADE, transport="websocket", sid=polling.sid), "gunicorn.socket": server}
    descriptors = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(kind, "watch", watch)
        try:
            assert isinstance(holder.engine.handle(environ), Response)
        except RuntimeError:
            pass  # the server answers it 500
    assert waiting_requests(holder) == 0
    assert open_descriptors() <= descriptors
    client.close()
    server.close()
    assert session.open


def test_a_frozen_owner_holds_no_thread_of_a_plain_websocket(two: Two) -> None:
    holder, owner = two
    polling, session = owner.over_polling()
    freeze(owner)
    began = time.monotonic()
    client, server = tcp_pair()
    exchange = Exchange(holder, "GET", UPGRADE, pair=(client, server), transport="websocket", sid=polling.sid)
    assert exchange.moved
    assert time.monotonic() - began < 1
    thaw(owner)
    websocket = WebSocket(client)
    websocket.read_accept()
    probe(websocket)
    eventually(lambda: session.transport.name == "websocket", "the switch")
    assert not company(holder).forwarder._asked
