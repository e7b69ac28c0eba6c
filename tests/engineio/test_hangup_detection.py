"""Clients that hang up while their request waits in its thread or greenlet: noticed at once, with nothing consumed."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import Background, eventually, tcp_pair
from wsgi_sio.engineio.hangup_detection import HangupWatch
from wsgi_sio.engineio.pending_requests import ThreadWait
from wsgi_sio.engineio.session import Session
from wsgi_sio.runtime import Reactor, create_reactor


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = create_reactor()
    yield reactor
    reactor.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Client and server."""
    client, server = tcp_pair()
    with client, server:
        yield client, server


def send(engine: Engine, method: str, session: Session, server: socket.socket, body: bytes | None = None) -> Background:
    """A request over the connection whose end is ``server``."""
    environ = engine.environ(method, {}, body, transport="polling", sid=session.id)
    return Background(engine.engine.handle, {**environ, "gunicorn.socket": server})


def wait_in_place(engine: Engine, session: Session, server: socket.socket) -> tuple[ThreadWait, Background]:
    """A request that waits where it is, as without descriptors to move its connection; its result to come."""
    environ = {**engine.environ("GET", transport="polling", sid=session.id), "gunicorn.socket": server}
    request = replace(engine.engine_request("GET", session.id), environ=environ)
    transport: Any = session.transport
    lost = partial(session.close, "transport error", abort=True)
    waiting = ThreadWait(
        request, engine.engine.reactor, transport.capacity, transport.hold, lambda: None, lost, least=10
    )
    return waiting, Background(waiting.result)


def fin(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("hang_up", [fin, reset])
def test_a_hang_up_is_noticed_at_once(
    make_engine: MakeEngine, pair: tuple[socket.socket, socket.socket], hang_up: Any
) -> None:
    """Long before the next ping, which would find the answer to be lost."""
    engine = make_engine(ping_interval=1000)
    _, session = engine.over_polling()
    waiting = send(engine, "GET", session, pair[1])
    eventually(lambda: session.transport.idle, "a parked GET")
    hang_up(pair[0])
    eventually(lambda: engine.reasons == ["transport error"], "the end")
    waiting.result()


def test_so_is_that_of_a_client_whose_post_waits(
    make_engine: MakeEngine, pair: tuple[socket.socket, socket.socket]
) -> None:
    engine = make_engine(ping_interval=1000)
    _, session = engine.over_polling()
    session.pause()
    waiting = send(engine, "POST", session, pair[1], b"4held back")
    eventually(session.transport._posts.waiting, "a parked POST")
    pair[0].close()
    eventually(lambda: engine.reasons == ["transport error"], "the end")
    waiting.result()


def test_a_request_that_waits_in_place_learns_it(
    make_engine: MakeEngine, pair: tuple[socket.socket, socket.socket]
) -> None:
    """With threads as well, for want of a descriptor."""
    engine = make_engine(ping_interval=1000)
    _, session = engine.over_polling()
    waiting, result = wait_in_place(engine, session, pair[1])
    pair[0].close()
    eventually(lambda: engine.reasons == ["transport error"], "the end")
    waiting.answer(waiting._response)
    result.result()


def test_what_a_client_sends_meanwhile_is_the_server_s(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The next request of a pipeline: nothing of it is read, and it is told only once."""
    client, server = pair
    looks: list[str] = []

    class Counting:
        """The server's socket; tells when its inside is looked for, which gevent's has."""

        def __getattr__(self, name: str) -> Any:
            if name == "_sock":
                looks.append(name)
            return getattr(server, name)

    told = threading.Event()
    with HangupWatch(Counting(), reactor, told.set):
        client.sendall(b"GET /next HTTP/1.1\r\n\r\n")
        eventually(lambda: looks, "a look")
        assert not told.wait(0.1)
    assert len(looks) == 1
    server.setblocking(True)
    assert server.recv(100) == b"GET /next HTTP/1.1\r\n\r\n"


def test_a_hang_up_after_the_wait_is_not_told(reactor: Reactor, pair: tuple[socket.socket, socket.socket]) -> None:
    """The connection is the server's again, and so is the next request."""
    client, server = pair
    told = threading.Event()
    with HangupWatch(server, reactor, told.set):
        pass
    client.close()
    assert not told.wait(0.1)
