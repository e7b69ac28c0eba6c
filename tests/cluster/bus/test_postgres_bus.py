"""PostgresBus on a real Postgres: order, rows, what is refused, forks; a server that stops, stands still, cuts off."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.bus.conftest import Listener
from tests.cluster.bus.test_redis_outages import check_lines, streaming, told, wait_for_more
from tests.support.inprocess import Background, eventually
from tests.support.postgres import PostgresServer
from wsgi_sio.cluster.bus import Item
from wsgi_sio.cluster.bus.postgres_bus import PostgresBus, RowItem, chunks, postgres_bus
from wsgi_sio.cluster.bus.postgres_connection import _addresses
from wsgi_sio.cluster.bus.postgres_urls import check_table, shown
from wsgi_sio.runtime import create_reactor

MakeBus = Callable[..., PostgresBus]


@pytest.fixture
def make_bus(shared_postgres: PostgresServer) -> Iterator[MakeBus]:
    """``make_bus(url=None, **options)``, each with a reactor of its own; Postgres works again at the end."""
    made: list[tuple[PostgresBus, Any]] = []

    def make(url: str | None = None, **options: Any) -> PostgresBus:
        reactor = create_reactor()
        made.append((PostgresBus(reactor, url or shared_postgres.url, **options), reactor))
        return made[-1][0]

    yield make
    shared_postgres.start_again()
    for bus, reactor in made:
        bus.close()
        reactor.close()


@pytest.fixture
def bus(make_bus: MakeBus) -> PostgresBus:
    return make_bus()


class Rows(Listener):
    """Has the rows that it hears of; they are named as ``row 1.``."""

    def __init__(self, bus: PostgresBus) -> None:
        super().__init__()
        self._bus = bus

    def __call__(self, channel: str, payload: bytes) -> None:
        if payload.startswith(b"row "):
            payload = self._bus.row(int(payload[4:-1])) or b"nothing"
        super().__call__(channel, payload)


def put_row(bus: PostgresBus, payload: bytes) -> None:
    bus.publish_row("c", payload, "row ", ".")


def test_urls_and_names() -> None:
    assert shown("postgresql://me:secret@db:5432/app?password=x") == "postgresql://db:5432/app"
    assert check_table('app."Its Table"') == 'app."Its Table"'
    assert _addresses({"host": "127.0.0.1,127.0.0.2", "port": "1"}) == {
        "host": "127.0.0.1,127.0.0.2",
        "hostaddr": "127.0.0.1,127.0.0.2",
        "port": "1,1",
    }
    assert _addresses({"host": "/run/postgresql"}) == _addresses({}) == {}
    with pytest.raises(ValueError, match="'redis'; there are postgresql, postgres"):
        postgres_bus("redis://db", table="t", cleanup_interval=1)


def test_what_is_the_same_twice_does_not_go_in_one_transaction() -> None:
    a, b, row = Item("c", b"a"), Item("c", b"b"), RowItem("c", b"a")
    assert list(chunks([a, b, a, a, row, row, b])) == [[a, b], [a], [a], [row], [row], [b]]


def test_messages_and_rows_come_in_order_once_and_as_they_were(bus: PostgresBus, make_bus: MakeBus) -> None:
    other = make_bus()
    listeners = Rows(bus), Rows(other)
    for each, listener in zip((bus, other), listeners, strict=True):
        assert each.subscribe(["c", "Ü\"'; --"], [], listener).wait_subscribed(30)
    sent: list[tuple[str, bytes]] = []
    for number in range(300):
        sent += [("c", b"%d" % number), ("c", b"the same"), ("c", b"the same"), ("Ü\"'; --", "ü€😀\\".encode())]
        for channel, payload in sent[-4:]:
            bus.publish(channel, payload)
        if number % 30 == 0:
            sent.append(("c", b"\x00\xff" * 10_000))
            put_row(bus, sent[-1][1])
    for listener in listeners:
        eventually(lambda: len(listener.heard) >= len(sent), "all messages")  # noqa: B023
        assert listener.heard == sent
    assert bus.count("c") is None


def test_several_listen_to_a_channel_until_they_close(bus: PostgresBus, shared_postgres: PostgresServer) -> None:
    first, second = Listener(), Listener()
    one, two = bus.subscribe(["c", "d"], [], first), bus.subscribe(["c"], [], second)
    assert one.wait_subscribed(30) and two.wait_subscribed(30)
    bus.publish("c", b"1")
    eventually(lambda: first.heard and second.heard, "the message")
    one.close()
    bus.publish("d", b"2")
    bus.publish("c", b"3")
    eventually(lambda: second.payloads == [b"1", b"3"], "the other message")
    assert first.payloads == [b"1"]
    again = bus.subscribe(["d"], [], first)
    assert again.wait_subscribed(30)
    bus.publish("d", b"4")
    eventually(lambda: first.payloads == [b"1", b"4"], "the last message")


def test_what_is_refused(bus: PostgresBus, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="no patterns"):
        bus.subscribe([], ["c*"], Listener())
    with pytest.raises(ValueError, match="63 bytes"):
        bus.subscribe(["c" * 64], [], Listener())
    listener = Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(30)
    for payload in (b"1", b"x" * 8000, b"2", b"x" * 8000, b"3"):
        bus.publish("c", payload)
    eventually(lambda: listener.payloads == [b"1", b"2", b"3"], "what is not refused")
    assert bus.outage.total_lost == 2 and not bus.outage.lasts
    assert {record.levelno for record in caplog.records if "payload string too long" in record.message} == {
        logging.ERROR
    }


def test_a_listener_that_fails_is_told_once_and_goes_on(bus: PostgresBus, caplog: pytest.LogCaptureFixture) -> None:
    heard = Listener()

    def listen(channel: str, payload: bytes) -> None:
        if payload == b"row":
            bus.row(1 << 62)
        elif payload == b"bad":
            raise RuntimeError("oh")
        heard(channel, payload)

    assert bus.subscribe(["c"], [], listen).wait_subscribed(30)
    for payload in (b"bad", b"row", b"bad", b"good"):
        bus.publish("c", payload)
    eventually(lambda: heard.payloads == [b"row", b"good"], "the good ones")
    assert len([record for record in caplog.records if "told once" in record.message]) == 1


def test_the_end_of_a_process_and_forked_children(bus: PostgresBus, shared_postgres: PostgresServer) -> None:
    """What has been published is sent; a child makes connections of its own, and does not keep its parent's."""
    listener = Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(30)
    script = f"""if {"gevent.monkey" in sys.modules}:
        from gevent import monkey
        monkey.patch_all()
import os, time
from wsgi_sio.runtime import create_reactor
from wsgi_sio.cluster.bus.postgres_bus import postgres_bus
shared = postgres_bus({shared_postgres.url!r}, table="t", cleanup_interval=30)
def start(who):
    heard = []
    bus = shared.join(create_reactor(), who)
    assert bus.subscribe(["d"], [], lambda channel, payload: heard.append(payload)).wait_subscribed(30)
    return bus, heard
def wait(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
bus, heard = start("parent")
bus.publish("d", b"before")
wait(lambda: heard == [b"before"])
pid = os.fork()
if not pid:
    try:
        own, heard = start("child")
        assert own is not bus
        own.publish("d", b"from the child")
        wait(lambda: heard == [b"from the child"])
        own.close()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert heard == [b"before", b"from the child"] or wait(lambda: len(heard) == 2) is None
for number in range(100): bus.publish("c", b"%d" % number)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=90, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    eventually(lambda: len(listener.heard) == 100, "all messages")
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wsgi_sio'"
    eventually(lambda: shared_postgres.do(count)[0][0] <= 2, "the end of the connections of others")


# -- outages -----------------------------------------------------------------------------------------------------------


class Ticker:
    """Counts how often it runs, unless somebody holds up all others."""

    def __init__(self) -> None:
        self.ticks = 0
        self._stopping = False
        self._call = Background(self._run)

    def _run(self) -> None:
        while not self._stopping:
            self.ticks += 1
            time.sleep(0.01)

    def stop(self) -> None:
        self._stopping = True
        self._call.result()


def test_others_run_while_a_server_stands_still(make_bus: MakeBus, shared_postgres: PostgresServer) -> None:
    """Greenlets too, while one waits for a notification, one for an answer, one for a connection."""
    bus = make_bus()
    listener = Rows(bus)
    assert bus.subscribe(["c"], [], listener).wait_subscribed(30)
    bus.publish("c", b"before")
    eventually(lambda: listener.heard, "the message")
    shared_postgres.freeze()
    ticker = Ticker()
    bus.publish("c", b"1")
    put_row(bus, b"2")
    late = make_bus()
    subscription = late.subscribe(["c"], [], Listener())
    late.publish("c", b"3")
    assert not subscription.wait_subscribed(1.5)
    ticks = ticker.ticks
    shared_postgres.thaw()
    ticker.stop()
    assert ticks >= 10
    eventually(lambda: set(listener.payloads) >= {b"before", b"1", b"2", b"3"}, "all messages")
    assert len(listener.heard) == 4


def test_a_row_comes_when_the_connection_ends_over_it(bus: PostgresBus, shared_postgres: PostgresServer) -> None:
    heard: list[bytes] = []

    def listen(channel: str, payload: bytes) -> None:
        if not heard and payload.startswith(b"row ") and not killed:
            killed.append(shared_postgres.kill_connections())
        heard.append(bus.row(int(payload[4:-1])) or b"nothing")

    killed: list[int] = []
    assert bus.subscribe(["c"], [], listen).wait_subscribed(30)
    put_row(bus, b"content")
    eventually(lambda: heard == [b"content"], "the row")
    assert killed[0] >= 1


def test_it_is_stopped_and_started(
    make_bus: MakeBus, shared_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    bus, listener = make_bus(), Listener()
    subscription = bus.subscribe(["c"], [], listener)
    assert subscription.wait_subscribed(30)
    shared_postgres.stop()
    eventually(lambda: bus.outage.lasts, "the outage")
    bus.publish("c", b"meanwhile")
    fresh = make_bus()
    early = fresh.subscribe(["c"], [], listener)
    assert not early.wait_subscribed(0.1)
    fresh.close()  # takes no time
    shared_postgres.start()
    eventually(lambda: subscription.ready.is_set() and not bus.outage.lasts, "that it listens again")
    bus.publish("c", b"again")
    eventually(lambda: b"again" in listener.payloads, "the message")
    lines = [line for line in told(caplog, bus) if "works again" in line]  # type: ignore[arg-type]
    assert len(lines) == 1 and "nothing was lost" in lines[0], lines


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "cut off"])
def test_events_stream_through_an_outage(
    make_bus: MakeBus, shared_postgres: PostgresServer, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Nothing comes twice, nobody waits, two lines are told."""
    with streaming(make_bus) as (bus, listener):  # type: ignore[arg-type]
        if how == "stopped":
            shared_postgres.stop()
            time.sleep(3)
            shared_postgres.start()
        else:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                shared_postgres.kill_connections()
        wait_for_more(listener, 10)
    eventually(lambda: len(told(caplog, bus)) == 4, "the ends")
    check_lines(told(caplog, bus))
