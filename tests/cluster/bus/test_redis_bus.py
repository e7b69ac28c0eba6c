"""RedisBus on a real redis-server that works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.cluster.bus.conftest import Listener, MakeBus
from tests.support.inprocess import at_once, eventually
from tests.support.redis import RedisServer
from wsgi_sio.cluster.bus import redis_publisher
from wsgi_sio.cluster.bus.redis_bus import RedisBus, redis_bus
from wsgi_sio.runtime import create_reactor


def test_messages_come_in_order_once_and_as_they_were(bus: RedisBus, make_bus: MakeBus) -> None:
    here, there = Listener(), Listener()
    for one, listener in ((bus, here), (make_bus(), there)):
        assert one.subscribe(["a", "b"], [], listener).wait_subscribed(10)
    sent = [("ab"[number % 2], b"\x00\r\n%d\xff" % number) for number in range(2000)]
    for channel, payload in sent:
        bus.publish(channel, payload)
    eventually(lambda: len(here.heard) >= len(sent) and len(there.heard) >= len(sent), "all messages")
    assert here.heard == sent and there.heard == sent


def test_patterns(bus: RedisBus) -> None:
    listener = Listener()
    assert bus.subscribe([], ["room#*", "other"], listener).wait_subscribed(10)
    for channel in ("room#1", "rooms", "room#ü", "other"):
        bus.publish(channel, channel.encode())
    eventually(lambda: len(listener.heard) >= 3, "the messages")
    assert listener.heard == [(name, name.encode()) for name in ("room#1", "room#ü", "other")]


def test_several_listen_to_a_channel_until_they_close(bus: RedisBus, redis: RedisServer) -> None:
    first, second = Listener(), Listener()
    one, other = bus.subscribe(["c"], [], first), bus.subscribe(["c", "d"], [], second)
    assert one.wait_subscribed(10) and other.wait_subscribed(10)
    bus.publish("c", b"1")
    eventually(lambda: first.heard and second.heard, "the message")
    one.close()
    bus.publish("c", b"2")
    bus.publish("d", b"3")
    eventually(lambda: len(second.heard) == 3, "the messages")
    assert first.payloads == [b"1"]
    other.close()
    eventually(lambda: redis.do("PUBSUB", "CHANNELS") == [], "that nobody is subscribed")


def test_who_subscribes_again_is_subscribed(bus: RedisBus) -> None:
    for number in range(20):
        listener = Listener()
        subscription = bus.subscribe(["again"], [], listener)
        assert subscription.wait_subscribed(10)
        bus.publish("again", b"%d" % number)
        eventually(lambda listener=listener: listener.heard, "the message")
        subscription.close()


def test_count(bus: RedisBus, make_bus: MakeBus) -> None:
    assert bus.count("c") == 0
    for _ in range(2):
        assert make_bus().subscribe(["c"], [], Listener()).wait_subscribed(10)
    assert bus.subscribe(["c"], ["c*"], Listener()).wait_subscribed(10)
    assert bus.count("c") == 3 and make_bus().count("c") == 3


def test_sharded(make_bus: MakeBus, redis: RedisServer) -> None:
    bus, other, listener = make_bus(sharded=True), make_bus(sharded=True), Listener()
    assert bus.subscribe(["s1", "s2"], [], listener).wait_subscribed(10)
    assert other.subscribe(["s1"], [], listener).wait_subscribed(10)
    assert (bus.count("s1"), bus.count("s2"), bus.count("s3")) == (2, 1, 0)
    assert redis.do("PUBSUB", "CHANNELS") == []  # the other kind
    other.publish("s2", b"2")
    other.publish("s1", b"1")
    eventually(lambda: len(listener.heard) == 3, "the messages")
    assert sorted(listener.heard) == [("s1", b"1"), ("s1", b"1"), ("s2", b"2")]
    with pytest.raises(ValueError, match="no patterns"):
        bus.subscribe([], ["s*"], listener)


def test_many_threads_publish(bus: RedisBus) -> None:
    listener = Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(10)

    def publish(thread: int) -> None:
        for number in range(300):
            bus.publish("c", b"%d %d" % (thread, number))

    at_once(8, publish)
    eventually(lambda: len(listener.heard) >= 2400, "all messages")
    assert len(set(listener.payloads)) == 2400
    for thread in range(8):
        mine = [payload for payload in listener.payloads if payload.startswith(b"%d " % thread)]
        assert mine == [b"%d %d" % (thread, number) for number in range(300)]


def test_what_is_too_much_for_the_outbox_is_lost_and_told(
    make_bus: MakeBus, redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_publisher, "_MOST_UNANSWERED", 0)
    bus, listener = make_bus(max_outbox=1000), Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(10)
    bus.publish("c", b"connected")
    eventually(lambda: listener.heard, "the first message")
    redis.freeze()
    bus.publish("c", b"sent at once")
    eventually(lambda: not bus._outbox._items, "that it is being sent")
    for number in range(30):
        bus.publish("c", b"%099d" % number)
    assert bus.outage.total_lost == 20
    redis.thaw()
    eventually(lambda: "works again" in caplog.text, "the end of the outage")
    assert [int(payload) for payload in listener.payloads[2:]] == list(range(10))
    bus.publish("c", b"afterwards")
    eventually(lambda: listener.payloads[-1] == b"afterwards", "a later message")
    told = [record.getMessage() for record in caplog.records if record.name == "wsgi_sio.bus"]
    assert len(told) == 2 and "1000 bytes are waiting" in told[0] and "20 messages were lost" in told[1], told


def test_a_listener_that_fails_is_told_once_and_goes_on(bus: RedisBus, caplog: pytest.LogCaptureFixture) -> None:
    heard = Listener()

    def listen(channel: str, payload: bytes) -> None:
        if payload != b"good":
            raise RuntimeError("oh")
        heard(channel, payload)

    assert bus.subscribe(["c"], [], listen).wait_subscribed(10)
    for payload in (b"bad", b"bad", b"good"):
        bus.publish("c", payload)
    eventually(lambda: heard.heard, "the good one")
    assert len([record for record in caplog.records if "told once" in record.message]) == 1


def test_close_sends_what_there_is_and_is_no_longer_counted(make_bus: MakeBus, bus: RedisBus) -> None:
    listener, leaving = Listener(), make_bus()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(10)
    assert leaving.subscribe(["c"], [], Listener()).wait_subscribed(10)
    assert bus.count("c") == 2
    for number in range(1000):
        leaving.publish("c", b"%d" % number)
    leaving.close()
    leaving.publish("c", b"too late")
    eventually(lambda: bus.count("c") == 1, "that it listens no more")
    eventually(lambda: len(listener.heard) == 1000, "all messages")
    assert leaving.count("c") is None


def test_one_bus_a_process_until_the_last_has_left(redis: RedisServer) -> None:
    shared, reactor = redis_bus(redis.url), create_reactor()
    buses = at_once(4, lambda number: shared.join(reactor, number))
    assert len(set(map(id, buses))) == 1
    for number in range(3):
        shared.leave(number)
    assert buses[0].count("c") == 0
    shared.leave(3)
    assert buses[0].count("c") is None
    again = shared.join(reactor, 5)
    assert again is not buses[0]
    again.close()
    reactor.close()


def test_what_is_published_before_the_end_of_a_process_is_sent(bus: RedisBus, redis: RedisServer) -> None:
    listener = Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(10)
    script = f"""if {"gevent.monkey" in sys.modules}:
        from gevent import monkey
        monkey.patch_all()
from wsgi_sio.runtime import create_reactor
from wsgi_sio.cluster.bus.redis_bus import RedisBus
bus = RedisBus(create_reactor(), {redis.url!r})
for number in range(100): bus.publish("c", b"%d" % number)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    eventually(lambda: len(listener.heard) == 100, "all messages")


def test_a_forked_child_makes_its_own(redis: RedisServer) -> None:
    """The parent's connections are not used in the child, nor kept open by it."""
    script = f"""if {"gevent.monkey" in sys.modules}:
        from gevent import monkey
        monkey.patch_all()
import os, sys, time
from wsgi_sio.runtime import create_reactor
from wsgi_sio.cluster.bus.redis_bus import redis_bus
shared = redis_bus({redis.url!r})
heard = []
def start(who):
    bus = shared.join(create_reactor(), who)
    subscription = bus.subscribe(["c"], [], lambda channel, payload: heard.append(payload))
    assert subscription.wait_subscribed(10)
    return bus
def wait(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, heard
        time.sleep(0.01)
bus = start("parent")
bus.publish("c", b"before")
wait(lambda: heard == [b"before"])
pid = os.fork()
if not pid:
    try:
        del heard[:]
        own = start("child")
        assert own is not bus
        own.publish("c", b"from the child")
        wait(lambda: heard == [b"from the child"])
        own.close()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
wait(lambda: heard == [b"before", b"from the child"])
assert os.waitpid(pid, 0)[1] == 0
bus.publish("c", b"after")
wait(lambda: heard[2:] == [b"after"])
pid = os.fork()
if not pid:
    time.sleep(60)
    os._exit(0)
bus.close()
other = shared.join(create_reactor(), "other")
count = redis_bus({redis.url!r}).join(create_reactor(), 1)
wait(lambda: count.count("c") == 0)  # the child does not keep the connection
os.kill(pid, 9)
os.waitpid(pid, 0)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=90, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.getpid()
