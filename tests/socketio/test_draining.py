"""``Server.drain`` and ``Server.close``, in this process; ``tests/live/test_drain.py`` has gunicorn's side of it."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.socketio.conftest import Serve
from tests.support.inprocess import AT_ONCE, DEADLINE, Background, Client, InProcess, eventually
from wsgi_sio import Server, Socket
from wsgi_sio.adapters import MemoryAdapter

REASON = "server shutting down"


def test_newcomers_are_refused_for_a_while_and_those_who_are_in_are_served(serve: Serve) -> None:
    """503 with Retry-After tells a client, or a load balancer, to try elsewhere."""
    io = Server()
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    clients = [process.client(transport) for transport in ("websocket", "polling", "websocket")]
    for client in clients:
        client.connect()
    draining = Background(io.drain, 1.0)
    refusal = eventually(
        lambda: (answer := process.request("GET", transport="polling")).status == 503 and answer, "the refusal"
    )
    assert ("Retry-After", "1") in refusal.headers
    eventually(lambda: len(io.sockets.sockets) == 2, "the first end")
    survivors = [client for client in clients if _is_served(client)]
    assert len(survivors) == 2
    assert draining.result() is True
    for client in survivors:
        client.wait_closed()


def _is_served(client: Any) -> bool:
    try:
        return client.call("echo", 1) == [1]
    except Exception:  # closed, or refused: each transport has its own way to say so
        return False


def test_everybody_is_noticed_first_in_every_namespace(serve: Serve) -> None:
    io = Server()
    io.of("/chat")
    process = serve(io)
    client = process.client()
    client.connect()
    client.connect("/chat")
    poller = process.client("polling")
    poller.connect()
    draining = Background(lambda: io.drain(0, notice=("restarting", {"in": 5})))
    assert client.expect("restarting") == [{"in": 5}]
    assert client.expect("restarting", nsp="/chat") == [{"in": 5}]
    assert poller.expect("restarting") == [{"in": 5}]
    assert client.wait_closed() == 1005
    poller.wait_closed()
    assert draining.result() is True


def test_the_handlers_of_disconnect_have_run_when_it_returns(serve: Serve) -> None:
    """And may still emit: the adapters are closed behind them."""
    order: list[str] = []

    class Adapter(MemoryAdapter):
        def close(self) -> None:
            order.append("adapter closed")

    io = Server(adapter=Adapter)

    @io.on("disconnect")
    def leave(socket: Socket, reason: str) -> None:
        io.sleep(0.2)
        order.append(reason)

    process = serve(io)
    for _ in range(3):
        process.client().connect()
    assert io.drain(0) is True
    assert order == [REASON] * 3 + ["adapter closed"]


def test_a_handler_that_does_not_end_is_not_waited_for_longer_than_allowed(serve: Serve) -> None:
    io = Server()
    gate = threading.Event()
    io.on("disconnect", lambda socket, reason: gate.wait(DEADLINE))
    serve(io).client().connect()
    began = time.monotonic()
    assert io.drain(0, grace=0.2) is False
    assert 0.2 <= time.monotonic() - began < AT_ONCE
    gate.set()


def _draining(io: Server, process: InProcess) -> tuple[list[Client], Background]:
    """Three clients, and a drain that has sent the first of them away."""
    clients = [process.client() for _ in range(3)]
    for client in clients:
        client.connect()
    draining = Background(io.drain, 30)
    eventually(lambda: len(io.sockets.sockets) == 2, "the first end")
    return clients, draining


def test_an_empty_server_is_drained_at_once(serve: Serve) -> None:
    """So is one whose clients leave by themselves meanwhile."""
    io = Server()
    serve(io)
    began = time.monotonic()
    assert io.drain(30) is True
    assert time.monotonic() - began < AT_ONCE
    io = Server()
    clients, draining = _draining(io, serve(io))
    for client in clients:
        client.close()
    assert draining.result() is True


def test_closing_breaks_a_drain_off(serve: Serve) -> None:
    io = Server()
    clients, draining = _draining(io, serve(io))
    io.close()
    assert draining.result() is True
    for client in clients:
        client.wait_closed()


def test_who_joins_meanwhile_is_sent_away_too(serve: Serve) -> None:
    """A session opened before the drain may still ask for a namespace during it."""
    io = Server()
    reasons: list[str] = []
    io.on("disconnect", lambda socket, reason: reasons.append(reason))
    process = serve(io)
    clients = [process.client() for _ in range(2)]
    latecomer = process.client()
    for client in clients:
        client.connect()
    draining = Background(io.drain, 0.6)
    eventually(lambda: len(io.sockets.sockets) == 1, "the first end")
    latecomer.connect()
    latecomer.wait_closed()
    assert draining.result() is True
    assert reasons == [REASON] * 3
