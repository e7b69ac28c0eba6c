"""Redis stops, stands still, comes back empty, or ends connections, while events stream through it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.bus.conftest import Listener, MakeBus
from tests.support.inprocess import AT_ONCE, Background, eventually
from tests.support.redis import RedisServer, told_of
from tests.support.world import one_world
from wsgi_sio.cluster.bus.redis_bus import RedisBus
from wsgi_sio.cluster.bus.redis_streams_bus import RedisStreams
from wsgi_sio.cluster.bus.redis_urls import RedisUrl
from wsgi_sio.runtime import create_reactor

RATE = 2000  # events a second, of each of those who publish, where the machine has the time
BURST = 20  # of them at once at most: who wants to make up for lost time takes it from those who are to recover


class Stream:
    """Sends numbers at an even pace, and notes how long each call took, and each pause."""

    def __init__(self, send: Callable[[int], object]) -> None:
        self.sent = 0
        self.durations: list[float] = []
        self._pauses: list[float] = []
        self._send = send
        self._stopping = False
        self._call = Background(self._run)

    def _run(self) -> None:
        due = 0.0
        while not self._stopping:
            paused = time.monotonic()
            time.sleep(0.002)
            began = time.monotonic()
            self._pauses.append(began - paused)
            due = min(BURST, due + (began - paused) * RATE)
            while due >= 1:
                before = time.monotonic()
                self._send(self.sent)
                self.durations.append(time.monotonic() - before)
                self.sent += 1
                due -= 1

    def stop(self) -> None:
        self._stopping = True
        self._call.result()

    def check_nobody_waited(self) -> None:
        """Most within a millisecond.  Those that took longer were interrupted by somebody else's thread or process, as
        pauses are; who waits for Redis waits for as long as it is away, and each time."""
        assert statistics.median(self.durations) < 0.005
        # Who waits for an answer of a frozen one waits for five seconds.
        assert max(self.durations) < 4.0 + max(self._pauses)


@contextmanager
def streaming(make_bus: MakeBus) -> Iterator[tuple[RedisBus, Listener]]:
    """One bus publishes, to another that listens and to itself."""
    bus, there, listener, here = make_bus(), make_bus(), Listener(), Listener()
    assert there.subscribe(["c"], [], listener).wait_subscribed(10)
    assert bus.subscribe(["c"], [], here).wait_subscribed(10)
    stream = Stream(lambda number: bus.publish("c", b"%d" % number))
    try:
        eventually(lambda: len(listener.heard) > 100, "a stream of events")
        yield bus, listener
    finally:
        stream.stop()
    eventually(lambda: not bus.outage.lasts and not there.outage.lasts, "the end of the outage")
    for heard in (listener.payloads, here.payloads):
        numbers = [int(payload) for payload in heard]
        assert numbers == sorted(set(numbers)), "something came twice, or in another order"
    stream.check_nobody_waited()


@contextmanager
def appending(redis: RedisServer) -> Iterator[None]:
    """Meanwhile one bus appends to a stream, which another one reads: all that it is told to be there."""
    reactors = [create_reactor(), create_reactor()]
    here, there = (RedisStreams(reactor, RedisUrl.parse(redis.url), topic=b"t", read_count=100) for reactor in reactors)
    read: list[int] = []
    appended: list[int] = []
    reader = there.listen(b"s", b"x", lambda entry_id, position, fields: read.append(int(fields[b"n"])))
    assert reader.placed.wait(10)

    def append(number: int) -> None:
        def done(answer: object) -> None:
            if not isinstance(answer, Exception):
                appended.append(number)

        here.post(b"XADD", b"s", b"*", b"t", b"x", b"n", b"%d" % number, done=done)

    stream = Stream(append)
    try:
        eventually(lambda: len(read) > 100, "a stream of entries")
        yield
    finally:
        stream.stop()
        eventually(lambda: here.outage._since is None and there.outage._since is None, "that the end is told of")
        eventually(lambda: appended and read[-1] >= appended[-1], "all of it")
        for bus, reactor in zip((here, there), reactors, strict=True):
            bus.close()
            reactor.close()
    assert read == sorted(set(read)), "something came twice, or in another order"
    assert set(appended) <= set(read)
    stream.check_nobody_waited()


def wait_for_more(listener: Listener, seconds: float = AT_ONCE) -> None:
    """Events come again, and nobody has waited for long before he tried once more."""
    before = len(listener.heard)
    eventually(lambda: len(listener.heard) > before + 50, "events again", seconds)


def told(caplog: pytest.LogCaptureFixture, bus: RedisBus) -> list[str]:
    """What the log has of the buses."""
    eventually(lambda: bus.outage._since is None, "that the end is told of")
    return told_of(bus.outage._where, caplog)


def check_lines(lines: list[str]) -> None:
    """One for the beginning and one for the end, of each bus."""
    ends = sum("works again" in line for line in lines)
    assert sum("does not work" in line for line in lines) == ends == len(lines) // 2, lines


@pytest.mark.slow
@one_world
@pytest.mark.parametrize("seconds", [10])
def test_stopped_and_started_empty(
    make_bus: MakeBus, redis: RedisServer, caplog: pytest.LogCaptureFixture, seconds: int
) -> None:
    with streaming(make_bus) as (bus, listener):
        redis.stop()
        time.sleep(seconds)
        assert bus.outage.lasts and bus.count("c") is None
        redis.start()
        wait_for_more(listener)
        lost_at_most = bus.outage.total_lost
    eventually(lambda: len(told(caplog, bus)) == 4, "the ends")
    check_lines(told(caplog, bus))
    # What was published while Redis was away has come late, but for what nobody listened to yet.
    assert bus.outage.total_lost == lost_at_most < RATE
    assert bus.count("c") == 2


@pytest.mark.slow
def test_frozen(make_bus: MakeBus, redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    with appending(redis), streaming(make_bus) as (bus, listener):
        redis.freeze()
        time.sleep(8)
        redis.thaw()
        wait_for_more(listener)
    eventually(lambda: len(told(caplog, bus)) in (2, 4, 6, 8), "the ends")  # who only publishes may not have noticed
    check_lines(told(caplog, bus))


@pytest.mark.slow
def test_connections_are_killed_in_a_loop(
    make_bus: MakeBus, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    with appending(redis), streaming(make_bus) as (bus, listener):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            redis.kill_clients("normal")
            redis.kill_clients("pubsub")
            time.sleep(0.02)
        wait_for_more(listener)
    eventually(lambda: len(told(caplog, bus)) in range(8, 1000, 2), "the ends")
    check_lines(told(caplog, bus))
    # Whoever has not been hit for a second has got over it, and is told of anew.
    assert len(told(caplog, bus)) <= 8 * (time.monotonic() - began + 1)


def test_it_listens_again_to_a_server_that_has_been_started_anew(make_bus: MakeBus, redis: RedisServer) -> None:
    bus, listener = make_bus(), Listener()
    subscription = bus.subscribe(["c"], [], listener)
    assert subscription.wait_subscribed(10)
    redis.stop()
    eventually(lambda: bus.outage.lasts, "the outage")
    assert bus.count("c") is None
    redis.start()
    eventually(lambda: subscription.ready.is_set() and not bus.outage.lasts, "that it listens again")
    bus.publish("c", b"again")
    eventually(lambda: b"again" in listener.payloads, "the message")


def test_a_bus_that_is_away_from_the_beginning(
    make_bus: MakeBus, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.stop()
    bus, listener = make_bus(), Listener()
    subscription = bus.subscribe(["c"], [], listener)
    bus.publish("c", b"early")
    assert not subscription.wait_subscribed(0.2)
    redis.start()
    assert subscription.wait_subscribed(30)
    bus.publish("c", b"later")
    eventually(lambda: b"later" in listener.payloads, "the message")
    assert sum("does not work" in line for line in told_of(redis.url, caplog)) == 1


def test_closing_while_it_is_away_takes_no_time(make_bus: MakeBus, redis: RedisServer) -> None:
    threads = threading.active_count()
    bus = make_bus()
    assert bus.subscribe(["c"], [], Listener()).wait_subscribed(10)
    redis.stop()
    eventually(lambda: bus.outage.lasts, "the outage")
    bus.publish("c", b"1")
    eventually(lambda: bus._outbox._failures > 0, "that it cannot be sent")
    before = time.monotonic()
    bus.close()
    assert time.monotonic() - before < 1.5
    eventually(lambda: threading.active_count() <= threads + 2, "the end of the reader")  # the reactor has two
