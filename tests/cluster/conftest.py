"""Clusters of servers in this process, each with a client."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from tests.support.bus import Bus, CountingAdapter, HeartbeatAdapter, OverBus
from tests.support.inprocess import DEADLINE, Background, Client, InProcess, eventually
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.rabbitmq import RabbitMQ, running_rabbitmq
from tests.support.redis import RedisServer, running_redis
from tests.support.world import one_world
from wsgi_sio import AckTimeout, Server, Socket
from wsgi_sio.adapters import (
    KombuAdapter,
    PostgresAdapter,
    RecoveringStreamsAdapter,
    RedisAdapter,
    RedisStreamsAdapter,
    ShardedRedisAdapter,
    WorkersAdapter,
    kombu_adapter,
    postgres_adapter,
    redis_adapter,
    redis_streams_adapter,
    sharded_redis_adapter,
)
from wsgi_sio.socketio.packet import EVENT, Packet

KINDS = {"counting": CountingAdapter, "heartbeat": HeartbeatAdapter}
# The servers are siblings, as the processes of one server are: there is no bus.
WORKERS = "workers"


def streams(url: str, key: str, **options: Any) -> Any:
    """Servers that share nothing with others on that Redis."""
    return redis_streams_adapter(
        url, channel_prefix=key, stream_name=key, session_key_prefix=f"{key}:session:", **options
    )


# Drivers for a real server: the adapter, and what makes its factory of a URL, a key for the channels, and options.
REAL: dict[str, tuple[type, Callable[..., Any]]] = {
    "redis": (RedisAdapter, redis_adapter),
    "sharded": (
        ShardedRedisAdapter,
        lambda url, key, **options: sharded_redis_adapter(url, channel_prefix=key, **options),
    ),
    "static": (
        ShardedRedisAdapter,
        lambda url, key, **options: sharded_redis_adapter(
            url, channel_prefix=key, subscription_mode="static", **options
        ),
    ),
    "streams": (RedisStreamsAdapter, streams),
    "recovering": (RecoveringStreamsAdapter, streams),
    "postgres": (
        PostgresAdapter,
        lambda url, key, **options: postgres_adapter(url, channel_prefix=key, **options),
    ),
    "kombu": (KombuAdapter, kombu_adapter),
}

_numbers = count()


class Forgetful(Client):
    """Gets events without their offsets, which others do not have."""

    def receive(self, timeout: float = DEADLINE) -> Packet:
        packet = super().receive(timeout)
        if packet.type == EVENT and isinstance(packet.data[-1], str) and re.fullmatch(r"\d+-\d+", packet.data[-1]):
            packet.data.pop()
        return packet


class Cluster:
    """Servers on one bus, or siblings, each with one client in ``/``.

    :param redis: the real bus, if it is one: Redis, or Postgres.
    :ivar key: how the names of its channels begin, on a real bus.
    :ivar sockets: the clients' sockets, on their servers.
    """

    def __init__(
        self, kind: str, count: int = 3, redis: RedisServer | PostgresServer | RabbitMQ | None = None, **options: Any
    ) -> None:
        self.kind = kind
        self.redis = redis
        self.key = f"tests-{next(_numbers)}"
        self._bus = Bus()
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
        if self.kind == WORKERS:
            io = sibling(**self._options)
        elif self.kind in REAL:
            assert self.redis is not None
            adapter = REAL[self.kind][1](self.redis.url, key=self.key, **self._options)
            io = Server(adapter=adapter, connection_state_recovery=self.kind == "recovering")
        else:
            io = Server(adapter=lambda namespace: KINDS[self.kind](namespace, self._bus, **self._options))
        self.servers.append(io)
        self._processes.append(InProcess(io))
        client, socket = self.join(len(self.servers) - 1)
        self.clients.append(client)
        self.sockets.append(socket)
        return io

    def join(self, number: int, nsp: str = "/", client: Client | None = None) -> tuple[Client, Socket]:
        """A client of a server that has joined a namespace, and its socket."""
        if client is None:
            client = self._processes[number].client()
            if self.kind == "recovering":
                client.__class__ = Forgetful
        return client, self.servers[number].of(nsp).sockets[client.connect(nsp)]

    def adapter(self, number: int, nsp: str = "/") -> Any:
        adapter = self.servers[number].of(nsp).adapter
        kind = WorkersAdapter if self.kind == WORKERS else REAL.get(self.kind, (OverBus,))[0]
        assert isinstance(adapter, kind)
        return adapter

    @property
    def bus(self) -> Bus:
        """The bus; a test about one is none about siblings, nor about a real bus."""
        if self.kind not in KINDS:
            pytest.skip("there is no bus that misbehaves when told to")
        return self._bus

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

    def all_answer(self) -> bool:
        """Whether the servers know each other's clients."""
        try:
            return all(len(io.fetch_sockets()) == len(self.clients) for io in self.servers)
        except AckTimeout:
            return False

    def open_requests(self) -> int:
        """How many requests are open on all servers."""
        nodes = [self.adapter(number)._node for number in range(len(self.servers))]
        return sum(len(node.questions) + len(node.ack_requests) for node in nodes if node is not None)

    def close(self) -> None:
        self._bus.broken, self._bus.fate = False, None
        for io in self.servers:
            io.close()
            leave(io)
        for process in self._processes:
            process.close()


def sibling(**options: Any) -> Server:
    """A server that takes the other ones of this process for its siblings, as if each had a process of its own."""
    options, adapter_options = dict(options), {}
    if "request_timeout" in options:
        adapter_options["request_timeout"] = options.pop("request_timeout")
    io = Server(siblings="these tests", **options)
    io.engine.joining._ordinal = 0  # else they are several servers of one process
    for name, value in adapter_options.items():
        setattr(io.sockets.adapter, name, value)
    return io


def leave(io: Server) -> None:
    """As its process's end would."""
    if io.engine.joining.company is not None:
        io.engine.joining.company.siblings.leave()


@pytest.fixture(autouse=True)
def runtime_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where siblings find each other, and nobody else; its path is short, as those of Unix sockets have to be."""
    directory = tempfile.mkdtemp(prefix="w")
    monkeypatch.setenv("RUNTIME_DIRECTORY", directory)
    yield directory
    shutil.rmtree(directory)


MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A redis-server for all tests that let it be."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    """A Postgres for all tests that leave it as it was."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def shared_rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ, likewise."""
    with running_rabbitmq() as broker:
        yield broker


@pytest.fixture
def make_cluster(request: pytest.FixtureRequest) -> Iterator[MakeCluster]:
    """``make_cluster(kind, count, **options)``."""
    made: list[Cluster] = []

    def make(kind: str = "heartbeat", count: int = 3, **options: Any) -> Cluster:
        if kind in REAL:
            shared = {"postgres": "shared_postgres", "kombu": "shared_rabbitmq"}.get(kind, "shared_redis")
            options.setdefault("redis", request.getfixturevalue(shared))
        made.append(Cluster(kind, count, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


# All of RabbitMQ's are in one file: it takes its time to start.
ELSEWHERE = ["kombu"]
# The others have tests of their own for every day.
EVERY_DAY = [*sorted(KINDS), WORKERS, "redis"]


# Those of the others that differ from them by little: by where messages go, or by what is not kept.
_ALIKE = ("static", "streams")


def _marks(kind: str) -> list[pytest.MarkDecorator]:
    slow = [] if kind in EVERY_DAY else [pytest.mark.slow]
    return [*slow, one_world] if kind in _ALIKE else slow


@pytest.fixture(
    params=[
        pytest.param(kind, marks=_marks(kind)) for kind in dict.fromkeys((*EVERY_DAY, *REAL)) if kind not in ELSEWHERE
    ]
)
def cluster(request: pytest.FixtureRequest, make_cluster: MakeCluster) -> Cluster:
    """Three servers, with any kind of adapter."""
    return make_cluster(request.param)
