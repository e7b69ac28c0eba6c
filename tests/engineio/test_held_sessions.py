"""What is held leaves with whatever is sent next, in order, and soon, come what may."""

from __future__ import annotations

import _thread
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.clock import ManualClock
from tests.support.inprocess import WebSocket, eventually
from wsgi_sio.compiled import is_compiled
from wsgi_sio.engineio import held_sessions, session_writer
from wsgi_sio.engineio.held_sessions import HeldSessions
from wsgi_sio.engineio.packet import MESSAGE, Packet
from wsgi_sio.engineio.session import Session


def message(text: str) -> list[Packet]:
    return [Packet(MESSAGE, text)]


def hold(session: Session, text: str) -> None:
    session.hold(message(text), time.monotonic())


class Held:
    """A session whose client can be asked what has come."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.client: WebSocket
        self.client, self.session = engine.over_websocket(buffers=4096)

    def comes(self, *texts: str) -> None:
        assert [self.client.receive() for _ in texts] == [f"4{text}" for text in texts]
        eventually(lambda: self.session.transport.idle, "the end of the writing")
        assert not self.session.held and self.session.outbox_size == 0


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_writer, "_HOLD", 3600)
    monkeypatch.setattr(held_sessions, "_LONGEST", 3600)


@pytest.fixture
def held(make_engine: MakeEngine, patient: None) -> Held:
    """Time alone sends nothing."""
    return Held(make_engine(max_outbox=40_000))


def test_it_waits_for_a_moment_only(make_engine: MakeEngine) -> None:
    held = Held(make_engine())
    hold(held.session, "a")
    held.comes("a")


def test_it_leaves_with_what_comes_late(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(held.session, "a")
    hold(held.session, "b")
    assert held.session.outbox_size
    monkeypatch.setattr(session_writer, "_HOLD", 0)
    hold(held.session, "c")
    held.comes("a", "b", "c")


def test_it_leaves_when_it_has_become_much(held: Held) -> None:
    texts = [letter * 8000 for letter in "abcd"]
    for text in texts:
        hold(held.session, text)
    held.comes(*texts)


WAYS: dict[str, Callable[[Session], object]] = {
    "send": lambda session: session.send(message("b")),
    "send volatile": lambda session: session.send(message("b"), volatile=True),
    "reserve": lambda session: session.reserve(message("b"))(),
    "hold and release": lambda session: (hold(session, "b"), session.release()),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_leaves_before_what_is_sent(held: Held, way: str) -> None:
    hold(held.session, "a")
    WAYS[way](held.session)
    held.comes("a", "b")


def test_a_place_is_behind_what_was_held(held: Held) -> None:
    hold(held.session, "a")
    write = held.session.reserve(message("b"))
    held.session.send(message("c"))
    hold(held.session, "d")
    write()
    held.comes("a", "b", "c", "d")


@pytest.mark.parametrize("how", ["send", "reserve"])
def test_no_client_is_slow_because_something_is_held(held: Held, how: str) -> None:
    """One that takes everything at once may be sent more than ``max_outbox``, as ever."""
    hold(held.session, "a")
    if how == "send":
        held.session.send(message("b" * 50_000))
    else:
        held.session.reserve(message("b" * 50_000))()
    held.comes("a", "b" * 50_000)
    assert held.session.open


def test_a_ping_takes_it_along(held: Held) -> None:
    hold(held.session, "a")
    held.session.ping()
    assert held.client.receive() == "4a"  # the ping came first, and was answered
    eventually(lambda: held.session.transport.idle, "the end of the writing")
    assert not held.session.held


def test_the_end_comes_behind_it(held: Held) -> None:
    hold(held.session, "a")
    held.session.close()
    assert held.client.receive() == "4a"
    held.client.wait_closed()
    eventually(lambda: not held.engine.engine.sessions, "its end")


def test_an_abort_drops_it(held: Held) -> None:
    hold(held.session, "a")
    held.session.close("transport error", abort=True, code=1009)
    assert held.client.wait_closed() == 1009


def test_who_does_not_take_it_is_given_up_in_the_end(held: Held) -> None:
    hold(held.session, "a" * 50_000)
    held.session.close()
    assert held.session._linger is not None
    held.session._give_up()
    eventually(lambda: held.session._linger is None, "its end")


def test_nothing_is_held_once_it_is_over(held: Held) -> None:
    held.session.close()
    hold(held.session, "a")
    assert not held.session.held and held.session.outbox_size == 0


def test_nor_behind_what_is_being_written(held: Held) -> None:
    held.session.send(message("a" * 30_000))
    assert not held.session.transport.idle
    hold(held.session, "b")
    assert not held.session.held
    held.comes("a" * 30_000, "b")


def test_nor_over_polling(make_engine: MakeEngine, patient: None) -> None:
    client, session = make_engine().over_polling()
    hold(session, "a")
    assert client.receive() == "4a"


def test_a_child_writes_nothing_of_it(held: Held) -> None:
    hold(held.session, "a")
    held.session.after_fork()
    held.session.release()
    hold(held.session, "b")
    held.session.release()
    assert not held.session.held
    held.client.expect_silence(0.05)


# -- a signal handler, which runs between any two lines --------------------------------------------------------


class Interrupted:
    """Calls ``handler`` before line number ``when`` of what session_writer.py and write_buffer.py do."""

    def __init__(self, when: int, handler: Callable[[], object]) -> None:
        self.when = when
        self.handler = handler
        self.lines = 0

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.endswith(("session_writer.py", "write_buffer.py")):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.when:
                self.handler()
        return self._trace

    def run(self, action: Callable[[], object]) -> bool:
        """Do it; whether it had so many lines."""
        sys.settrace(self._trace)
        try:
            action()
        finally:
            sys.settrace(None)
        return self.lines >= self.when


ACTIONS: dict[str, Callable[[Session], object]] = {
    "hold": lambda session: hold(session, "b"),
    "release": lambda session: session.release(),
    **WAYS,
}


@pytest.mark.skipif(is_compiled(), reason="compiled code is not interrupted in the middle")
@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger, or coverage, traces already")
@pytest.mark.parametrize("begun", [False, True], ids=["nothing held", "something held"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_signal_handler_may_emit_at_any_point(held: Held, action: str, begun: bool) -> None:
    session = held.session
    session.lock = _thread.RLock()  # one that checks its rank is no use here: it is taken twice

    def handle() -> None:
        session.send(message("signal"))

    when, goes_on = 1, True
    while goes_on:
        if begun:
            hold(session, "a")
        goes_on = Interrupted(when, handle).run(lambda: ACTIONS[action](session))
        session.release()
        expected = ["4signal"] * goes_on + ["4a"] * begun + ["4b"] * (action != "release")
        came = [held.client.receive() for _ in expected]
        assert sorted(came) == sorted(expected), when
        assert not (begun and "4b" in came) or came.index("4a") < came.index("4b"), when
        assert session.transport.idle and not session.held and session.outbox_size == 0, when
        when += 1
    assert when > 4


# -- the time ---------------------------------------------------------------------------------------------------


class Holder:
    """Holds something; fails to release it if it is to."""

    def __init__(self, held: float, fails: bool = False) -> None:
        self.held = held
        self.fails = fails

    def release(self) -> None:
        self.held = 0.0
        if self.fails:
            raise ValueError("as it should")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr(held_sessions, "monotonic", clock)
    return clock


def look_after(clock: ManualClock) -> HeldSessions:
    return HeldSessions(clock)  # type: ignore[arg-type]  # as much of a reactor as it needs


def test_one_timer_does_for_all(clock: ManualClock) -> None:
    sessions = look_after(clock)
    holders = [Holder(clock()) for _ in range(10)]
    for holder in holders:
        sessions.add(holder)
    assert len(clock.pending) == 1
    clock.advance(0.0015)
    assert not any(holder.held for holder in holders) and not clock.pending


def test_nobody_waits_longer_because_of_others(clock: ManualClock) -> None:
    sessions = look_after(clock)
    first = Holder(clock())
    sessions.add(first)
    clock.advance(0.001)
    second = Holder(clock())
    sessions.add(second)
    clock.advance(0.0006)
    assert not first.held and second.held
    clock.advance(0.001)
    assert not second.held and not clock.pending


def test_what_is_held_anew_has_its_own_time(clock: ManualClock) -> None:
    sessions = look_after(clock)
    holder = Holder(clock())
    sessions.add(holder)
    clock.advance(0.001)
    holder.held = clock()
    sessions.add(holder)
    clock.advance(0.0006)
    assert holder.held
    clock.advance(0.001)
    assert not holder.held


def test_what_was_released_long_ago_is_let_be(clock: ManualClock) -> None:
    sessions = look_after(clock)
    holder = Holder(clock(), fails=True)
    sessions.add(holder)
    holder.held = 0.0
    clock.advance(1)
    assert not clock.pending


def test_one_that_fails_does_the_others_no_harm(clock: ManualClock) -> None:
    sessions = look_after(clock)
    holders = [Holder(clock(), fails=True), *[Holder(clock()) for _ in range(20)]]
    for holder in holders:
        sessions.add(holder)
    with pytest.raises(ValueError, match="as it should"):
        clock.advance(0.0015)
    clock.advance(0.0015)
    assert not any(holder.held for holder in holders)


def test_it_goes_on_when_no_timer_could_be_had(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    sessions = look_after(clock)
    holder = Holder(clock())
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(clock, "call_later", refuse)
        sessions.add(holder)
    sessions.add(Holder(clock()))
    clock.advance(0.0015)
    assert not holder.held


def test_nothing_is_held_for_a_client_that_has_left(held: Held) -> None:
    held.client.close()
    eventually(lambda: not held.engine.engine.sessions, "the end")
    hold(held.session, "a")
    assert not held.session.held and held.session.outbox_size == 0
