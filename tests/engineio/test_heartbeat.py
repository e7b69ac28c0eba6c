"""The heartbeat on a clock that only the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.support.clock import ManualClock
from tests.support.inprocess import eventually
from wsgi_sio.engineio.heartbeat import Heartbeat

INTERVAL, TIMEOUT = 25.0, 20.0


class Watched:
    """A session, as far as the heartbeat is concerned."""

    def __init__(self, clock: ManualClock) -> None:
        self.pong_awaited = False
        self.paused = False
        self.unread = False
        self.transport = self
        self.events: list[tuple[float, str]] = []
        self._clock = clock

    def ping(self) -> None:
        self.events.append((self._clock.now, "ping"))

    def close(self, reason: str, *, abort: bool = False) -> bool:
        assert abort
        self.events.append((self._clock.now, reason))
        return True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def heartbeat(clock: ManualClock) -> Any:
    return Heartbeat(clock, INTERVAL, TIMEOUT, clock)  # type: ignore[arg-type]


def test_a_ping_after_the_interval_and_the_end_after_the_timeout(clock: ManualClock, heartbeat: Any) -> None:
    session = Watched(clock)
    heartbeat.start(session)
    clock.advance(INTERVAL - 0.01)
    assert session.events == []
    clock.advance(0.1)
    (ping,) = session.events
    assert ping[1] == "ping" and session.pong_awaited
    clock.advance(TIMEOUT - 0.2)
    assert len(session.events) == 1
    clock.advance(0.4)
    assert session.events[1][1] == "ping timeout"
    assert session.events[1][0] == pytest.approx(1000 + INTERVAL + TIMEOUT, abs=0.11)
    clock.advance(1000)
    assert len(session.events) == 2


def test_a_pong_starts_the_interval_anew(clock: ManualClock, heartbeat: Any) -> None:
    session = Watched(clock)
    heartbeat.start(session)
    for _ in range(10):
        clock.advance(INTERVAL + 0.1)
        assert session.events.pop()[1] == "ping"
        clock.advance(TIMEOUT - 1)
        heartbeat.start(session)
        assert not session.pong_awaited
    assert session.events == []


def test_other_traffic_extends_the_patience_once_for_each_ping(clock: ManualClock, heartbeat: Any) -> None:
    """socketio-wire 6.6.11: a pong may wait behind a large message."""
    session = Watched(clock)
    heartbeat.start(session)
    clock.advance(INTERVAL + 0.1)
    clock.advance(TIMEOUT - 1)
    heartbeat.extend(session)
    assert not session.pong_awaited
    clock.advance(TIMEOUT - 1)
    assert [what for _, what in session.events] == ["ping"]
    clock.advance(2)
    assert [what for _, what in session.events] == ["ping", "ping timeout"]


def test_a_stopped_session_is_forgotten(clock: ManualClock, heartbeat: Any) -> None:
    sessions = [Watched(clock) for _ in range(3)]
    for session in sessions:
        heartbeat.start(session)
    heartbeat.stop(sessions[0])
    clock.advance(INTERVAL + 0.1)
    heartbeat.stop(sessions[1])
    clock.advance(TIMEOUT + 1)
    assert [[what for _, what in session.events] for session in sessions] == [[], ["ping"], ["ping", "ping timeout"]]
    heartbeat.stop(sessions[2])  # twice does no harm


def test_thousands_of_sessions_share_few_timers(clock: ManualClock, heartbeat: Any) -> None:
    """They came within 10 seconds; each is pinged in its own time, and the timers are not one a session."""
    sessions = []
    for _ in range(5000):
        session = Watched(clock)
        heartbeat.start(session)
        sessions.append((clock.now, session))
        clock.advance(0.002)
    before = clock.ticks
    clock.advance(INTERVAL + 1)
    for came, session in sessions:
        ((at, what),) = session.events
        assert what == "ping" and came + INTERVAL <= at <= came + INTERVAL + 0.1
    assert clock.ticks - before < 500


def test_nothing_runs_when_there_is_nobody(clock: ManualClock, heartbeat: Any) -> None:
    session = Watched(clock)
    heartbeat.start(session)
    heartbeat.stop(session)
    clock.advance(INTERVAL * 3)
    assert clock.pending == []
    heartbeat.start(session)
    clock.advance(INTERVAL + 0.1)
    assert len(session.events) == 1


def test_one_session_that_raises_does_not_stop_the_others_hearts(clock: ManualClock, heartbeat: Any) -> None:
    broken, sound = Watched(clock), Watched(clock)

    def ping() -> None:
        raise RuntimeError("on purpose")

    broken.ping = ping  # type: ignore[method-assign]
    heartbeat.start(broken)
    clock.advance(5)
    heartbeat.start(sound)
    with pytest.raises(RuntimeError):
        clock.advance(INTERVAL)
    clock.advance(INTERVAL)
    assert "ping" in [what for _, what in sound.events]


class Prompt(Watched):
    """A session whose client answers each ping at once, though nobody reads that before ``delay`` seconds are over."""

    def __init__(self, clock: ManualClock, heartbeat: Heartbeat, delay: float = 0.01) -> None:
        super().__init__(clock)
        self._heartbeat = heartbeat
        self._delay = delay

    def ping(self) -> None:
        super().ping()
        self._clock.call_later(self._delay, lambda: self._heartbeat.start(self))  # type: ignore[arg-type]

    @property
    def lost(self) -> bool:
        return "ping timeout" in [what for _, what in self.events]


@pytest.mark.parametrize("length", [0.5, 3.0, 19.0, 30.0, 3600.0])
def test_who_answers_is_not_lost_however_long_the_process_stood_still(clock: ManualClock, length: float) -> None:
    """Whatever the moment: before a ping, between it and its pong; and what has come is read a while after the wake."""
    heartbeat = Heartbeat(clock, INTERVAL, TIMEOUT, clock)  # type: ignore[arg-type]
    sessions = []
    for _ in range(100):
        sessions.append(Prompt(clock, heartbeat, delay=1.0))
        heartbeat.start(sessions[-1])  # type: ignore[arg-type]
        clock.advance(INTERVAL / 100)
    for _ in range(20):
        clock.advance(2.9)
        clock.stall(length)
    clock.advance(TIMEOUT)
    assert not any(session.lost for session in sessions)


def test_pings_that_are_due_when_the_process_wakes_go_out_at_once(clock: ManualClock, heartbeat: Any) -> None:
    """The clients' patience has gone on meanwhile."""
    session = Watched(clock)
    heartbeat.start(session)
    clock.advance(INTERVAL - 1)
    clock.stall(10)
    clock.advance(0)
    assert session.events == [(clock.now, "ping")]


def test_a_stall_takes_nothing_from_the_time_to_answer(clock: ManualClock, heartbeat: Any) -> None:
    """But for an eighth of it at most; nor does it give the dead much more."""
    session = Watched(clock)
    heartbeat.start(session)
    clock.advance(INTERVAL + 0.06)
    clock.stall(1000)
    woke = clock.now
    clock.advance(TIMEOUT * 7 / 8 - 0.3)
    assert [what for _, what in session.events] == ["ping"]
    clock.advance(TIMEOUT)
    assert session.events[1][1] == "ping timeout"
    assert session.events[1][0] <= woke + TIMEOUT


def test_even_the_last_moment_waits_for_what_has_arrived(clock: ManualClock, heartbeat: Any) -> None:
    """A pong that came in time, while the process stood still, is read first, with other pings being due meanwhile."""
    session = Watched(clock)
    heartbeat.start(session)
    for _ in range(5):
        clock.advance(0.3)
        heartbeat.start(Watched(clock))
    clock.advance(INTERVAL + TIMEOUT - 5 * 0.3 - 0.1)
    clock.stall(5)
    clock.advance(1)  # reading takes a while
    assert [what for _, what in session.events] == ["ping"]
    heartbeat.start(session)
    clock.advance(TIMEOUT)
    assert [what for _, what in session.events] == ["ping"]


def test_a_process_that_is_late_all_the_time_finds_the_dead_all_the_same(clock: ManualClock, heartbeat: Any) -> None:
    session = Watched(clock)
    heartbeat.start(session)
    for _ in range(200):
        clock.advance(0.01)
        clock.stall(1)
    assert [what for _, what in session.events] == ["ping", "ping timeout"]
    assert session.events[1][0] < 1000 + 2 * (INTERVAL + TIMEOUT)


def test_who_has_sent_what_nobody_has_read_is_not_silent(clock: ManualClock, heartbeat: Any) -> None:
    """Without a stall: a machine that is too busy to read."""
    session = Watched(clock)
    heartbeat.start(session)
    session.unread = True
    clock.advance(INTERVAL + TIMEOUT + 1)
    assert [what for _, what in session.events] == ["ping"]
    session.unread = False
    clock.advance(INTERVAL + TIMEOUT + 1)
    assert [what for _, what in session.events] == ["ping", "ping", "ping timeout"]


def test_quiet_sessions_are_not_looked_at_more_often_than_they_are_pinged(clock: ManualClock, heartbeat: Any) -> None:
    """A thousand, whose pongs come in milliseconds: a tick for each ping at most, pings within 50 ms sharing one."""
    for _ in range(1000):
        heartbeat.start(Prompt(clock, heartbeat))
        clock.advance(INTERVAL / 1000)
    before = clock.ticks
    clock.advance(INTERVAL)
    pongs = 1000  # timers of the test's own
    assert clock.ticks - before - pongs <= INTERVAL / 0.05


def test_on_a_real_clock_with_a_real_reactor(make_engine: MakeEngine) -> None:
    """Two clients: one answers, one is silent and is closed; its TCP connection ends too."""
    engine = make_engine(ping_interval=0.1, ping_timeout=0.1)
    good, good_session = engine.over_websocket()
    silent, silent_session = engine.over_websocket()
    silent.answer_pings = False
    assert silent.receive() == "2"
    good.expect_silence(0.35)
    eventually(lambda: engine.ended, "the silent session's end")
    assert engine.ended == [(silent_session.id, "ping timeout")]
    silent.wait_closed()
    assert good_session.open
