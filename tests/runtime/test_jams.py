"""The log tells when handlers keep all others from running, where, and what to do."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from typing import Any

import pytest

from tests.support.inprocess import DEADLINE, eventually
from tests.support.world import WORLD
from wsgi_sio.runtime import create_reactor


def messages(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if word in record.getMessage()]


def watches() -> int:
    """How many loops are being watched, each by a native thread."""
    from wsgi_sio.runtime import blocked_hub_warning

    code = [frame.f_code.co_filename for frame in sys._current_frames().values()]
    return code.count(blocked_hub_warning.__file__)


def watch_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch gevent's loop with little patience, and nobody else: other tests' servers live as long as the process."""
    from wsgi_sio.runtime.blocked_hub_warning import HubWatchdog

    gc.unfreeze()  # or those of former files are not found
    for watch in [found for found in gc.get_objects() if type(found) is HubWatchdog]:
        watch.stop()
    monkeypatch.setattr("wsgi_sio.runtime.blocked_hub_warning.LIMIT", 0.1)


@pytest.mark.skipif(WORLD != "gevent", reason="about gevent's loop")
def test_a_handler_that_blocks_gevents_loop_is_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gevent.monkey

    watch_closely(monkeypatch)
    native_sleep = gevent.monkey.get_original("time", "sleep")
    ran = threading.Event()

    def a_handler_that_yields() -> None:
        time.sleep(0.5)
        ran.set()

    def a_handler_that_blocks() -> None:
        native_sleep(0.6)

    reactor = create_reactor()
    reactor.tell_when_stuck()
    try:
        reactor.submit(a_handler_that_yields)
        assert ran.wait(DEADLINE)
        reactor.submit(a_handler_that_blocks)
        (message,) = eventually(lambda: messages(caplog, "a_handler_that_blocks"), "the log")
        assert "gevent's loop" in message and __file__ in message and "monkey.patch_all()" in message
        time.sleep(0.5)
        assert len(messages(caplog, "a_handler_that_blocks")) == 1
        assert messages(caplog, "a_handler_that_yields") == []
    finally:
        reactor.close()


@pytest.mark.skipif(WORLD != "gevent", reason="about gevent's loop")
def test_a_program_that_takes_its_time_before_the_loop_runs_is_not_blamed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow import, say, after something has been started in the background."""
    import gevent.monkey

    watch_closely(monkeypatch)
    reactor = create_reactor()
    reactor.tell_when_stuck()
    native_sleep = gevent.monkey.get_original("time", "sleep")

    def a_slow_import() -> None:
        native_sleep(0.4)

    try:
        a_slow_import()
        time.sleep(0.3)
        assert messages(caplog, "a_slow_import") == []
    finally:
        reactor.close()


@pytest.mark.skipif(WORLD != "gevent", reason="about gevent's loop")
def test_a_watch_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watch_closely(monkeypatch)
    monkeypatch.setattr("wsgi_sio.runtime.blocked_hub_warning.LIMIT", 10 * DEADLINE)
    eventually(lambda: watches() == 0, "the end of all others")
    reactor = create_reactor()
    reactor.tell_when_stuck()
    eventually(lambda: watches() == 1, "the watch")
    for _ in range(2):
        reactor.close()
    eventually(lambda: watches() == 0, "its end")


@pytest.mark.skipif(WORLD == "gevent", reason="about the thread pool")
def test_a_pool_that_is_full_of_blocked_handlers_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgi_sio.runtime.jam_warning._JAM", 0.1)
    caplog.set_level(logging.WARNING)
    go, ran = threading.Event(), threading.Event()
    reactor: Any = create_reactor(max_workers=2)
    reactor.tell_when_stuck()
    try:
        for _ in range(2):
            reactor.submit(go.wait)
        time.sleep(0.3)  # all are busy, but nobody waits
        assert messages(caplog, "workers") == []
        reactor.submit(ran.set)
        (message,) = eventually(lambda: messages(caplog, "workers"), "the log")
        assert "all 2 workers" in message and "max_workers" in message
        time.sleep(0.3)
        assert len(messages(caplog, "workers")) == 1 and not ran.is_set()
    finally:
        go.set()
        assert ran.wait(5)
        reactor.close()
