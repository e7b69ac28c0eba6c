"""Emitter with a real Redis: what it says, how long it takes, and what a server of Node's makes of it."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.inprocess import eventually, in_process
from tests.support.node import JS
from tests.support.redis import RedisServer, free_port, running_redis
from tests.support.require import require
from wsgi_sio import Emitter, LocalProtocolError, NotPublished, Server
from wsgi_sio.adapters import redis_adapter
from wsgi_sio.cluster.bus.redis_bus import RedisBus
from wsgi_sio.runtime import create_reactor


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def emitter(redis: RedisServer) -> Iterator[Emitter]:
    eventually(lambda: redis.do("PUBSUB", "NUMPAT") == 0, "the end of the servers of other tests")
    with Emitter(redis.url) as emitter:
        yield emitter


class Peer:
    """A process of ``tests/js/emitter_peer.js``.

    :ivar ids: of its clients, by namespace.
    """

    def __init__(self, redis: RedisServer, kind: str) -> None:
        command = ["node", "emitter_peer.js", redis.url, kind]
        self._process = subprocess.Popen(command, cwd=JS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ids: dict[str, str] = self._result()

    def _result(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the script has ended"
        return json.loads(line)["result"]

    def do(self, command: str, *args: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, "args": args}) + "\n")
        self._process.stdin.flush()
        return self._result()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(params=["classic", "streams"])
def peer(request: pytest.FixtureRequest, redis: RedisServer, node_modules: Path) -> Iterator[tuple[Peer, Emitter]]:
    """A server of Node's, and an emitter for it."""
    redis.do("FLUSHALL")
    peer = Peer(redis, request.param)
    with Emitter(redis.url, format=request.param) as emitter:
        # subscribed, and reading the stream
        eventually(lambda: emitter.of("/nobody-knows").emit("x") == 0 and emitter.emit("ready") == 1, "the server")
        eventually(lambda: (emitter.emit("ready"), ["ready"] in peer.do("seen", "/"))[1], "an event in Node")
        peer.do("emit", "begin")
        yield peer, emitter
    peer.close()


def since_begin(peer: Peer, nsp: str = "/") -> list[Any]:
    seen = peer.do("seen", nsp)
    return [event for event in seen if event not in (["ready"], ["begin"])]


def test_a_node_server_gets_events(peer: tuple[Peer, Emitter]) -> None:
    node, emitter = peer
    assert emitter.emit("all", 1, "ü", None, {"a": [1.5, True]}) == 1
    assert emitter.to("nodes").emit("room") == 1
    emitter.to("nobody").emit("not for you")
    emitter.to([]).emit("not for you")
    emitter.except_("nodes").emit("not for you")
    assert emitter.to(["nobody", node.ids["/"]]).compress(False).emit("several") == 1
    emitter.in_(node.ids["/"]).emit("one")
    assert emitter.emit("bytes", b"\x01\x02", [b"\x03"]) == 1
    assert emitter.of("admin").send("in /admin") == 1
    emitter.emit("last")
    expected = [
        ["all", 1, "ü", None, {"a": [1.5, True]}],
        ["room"],
        ["several"],
        ["one"],
        ["bytes", {"bytes": [1, 2]}, [{"bytes": [3]}]],
        ["last"],
    ]
    eventually(lambda: since_begin(node)[-1:] == [["last"]], "the last event")
    assert since_begin(node) == expected
    eventually(lambda: since_begin(node, "/admin") == [["message", "in /admin"]], "the event in /admin")
    emitter.volatile.emit("volatile")  # the client is idle, so it can take it
    eventually(lambda: since_begin(node)[-1] == ["volatile"], "the volatile event")


def test_a_node_server_does_what_it_is_told(peer: tuple[Peer, Emitter]) -> None:
    node, emitter = peer
    sid = node.ids["/"]
    assert emitter.to(sid).sockets_join(["a", "b"]) == 1
    assert emitter.to("a").sockets_leave("b") == 1
    eventually(lambda: node.do("rooms", "/") == [[sid, "nodes", "a"]], "the rooms in Node")
    assert emitter.server_side_emit("greet", 1, "x") == 1
    assert emitter.of("/admin").server_side_emit("greet") == 1
    eventually(lambda: sorted(node.do("serverSide"), key=len) == [["/admin"], ["/", 1, "x"]], "the events in Node")
    assert emitter.of("/admin").disconnect_sockets(close=False) == 1
    eventually(lambda: since_begin(node, "/admin") == [["disconnect", "io server disconnect"]], "the end in /admin")
    emitter.to(sid).disconnect_sockets(close=True)
    eventually(lambda: since_begin(node)[-1:] == [["disconnect", "io server disconnect"]], "the end")


def test_a_node_server_gets_dates(redis: RedisServer, node_modules: Path) -> None:
    peer = Peer(redis, "classic")
    with Emitter(redis.url) as emitter:
        eventually(lambda: emitter.emit("date", datetime(2023, 11, 14, 22, 13, 20, 123000, timezone.utc)) == 1, "it")
        # what goes to the client is JSON
        eventually(lambda: ["date", "2023-11-14T22:13:20.123Z"] in peer.do("seen", "/"), "the event in Node")
    peer.close()


def test_a_server_of_ours_does_it_all(redis: RedisServer, emitter: Emitter) -> None:
    io = Server(adapter=redis_adapter(redis.url), siblings=False)
    greeted: list[Any] = []
    io.on_server_side("greet", lambda *args: greeted.append(args))
    with in_process(io) as process:
        client = process.client()
        sid = client.connect()
        other = process.client()
        other_sid = other.connect()
        eventually(lambda: emitter.emit("ready") == 1, "the subscription")
        client.expect("ready")
        other.expect("ready")
        assert emitter.to(sid).sockets_join(["a", 7]) == 1
        eventually(lambda: {"a", 7} <= io.sockets.sockets[sid].rooms, "the rooms")
        for narrowed in (emitter.to("a"), emitter.to(7), emitter.except_(other_sid), emitter.to([sid, "nobody"])):
            assert narrowed.emit("e", {"x": [1, b"\x02"]}, None) == 1
            assert client.expect("e") == [{"x": [1, b"\x02"]}, None]
        emitter.to("a").sockets_leave("a")
        eventually(lambda: "a" not in io.sockets.sockets[sid].rooms, "that it has left")
        emitter.server_side_emit("greet", 1, "x")
        eventually(lambda: greeted == [(1, "x")], "the event")
        emitter.volatile.compress(False).emit("all")
        assert client.expect("all") == [] == other.expect("all")
        assert emitter.to(sid).disconnect_sockets(close=True) == 1
        client.wait_closed()
        eventually(lambda: list(io.sockets.sockets) == [other_sid], "that only the other one is in")
        io.close()


def test_nobody_hears_it_and_that_is_told_once(emitter: Emitter, caplog: pytest.LogCaptureFixture) -> None:
    assert emitter.emit("e") == 0 == emitter.to("r").emit("e")
    (record,) = [record for record in caplog.records if record.name == "wsgi_sio.emitter"]
    assert record.levelno == logging.WARNING and "heard by no server" in record.message


def test_who_listens_is_counted(emitter: Emitter, redis: RedisServer) -> None:
    reactor = create_reactor()
    buses = [RedisBus(reactor, redis.url) for _ in range(3)]
    heard: list[Any] = []
    for bus in buses:
        subscription = bus.subscribe(
            ["socket.io-request#/#"], ["socket.io#/#*"], lambda *message: heard.append(message)
        )
        assert subscription.wait_subscribed(10)
    assert [emitter.emit("e"), emitter.to("r").emit("e"), emitter.sockets_join("r")] == [3, 3, 3]
    eventually(lambda: len(heard) == 9, "all of it")
    for bus in buses:
        bus.close()
    reactor.close()


def test_the_chain_is_immutable(emitter: Emitter) -> None:
    narrow = emitter.to("a")
    narrow.to("b").except_("c").volatile.of("/n")
    assert narrow._options.rooms == {"a"} and not emitter._options.rooms and narrow._nsp == "/"
    with pytest.raises(AttributeError):
        narrow._nsp = "/x"  # type: ignore[misc]


def test_what_is_refused(emitter: Emitter) -> None:
    with pytest.raises(LocalProtocolError, match="reserved"):
        emitter.emit("disconnect")
    with pytest.raises(LocalProtocolError, match="reserved"):
        emitter.server_side_emit("connection")
    with pytest.raises(LocalProtocolError, match="all servers"):
        emitter.to("r").server_side_emit("x")
    with pytest.raises(TypeError, match="no acknowledgements"):
        emitter.emit("x", print)
    with pytest.raises(TypeError, match="set is not"):
        emitter.emit("x", {1})
    with pytest.raises(TypeError, match="None is not a room"):
        emitter.to(None)
    with pytest.raises(ValueError, match=r"there are redis, redis\+sentinel"):
        Emitter("mqtt://localhost")
    with pytest.raises(ValueError, match="'classic', 'streams', 'kombu', 'flask-socketio', not 'x'"):
        Emitter("redis://", format="x")
    with pytest.raises(ValueError, match="timeout must be greater than 0"):
        Emitter("redis://", timeout=0)


def test_a_server_that_is_not_there_is_an_error_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(NotPublished, match=r"redis://127\.0\.0\.1") as raised:
        Emitter(f"redis://:secret@127.0.0.1:{free_port()}").emit("e")
    assert time.monotonic() - begun < 1 and not raised.value.perhaps and "secret" not in str(raised.value)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.perhaps) == (str(raised.value), False)


def test_a_frozen_server_holds_an_emit_for_the_time_out_and_gets_it_once() -> None:
    with running_redis() as redis, Emitter(redis.url, timeout=0.5) as emitter, Emitter(redis.url, timeout=0.5) as new:
        reactor = create_reactor()
        bus = RedisBus(reactor, redis.url)
        heard: list[bytes] = []
        assert bus.subscribe([], ["socket.io#/#*"], lambda _, payload: heard.append(payload)).wait_subscribed(10)
        assert emitter.emit("first") == 1
        redis.freeze()
        for one, perhaps in ((emitter, True), (new, False)):  # a connection that was open, and one that is not yet
            begun = time.monotonic()
            with pytest.raises(NotPublished) as raised:
                one.emit("lost?")
            assert 0.4 < time.monotonic() - begun < 1.5 and raised.value.perhaps is perhaps
        redis.thaw()
        assert emitter.emit("last") == 1 == new.emit("last")
        eventually(lambda: b"last" in b"".join(heard[-1:]), "the last event")
        assert sum(b"lost?" in payload for payload in heard) <= 1
        bus.close()
        reactor.close()


def test_a_restart_between_two_emits_is_not_even_noticed() -> None:
    with running_redis() as redis, Emitter(redis.url) as emitter:
        for _ in range(3):
            assert emitter.emit("e") == 0
            redis.stop()
            redis.start()
        redis.kill_clients("normal")
        assert emitter.emit("e") == 0


def test_a_refusal_is_an_error_and_certain() -> None:
    with running_redis() as redis, Emitter(redis.url) as emitter:
        redis.do("ACL", "SETUSER", "default", "-publish")
        with pytest.raises(NotPublished, match=r"has refused it: .*permissions") as raised:
            emitter.emit("e")
        assert not raised.value.perhaps
        redis.do("ACL", "SETUSER", "default", "+publish")
        assert emitter.emit("e") == 0


@pytest.mark.parametrize("scheme", ["redis+cluster", "valkey+cluster"])
def test_a_cluster(scheme: str) -> None:
    with running_redis("--cluster-enabled", "yes") as redis:
        redis.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        eventually(lambda: "cluster_state:ok" in redis.do("CLUSTER", "INFO"), "the cluster")
        url = redis.url.replace("redis", scheme)
        with Emitter(url) as emitter, Emitter(url, format="streams") as adder:
            assert [emitter.emit("e", 1), emitter.to("a").sockets_join("b"), adder.emit("e")] == [0, 0, 0]
            assert redis.do("XLEN", "socket.io") == 1
            redis.stop()
            with pytest.raises(NotPublished):
                emitter.emit("e")
        with Emitter(url) as new, pytest.raises(NotPublished) as raised:
            new.emit("e")
        assert not raised.value.perhaps


def test_threads_and_children_of_a_fork_have_connections_of_their_own(redis: RedisServer, emitter: Emitter) -> None:
    emitter.emit("e")
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.extend(emitter.emit("e") for _ in range(50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 400
    child = os.fork()
    if not child:
        status = 1
        try:
            status = emitter.emit("from the child")
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert emitter.emit("from the parent") == 0


def test_what_is_not_the_networks_passes_through(emitter: Emitter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the time limit of a task of Celery's, which is raised by a signal's handler wherever the task is."""

    class TimeLimit(Exception):
        pass

    emitter.emit("e")
    connection = emitter._connection._commands._idle[-1]

    def read_response() -> None:
        raise TimeLimit

    monkeypatch.setattr(connection, "read_response", read_response)
    with pytest.raises(TimeLimit):
        emitter.emit("e")
    assert emitter.emit("e") == 0  # by another connection


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkey", None)
    with pytest.raises(ImportError, match=r"needs the package valkey: pip install 'wsgi-sio\[valkey\]'"):
        Emitter("valkey://127.0.0.1").emit("e")


def test_valkeys_client_does_as_well(redis: RedisServer) -> None:
    require(find_spec("valkey"), "valkey-py")
    with Emitter(redis.url.replace("redis", "valkey")) as emitter:
        assert emitter.emit("e", b"\x01") == 0
    with Emitter(f"unix://{redis.unix_path}") as emitter:
        assert emitter.emit("e") == 0
