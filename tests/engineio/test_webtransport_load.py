"""Many clients of WebTransport: nothing is left of those that have gone, and beginnings that go nowhere are bounded."""

from __future__ import annotations

import gc
import resource
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.engineio.quic import QuicEngine
from tests.support.quic_end import initial
from tests.support.waiting import eventually, open_descriptors
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
    timers = getattr(quic.engine.engine.reactor, "_timers", None)

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
    if timers is not None:
        live = [entry for entry in timers._heap if entry[2].callback is not None]
        assert len(live) <= 4, live


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
