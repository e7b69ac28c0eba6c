"""For how many connections of siblings gunicorn's workers have room, with workers that are as simple as can be."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.engineio.test_gunicorn_loans import MethodQueue
from tests.support.inprocess import eventually
from tests.support.world import one_world
from wsgi_sio.engineio.gunicorn_connections import GreenletConnections, ThreadConnections, find_connections
from wsgi_sio.engineio.hijacked_connection import HijackedConnection
from wsgi_sio.engineio.response import Response
from wsgi_sio.runtime import create_reactor
from wsgi_sio.sockets import own_descriptor

pytestmark = one_world


class Conn:
    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        self.sock, self.client, self.server = sock, client, server
        self.made = False

    def init(self) -> None:
        self.made = True

    def close(self) -> None:
        self.sock.close()


class ThreadWorker:
    """Its main thread is whoever calls :meth:`run`."""

    cfg = None
    alive = True

    def __init__(self, listener: socket.socket, connections: int, idle: int) -> None:
        self.sockets = [listener]
        self.worker_connections, self.max_keepalived = connections, idle
        self.nr_conns = 0
        self.keepalived_conns: list[Conn] = []
        self.method_queue = MethodQueue()

    def finish_request(self, conn: Conn, result: Any) -> None:
        assert result.result() is True and not result.cancelled() and result.exception() is None
        self.keepalived_conns.append(conn)

    def run(self) -> None:
        while self.method_queue.calls:
            self.method_queue.calls.pop(0)()


class Pool:
    def __init__(self, size: int) -> None:
        self.free = size

    def free_count(self) -> int:
        return self.free


class Server:
    """Of gevent's."""

    def __init__(self, listener: socket.socket, size: int) -> None:
        self.socket = listener
        self.pool = Pool(size)
        self.started = True
        self.handled: list[tuple[socket.socket, Any]] = []

    def do_handle(self, sock: socket.socket, client: Any) -> None:
        self.pool.free -= 1
        self.handled.append((sock, client))


class GreenletWorker:
    alive = True

    def __init__(self, listener: socket.socket) -> None:
        self.sockets = [listener]


class Address:
    """A listening socket, and connections to it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def connect(self) -> tuple[socket.socket, _socket.socket]:
        """The client's end and the server's, which has been handed over."""
        client = self._stack.enter_context(socket.create_connection(self.listener.getsockname(), 10))
        return client, own_descriptor(self.listener.accept()[0].detach())


@pytest.fixture
def address() -> Iterator[Address]:
    with ExitStack() as stack:
        yield Address(stack)


def test_a_worker_of_threads_has_it_as_if_it_had_answered_a_request(address: Address) -> None:
    worker = ThreadWorker(address.listener, 10, 5)
    connections = ThreadConnections(worker, Conn)
    client, sock = address.connect()
    place = connections.reserve(sock)
    assert place is not None
    place.take(sock)
    assert worker.nr_conns == 0 and sock.fileno() == -1
    worker.run()
    (conn,) = worker.keepalived_conns
    assert worker.nr_conns == 1 and conn.made
    assert (conn.client, conn.server) == (client.getsockname(), address.listener.getsockname())
    conn.sock.sendall(b"its")
    assert client.recv(10) == b"its"
    conn.sock.close()


@pytest.mark.parametrize(("most", "idle"), [(3, 9), (9, 3)])
def test_room_in_a_worker_of_threads(address: Address, most: int, idle: int) -> None:
    """Those that are on their way count, and those that do not come do so no more."""
    worker = ThreadWorker(address.listener, most, idle)
    connections = ThreadConnections(worker, Conn)
    socks = [address.connect()[1] for _ in range(4)]
    places = [connections.reserve(sock) for sock in socks]
    assert [place is not None for place in places] == [True, True, True, False]
    assert places[0] is not None and places[1] is not None
    places[0].release()
    assert connections.reserve(socks[3]) is not None
    places[1].take(socks[1])
    worker.run()
    assert connections.reserve(socks[0]) is None
    worker.keepalived_conns.pop().sock.close()
    worker.nr_conns -= 1
    assert connections.reserve(socks[0]) is not None
    for sock in socks:
        sock.close()


def test_room_in_a_worker_of_greenlets(address: Address) -> None:
    worker, server = GreenletWorker(address.listener), Server(address.listener, 2)
    connections = GreenletConnections(worker, [server])
    pairs = [address.connect() for _ in range(3)]
    places = [connections.reserve(sock) for _, sock in pairs]
    assert [place is not None for place in places] == [True, True, False]
    assert places[0] is not None and places[1] is not None
    places[0].take(pairs[0][1])
    ((sock, client),) = server.handled
    assert client == pairs[0][0].getsockname() and sock.getpeername() == client
    sock.close()
    server.pool.free = 0  # others have come
    places[1].take(pairs[1][1])
    assert pairs[1][0].recv(1) == b""
    server.pool.free = 5
    server.started = False
    assert connections.reserve(pairs[2][1]) is None
    pairs[2][1].close()


def test_who_has_no_place(address: Address) -> None:
    """A connection of another server's, and one whose client has left."""
    worker = ThreadWorker(address.listener, 10, 5)
    connections = ThreadConnections(worker, Conn)
    with ExitStack() as stack:
        assert connections.reserve(Address(stack).connect()[1]) is None
        pair = socket.socketpair()
        assert connections.reserve(own_descriptor(pair[0].detach())) is None
        pair[1].close()


def test_those_that_are_on_their_way_when_the_worker_ends_are_closed(address: Address) -> None:
    worker = ThreadWorker(address.listener, 10, 5)
    connections = ThreadConnections(worker, Conn)
    pairs = [address.connect() for _ in range(2)]
    places = [connections.reserve(sock) for _, sock in pairs]
    assert places[0] is not None and places[1] is not None
    worker.alive = False
    assert connections.reserve(pairs[0][1]) is None
    places[0].take(pairs[0][1])
    worker.method_queue.close()
    places[1].take(pairs[1][1])
    assert not worker.method_queue.calls
    assert [client.recv(1) for client, _ in pairs] == [b"", b""]
    assert connections._expected == 0


def test_all_addresses_of_a_port() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        worker = ThreadWorker(listener, 10, 5)
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            sock = own_descriptor(listener.accept()[0].detach())
            place = ThreadConnections(worker, Conn).reserve(sock)
            assert place is not None
            place.take(sock)
            worker.run()
            assert worker.keepalived_conns[0].server == listener.getsockname()
            worker.keepalived_conns[0].sock.close()


def test_another_server_has_none() -> None:
    for worker in (object(), ThreadWorker(socket.socket(), 1, 1)):
        assert find_connections(worker) is None


# -- the connection itself ---------------------------------------------------------------------------------------------


def answer(address: Address, response: Response, early: bytes = b"", shut: bool = False) -> tuple[bytes, list[Conn]]:
    """What a client gets that has sent ``early`` while it waited; what the worker has then."""
    worker = ThreadWorker(address.listener, 10, 5)
    reactor = create_reactor()
    try:
        client, sock = address.connect()
        lost: list[bool] = []
        hijacked = HijackedConnection(
            sock, reactor, [], 10.0, lambda: lost.append(True), ThreadConnections(worker, Conn)
        )
        hijacked.await_answer()
        client.sendall(early)
        if shut:
            client.shutdown(socket.SHUT_WR)
            eventually(lambda: lost == [True], "the end of what it sends")
        hijacked.answer(response)
        worker.run()
        found = b""
        while response.body not in found:
            found += client.recv(65536)
        if not worker.keepalived_conns:
            assert client.recv(1) == b""
        return found, worker.keepalived_conns
    finally:
        reactor.close()


def test_it_goes_on_with_what_came_while_it_waited(address: Address) -> None:
    found, conns = answer(address, Response(200, [], b"body"), b"GET /next")
    assert b"\r\nConnection: keep-alive\r\n" in found and found.endswith(b"body")
    assert conns[0].sock.recv(100, socket.MSG_DONTWAIT) == b"GET /next"
    conns[0].sock.close()


def test_it_ends_with_a_refusal_and_with_a_client_that_sends_no_more(address: Address) -> None:
    for found, conns in (
        answer(address, Response(400, [], b"body")),
        answer(address, Response(200, [], b"body"), shut=True),
    ):
        assert b"\r\nConnection: close\r\n" in found and not conns
