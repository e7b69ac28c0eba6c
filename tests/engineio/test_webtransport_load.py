"""Many clients of WebTransport: nothing is left of those that have gone, and beginnings that go nowhere are bounded."""

from __future__ import annotations

import gc
import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.engineio.quic import QuicEngine
from tests.support.quic_end import initial
from tests.support.waiting import Background, at_once, eventually, open_descriptors
from tests.support.world import WORLD
from wsgi_sio.engineio.session import Session
from wsgi_sio.engineio.webtransport import WebTransportTransport
from wsgi_sio.engineio.webtransport_handshake import Handshake
from wsgi_sio.webtransport.driver import Driver
from wsgi_sio.webtransport.listener import HALF_OPEN

pytestmark = pytest.mark.slow

PAGE = resource.getpagesize()


def alive(*kinds: type[Any]) -> int:
    gc.collect()
    return sum(isinstance(each, kinds) for each in gc.get_objects())


def memory() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def come_and_go(quic: QuicEngine, count: int) -> None:
    """As many clients, each in its own way of going."""
    for number in range(count):
        end, session = quic.opened()
        end.send("4x")
        session.send_message("y")
        assert end.receive() == "4y"
        match number % 4:
            case 0:
                end.close()
            case 1:
                session.close()
                end.pump(lambda: end.ended)  # noqa: B023
                end.close()
            case 2:
                end.send("1")
                end.pump(lambda: end.ended)  # noqa: B023
                end.close()
            case 3:
                end.connection.close()
                end.flush()
                end.vanish()


@pytest.mark.timeout(400)
def test_nothing_is_left_of_a_thousand(make_engine: MakeEngine) -> None:
    quic = QuicEngine(make_engine)

    def at_rest() -> bool:
        quic.engine.received.clear()
        quic.engine.sessions.clear()
        return len(quic.listener) == 0 and not quic.engine.engine.sessions

    come_and_go(quic, 300)
    eventually(at_rest, "the end of the first")
    descriptors, before = open_descriptors(), memory()
    come_and_go(quic, 1000)
    eventually(at_rest, "the end of all")
    assert open_descriptors() <= descriptors
    assert memory() - before < 25_000_000  # each of them had 100 KB
    eventually(lambda: alive(Driver, Session, WebTransportTransport, Handshake) == 0, "the objects to be gone")
    assert len(live_timers(quic)) <= 4, live_timers(quic)


def live_timers(quic: QuicEngine) -> list[Any]:
    """What the reactor will call."""
    if WORLD == "gevent":
        from wsgi_sio.runtime.greenlet_reactor import HubTimer

        callbacks = [each._callback for each in gc.get_objects() if isinstance(each, HubTimer)]
    else:
        reactor: Any = quic.engine.engine.reactor
        callbacks = [entry[2].callback for entry in reactor._timers._heap]
    return [callback for callback in callbacks if callback is not None]


@pytest.mark.timeout(300)
def test_fifty_upgrades_under_traffic_on_a_bad_network(make_engine: MakeEngine) -> None:
    """A twentieth of all datagrams is lost, as many come twice, as many behind the next; ten upgrades at a time."""
    quic = QuicEngine(make_engine)
    for round_ in range(5):
        at_once(10, lambda number: upgrade_under_traffic(quic, 10 * round_ + number), timeout=100.0)  # noqa: B023
    eventually(lambda: quic.engine.reasons == ["transport close"] * 50, "their ends")


COUNT = 60


def upgrade_under_traffic(quic: QuicEngine, seed: int) -> None:
    """Numbers go both ways before, while and after the session goes over; all come, in order."""
    polling, session = quic.engine.over_polling()
    there: list[str] = []
    here: list[str] = []
    session.on_message = there.append
    paused = threading.Event()

    def produce() -> None:
        for number in range(COUNT):
            session.send_message(f"{number}")
            time.sleep(0.005)

    def poll() -> None:
        while not paused.is_set():
            here.extend(message for message in polling.get().body.decode().split("\x1e") if message[0] == "4")

    producing, polls = Background(produce), Background(poll)
    posted = 0

    def post(count: int) -> None:
        nonlocal posted
        for _ in range(count):
            assert polling.post(f"4{posted}").status == 200
            posted += 1

    post(5)
    end = quic.end(loss=5, seed=seed).open()
    post(5)
    end.send(f'0{{"sid":"{polling.sid}"}}', "2probe")
    assert end.receive() == "3probe"
    post(5)
    paused.set()
    polls.result()
    end.send("5")
    for number in range(posted, COUNT):
        end.send(f"4{number}")
        end.pump(timeout=0.002)
    while len(here) < COUNT:
        here.append(str(end.receive()))
    assert here == [f"4{number}" for number in range(COUNT)]
    producing.result()
    end.delivered()
    eventually(lambda: len(there) == COUNT, "the numbers")
    assert there == [f"{number}" for number in range(COUNT)]
    assert session.transport.name == "webtransport"
    end.close()


def test_beginnings_that_go_nowhere(make_engine: MakeEngine) -> None:
    quic = QuicEngine(make_engine, upgrade_timeout=2.0)
    datagrams = [initial(quic.address) for _ in range(300)]
    end, session = quic.opened()
    before = memory()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number, data in enumerate(datagrams):
            sock.sendto(data, quic.address)
            if number % 20 == 0:
                end.pump(timeout=0.05)
        eventually(lambda: quic.listener._listener.half_open >= HALF_OPEN, "the bound")
        end.pump(timeout=0.5)
    assert len(quic.listener) <= HALF_OPEN + 1
    assert memory() - before < 12_000_000
    session.send_message("others are not affected")
    assert end.receive() == "4others are not affected"
    quic.opened()
    assert eventually(lambda: end.pump(timeout=0.2) or quic.listener._listener.half_open == 0, "their end", 20.0)
