"""The application's handlers: registration, order, errors, and never a thread per message."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from tests.client.wire import Clients, WireServer
from tests.support.inprocess import DEADLINE, eventually
from wsgi_sio import NO_ACK
from wsgi_sio.client import handlers as running
from wsgi_sio.client.handlers import BacklogLog


def test_on_once_off_event_and_catch_all(clients: Clients) -> None:
    client, peer = clients.connected()
    told: list[Any] = []

    @client.event
    def named(value: int) -> None:
        told.append(("named", value))

    @client.on("*")
    def others(event: str, *args: Any) -> str:
        told.append((event, *args))
        return "caught"

    client.once("once", lambda: told.append("once"))
    gone = client.on("gone", lambda: told.append("gone"))
    client.off("gone", gone)
    for event, *args in (("named", 1), ("once",), ("once",), ("gone", b"2"), ("*", 3)):
        peer.emit(event, *args)
    peer.emit("last", ack=1)
    assert peer.receive().data == ["caught"]
    assert told == [("named", 1), "once", ("once",), ("gone", b"2"), ("*", 3), ("last",)]


def test_a_handler_may_leave_its_event_unacknowledged(clients: Clients) -> None:
    client, peer = clients.connected()
    client.on("maybe", lambda silent: NO_ACK if silent else "yes")
    peer.emit("maybe", True, ack=1)
    peer.emit("maybe", False, ack=2)
    packet = peer.receive()
    assert (packet.id, packet.data) == (2, ["yes"])


def test_listeners_to_everything(clients: Clients) -> None:
    client, peer = clients.connected()
    told: list[Any] = []
    client.on_any(lambda *args: told.append(("any", *args)))
    client.on_any_outgoing(lambda *args: told.append(("out", *args)))
    client.on("q", lambda x: told.append("handler") or x)
    peer.emit("q", 1, ack=1)
    assert peer.receive().data == [1]
    client.emit("r", 2)
    peer.expect("r", 2)
    assert told == [("any", "q", 1), "handler", ("out", "r", 2)]


def test_events_run_in_order_and_concurrent_ones_beside(clients: Clients) -> None:
    client, peer = clients.connected()
    told: list[Any] = []
    go_on = threading.Event()

    @client.on("slow")
    def slow() -> None:
        told.append("slow begins")
        assert go_on.wait(DEADLINE)
        told.append("slow ends")

    client.on("next", lambda: told.append("next"))
    client.on("beside", lambda: told.append("beside"), concurrent=True)
    for event in ("slow", "next", "beside"):
        peer.emit(event)
    eventually(lambda: "beside" in told, "the concurrent handler")
    assert told == ["slow begins", "beside"]
    go_on.set()
    eventually(lambda: len(told) == 4, "the rest")
    assert told[2:] == ["slow ends", "next"]


def test_handlers_that_fail_are_logged_and_the_client_goes_on(
    clients: Clients, caplog: pytest.LogCaptureFixture, wire: WireServer
) -> None:
    """Those of events, of life, callbacks, listeners."""
    client = clients()

    def fail(*args: Any) -> None:
        raise RuntimeError(f"oops {args}")

    for event in ("connect", "disconnect", "news"):
        client.on(event, fail)
    client.on_any(fail)
    client.on_any_outgoing(fail)
    client.io.on("open", fail)
    peer = clients.connect(client)
    client.emit("q", callback=fail)
    peer.acknowledge(peer.expect("q"))
    peer.emit("news", "text")
    peer.drop()
    wire.accept().welcome()
    eventually(lambda: caplog.text.count("handler of 'connect'") == 2, "both connections")
    for what in ("oops ()", "oops ('q',)", "handler of 'news'", "oops ('transport close'", "handler of 'open'"):
        assert what in caplog.text


def test_a_wrong_number_of_arguments_is_told(clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    client, peer = clients.connected()
    client.on("news", lambda text: None)
    peer.emit("news", 1, 2)
    eventually(lambda: "takes 1 arguments, but the server sent 2" in caplog.text, "the warning")
    assert "test_handlers.py" in caplog.text


def test_what_was_not_handled_before_disconnect_is_dropped(clients: Clients) -> None:
    client, peer = clients.connected()
    told: list[Any] = []
    entered = threading.Event()

    @client.on("stop")
    def stop() -> None:
        entered.set()
        client.disconnect()
        told.append("stopped")

    client.on("late", lambda: told.append("late"))
    client.on("disconnect", told.append)
    for event in ("stop", "late", "late"):
        peer.emit(event)
    assert entered.wait(DEADLINE) and client.wait(DEADLINE)
    eventually(lambda: len(told) == 2, "the handlers")
    assert told == ["stopped", "io client disconnect"]


def test_a_flood_needs_few_threads_and_the_log_tells_of_a_backlog(
    clients: Clients, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, running.logger.name)
    client, peer = clients.connected()
    client._mailbox._limit = 10_000
    go_on = threading.Event()
    seen: list[int] = []

    @client.on("count")
    def count(number: int) -> None:
        go_on.wait(DEADLINE)
        seen.append(number)

    before = threading.active_count()
    for number in range(2000):
        peer.emit("count", number)
    eventually(lambda: "slower than the server" in caplog.text, "the warning")
    assert threading.active_count() <= before + 4
    go_on.set()
    eventually(lambda: len(seen) == 2000, "all events")
    assert seen == list(range(2000))
    eventually(lambda: "caught up" in caplog.text, "the relief")


def test_the_backlogs_log_names_the_socket(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, running.logger.name)
    log = BacklogLog("somebody")
    log.mailbox_full(), log.mailbox_overflows(), log.mailbox_has_room()
    assert caplog.text.count("'somebody'") == 3


def test_what_the_server_says_does_not_forge_log_lines(clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    """Its events' names are as foreign to a client as a client's are to it."""
    evil = "\nCRITICAL forged\x1b[2J\u2028" + "x" * 900_000
    client, peer = clients.connected()

    @client.on("*")
    def fails(event: str, *args: Any) -> Any:
        if args:
            return object()
        raise ValueError

    client.on("few", lambda: None)
    with caplog.at_level(logging.DEBUG, "wsgi_sio"):
        peer.emit(evil)
        peer.emit(evil, 1, ack=1)
        peer.emit("few", *[1] * 100_000)
        eventually(lambda: "takes 0 arguments" in caplog.text, "the last line")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("wsgi_sio")]
    assert len(lines) == 3 and all(line.isprintable() and len(line) < 600 for line in lines), lines
