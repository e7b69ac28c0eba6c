"""Sessions: sending by many threads, the outbox, closing."""

# ruff: noqa: B023  (the closures run before the loop goes on)

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.support.inprocess import AT_ONCE, Background, Closed, at_once, eventually
from wsgi_sio.engineio import MESSAGE, Packet, Session

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling", "upgraded"])


def begin(engine: Any, transport: str, **options: Any) -> tuple[Any, Session]:
    if transport == "polling":
        return engine.over_polling()  # type: ignore[no-any-return]
    if transport == "upgraded":
        return engine.upgraded(**options)  # type: ignore[no-any-return]
    return engine.over_websocket(**options)  # type: ignore[no-any-return]


@TRANSPORTS
def test_eight_threads_send_batches_to_a_slow_reader(make_engine: MakeEngine, transport: str) -> None:
    """Over tiny buffers: each batch stays in one piece, each thread's batches keep their order, nothing is lost."""
    engine = make_engine(max_outbox=100_000_000)
    client, session = begin(engine, transport, buffers=4096)
    per_thread = 40

    def send(number: int) -> None:
        rng = random.Random(number)
        for count in range(per_thread):
            size = rng.choice((1, 10, 125, 126, 3000, 66_000))
            head = Packet(MESSAGE, f"{number}:{count}:{size}")
            assert session.send([head, Packet(MESSAGE, bytes([number]) * size), Packet(MESSAGE, "end")])

    calls = [Background(send, number) for number in range(8)]
    seen: dict[int, list[int]] = {number: [] for number in range(8)}
    for _ in range(8 * per_thread):
        head = client.receive(10)
        number, count, size = map(int, head[1:].split(":"))
        assert client.receive(10) == bytes([number]) * size
        assert client.receive(10) == "4end"
        seen[number].append(count)
    assert all(counts == list(range(per_thread)) for counts in seen.values())
    for call in calls:
        call.result()
    eventually(lambda: session.outbox_size == 0, "an empty outbox")


def test_send_never_waits_for_the_client(make_engine: MakeEngine) -> None:
    engine = make_engine(max_outbox=50_000_000)
    websocket, session = engine.over_websocket(buffers=4096)
    began = time.monotonic()
    for _ in range(200):
        session.send([Packet(MESSAGE, "x" * 100_000)])
    assert time.monotonic() - began < AT_ONCE
    assert session.outbox_size > 15_000_000
    for _ in range(200):
        assert len(websocket.receive()) == 100_001


@TRANSPORTS
def test_a_client_too_far_behind_is_closed(
    make_engine: MakeEngine, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Over max_outbox the session ends at once with "transport error", from whatever thread; the log says why."""
    engine = make_engine(max_outbox=200_000)
    _, session = begin(engine, transport, buffers=4096)
    sent = 0
    while session.open and sent < 1000:
        session.send([Packet(MESSAGE, "x" * 10_000)])
        sent += 1
    assert 20 <= sent < 60
    assert engine.reasons == ["transport error"]
    assert session.send([Packet(MESSAGE, "late")]) is False
    assert any("max_outbox" in record.getMessage() for record in caplog.records)
    assert session.outbox_size == 0


def test_volatile_packets_are_dropped_while_the_client_is_busy(make_engine: MakeEngine) -> None:
    engine = make_engine()
    websocket, session = engine.over_websocket(buffers=4096)
    assert session.send([Packet(MESSAGE, "v1")], volatile=True) is True
    while session.transport.idle:
        session.send([Packet(MESSAGE, "x" * 30_000)])
    assert session.send([Packet(MESSAGE, "v2")], volatile=True) is False
    session.send([Packet(MESSAGE, "end")])
    got = []
    while (message := websocket.receive()) != "4end":
        got.append(message)
    assert got[0] == "4v1" and "4v2" not in got
    eventually(lambda: session.transport.idle, "an idle transport")
    assert session.send([Packet(MESSAGE, "v3")], volatile=True) is True
    assert websocket.receive() == "4v3"


@TRANSPORTS
def test_twenty_threads_close_and_one_wins(make_engine: MakeEngine, transport: str) -> None:
    engine = make_engine()
    for _ in range(5):
        engine.ended.clear()
        client, session = begin(engine, transport)
        won = at_once(20, lambda n: (session.close(f"reason {n}", abort=n % 2 == 0), n))
        (winner,) = [n for ended, n in won if ended]
        assert engine.ended == [(session.id, f"reason {winner}")]
        assert not session.open
        client.wait_closed()


@TRANSPORTS
def test_sending_while_others_close(make_engine: MakeEngine, transport: str) -> None:
    """What send accepted before the close arrives in order; afterwards it says False; nothing raises, nothing hangs."""
    engine = make_engine()
    for _ in range(10):
        client, session = begin(engine, transport)

        def act(number: int, session: Session = session) -> list[bool]:
            if number == 0:
                time.sleep(0.002)
                session.close()
                return []
            return [session.send([Packet(MESSAGE, f"{number} {i}")]) for i in range(50)]

        results = Background(at_once, 5, act)
        got: dict[str, list[int]] = {}
        with pytest.raises(Closed):
            while True:
                message = client.receive()
                number, i = message[1:].split()
                got.setdefault(number, []).append(int(i))
        accepted = results.result()
        for number in range(1, 5):
            numbers = got.get(str(number), [])
            assert numbers == list(range(len(numbers)))
            assert len(numbers) == sum(accepted[number])


@TRANSPORTS
def test_closing_sends_what_is_queued_first_and_aborting_does_not(make_engine: MakeEngine, transport: str) -> None:
    engine = make_engine(max_outbox=100_000_000)
    client, session = begin(engine, transport, buffers=4096)
    for number in range(100):
        session.send([Packet(MESSAGE, f"{number}".zfill(10_000))])
    session.close()
    for number in range(100):
        assert client.receive()[1:].lstrip("0") == (str(number) if number else "")
    with pytest.raises(Closed):
        client.receive()
    client, session = begin(engine, transport, buffers=4096)
    for _ in range(100):
        session.send([Packet(MESSAGE, "x" * 10_000)])
    session.close("forced close", abort=True)
    assert session.outbox_size == 0
    client.wait_closed()
    assert engine.reasons == ["forced close", "forced close"]


def test_a_failing_on_close_or_on_message_is_logged(make_engine: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any) -> None:
        raise ValueError("on purpose")

    def on_session(session: Session) -> None:
        session.on_close = session.on_message = fail

    engine = make_engine(on_session)
    websocket, session = engine.over_websocket()
    websocket.send("4x")
    websocket.send("4y")
    eventually(lambda: sum(r.exc_info is not None for r in caplog.records) >= 1, "the log")
    websocket.close()
    eventually(lambda: not session.open and not engine.engine.sessions, "the end")
    eventually(lambda: sum(r.exc_info is not None for r in caplog.records) >= 2, "the log of the end")


def test_a_close_inside_on_message_stops_the_rest(make_engine: MakeEngine) -> None:
    def on_session(session: Session) -> None:
        def on_message(data: str | bytes) -> None:
            got.append(data)
            session.close()

        session.on_message = on_message

    got: list[Any] = []
    engine = make_engine(on_session)
    websocket, _ = engine.over_websocket()
    websocket.send("4a", "4b", "4c")
    websocket.wait_closed()
    assert got == ["a"]


def test_what_is_sent_in_on_session_follows_the_handshake(make_engine: MakeEngine) -> None:
    """Over polling it even travels in the same answer."""

    def on_session(session: Session) -> None:
        session.send_message("welcome")
        session.send([Packet(MESSAGE, b"\x01")])

    engine = make_engine(on_session)
    polling = engine.polling()
    assert polling.opened.body.decode().endswith("\x1e4welcome\x1ebAQ==")
    websocket, _ = engine.over_websocket()
    assert (websocket.receive(), websocket.receive()) == ("4welcome", b"\x01")


def test_a_message_that_cannot_be_encoded_does_not_wedge_the_session(make_engine: MakeEngine) -> None:
    """A lone surrogate has no UTF-8: the sender may learn it, but the next message must get through."""
    engine = make_engine()
    websocket, session = engine.over_websocket()
    try:
        session.send_message("\ud800")
    except ValueError:
        assert session.open
    session.send_message("next")
    if session.open:
        assert websocket.receive() in ("4next", "4\ufffd")
    else:
        websocket.wait_closed()


# -- pausing ----------------------------------------------------------------------------------------------------------


def test_a_paused_session_reads_nothing_and_survives_its_heartbeat(make_engine: MakeEngine) -> None:
    engine = make_engine(ping_interval=0.1, ping_timeout=0.1)
    websocket, session = engine.over_websocket()
    session.pause()
    websocket.send("4a")
    time.sleep(0.4)
    assert engine.received == [] and session.open
    session.resume()
    eventually(lambda: engine.received, "the message")
    assert engine.received == ["a"]


def test_pauses_nest(make_engine: MakeEngine) -> None:
    engine = make_engine()
    websocket, session = engine.over_websocket()
    session.pause()
    session.pause()
    session.resume()
    websocket.send("4a")
    time.sleep(0.05)
    assert engine.received == []
    session.resume()
    eventually(lambda: engine.received == ["a"], "the message")


def test_paired_pauses_and_resumes_of_many_threads_leave_it_reading(make_engine: MakeEngine) -> None:
    """Neither the reading nor the heartbeat may be lost, whichever call overtakes the other."""
    import sys

    engine = make_engine(ping_interval=0.2, ping_timeout=1)
    websocket, session = engine.over_websocket()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def flip(number: int) -> None:
            for _ in range(300):
                if number % 2:
                    session.pause()
                    session.resume()
                else:
                    session.resume()
                    session.pause()

        at_once(6, flip)
    finally:
        sys.setswitchinterval(interval)
    websocket.send("4still there")
    eventually(lambda: engine.received == ["still there"], "the message")
    websocket.answer_pings = False
    assert websocket.receive(2) == "2"


def test_a_paused_post_waits_until_the_session_reads_again_or_ends(make_engine: MakeEngine) -> None:
    engine = make_engine()
    for end in (False, True):
        engine.received.clear()
        polling, session = engine.over_polling()
        session.pause()
        posting = Background(polling.post, "4a")
        time.sleep(0.05)
        assert not posting.done and engine.received == []
        if end:
            session.close()
        else:
            session.resume()
        assert posting.result().status == (400 if end else 200)  # what is lost is not said to have been taken
        assert engine.received == ([] if end else ["a"])


def test_a_client_that_resets_while_paused_costs_no_processor_time(make_engine: MakeEngine) -> None:
    """epoll tells hang-ups even to those who listen for nothing: that must not become a busy loop."""
    engine = make_engine()
    websocket, session = engine.over_websocket(tcp=True)
    session.pause()
    websocket.reset()
    time.sleep(0.05)
    began = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - began < 0.15
    session.resume()
    eventually(lambda: engine.reasons == ["transport close"], "the end")


def test_closing_a_paused_session(make_engine: MakeEngine) -> None:
    engine = make_engine()
    websocket, session = engine.over_websocket()
    transport: Any = session.transport
    session.pause()
    websocket.send("4unread")
    session.close()
    websocket.wait_closed()
    websocket.close()
    eventually(lambda: transport.fileno() == -1, "the descriptor's end")
    session.resume()


def test_idle_sessions_need_no_thread(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.over_websocket()
    before = threading.active_count()
    for _ in range(100):
        engine.over_websocket()
    assert threading.active_count() <= before + 3
