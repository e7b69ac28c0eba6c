"""Who emits to one client alone is held back while that is behind; who emits to many never is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import AT_ONCE, SEPARATOR, Background, WebSocket, eventually
from tests.support.world import WORLD
from wsgi_sio.engineio import MESSAGE, Packet, Session
from wsgi_sio.engineio.packet import PING
from wsgi_sio.engineio.write_buffer import OVERHEAD, PacketQueue

CHUNK = "x" * 100_000
LIMIT = 1_000_000


def send_alone(session: Session, text: str) -> bool:
    """As :meth:`Socket.emit` does."""
    session.wait_for_room()
    return session.send([Packet(MESSAGE, text)], patient=True)


def download(session: Session, count: int) -> int:
    """Send many megabytes, as a handler would: in a loop; how many times it was possible."""
    return sum(send_alone(session, CHUNK) for _ in range(count))


def slow_websocket(engine: Engine) -> tuple[WebSocket, Session]:
    return engine.over_websocket(tcp=True, buffers=20_000)


def test_a_client_that_reads_gets_more_than_any_bound(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=LIMIT)
    websocket, session = slow_websocket(engine)
    sending = Background(download, session, 100)
    for _ in range(100):
        assert websocket.receive() == "4" + CHUNK
        assert session.outbox_size < LIMIT
    assert sending.result() == 100
    assert session.open


def test_a_polling_client_gets_more_than_any_bound(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=LIMIT)
    polling, session = engine.over_polling()
    sending = Background(download, session, 50)
    for _ in range(50):
        assert polling.receive() == "4" + CHUNK
        assert session.outbox_size < LIMIT
    assert sending.result() == 50


def test_messages_larger_than_the_bound_go_out_one_after_the_other(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=LIMIT)
    websocket, session = slow_websocket(engine)
    large = "x" * 3_000_000
    sending = Background(lambda: [send_alone(session, large) for _ in range(4)])
    for _ in range(4):
        assert websocket.receive() == "4" + large
        assert session.outbox_size < 2 * len(large)
    assert sending.result() == [True] * 4


def test_several_senders_take_turns(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=LIMIT)
    websocket, session = slow_websocket(engine)
    sendings = [Background(download, session, 20) for _ in range(8)]
    for _ in range(8 * 20):
        assert websocket.receive() == "4" + CHUNK
        assert session.outbox_size < 2 * LIMIT
    assert [sending.result() for sending in sendings] == [20] * 8


def test_a_broadcast_is_not_held_back_and_finds_its_half_of_the_bound(make_engine: MakeEngine) -> None:
    """What a handler has queued for a client is not held against that when a broadcast finds it."""
    engine = make_engine(max_outbox=LIMIT)
    websocket, session = slow_websocket(engine)
    sending = Background(download, session, 30)
    eventually(lambda: session.outbox_size > LIMIT / 2 - 200_000, "a crowd")
    for _ in range(5):
        began = time.monotonic()
        assert session.send([Packet(MESSAGE, CHUNK)])
        assert time.monotonic() - began < AT_ONCE
    for _ in range(35):
        assert websocket.receive() == "4" + CHUNK
    assert sending.result() == 30


def test_broadcasts_alone_are_bounded_as_before(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=LIMIT)
    _, session = slow_websocket(engine)
    while session.send([Packet(MESSAGE, CHUNK)]):
        assert session.outbox_size < LIMIT + 2 * len(CHUNK)
    assert engine.reasons == ["transport error"]


def test_a_client_that_takes_nothing_is_given_up(make_engine: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine(max_outbox=LIMIT, ping_timeout=0.3)
    _, session = slow_websocket(engine)
    sending = Background(download, session, 100)
    assert sending.result() < 100
    assert engine.reasons == ["transport error"]
    assert "taken nothing for ping_timeout=0.3 s" in caplog.text


def test_a_slow_client_that_goes_on_taking_data_is_not_given_up(make_engine: MakeEngine) -> None:
    """Its pings go before what waits for it, or their answers would come too late."""
    engine = make_engine(max_outbox=LIMIT, ping_timeout=0.5, ping_interval=0.2)
    websocket, session = slow_websocket(engine)
    sending = Background(download, session, 30)
    for _ in range(30):
        time.sleep(0.04)
        assert websocket.receive() == "4" + CHUNK
    assert sending.result() == 30
    assert session.open


def test_the_end_of_a_session_lets_everybody_go(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=LIMIT)
    websocket, session = slow_websocket(engine)
    sendings = [Background(download, session, 100) for _ in range(4)]
    eventually(lambda: len(session._write_buffer.waiting) == 4, "four that wait")
    websocket.reset()
    assert all(sending.result() < 100 for sending in sendings)


def test_a_sender_that_gives_its_turn_up_holds_nobody(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=LIMIT, ping_timeout=0.3)
    websocket, session = slow_websocket(engine)

    def give_up() -> None:
        session.wait_for_room()

    download(session, 5)
    eventually(lambda: session._write_buffer.crowded or download(session, 1), "a crowd")
    givers, sending = [Background(give_up) for _ in range(3)], None
    eventually(lambda: len(session._write_buffer.waiting) == 3, "three that wait")
    sending = Background(download, session, 3)
    drain = Background(_read_all, websocket)
    assert sending.result() == 3
    for giver in givers:
        giver.result()
    session.close()
    drain.result()


def _read_all(websocket: WebSocket) -> None:
    websocket.wait_closed()


def test_no_io_thread_is_held_back(make_engine: MakeEngine) -> None:
    """One that is would read nothing from anybody: there a client that is too far behind is given up, as ever."""
    engine = make_engine(max_outbox=LIMIT)
    slow, victim = slow_websocket(engine)
    busy, session = engine.over_websocket()
    outcomes: list[Any] = []

    def relay(message: str | bytes) -> None:
        began = time.monotonic()
        download(victim, 100)
        outcomes.append(time.monotonic() - began)

    session.on_message = relay
    busy.send("4go")
    eventually(lambda: outcomes, "the end of the relay")
    assert engine.reasons == ["transport error"]
    slow.close()


def test_a_ping_goes_before_what_waits(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    session.send_message("first")
    session.ping()
    assert polling.get().body.decode() == SEPARATOR.join(["2", "4first"])


@pytest.mark.skipif(WORLD == "gevent", reason="there handlers run in the main thread")
def test_the_main_thread_is_not_held_back(make_engine: MakeEngine) -> None:
    """It may be in a signal handler, which has interrupted anything."""
    engine = make_engine(max_outbox=LIMIT)
    slow, session = slow_websocket(engine)
    began = time.monotonic()
    download(session, 100)
    assert time.monotonic() - began < AT_ONCE
    assert engine.reasons == ["transport error"]
    slow.close()


def test_a_queue_gives_batches_in_order_up_to_a_size_and_a_count() -> None:
    """What the server's buffer and the client's have in common."""
    queue = PacketQueue()
    packets = [Packet(MESSAGE, f"{number:09d}") for number in range(10)]
    queue.packets += packets
    queue.size = sum(packet.size + OVERHEAD for packet in packets)
    first = Packet(PING)
    queue.put_first(first)
    assert queue.take(1) == [first]
    assert queue.take(2 * (OVERHEAD + 9)) == packets[:2]
    assert queue.take(25, overhead=0) == packets[2:5]
    assert queue.take(1_000_000, count=2) == packets[5:7]
    assert queue.size == 3 * (packets[0].size + OVERHEAD)
    assert queue.take(1_000_000, count=3) == packets[7:]
    assert (queue.size, queue.take(1), queue.packets) == (0, [], [])
