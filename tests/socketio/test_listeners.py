"""Listeners to everything, the middlewares of one socket, and the catch-all handler."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Client, event_packet
from wsgi_sio import Server, Socket

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


def joined(serve: Serve, io: Server, transport: str = "websocket") -> tuple[Client, Socket]:
    """A connected client, and its socket here."""
    io.on("sync", lambda socket: None)
    client = serve(io).client(transport)
    return client, io.sockets.sockets[client.connect()]


class Family:
    """The listeners to what comes, or those to what goes."""

    def __init__(self, serve: Serve, direction: str) -> None:
        self.io = Server()
        self.client, self.socket = joined(serve, self.io)
        self.outgoing = direction == "outgoing"
        end = "any_outgoing" if self.outgoing else "any"
        self.on, self.prepend, self.off = (getattr(self.socket, f"{start}_{end}") for start in ("on", "prepend", "off"))

    @property
    def registered(self) -> tuple[Callable[..., Any], ...]:
        return self.socket.listeners_any_outgoing if self.outgoing else self.socket.listeners_any

    def fire(self, event: str, *args: Any) -> None:
        if self.outgoing:
            self.socket.emit(event, *args)
            assert self.client.expect(event) == list(args)
        else:
            self.client.emit(event, *args)
            self.client.call("sync")


@pytest.fixture(params=["incoming", "outgoing"])
def family(serve: Serve, request: pytest.FixtureRequest) -> Family:
    return Family(serve, request.param)


# -- the two families -------------------------------------------------------------------------------------------------


def test_a_listener_gets_the_event_and_its_arguments(family: Family) -> None:
    seen: list[Any] = []
    assert family.on(lambda *all: seen.append(all)) in family.registered
    family.fire("anything", 1, {"a": [b"\x00\xff"]}, None)
    assert seen[0] == ("anything", 1, {"a": [b"\x00\xff"]}, None)


def test_listeners_run_in_the_order_they_are_listed_in(family: Family) -> None:
    seen: list[str] = []
    on = [lambda *all, name=name: seen.append(name) for name in "abcd"]
    family.on(on[2])
    family.prepend(on[1])
    family.prepend(on[0])
    family.on(on[3])
    assert family.registered == tuple(on)
    family.fire("x")
    assert seen[:4] == ["a", "b", "c", "d"]


def test_a_listener_can_be_removed_and_so_can_all(family: Family) -> None:
    seen: list[Any] = []

    class Journal:
        def note(self, *all: Any) -> None:
            seen.append(all)

    journal = Journal()
    family.on(journal.note)  # each look-up makes another bound method
    family.on(print)
    family.off(journal.note)
    assert family.registered == (print,)
    family.off(journal.note)  # which is not there
    family.on(journal.note)
    family.off()
    assert family.registered == ()
    family.fire("x")
    assert seen == []


def test_a_listener_that_raises_is_logged_and_stops_nothing(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def broken(*all: Any) -> None:
        raise ValueError("broken listener")

    family.on(broken)
    family.on(lambda *all: seen.append(all))
    with caplog.at_level(logging.ERROR, "wsgi_sio.socketio"):
        family.fire("x", 1)
    assert seen[0] == ("x", 1) and "broken listener" in caplog.text


def test_the_families_do_not_mix(family: Family) -> None:
    seen: list[Any] = []
    family.on(lambda *all: seen.append(all))
    if family.outgoing:
        family.client.call("sync")  # an event that comes, and an acknowledgement that goes
    else:
        family.socket.emit("x")
        family.client.expect("x")
    assert seen == []


@TRANSPORTS
def test_a_listener_to_what_comes_runs_before_middlewares_and_handlers(serve: Serve, transport: str) -> None:
    io = Server()
    client, socket = joined(serve, io, transport)
    seen: list[str] = []
    io.on("x", lambda socket: seen.append("handler"))
    socket.on("x", lambda: seen.append("own"))
    socket.use(lambda event: seen.append("middleware"))
    socket.on_any(lambda event: seen.append("any"))
    client.call("x")
    assert seen == ["any", "middleware", "handler", "own"]


def test_a_listener_hears_events_that_nobody_handles_but_not_those_of_others(serve: Serve) -> None:
    io = Server()
    client, socket = joined(serve, io)
    other = serve(io).client()
    other.connect()
    seen: list[str] = []
    socket.on_any(lambda event, *args: seen.append(event))
    other.emit("theirs")
    other.call("sync")
    client.emit("unknown")
    client.call("sync")
    assert seen == ["unknown", "sync"]


def test_a_listener_to_what_goes_hears_each_way_of_emitting(serve: Serve) -> None:
    io = Server()
    client, socket = joined(serve, io)
    seen: list[Any] = []
    socket.on_any_outgoing(lambda *all: seen.append(all))
    answered = threading.Event()
    io.emit("to all", b"\x01")
    io.to(socket.id).emit("to room")
    io.except_(socket.id).emit("not to it")
    socket.broadcast.emit("neither")
    socket.send("text")
    socket.emit("asked", callback=answered.set)
    io.timeout(DEADLINE).emit("asked all", callback=lambda error, answers: None)
    for event in ("to all", "to room", "message"):
        client.expect(event)
    client.answer(client.receive())
    assert answered.wait(DEADLINE)
    client.answer(client.receive())
    assert seen == [("to all", b"\x01"), ("to room",), ("message", "text"), ("asked",), ("asked all",)]


def test_a_listener_to_what_goes_hears_dropped_volatile_events_but_nothing_after_the_end(serve: Serve) -> None:
    io = Server()
    client, socket = joined(serve, io, "polling")  # no GET waits, so that it can take nothing
    seen: list[str] = []
    socket.on_any_outgoing(seen.append)
    assert socket.volatile.emit("dropped") is False
    socket.disconnect()
    assert socket.emit("late") is False
    assert seen == ["dropped"]
    client.close()


# -- the middlewares of a socket --------------------------------------------------------------------------------------


@TRANSPORTS
def test_middlewares_run_in_order_and_may_change_the_event(serve: Serve, transport: str) -> None:
    io = Server()
    client, socket = joined(serve, io, transport)
    io.on("new", lambda socket, *args: args)

    def rename(event: list[Any]) -> None:
        assert event == ["old", 1]
        event[0] = "new"

    assert socket.use(rename) is rename
    socket.use(lambda event: event.append(event[0] + "!"))
    assert client.call("old", 1) == [1, "new!"]


def test_a_middleware_concerns_no_other_client(serve: Serve) -> None:
    io = Server()
    _, socket = joined(serve, io)
    socket.use(lambda event: event.clear())
    other = serve(io).client()
    other.connect()
    assert other.call("sync") == []


def test_a_middleware_that_leaves_nothing_drops_the_event(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    client, socket = joined(serve, io)
    seen: list[Any] = []
    io.on("*", lambda socket, *all: seen.append(all))
    socket.use(lambda event: event.clear() if event[0] == "x" else None)
    client.emit("x", ack=1)
    assert client.call("sync") == []
    assert seen == [] and not caplog.records


def test_what_a_middleware_raises_drops_the_event_and_goes_to_the_handlers_of_error(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    io = Server()
    client, socket = joined(serve, io)
    seen: list[Any] = []
    refusal = PermissionError("not you")

    def refuse(event: list[Any]) -> None:
        if event[0] == "secret":
            raise refusal

    socket.use(refuse)
    socket.use(lambda event: seen.append(event[0]))
    socket.on("error", seen.append)
    io.on("error", lambda socket, error: seen.append("not for the namespace"))
    io.on_error(lambda *all: seen.append("nor a handler's error"))
    io.on("secret", lambda socket: seen.append("handled"))
    client.emit("secret", ack=1)
    assert client.call("sync") == []  # so that there was no acknowledgement for the first
    assert seen == [refusal, "sync"] and not caplog.records


def test_without_a_handler_of_error_what_a_middleware_raises_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    io = Server()
    client, socket = joined(serve, io)
    socket.use(lambda event: {}["missing"] if event[0] == "x" else None)
    with caplog.at_level(logging.ERROR, "wsgi_sio.socketio"):
        client.emit("x")
        client.call("sync")
    assert "KeyError" in caplog.text and "error" in caplog.text


def test_a_handler_of_error_that_raises_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    client, socket = joined(serve, io)

    def refuse(event: list[Any]) -> None:
        if event[0] == "x":
            raise ValueError("first")

    def broken(error: Exception) -> None:
        raise TypeError("second")

    socket.use(refuse)
    socket.on("error", broken)
    with caplog.at_level(logging.ERROR, "wsgi_sio.socketio"):
        client.emit("x")
        client.call("sync")
    assert "second" in caplog.text


# -- the catch-all ----------------------------------------------------------------------------------------------------


@TRANSPORTS
def test_the_catch_all_gets_what_has_no_handler_and_its_result_acknowledges(serve: Serve, transport: str) -> None:
    io = Server()
    client, socket = joined(serve, io, transport)
    socket.on("own", lambda: "own")
    io.on("*", lambda socket, event, *args: [event, *args])
    assert client.call("unknown", 1, b"\x00") == [["unknown", 1, b"\x00"]]
    assert client.call("own") == ["own"]
    assert client.call("sync") == []


@pytest.mark.parametrize("event", ["*", "connection", "new_namespace"])
def test_the_catch_all_is_told_names_that_are_special_here_like_any_other(serve: Serve, event: str) -> None:
    io = Server()
    client, _ = joined(serve, io)
    io.on("*", lambda socket, event, *args: [event, *args])
    assert client.call(event, "other") == [[event, "other"]]


def test_a_catch_all_that_cannot_take_the_arguments_is_reported(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    io = Server()
    client, _ = joined(serve, io)
    io.on("*", lambda socket, event, one: one)
    with caplog.at_level(logging.WARNING, "wsgi_sio.socketio"):
        client.emit("connection", ack=1)
        assert client.call("x", 5) == [5]
    assert "of '*' takes 1 arguments" in caplog.text and "sent 0" in caplog.text


def test_a_concurrent_catch_all_runs_beside_the_clients_other_events(serve: Serve) -> None:
    io = Server()
    client, _ = joined(serve, io)
    release = threading.Event()
    io.on("wait", lambda socket: release.wait(DEADLINE))
    io.on("*", lambda socket, event: release.set(), concurrent=True)
    client.send(event_packet("wait", ack=1), event_packet("unknown"))
    assert client.receive().data == [True]


def test_removing_the_catch_all_leaves_unknown_events_alone(serve: Serve) -> None:
    io = Server()
    client, _ = joined(serve, io)
    seen: list[Any] = []

    class Journal:
        def note(self, *all: Any) -> None:
            seen.append(all)

    journal = Journal()
    io.on("*", journal.note)
    io.off("*", journal.note)  # another bound method, but an equal one
    client.emit("x", ack=1)
    client.call("sync")
    assert seen == []
