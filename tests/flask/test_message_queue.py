"""``message_queue=`` and ``client_manager=``, with a real Redis: servers, processes that only emit, and old ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import flask
import pytest

from tests.flask.conftest import Site
from tests.support.inprocess import Background, Client, eventually
from tests.support.old_peer import OldPeer
from tests.support.redis import RedisServer, free_port, running_redis
from tests.support.require import require
from wsgi_sio import AckTimeout, Emitter
from wsgi_sio.cluster.drivers.flask_socketio_bridge import BridgedAdapter
from wsgi_sio.cluster.drivers.node_redis import RedisAdapter
from wsgi_sio.flask import SocketIO
from wsgi_sio.flask.message_queue import MessageQueue

CHANNEL = "flask-socketio"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(redis: RedisServer) -> Iterator[MakeSite]:
    """``make_site(**options)``: an app, as if in a process of its own."""
    made: list[Site] = []

    def make(**options: Any) -> Site:
        site = Site()
        site.socketio.on_event("connect", lambda: None)
        site.attach(**{"message_queue": redis.url, "siblings": False, **options})
        made.append(site)
        return site

    yield make
    for site in made:
        site.socketio.io.close()
    eventually(lambda: redis.do("PUBSUB", "NUMPAT") == 0, "that nobody listens any more")
    for site in made:
        site.close()


def joined(site: Site) -> tuple[Client, str]:
    """A client of a site that hears its bus."""
    client, sid = site.joined()
    bridge = site.socketio.io.sockets.adapter
    assert isinstance(bridge, BridgedAdapter) and isinstance(bridge.inner, RedisAdapter)
    subscription = bridge.inner._subscription
    assert subscription is not None and subscription.wait_subscribed(10)
    return client, sid


@pytest.fixture
def old(redis: RedisServer) -> Iterator[Callable[[str], OldPeer]]:
    require(find_spec("flask_socketio"), "Flask-SocketIO")
    made: list[OldPeer] = []

    def make(kind: str, channel: str = CHANNEL) -> OldPeer:
        made.append(OldPeer(kind, redis.url, channel))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


def answer(client: Client, *args: Any) -> Background:
    return Background(lambda: client.answer(client.receive(), *args))


# -- servers of ours ---------------------------------------------------------------------------------------------------


def test_servers_are_one(make_site: MakeSite) -> None:
    first, second = make_site(), make_site()
    (one, _), (two, sid) = joined(first), joined(second)
    first.socketio.emit("all", 1)
    assert one.expect("all") == [1] == two.expect("all")
    server = first.socketio.server
    server.enter_room(sid, "r")
    eventually(lambda: "r" in second.socketio.server.rooms(sid), "the room")
    first.socketio.emit("room", to="r")
    assert two.expect("room") == []
    first.socketio.emit("mine", ignore_queue=True)
    assert one.expect("mine") == []
    answers: list[Any] = []
    answering = answer(two, 1, 2)
    first.socketio.emit("question", to=sid, callback=lambda *args: answers.append(args))
    answering.result()
    eventually(lambda: answers == [(1,)], "the answer")  # one argument of it travels
    answering = answer(two, "called")
    assert first.socketio.call("question", to=sid, timeout=10) == "called"
    answering.result()
    server.leave_room(sid, "r")
    eventually(lambda: "r" not in second.socketio.server.rooms(sid), "that it has left")
    server.disconnect(sid)
    eventually(lambda: second.socketio.server.socket(sid, "/") is None, "that it is out")
    with pytest.raises(AckTimeout):
        first.socketio.call("question", to=sid, timeout=5)
    one.expect_silence(0.05)


def test_another_channel_is_another_cluster(make_site: MakeSite, redis: RedisServer) -> None:
    site, other = make_site(), make_site(channel="other")
    (client, _), (stranger, _) = joined(site), joined(other)
    site.socketio.emit("mine")
    other.socketio.emit("theirs")
    assert client.expect("mine") == [] == stranger.expect("theirs")
    with Emitter(redis.url, key="other") as emitter:
        assert emitter.emit("x") == 1
    assert stranger.expect("x") == []
    client.expect_silence(0.05)


def test_namespaces_that_only_other_processes_have(make_site: MakeSite) -> None:
    site, other = make_site(), make_site()
    other.socketio.on_event("x", lambda: None, "/chat")
    wire = other.wire()
    wire.connect("/chat")
    other.socketio.server.enter_room(next(iter(other.socketio.io.of("/chat").sockets)), "r", "/chat")
    site.socketio.emit("there", 1, namespace="/chat")
    assert wire.expect("there", "/chat") == [1]
    site.socketio.close_room("r", "/chat")
    eventually(lambda: not other.socketio.io.of("/chat").adapter.room_size("r"), "the room's end")


# -- who only emits ----------------------------------------------------------------------------------------------------


def test_without_an_app_it_emits(make_site: MakeSite, redis: RedisServer) -> None:
    site = make_site()
    client, sid = joined(site)
    worker = SocketIO(message_queue=redis.url)
    assert worker.emit("all", {"a": 1}) == 1
    assert worker.emit("several", (1, b"2")) == 1
    assert worker.emit("nothing") == 1
    worker.emit("not you", to="nobody")
    worker.emit("not you", skip_sid=sid)
    worker.send("text", to=sid)
    assert [client.expect("all"), client.expect("several"), client.expect("nothing")] == [[{"a": 1}], [1, b"2"], []]
    assert client.expect("message") == ["text"]
    worker.server.enter_room(sid, "r")
    eventually(lambda: "r" in site.socketio.server.rooms(sid), "the room")
    worker.emit("room", to=["r", "s"])
    assert client.expect("room") == []
    worker.server.leave_room(sid, "r")
    eventually(lambda: "r" not in site.socketio.server.rooms(sid), "that it has left")
    site.socketio.server.enter_room(sid, "r")
    worker.close_room("r")
    eventually(lambda: "r" not in site.socketio.server.rooms(sid), "that the room is closed")
    worker.server.disconnect(sid)
    eventually(lambda: site.socketio.server.socket(sid, "/") is None, "that it is out")


def test_what_needs_a_server_says_so(redis: RedisServer) -> None:
    worker = SocketIO(message_queue=redis.url)
    for act in (
        lambda: worker.emit("e", callback=print),
        lambda: worker.call("e", to="x"),
        lambda: worker.io,
    ):
        with pytest.raises(RuntimeError, match="no app"):
            act()
    with pytest.raises(RuntimeError, match="init_app"):
        SocketIO().emit("e")


def test_an_app_makes_a_server_of_it(redis: RedisServer) -> None:
    socketio = SocketIO(message_queue=redis.url)
    assert socketio.emit("e") == 0
    app = flask.Flask(__name__)
    socketio.init_app(app)
    assert isinstance(socketio.io.sockets.adapter, BridgedAdapter) and app.extensions["socketio"] is socketio
    socketio.io.close()


def test_it_goes_on_without_the_queue_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    worker = SocketIO(message_queue=f"redis://127.0.0.1:{free_port()}")
    assert [worker.emit("e"), worker.emit("e")] == [0, 0]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR and "lost until the message queue can be reached" in record.getMessage()


# -- old ones beside ---------------------------------------------------------------------------------------------------


def test_old_processes_reach_our_clients_by_default(make_site: MakeSite, old: Callable[[str], OldPeer]) -> None:
    first, second = make_site(), make_site()
    clients = [joined(first)[0], joined(second)[0]]
    old("flask-write-only").do("emit", "from celery", 1)
    for client in clients:
        assert client.expect("from celery") == [1]
        client.expect_silence(0.05)


def test_with_old_servers_everybody_reaches_everybody_once(
    make_site: MakeSite, old: Callable[[str], OldPeer], redis: RedisServer
) -> None:
    first, second = make_site(old_servers=True), make_site(old_servers=True)
    (one, sid), (two, _) = joined(first), joined(second)
    peer = old("flask")
    worker = SocketIO(message_queue=redis.url, old_servers=True)
    first.socketio.emit("from ours", 1)
    peer.expect("from ours", 1)
    peer.do("emit", "from theirs", 2)
    peer.expect("from theirs", 2)
    for client in (one, two):
        assert client.expect("from ours") + client.expect("from theirs") == [1, 2]
    assert worker.emit("from celery", 3) == 3
    assert one.expect("from celery") == [3] == two.expect("from celery")
    peer.expect("from celery", 3)
    assert first.socketio.call("question", 1, to=peer.sid, timeout=10) == ("answer", 1)
    peer.expect("question", 1)
    answers: list[Any] = []
    first.socketio.emit("question", to=peer.sid, callback=lambda *args: answers.append(args))
    eventually(lambda: answers == [("answer", 0)], "the answer")
    peer.expect("question")
    first.socketio.server.enter_room(peer.sid, "r")
    eventually(lambda: peer.do("rooms") == ["r"], "the room there")
    worker.emit("room", to="r")
    peer.expect("room")
    worker.server.disconnect(peer.sid)
    peer.expect("disconnect")
    for client in (one, two):
        client.expect_silence(0.05)
    assert sid in {socket.id for socket in second.socketio.io.fetch_sockets()}


# -- client_manager= ---------------------------------------------------------------------------------------------------


def test_a_redis_manager_gives_its_url_and_channel(make_site: MakeSite, redis: RedisServer) -> None:
    require(find_spec("socketio"), "python-socketio")
    import socketio

    manager = socketio.RedisManager(redis.url, channel="managed")
    assert MessageQueue.of({"client_manager": manager}) == MessageQueue(redis.url, "managed", False)
    site = make_site(message_queue=None, client_manager=manager)
    client, _ = joined(site)
    manager_of_celery = socketio.RedisManager(redis.url, channel="managed", write_only=True)
    manager_of_celery.emit("from a manager", 1)
    assert client.expect("from a manager") == [1]


def test_other_managers_are_refused_with_what_there_is(redis: RedisServer) -> None:
    require(find_spec("socketio"), "python-socketio")
    import socketio

    for manager in (socketio.Manager(), socketio.PubSubManager()):
        with pytest.raises(ValueError, match=r"client_manager: what \w+ is about cannot be had.*redis://"):
            MessageQueue.of({"client_manager": manager})
    with pytest.raises(ValueError, match="redis_options cannot be passed on"):
        MessageQueue.of({"client_manager": socketio.RedisManager(redis.url, redis_options={"db": 1})})


@pytest.mark.parametrize(
    ("channel", "key"),
    [(None, "socket.io"), ("flask-socketio", "socket.io"), ("socketio", "socket.io"), ("mine", "mine")],
)
def test_a_channel_of_ones_own_is_nodes_key(channel: str | None, key: str) -> None:
    queue = MessageQueue.of({"message_queue": "redis://", "channel": channel})
    assert queue is not None and queue.key == key
