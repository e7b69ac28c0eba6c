"""WebTransport at a process that has the port, for sessions of another one."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from tests.engineio.conftest import Engine
from tests.engineio.relay.conftest import MakeSiblings, company
from tests.support.inprocess import Closed, Polling, eventually, open_descriptors
from tests.support.quic_end import QuicEnd
from tests.support.servers import free_port
from wsgi_sio.engineio import MESSAGE, Packet, Session

ALL = ("polling", "websocket", "webtransport")


def free_udp_port() -> int:
    """One that nobody else is given meanwhile."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
    return port


class Pair:
    """``gateway`` has the port, ``owner`` the sessions."""

    def __init__(self, make_siblings: MakeSiblings, **options: Any) -> None:
        given = {"transports": ALL, "path": "/socket.io", **options}
        self.gateway, self.owner = make_siblings(2, **given)
        self.listener = self.gateway.engine.listen_webtransport("127.0.0.1", 0)

    def probing(self, polling: Polling) -> QuicEnd:
        end = QuicEnd(("127.0.0.1", self.listener.port)).open()
        end.send(f'0{{"sid":"{polling.sid}"}}', "2probe")
        assert end.receive() == "3probe"
        return end

    def upgraded(self) -> tuple[QuicEnd, Session]:
        polling, session = self.owner.over_polling()
        end = self.probing(polling)
        end.send("5")
        end.delivered()
        eventually(lambda: session.transport.name == "webtransport", "the switch")
        return end, session


@pytest.fixture
def pair(make_siblings: MakeSiblings) -> Pair:
    return Pair(make_siblings)


def test_an_upgrade_and_traffic_both_ways(pair: Pair) -> None:
    end, session = pair.upgraded()
    texts = [f"{number}" + "x" * (number % 3000) for number in range(200)]
    for text in texts:
        end.send("4" + text)
        session.send([Packet(MESSAGE, text), Packet(MESSAGE, text.encode())])
    for text in texts:
        assert (end.receive(), end.receive()) == ("4" + text, text.encode())
    end.delivered()
    eventually(lambda: len(pair.owner.received) == len(texts), "the messages")
    assert pair.owner.received == texts
    session.send([Packet(MESSAGE, b""), Packet(MESSAGE, "€"), Packet(MESSAGE, b"y" * 300_000)])
    assert [end.receive() for _ in range(3)] == ["b", "4€", b"y" * 300_000]
    assert pair.gateway.received == [] and not pair.gateway.sessions


def test_what_was_queued_before_the_switch_comes_first(pair: Pair) -> None:
    polling, session = pair.owner.over_polling()
    end = pair.probing(polling)
    assert polling.get().body == b"6"
    for number in range(5):
        session.send_message(str(number))
    end.send("5")
    assert [end.receive() for _ in range(5)] == [f"4{number}" for number in range(5)]


def test_the_heartbeat_goes_through(make_siblings: MakeSiblings) -> None:
    pair = Pair(make_siblings, ping_interval=0.2, ping_timeout=0.5)
    end, session = pair.upgraded()
    end.answer_pings = False
    for _ in range(3):
        assert end.receive() == "2"
        end.send("3")
    end.pump(lambda: not session.open, 5.0)
    eventually(lambda: pair.owner.reasons == ["ping timeout"], "that it is told")


@pytest.mark.parametrize("how", ["session", "stream", "connection"])
def test_the_client_ends_it(pair: Pair, how: str) -> None:
    before = open_descriptors()
    end, session = pair.upgraded()
    {
        "session": end.connection.end_session,
        "stream": end.connection.end_stream,
        "connection": end.connection.close,
    }[how]()
    end.flush()
    eventually(lambda: end.pump(timeout=0.02) or not session.open, "the end")
    eventually(lambda: pair.owner.reasons == ["transport close"], "that it is told")
    end.close()
    eventually(lambda: len(pair.listener) == 0 and open_descriptors() <= before, "nothing to be left")


def test_the_server_ends_it(pair: Pair) -> None:
    end, session = pair.upgraded()
    for number in range(10):
        session.send([Packet(MESSAGE, bytes([number]) * 30_000)])
    session.close()
    assert [end.receive() for _ in range(10)] == [bytes([number]) * 30_000 for number in range(10)]
    with pytest.raises(Closed):
        end.receive()


def test_the_process_with_the_port_ends(pair: Pair) -> None:
    """It tells clients whose sessions are a sibling's, after what was sent before."""
    end, session = pair.upgraded()
    session.send([Packet(MESSAGE, "last words")])
    assert end.receive() == "4last words"
    pair.gateway.engine.close()
    with pytest.raises(Closed):
        end.receive()
    end.close()
    eventually(lambda: pair.owner.reasons == ["transport close"], "the session's end")
    pair.gateway.engine.wait_for_last_words(5.0)
    assert len(pair.listener) == 0


def test_a_sibling_takes_over_a_port_that_is_let_go_of(make_siblings: MakeSiblings) -> None:
    """At once, and connections that there are go on; clients of any are offered it all the time."""
    port = free_udp_port()
    options = {"webtransport": {"host": "127.0.0.1", "port": port}, "path": "/socket.io"}
    engines = make_siblings(3, **options)
    for engine in engines:
        engine.engine.notice()
    (first,) = [engine for engine in engines if engine.engine.webtransport is not None]
    others = [engine for engine in engines if engine is not first]
    eventually(lambda: all(engine.engine.offers_webtransport for engine in others), "the siblings' word")
    polling, session = others[0].over_polling()
    end = QuicEnd(("127.0.0.1", port)).open()
    end.send(f'0{{"sid":"{polling.sid}"}}', "2probe")
    assert end.receive() == "3probe"
    end.send("5")
    end.delivered()
    eventually(lambda: session.transport.name == "webtransport", "the switch")
    began = time.monotonic()
    first.engine.refuse_new_sessions()
    eventually(lambda: any(engine.engine.webtransport is not None for engine in others), "the successor")
    assert time.monotonic() - began < 1.5  # not with the next attempt, in two seconds
    eventually(lambda: all(engine.engine.offers_webtransport for engine in others), "the successor's word")
    late = QuicEnd(("127.0.0.1", port)).open()
    late.send("0")
    assert late.receive()[0] == "0"  # type: ignore[index]
    assert sum(len(engine.sessions) for engine in others) == 2
    session.send([Packet(MESSAGE, "by the first, still")])
    assert end.receive() == "4by the first, still"
    end.send("4and back")
    end.delivered()
    eventually(lambda: others[0].received[-1:] == ["and back"], "the message")


def test_an_owner_that_has_gone(pair: Pair) -> None:
    end, _ = pair.upgraded()
    polling, _ = pair.owner.over_polling()
    company(pair.owner).siblings.leave()
    late = QuicEnd(("127.0.0.1", pair.listener.port)).open()
    late.send(f'0{{"sid":"{polling.sid}"}}', "2probe")
    with pytest.raises(Closed):
        late.receive()
    pair.owner.engine.close()
    with pytest.raises(Closed):
        end.receive()


def test_a_session_that_there_is_not(pair: Pair) -> None:
    end = QuicEnd(("127.0.0.1", pair.listener.port)).open()
    end.send(f'0{{"sid":"{"x" * 16}{pair.owner.engine.tag}"}}', "2probe")
    with pytest.raises(Closed):
        end.receive()


def test_a_candidate_that_misbehaves_ends_alone(pair: Pair) -> None:
    polling, session = pair.owner.over_polling()
    end = pair.probing(polling)
    end.send("4early")
    with pytest.raises(Closed):
        end.receive()
    eventually(lambda: session.upgrade is None, "the candidate's end")
    session.send_message("alive")
    assert polling.receive() == "4alive"


def test_pressure_inwards(pair: Pair) -> None:
    """What the owner does not read stays with the client, but for what is on the way."""
    end, session = pair.upgraded()
    session.pause()
    for _ in range(60):
        end.send(b"x" * 50_000)
    assert not end.pump(lambda: end.connection.unsent == 0, 1.5)
    session.resume()
    end.delivered()
    eventually(lambda: len(pair.owner.received) == 60, "the messages")


def test_pressure_outwards(make_siblings: MakeSiblings) -> None:
    """A client that gives no credit is cut by the owner, which has a bounded amount waiting for it."""
    pair = Pair(make_siblings, max_outbox=200_000)
    end, session = pair.upgraded()
    end.quic._write_stream_limits = lambda **given: None  # type: ignore[method-assign]
    sent = 0
    while session.open and sent < 500:
        session.send([Packet(MESSAGE, b"x" * 20_000)])
        end.pump(timeout=0.005)
        sent += 1
    assert not session.open and sent < 200
    eventually(lambda: pair.owner.reasons == ["transport error"], "that it is told")


def test_where_a_sibling_has_the_port_it_is_offered(make_siblings: MakeSiblings) -> None:
    engines = make_siblings(2, webtransport={"host": "127.0.0.1", "port": 0}, path="/socket.io")

    def upgrades(engine: Engine) -> Any:
        answer = engine.request("GET", transport="polling")
        return json.loads(answer.body[answer.body.index(b"{") :])["upgrades"]

    first, second = engines
    assert upgrades(first) == upgrades(second) == []
    first.engine.notice()
    eventually(lambda: upgrades(second) == ["webtransport"], "the sibling's word")
    assert upgrades(first) == ["webtransport"]
    company(first).siblings.leave()
    eventually(lambda: upgrades(second) == [], "its end")
