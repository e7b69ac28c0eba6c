"""RabbitMQ, really: the bus and its outages, the cluster's suite, and processes of the old packages beside.

All in one file, since a broker takes its time to start: each process of a test run that needs one has its own.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import amqp
import pytest

from tests.cluster import test_adapter, test_long_broadcasts
from tests.cluster.bus.conftest import Listener
from tests.cluster.bus.test_redis_outages import check_lines, streaming, told, wait_for_more
from tests.cluster.conftest import Cluster, MakeCluster
from tests.cluster.drivers import test_flask_socketio_bridge
from tests.cluster.drivers.test_flask_socketio_bridge import MakeOurs, Ours, find_peer, make_ours, old, ours, server
from tests.flask.conftest import Site
from tests.support.crowd import in_small_turns, only_gevent
from tests.support.inprocess import eventually
from tests.support.middleman import Middleman, middleman
from tests.support.old_peer import OldPeer
from tests.support.rabbitmq import RabbitMQ
from tests.support.require import require
from tests.support.world import WORLD, one_world
from wsgi_sio import AckTimeout, Emitter, NotPublished
from wsgi_sio.cluster.bus.kombu_bus import KombuBus
from wsgi_sio.flask import SocketIO
from wsgi_sio.flask.message_queue import MessageQueue
from wsgi_sio.runtime import create_reactor

__all__ = ["find_peer", "make_ours", "old", "ours", "server"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MakeBus = Callable[..., KombuBus]


@pytest.fixture(scope="module")
def rabbitmq(shared_rabbitmq: RabbitMQ) -> RabbitMQ:
    return shared_rabbitmq


@pytest.fixture
def between(rabbitmq: RabbitMQ) -> Iterator[Middleman]:
    """What may cut or stall the connections of a test."""
    with middleman(rabbitmq.port) as made:
        yield made


@pytest.fixture
def make_bus(rabbitmq: RabbitMQ, between: Middleman) -> Iterator[MakeBus]:
    """``make_bus(port=None, **options)``, each with a reactor of its own."""
    made: list[tuple[KombuBus, Any]] = []

    def make(port: int | None = None, **options: Any) -> KombuBus:
        reactor = create_reactor()
        url = f"amqp://127.0.0.1:{port or rabbitmq.port}"
        bus = KombuBus(reactor, url, **options)
        made.append((bus, reactor))
        return bus

    yield make
    for bus, reactor in made:
        bus.close()
        bus.wait_closed()
        reactor.close()


# -- the bus -----------------------------------------------------------------------------------------------------------


def test_what_is_published_is_heard_in_order_by_all_and_by_its_own_process(make_bus: MakeBus) -> None:
    buses = [make_bus(exchanges={"an exchange"}) for _ in range(2)]
    listeners = [Listener(), Listener()]
    channels = ["c", "ü\udc80", "x" * 1000, "an exchange"]
    for bus, listener in zip(buses, listeners, strict=True):
        assert bus.subscribe(channels, [], listener).wait_subscribed(20)
    sent = [(channels[number % 4], b"\x00%d" % number) for number in range(400)]
    for channel, payload in sent:
        buses[0].publish(channel, payload)
        buses[0].publish("nobody hears this", payload)
    for listener in listeners:
        eventually(lambda listener=listener: len(listener.heard) == 400, "everything")
        assert listener.heard == sent


def test_listeners_are_counted_where_they_can_be(make_bus: MakeBus) -> None:
    bus, other = make_bus(exchanges={"an exchange"}), make_bus()
    assert bus.count("c") == 0
    subscriptions = [bus.subscribe(["c", "an exchange"], [], Listener()) for bus in (bus, bus, other)]
    assert all(subscription.wait_subscribed(20) for subscription in subscriptions)
    assert bus.count("c") == other.count("c") == 2  # processes, not subscriptions
    assert bus.count("an exchange") is None
    subscriptions[0].close()
    subscriptions[2].close()
    eventually(lambda: bus.count("c") == 1, "that one is gone")
    with pytest.raises(ValueError, match="no patterns"):
        bus.subscribe([], ["c*"], Listener())


def test_a_subscription_of_a_reader_at_work_takes_no_time(make_bus: MakeBus) -> None:
    """A look at the connection lasts a second, which nobody waits for."""
    bus, listener = make_bus(), Listener()
    assert bus.subscribe(["first"], [], Listener()).wait_subscribed(20)
    durations = []
    for number in range(5):
        begun = time.monotonic()
        assert bus.subscribe([f"c{number}"], [], listener).wait_subscribed(20)
        durations.append(time.monotonic() - begun)
    assert min(durations) < 0.3


def test_a_listener_that_fails_is_told_of_once(make_bus: MakeBus, caplog: pytest.LogCaptureFixture) -> None:
    bus, listener = make_bus(), Listener()

    def fail(channel: str, payload: bytes) -> None:
        raise LookupError("of this test")

    for on_message in (fail, listener):
        assert bus.subscribe(["c"], [], on_message).wait_subscribed(20)
    for _ in range(3):
        bus.publish("c", b"")
    eventually(lambda: len(listener.heard) == 3, "the messages")
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) == 1


def test_a_forked_child_has_a_bus_of_its_own(make_bus: MakeBus) -> None:
    bus, listener = make_bus(), Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(20)
    bus.publish("c", b"1")
    eventually(lambda: listener.payloads == [b"1"], "a message")
    pid = os.fork()
    if not pid:
        try:
            bus.publish("c", b"of the child, which goes nowhere")
            bus.close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    bus.publish("c", b"2")
    eventually(lambda: listener.payloads == [b"1", b"2"], "what the parent publishes")
    assert not bus.outage.lasts


# -- outages -----------------------------------------------------------------------------------------------------------


def through(make_bus: MakeBus, between: Middleman) -> MakeBus:
    return lambda: make_bus(between.port)


def test_connections_that_are_cut(make_bus: MakeBus, between: Middleman, caplog: pytest.LogCaptureFixture) -> None:
    with streaming(through(make_bus, between)) as (_, listener):
        between.cut()
        wait_for_more(listener, 10)
        between.cut()
        wait_for_more(listener, 10)


def test_a_broker_that_is_away(
    make_bus: MakeBus, between: Middleman, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    with streaming(through(make_bus, between)) as (bus, listener):
        between.leave()
        eventually(lambda: bus.outage.lasts, "that it is noticed")
        assert bus.count("c") is None
        with amqp.Connection(f"127.0.0.1:{rabbitmq.port}") as connection:  # it comes back empty
            connection.channel().exchange_delete("wsgi_sio.channels")
            connection.channel().queue_delete("wsgi_sio.count.c")
        time.sleep(2)  # how long it is away
        between.come_back()
        wait_for_more(listener, 10)
    eventually(lambda: len(told(caplog, bus)) == 4, "the ends")
    check_lines(told(caplog, bus))
    eventually(lambda: bus.count("c") == 2, "both of them, and no dead ones")


def test_a_broker_that_says_nothing(make_bus: MakeBus, between: Middleman, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is closed; the listener and the publisher find out by themselves."""
    with streaming(through(make_bus, between)) as (bus, listener):
        between.stall()
        eventually(lambda: {"listening", "publishing"} <= bus.outage._failing, "that both have noticed", 15)
        between.come_back()
        wait_for_more(listener, 15)
    eventually(lambda: len(told(caplog, bus)) == 4, "the ends")
    check_lines(told(caplog, bus))


def test_a_queue_that_is_taken_away(make_bus: MakeBus, rabbitmq: RabbitMQ) -> None:
    bus, listener = make_bus(), Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(20)
    with amqp.Connection(f"127.0.0.1:{rabbitmq.port}") as connection:
        connection.channel().queue_delete("wsgi_sio.count.c")
    eventually(lambda: bus.outage.lasts, "that it is noticed")
    eventually(lambda: not bus.outage.lasts, "another")
    bus.publish("c", b"1")
    eventually(lambda: listener.payloads == [b"1"], "a message")
    assert bus.count("c") == 1


def test_who_cannot_reach_a_broker_serves_its_own_clients(
    make_cluster: MakeCluster, between: Middleman, rabbitmq: RabbitMQ
) -> None:
    class Elsewhere:
        url = f"amqp://127.0.0.1:{between.port}"

    cluster = make_cluster("kombu", 2, redis=Elsewhere, request_timeout=1.0)
    between.leave()
    begun = time.monotonic()
    for number in range(100):
        cluster.servers[0].emit("e", number)
    assert time.monotonic() - begun < 1.0
    assert [cluster.clients[0].expect("e") for _ in range(100)] == [[number] for number in range(100)]
    with pytest.raises(AckTimeout) as caught:
        cluster.servers[0].fetch_sockets()
    assert [socket.id for socket in caught.value.responses] == [cluster.sockets[0].id]
    between.come_back()
    eventually(cluster.all_answer, "that the servers answer again")


# -- the cluster's suite -----------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    return make_cluster("kombu")


if WORLD == "gevent":  # the messages are the same in both worlds
    globals().update(
        (name, test)
        for name, test in vars(test_adapter).items()
        if name.startswith("test_") and "cluster" in inspect.signature(test).parameters
    )


# -- old processes -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis(rabbitmq: RabbitMQ) -> RabbitMQ:
    """What the bridge's tests are given."""
    return rabbitmq


@pytest.fixture
def mixed(server: OldPeer, make_ours: MakeOurs) -> Ours:
    made = make_ours(test_flask_socketio_bridge.CHANNELS[server.kind], old_servers=True)  # type: ignore[attr-defined]
    eventually(lambda: (made.io.to("nobody of ours").except_("x").emit("?"), server.do("rooms"))[1] == [], "the rooms")
    return made


_OF_OLD = (
    "test_events_of_old_processes_reach_our_clients",
    "test_rooms_and_who_is_left_out",
    "test_namespaces",
    "test_rooms_of_our_clients_change",
    "test_our_clients_answer_old_servers",
    "test_our_events_reach_old_servers_clients",
    "test_rooms_of_old_servers_clients_change",
    "test_old_servers_clients_answer",
    "test_an_old_servers_client_is_disconnected",
)
if WORLD == "threads":
    globals().update((name, getattr(test_flask_socketio_bridge, name)) for name in _OF_OLD)


def test_junk_is_dropped_and_told_once(
    make_ours: MakeOurs, make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    ours, bus = make_ours("socketio"), make_bus(exchanges={"socketio"})
    assert test_flask_socketio_bridge.drops_junk_and_tells_it_once(ours, bus, caplog)


# -- processes that only emit, and message_queue= ----------------------------------------------------------------------


def test_an_emitter_in_the_old_format_reaches_ours_too(make_ours: MakeOurs, rabbitmq: RabbitMQ) -> None:
    ours = make_ours("another channel")
    with Emitter(rabbitmq.url, format="flask-socketio", key="another channel") as emitter:
        assert emitter.to(ours.socket.id).emit("e", 1, b"2") == 1  # somebody
        emitter.to(ours.socket.id).sockets_join("r")
        emitter.to("r").emit("last")
    assert ours.client.expect("e") == [1, b"2"]
    assert ours.client.expect("last") == []
    with Emitter(rabbitmq.url, format="flask-socketio", key="nobody's channel") as emitter:
        assert emitter.emit("e") == 0


def test_an_emitter_does_all_that_there_is(make_cluster: MakeCluster, rabbitmq: RabbitMQ) -> None:
    cluster = make_cluster("kombu", 2)
    one, two = cluster.sockets
    events: list[Any] = []
    for io in cluster.servers:
        io.on_server_side("news", lambda *args: events.append(args))
    with Emitter(rabbitmq.url, key=cluster.key) as emitter:
        assert emitter.emit("e", 1, b"2") == 2
        assert [client.expect("e") for client in cluster.clients] == [[1, b"2"]] * 2
        assert emitter.of("/nobody").emit("e") == 0
        emitter.to(two.id).sockets_join(["r", "s"])
        emitter.to("r").sockets_leave("s")
        emitter.to("r").emit("to r")
        assert cluster.clients[1].expect("to r") == []
        assert two.rooms == {two.id, "r"} and one.rooms == {one.id}
        emitter.server_side_emit("news", 1)
        eventually(lambda: events == [(1,), (1,)], "the event, at both servers")
        emitter.to("r").disconnect_sockets()
        eventually(lambda: two.disconnected and not one.disconnected, "that it is out")


def test_an_emitter_that_cannot_publish_says_so(between: Middleman) -> None:
    with Emitter(f"amqp://127.0.0.1:{between.port}", timeout=1.0) as emitter:
        emitter.emit("connects")
        between.stall()
        begun = time.monotonic()
        with pytest.raises(NotPublished) as caught:
            emitter.emit("e")
        assert caught.value.perhaps and time.monotonic() - begun < 10
        between.come_back()
        between.leave()
        with pytest.raises(NotPublished) as caught:
            emitter.emit("e")
        assert not caught.value.perhaps


@one_world
def test_message_queue_and_client_manager(rabbitmq: RabbitMQ) -> None:
    require(find_spec("socketio"), "python-socketio")
    import socketio

    manager = socketio.KombuManager(rabbitmq.url, channel="managed")
    sites = [Site(), Site()]
    try:
        for site, queue in zip(
            sites, ({"message_queue": rabbitmq.url, "channel": "managed"}, {"client_manager": manager}), strict=True
        ):
            site.socketio.on_event("connect", lambda: None)
            site.attach(**queue, siblings=False)
        clients = [site.joined()[0] for site in sites]
        io = sites[0].socketio.io
        eventually(lambda: len(io.fetch_sockets()) == 2, "that both know each other")
        for client, site in zip(clients, sites, strict=True):
            site.socketio.emit("of a server", 1)
            assert [client.expect("of a server") for client in clients] == [[1], [1]]
        SocketIO(message_queue=rabbitmq.url, channel="managed").emit("of celery", b"2")
        socketio.KombuManager(rabbitmq.url, channel="managed", write_only=True).emit("of an old one", (b"3", 4))
        for client in clients:
            assert client.expect("of celery") == [b"2"]
            assert client.expect("of an old one") == [b"3", 4]
    finally:
        for site in sites:
            site.socketio.io.close()
            site.close()


def test_managers_that_cannot_be_had() -> None:
    require(find_spec("socketio"), "python-socketio")
    import socketio

    with pytest.raises(ValueError, match="exchange_options cannot be passed on"):
        MessageQueue.of({"client_manager": socketio.KombuManager("amqp://", exchange_options={"durable": True})})
    with pytest.raises(ValueError, match="a KombuManager with a URL of Redis"):
        MessageQueue.of({"client_manager": socketio.KombuManager("redis://")})


@only_gevent
@pytest.mark.parametrize(
    "check",
    [
        test_long_broadcasts.test_others_have_their_turn_meanwhile,
        test_long_broadcasts.test_the_reader_goes_on_and_nothing_is_overtaken,
        test_long_broadcasts.test_acknowledgements_count_right,
    ],
)
def test_what_comes_for_many_clients(
    check: Callable[[Any], None], make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_turns(monkeypatch)
    check(test_long_broadcasts.Many(make_cluster, "kombu"))


# -- last: what the others' connections would not survive -------------------------------------------------------------


@one_world
def test_a_broker_that_dies_and_comes_back_empty(
    make_bus: MakeBus, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    with streaming(make_bus) as (bus, listener):
        rabbitmq.stop()
        eventually(lambda: bus.outage.lasts, "that it is noticed")
        rabbitmq.start()
        wait_for_more(listener, 20)
    eventually(lambda: len(told(caplog, bus)) == 4, "the ends")
    check_lines(told(caplog, bus))
    assert bus.count("c") == 2
