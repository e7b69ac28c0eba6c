"""The bridge, with real processes of the old packages on a real Redis."""

from __future__ import annotations

import json
import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.crowd import COUNT, Crowd, in_small_turns, only_gevent
from tests.support.inprocess import Background, Client, InProcess, eventually
from tests.support.old_peer import OldPeer
from tests.support.redis import RedisServer, running_redis, told_of
from tests.support.require import require
from wsgi_sio import Emitter, Server, Socket
from wsgi_sio.adapters import Adapter, MemoryAdapter
from wsgi_sio.cluster.bus import Bus
from wsgi_sio.cluster.bus.redis_bus import RedisBus
from wsgi_sio.cluster.drivers.delegating_adapter import DelegatingAdapter
from wsgi_sio.cluster.drivers.flask_socketio_bridge import Bridge, BridgedAdapter, bridged
from wsgi_sio.cluster.socket_id_rooms import looks_like_an_id
from wsgi_sio.runtime import create_reactor

CHANNELS = {"socketio": "socketio", "write-only": "socketio", "flask": "flask-socketio"}
CHANNELS["flask-write-only"] = "flask-socketio"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def find_peer(redis: RedisServer) -> Iterator[Callable[[str], OldPeer]]:
    """``find_peer(kind)``: a process of the old packages, the same for all tests of the module."""
    require(find_spec("socketio"), "python-socketio")
    found: dict[str, OldPeer] = {}

    def find(kind: str) -> OldPeer:
        if "flask" in kind:
            require(find_spec("flask_socketio"), "Flask-SocketIO")
        if kind not in found:
            found[kind] = OldPeer(kind, redis.url, CHANNELS[kind])
        return found[kind]

    yield find
    for peer in found.values():
        peer.close()


class Ours:
    """A server of ours with a client in ``/``."""

    def __init__(self, redis: RedisServer, channel: str, **options: Any) -> None:
        self.bridge = bridged(MemoryAdapter, redis.url, channel=channel, **options)
        self.io = Server(adapter=self.bridge, siblings=False)
        self._process = InProcess(self.io)
        self.client, self.socket = self.join()

    def join(self, nsp: str = "/") -> tuple[Client, Socket]:
        client = self._process.client()
        return client, self.io.of(nsp).sockets[client.connect(nsp)]

    def close(self) -> None:
        self.io.close()
        self._process.close()


MakeOurs = Callable[..., Ours]


@pytest.fixture
def make_ours(redis: RedisServer) -> Iterator[MakeOurs]:
    made: list[Ours] = []

    def make(channel: str = "socketio", **options: Any) -> Ours:
        made.append(Ours(redis, channel, **options))
        return made[-1]

    yield make
    for ours in made:
        ours.close()


@pytest.fixture(params=["socketio", "flask", "write-only", "flask-write-only"])
def old(request: pytest.FixtureRequest, find_peer: Callable[[str], OldPeer]) -> OldPeer:
    """Each kind of process that emits."""
    peer = find_peer(request.param)
    peer.kind = request.param  # type: ignore[attr-defined]
    return peer


@pytest.fixture
def ours(old: OldPeer, make_ours: MakeOurs) -> Ours:
    """A server of ours that hears it."""
    return make_ours(CHANNELS[old.kind])  # type: ignore[attr-defined]


# -- from old processes to our clients ---------------------------------------------------------------------------------


def test_events_of_old_processes_reach_our_clients(old: OldPeer, ours: Ours) -> None:
    old.do("emit", "all", {"a": [1, "ü", None]})
    assert ours.client.expect("all") == [{"a": [1, "ü", None]}]
    old.do("emit", "nothing")
    assert ours.client.expect("nothing") == []
    old.do("emit", "several", 1, [2], "3")
    assert ours.client.expect("several") == [1, [2], "3"]
    old.do("emit", "bytes", b"\x01\x02", {"in": [b"\x03"]})
    assert ours.client.expect("bytes") == [b"\x01\x02", {"in": [b"\x03"]}]


def test_rooms_and_who_is_left_out(old: OldPeer, ours: Ours) -> None:
    other, other_socket = ours.join()
    ours.socket.join(["a", 7])
    other_socket.join("b")
    old.do("emit", "to a", to="a")
    old.do("emit", "to 7", to=7)
    old.do("emit", "to the client", to=ours.socket.id)
    old.do("emit", "to both", to=["a", "b"])
    old.do("emit", "not to one", skip_sid=ours.socket.id)
    old.do("emit", "not to two", skip_sid=[ours.socket.id, other_socket.id])
    old.do("emit", "to nobody", to="nobody")
    old.do("emit", "last")
    for event in ("to a", "to 7", "to the client", "to both", "last"):
        assert ours.client.expect(event) == []
    for event in ("to both", "not to one", "last"):
        assert other.expect(event) == []


def test_namespaces(old: OldPeer, ours: Ours) -> None:
    ours.io.of("/n")
    there, _ = ours.join("/n")
    old.do("emit", "there", 1, namespace="/n")
    old.do("emit", "nowhere", 1, namespace="/unknown")
    old.do("emit", "here", 1)
    assert there.expect("there", "/n") == [1]
    assert ours.client.expect("here") == [1]


def test_rooms_of_our_clients_change(old: OldPeer, ours: Ours) -> None:
    _, other_socket = ours.join()
    sid = ours.socket.id
    old.do("enter_room", sid, "r")
    eventually(lambda: "r" in ours.socket.rooms, "that our client is in the room")
    old.do("leave_room", sid, "r")
    eventually(lambda: "r" not in ours.socket.rooms, "that it has left")
    ours.socket.join("r")
    other_socket.join("r")
    old.do("close_room", "r")
    eventually(lambda: "r" not in ours.socket.rooms | other_socket.rooms, "that nobody is in it")
    if old.kind != "write-only":  # type: ignore[attr-defined]  # whose disconnect() fails: it wants a server
        old.do("disconnect", sid)
        eventually(lambda: ours.socket.disconnected, "that our client is out")
    assert other_socket.connected


@pytest.mark.parametrize("kind", ["socketio", "flask"])
def test_our_clients_answer_old_servers(kind: str, find_peer: Callable[[str], OldPeer], make_ours: MakeOurs) -> None:
    old, ours = find_peer(kind), make_ours(CHANNELS[kind])

    def answer() -> Any:
        packet = ours.client.receive()
        ours.client.answer(packet, "yes", {"n": 1})
        return packet.data

    answering = Background(answer)
    old.do("ask", "question", 1, to=ours.socket.id)
    assert answering.result() == ["question", 1]
    eventually(lambda: old.do("answers"), "the answer")
    assert old.do("answers") == [["yes", {"n": 1}]]
    old.do("answers")
    answering = Background(answer)
    assert old.do("call", "again", 2, to=ours.socket.id) == ["yes", {"n": 1}]
    assert answering.result() == ["again", 2]


def test_each_worker_delivers_to_its_own(find_peer: Callable[[str], OldPeer], make_ours: MakeOurs) -> None:
    old = find_peer("write-only")
    workers = [make_ours() for _ in range(3)]
    old.do("emit", "once", 1)
    old.do("emit", "last")
    for worker in workers:
        assert worker.client.expect("once") == [1]
        assert worker.client.expect("last") == []


def test_an_emitter_in_the_old_format_reaches_ours_too(make_ours: MakeOurs, redis: RedisServer) -> None:
    first, second = make_ours(), make_ours(old_servers=True)
    with Emitter(redis.url, format="flask-socketio", key="socketio") as emitter:
        heard = emitter.to([first.socket.id, second.socket.id]).emit("e", 1, b"2")
        assert heard >= 2  # old servers of other tests may be there
        emitter.to(second.socket.id).sockets_join("r")
        emitter.to("r").emit("last")
    assert first.client.expect("e") == [1, b"2"] == second.client.expect("e")
    assert second.client.expect("last") == []
    first.client.expect_silence(0.05)


# -- from ours to old servers' clients ---------------------------------------------------------------------------------


@pytest.fixture(params=["socketio", "flask"])
def server(request: pytest.FixtureRequest, find_peer: Callable[[str], OldPeer]) -> OldPeer:
    """Each kind of server that has a client."""
    peer = find_peer(request.param)
    peer.kind = request.param  # type: ignore[attr-defined]
    peer.do("emit", "begin")
    eventually(lambda: peer.do("waiting") and peer.do("next") == ["begin"], "what other tests have sent")
    return peer


@pytest.fixture
def mixed(server: OldPeer, make_ours: MakeOurs) -> Ours:
    return make_ours(CHANNELS[server.kind], old_servers=True)  # type: ignore[attr-defined]


def test_our_events_reach_old_servers_clients(server: OldPeer, mixed: Ours) -> None:
    mixed.io.emit("all", {"a": [1, None]})
    server.expect("all", {"a": [1, None]})
    mixed.io.emit("nothing")
    server.expect("nothing")
    mixed.io.to(server.sid).emit("bytes", b"\x01", [b"\x02"])
    server.expect("bytes", b"\x01", [b"\x02"])
    mixed.io.except_(server.sid).emit("not you")
    mixed.io.local.emit("only ours")
    mixed.io.to(["nobody", "neither"]).emit("not you")
    mixed.io.to(["nobody", server.sid]).emit("several rooms", 1, 2)
    server.expect("several rooms", 1, 2)
    for event in ("all", "nothing", "not you", "only ours"):
        mixed.client.expect(event)
    mixed.client.expect_silence(0.1)


def test_rooms_of_old_servers_clients_change(server: OldPeer, mixed: Ours) -> None:
    mixed.io.in_(server.sid).sockets_join(["a", "b"])
    eventually(lambda: server.do("rooms")[-2:] == ["a", "b"], "the rooms there")
    mixed.io.to("a").emit("to a")
    server.expect("to a")
    mixed.io.in_(server.sid).sockets_leave("a")
    eventually(lambda: "a" not in server.do("rooms"), "that it has left")
    mixed.io.in_("b").sockets_leave("b")
    eventually(lambda: "b" not in server.do("rooms"), "that the room is closed")


def test_old_servers_clients_answer(server: OldPeer, mixed: Ours) -> None:
    assert mixed.io.to(server.sid).timeout(10).emit_with_ack("question", 1, 2) == ["answer"]
    server.expect("question", 1, 2)
    # a client of ours answers for itself, and nobody else is waited for
    answering = Background(lambda: mixed.client.answer(mixed.client.receive(), "ours"))
    assert mixed.io.to(mixed.socket.id).timeout(10).emit_with_ack("question") == ["ours"]
    answering.result()


def test_an_old_servers_client_is_disconnected(
    find_peer: Callable[[str], OldPeer], redis: RedisServer, make_ours: MakeOurs
) -> None:
    old = OldPeer("socketio", redis.url, "another")
    try:
        make_ours("another", old_servers=True).io.in_(old.sid).disconnect_sockets()
        old.expect("disconnect")
    finally:
        old.close()


def test_servers_of_ours_leave_each_others_copies_alone(make_ours: MakeOurs) -> None:
    first, second = make_ours(old_servers=True), make_ours(old_servers=True)
    first.io.emit("by the adapter alone, which is none here")
    second.io.emit("mine")
    assert second.client.expect("mine") == []


def test_what_old_servers_have_no_words_for_is_told_once(make_ours: MakeOurs, caplog: pytest.LogCaptureFixture) -> None:
    ours = make_ours(old_servers=True)
    ours.io.except_("x").sockets_join("r")
    ours.io.sockets_join("r")
    assert "r" in ours.socket.rooms
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(told) == 1 and "old servers cannot be told such a change (enter_room)" in told[0]


# -- junk --------------------------------------------------------------------------------------------------------------


def drops_junk_and_tells_it_once(ours: Ours, bus: Bus, caplog: pytest.LogCaptureFixture) -> bool:
    for _ in range(3):
        for junk in (b"\x00", b"{", b"[]", b'{"method":"emit"}', b'{"method":"emit","event":"disconnect","data":[]}'):
            bus.publish("socketio", junk)
        bus.publish("socketio", pickle.dumps({"method": "emit", "event": "e", "data": 1}))
    bus.publish("socketio", b'{"method":"emit","event":"good","data":[1],"host_id":"h"}')
    assert ours.client.expect("good") == [1]
    junk_told, pickle_told = (r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
    return "told once" in junk_told and "python-socketio before 5.14" in pickle_told


def test_junk_is_dropped_and_told_once(
    make_ours: MakeOurs, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    ours = make_ours()
    reactor = create_reactor()
    bus = RedisBus(reactor, redis.url)
    assert drops_junk_and_tells_it_once(ours, bus, caplog)
    bus.close()
    reactor.close()


def test_an_outage_holds_up_nobody_and_heals(caplog: pytest.LogCaptureFixture) -> None:
    with running_redis() as redis:
        redis.stop()
        ours = Ours(redis, "socketio", old_servers=True)  # its client waits a little for what old processes might emit
        begun = time.monotonic()
        for number in range(100):
            ours.io.emit("local", number)
        assert time.monotonic() - begun < 0.5
        assert [ours.client.expect("local") for _ in range(100)] == [[number] for number in range(100)]
        redis.start()
        eventually(lambda: redis.do("PUBSUB", "NUMSUB", "socketio")[1] == 1, "that it listens again")
        redis.do("PUBLISH", "socketio", '{"method":"emit","event":"good","data":[1],"host_id":"h"}')
        assert ours.client.expect("good") == [1]
        ours.close()
    told = told_of(redis.url, caplog)
    assert sum("does not work" in line for line in told) == 1, told


def test_rooms_that_old_servers_cannot_know(make_ours: MakeOurs, caplog: pytest.LogCaptureFixture) -> None:
    ours = make_ours(old_servers=True)
    ours.socket.join(b"bytes")
    for _ in range(2):
        ours.io.to(b"bytes").emit("e", 1)
        assert ours.client.expect("e") == [1]
        ours.io.in_(b"bytes").sockets_join("r")
        ours.io.emit("e", {"payload": b"bytes are fine"})
        assert ours.client.expect("e") == [{"payload": b"bytes are fine"}]
    assert "r" in ours.socket.rooms
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(told) == 2 and all("can have bytes" in text for text in told)


@only_gevent
def test_many_of_our_clients_get_what_comes_in_turns(
    make_ours: MakeOurs, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_turns(monkeypatch)
    ours = make_ours("many")
    crowd = Crowd(ours.io)

    def emit(event: str) -> None:
        redis.do("PUBLISH", "many", json.dumps({"method": "emit", "event": event, "data": [1], "host_id": "h"}))

    assert crowd.turns(lambda: emit("news")) >= COUNT // 2
    with crowd.in_the_middle("more", lambda: emit("more")):
        emit("last")
        eventually(lambda: len(ours.io.sockets.adapter.inner._long.under_way) == 2, "the last one")
    crowd.wait_for("last")
    assert crowd.orders() == {("news", "more", "last")}


def test_a_forked_child_hears_and_speaks_by_itself(redis: RedisServer) -> None:
    ours = Ours(redis, "forked", old_servers=True)
    child = os.fork()
    if not child:
        status = 1
        try:
            ours.io.emit("from the child")
            eventually(lambda: redis.do("PUBSUB", "NUMSUB", "forked")[1] == 2, "both")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    redis.do("PUBLISH", "forked", '{"method":"emit","event":"good","data":[1],"host_id":"h"}')
    assert ours.client.expect("good") == [1]
    ours.close()


def test_the_last_namespace_to_close_ends_the_subscription(redis: RedisServer) -> None:
    ours = Ours(redis, "ending")
    assert redis.do("PUBSUB", "NUMSUB", "ending")[1] == 1
    ours.close()
    eventually(lambda: redis.do("PUBSUB", "NUMSUB", "ending")[1] == 0, "that nobody listens")


def test_who_serves_nobody_listens_to_nothing(redis: RedisServer) -> None:
    bridge = bridged(MemoryAdapter, redis.url, channel="quiet")
    io = Server(adapter=bridge, siblings=False)
    assert isinstance(bridge, Bridge)
    io.emit("e")
    assert redis.do("PUBSUB", "NUMSUB", "quiet")[1] == 0
    io.close()


def test_ids_are_known_by_their_form(make_ours: MakeOurs) -> None:
    assert looks_like_an_id(make_ours().socket.id) and looks_like_an_id("hK3-_bQkR2vT6xY8zA0c")
    for room in ("room", 7, "a room with 20 chars", "ü" * 20, None, b"a" * 20):
        assert not looks_like_an_id(room)


def test_whatever_a_namespace_asks_of_its_adapter_reaches_the_one_behind_the_bridge() -> None:
    """What an Adapter does by itself, mostly nothing, never stands in for what the other one does."""
    asked = {name for name, value in vars(Adapter).items() if callable(value) and not name.startswith("_")}
    assert asked <= {*vars(BridgedAdapter), *vars(DelegatingAdapter)}
