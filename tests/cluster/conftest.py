"""Clusters of servers in this process, each with a client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.bus import Bus, CountingAdapter, HeartbeatAdapter, OverBus
from tests.support.inprocess import Background, Client, InProcess, eventually
from wsgi_sio import Server, Socket

KINDS = {"counting": CountingAdapter, "heartbeat": HeartbeatAdapter}


class Cluster:
    """Servers on one bus, each with one client in ``/``.

    :ivar sockets: the clients' sockets, on their servers.
    """

    def __init__(self, kind: str, count: int = 3, **options: Any) -> None:
        self.kind = kind
        self.bus = Bus()
        self._options = options
        self.servers: list[Server] = []
        self.clients: list[Client] = []
        self.sockets: list[Socket] = []
        self._processes: list[InProcess] = []
        for _ in range(count):
            self.add_server()
        self.know_each_other()

    def add_server(self) -> Server:
        """One more, with its client."""
        io = Server(adapter=lambda namespace: KINDS[self.kind](namespace, self.bus, **self._options))
        self.servers.append(io)
        self._processes.append(InProcess(io))
        client, socket = self.join(len(self.servers) - 1)
        self.clients.append(client)
        self.sockets.append(socket)
        return io

    def join(self, number: int, nsp: str = "/", client: Client | None = None) -> tuple[Client, Socket]:
        """A client of a server that has joined a namespace, and its socket."""
        client = client or self._processes[number].client()
        return client, self.servers[number].of(nsp).sockets[client.connect(nsp)]

    def adapter(self, number: int, nsp: str = "/") -> Any:
        adapter = self.servers[number].of(nsp).adapter
        assert isinstance(adapter, OverBus)
        return adapter

    def know_each_other(self, nsp: str = "/") -> None:
        adapters = [self.adapter(number, nsp) for number in range(len(self.servers))]
        eventually(lambda: all(a.server_count() == len(adapters) for a in adapters), "that all know each other")

    def got(self, sender: int = 0) -> list[list[Any]]:
        """The events each client has got since the last call: the name, or a list with the arguments.

        :param sender: the server whose messages to wait for.
        """
        self.servers[sender].emit("that was all", sender)
        result = []
        for client in self.clients:
            events: list[Any] = []
            while (data := client.receive().data) != ["that was all", sender]:
                events.append(data[0] if len(data) == 1 else data)
            result.append(events)
        return result

    def answering(self, number: int, *args: Any) -> Background:
        """Have a client acknowledge the next event; the result is that event."""

        def run() -> Any:
            packet = self.clients[number].receive()
            self.clients[number].answer(packet, *args)
            return packet.data

        return Background(run)

    def open_requests(self) -> int:
        """How many requests are open on all servers."""
        nodes = [self.adapter(number)._node for number in range(len(self.servers))]
        return sum(len(node.questions) + len(node.ack_requests) for node in nodes)

    def close(self) -> None:
        self.bus.broken, self.bus.fate = False, None
        for io in self.servers:
            io.close()
        for process in self._processes:
            process.close()


MakeCluster = Callable[..., Cluster]


@pytest.fixture
def make_cluster() -> Iterator[MakeCluster]:
    """``make_cluster(kind, count, **options)``."""
    made: list[Cluster] = []

    def make(kind: str = "heartbeat", count: int = 3, **options: Any) -> Cluster:
        made.append(Cluster(kind, count, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture(params=sorted(KINDS))
def cluster(request: pytest.FixtureRequest, make_cluster: MakeCluster) -> Cluster:
    """Three servers, with either kind of adapter."""
    return make_cluster(request.param)
