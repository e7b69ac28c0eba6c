"""Connection state recovery where two things happen at once: leaving while coming in, coming back before one has gone.

What has to fall between two steps is made to: by handlers that wait, and by sockets whose steps can be watched.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.socketio.test_recovery import TRANSPORTS, Visitor, gone, sid_of, socket_of
from tests.support.inprocess import DEADLINE, Background, at_once, eventually
from wsgi_sio import Namespace, Server, Socket
from wsgi_sio.engineio.packet import MESSAGE
from wsgi_sio.engineio.packet import Packet as EnginePacket
from wsgi_sio.socketio.adapter import SavedSession
from wsgi_sio.socketio.broadcast_options import EVERYBODY
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, DISCONNECT, Packet
from wsgi_sio.socketio.recovery_event_log import EventLog
from wsgi_sio.socketio.session_aware_adapter import SessionAwareAdapter


class Handlers:
    """``slow`` handlers that run until they are let go; ``join`` ones that do not wait."""

    def __init__(self, io: Server) -> None:
        self.started, self.go = threading.Event(), threading.Event()
        io.on("slow", self.slow)
        io.on("join", lambda socket, room: socket.join(room))

    def slow(self, socket: Socket) -> None:
        self.started.set()
        self.go.wait(DEADLINE)


def serve_sockets(made_of: type[Socket], **options: Any) -> Server:
    """A server whose sockets are of another class."""

    class Watched(Namespace):
        socket_class = made_of

    class WatchedServer(Server):
        namespace_class = Watched

    return WatchedServer(**options)


def visit(io: Server, serve: Serve, transport: str = "websocket") -> Visitor:
    """A client that could be recovered: it has got an event."""
    visitor = Visitor(serve(io), transport)
    io.emit("first")
    visitor.receive()
    return visitor


def nobody_is_left(io: Server) -> bool:
    adapter: Any = io.sockets.adapter
    return not (io.sockets.clients or io.sockets.sockets or adapter._rooms or adapter._members)


# -- what is sent meanwhile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_has_left_the_namespace_but_whose_handlers_still_run_is_sent_nothing(serve: Serve, transport: str) -> None:
    """It may have joined again meanwhile, over the same connection, and would get everything twice."""
    io = Server(connection_state_recovery=True)
    handlers = Handlers(io)
    visitor = visit(io, serve, transport)
    visitor.client.emit("slow")
    assert handlers.started.wait(DEADLINE)
    visitor.client.send(Packet(DISCONNECT, "/"))
    visitor.auth = {}
    assert not visitor.connect()
    io.emit("one")
    io.emit("two")
    assert [visitor.receive(), visitor.receive()] == [["one"], ["two"]]
    handlers.go.set()


def test_a_listener_to_what_goes_out_may_ask_the_client(serve: Serve) -> None:
    io = Server(connection_state_recovery=True)
    visitor = visit(io, serve)
    socket = socket_of(io, visitor)
    answers: list[Any] = []

    @socket.on_any_outgoing
    def ask(event: str, *args: Any) -> None:
        if event == "x":
            answers.append(socket.emit_with_ack("ask", timeout=2))

    emitting = Background(io.emit, "x")
    assert visitor.receive() == ["x"]
    visitor.client.answer(visitor.client.receive(), "yes")
    emitting.result()
    assert answers == ["yes"]


def test_a_listener_that_ends_its_thread_keeps_no_client_from_its_events(serve: Serve) -> None:
    io = Server(connection_state_recovery=True)
    process = serve(io)
    visitors = [Visitor(process) for _ in range(3)]

    def end(event: str, *args: Any) -> None:
        if event == "x":
            raise KeyboardInterrupt

    for visitor in visitors:
        socket_of(io, visitor).on_any_outgoing(end)
    with pytest.raises(KeyboardInterrupt):
        io.emit("x")
    io.emit("y")
    for visitor in visitors:
        assert [visitor.receive(), visitor.receive()] == [["x"], ["y"]]


def test_what_is_emitted_to_a_client_the_moment_it_is_let_in_reaches_it(serve: Serve) -> None:
    class Eager(Socket):
        __slots__ = ()

        def accept(self) -> bool:
            accepted = super().accept()
            self.emit("at once")
            return accepted

    io = serve_sockets(Eager, connection_state_recovery=True)
    client = serve(io).client()
    client.send(Packet(CONNECT))
    names = {packet.data[0] if packet.type != CONNECT else "CONNECT" for packet in (client.receive(), client.receive())}
    assert names == {"CONNECT", "at once"}


@pytest.mark.parametrize("recovery", [False, True])
def test_a_volatile_event_that_a_client_cannot_take_is_told_to_be_dropped(serve: Serve, recovery: bool) -> None:
    io = Server(connection_state_recovery=recovery)
    client = serve(io).client("polling")
    client.connect()
    (socket,) = io.sockets.sockets.values()
    assert not socket.conn.session.transport.idle, "no GET waits"
    assert not socket.volatile.emit("v")


# -- coming back --------------------------------------------------------------------------------------------------


def test_who_leaves_while_it_waits_to_be_let_in_leaves_nothing_behind(serve: Serve) -> None:
    """Nor does it take its session along: that of the connection before is there for the next one."""
    io = Server(connection_state_recovery=True)
    handlers = Handlers(io)
    admitted: list[bool] = []
    io.on("connect", lambda socket: admitted.append(socket.recovered))
    visitor = visit(io, serve)
    visitor.client.emit("slow")
    assert handlers.started.wait(DEADLINE)
    socket = socket_of(io, visitor)
    hasty = visitor.process.client()
    hasty.send(Packet(CONNECT, "/", visitor.auth), Packet(DISCONNECT, "/"))
    eventually(lambda: socket.gone and io.sockets.clients == 1, "the end of the hasty one")
    handlers.go.set()
    eventually(lambda: nobody_is_left(io), "an empty namespace")
    assert visitor.back()
    assert admitted == [False, True]


@pytest.mark.parametrize("how", ["vanishes", "is refused by its dead connection"])
def test_who_is_lost_again_before_it_is_let_in_has_not_lost_its_session(serve: Serve, how: str) -> None:
    io = Server(connection_state_recovery=True)
    handlers = Handlers(io)
    rooms: list[set[str]] = []

    @io.on("connect")
    def connect(socket: Socket) -> None:
        rooms.append(socket.rooms)
        if len(rooms) == 2:
            handlers.slow(socket)
            if how != "vanishes":
                raise RuntimeError("the user of this connection is not there any more")

    visitor = visit(io, serve)
    socket_of(io, visitor).join("room")
    visitor.lose()
    gone(io, visitor)
    io.to("room").emit("missed")
    again = visitor.process.client()
    again.send(Packet(CONNECT, "/", visitor.auth))
    assert handlers.started.wait(DEADLINE)
    (connection,) = [session for session in list(io.engine.sessions.values()) if session.open]
    again.close()
    eventually(lambda: not connection.open, "the second loss")
    handlers.go.set()
    eventually(lambda: nobody_is_left(io), "an empty namespace")
    assert visitor.back()
    assert visitor.names == ["first", "missed"]
    assert socket_of(io, visitor).rooms == {visitor.sid, "room"}
    assert rooms == [set(), {visitor.sid, "room"}, {visitor.sid, "room"}], "as its handlers saw them"


def test_who_comes_back_while_its_loss_is_being_noticed_waits_for_that(serve: Serve) -> None:
    noticed, go = threading.Event(), threading.Event()

    class Slow(Socket):
        __slots__ = ()

        def _end(self) -> Any:
            before = super()._end()
            if not noticed.is_set():
                noticed.set()
                go.wait(DEADLINE)
            return before

    io = serve_sockets(Slow, connection_state_recovery=True)
    visitor = visit(io, serve)
    socket = socket_of(io, visitor)
    closing = Background(lambda: socket.conn.session.close("transport close", abort=True))
    assert noticed.wait(DEADLINE)
    returning = Background(visitor.back)
    eventually(lambda: io.sockets.clients == 2, "its CONNECT")
    go.set()
    closing.result()
    assert returning.result()


def test_of_copies_that_wait_for_a_half_open_connection_the_last_one_gets_the_session(serve: Serve) -> None:
    """The client has given the others up; they are closed, and let in no more."""
    io = Server(connection_state_recovery=True)
    handlers = Handlers(io)
    admitted: list[str] = []
    io.on("connect", lambda socket: admitted.append(socket.id))
    visitor = visit(io, serve)
    visitor.client.emit("slow")
    assert handlers.started.wait(DEADLINE)
    copies = [visitor.process.client() for _ in range(3)]
    for copy in copies:
        before = len(io.engine.sessions)
        copy.send(Packet(CONNECT, "/", visitor.auth))
        eventually(partial(lambda n: len(io.engine.sessions) < n, before), "the end of who came before")
    handlers.go.set()
    assert copies[-1].receive().data["sid"] == visitor.sid
    for copy in copies[:-1]:
        copy.wait_closed()
    assert admitted == [visitor.sid] * 2
    copies[-1].close()
    eventually(lambda: nobody_is_left(io), "an empty namespace")


@pytest.mark.parametrize("repetition", range(3))
def test_copies_that_come_at_once_leave_nothing_behind(serve: Serve, repetition: int) -> None:
    """Whoever takes the half-open connection over: one of them gets the session."""
    io = Server(connection_state_recovery=True)
    visitor = visit(io, serve)
    clients = [visitor.process.client() for _ in range(3)]
    at_once(3, lambda number: clients[number].send(Packet(CONNECT, "/", visitor.auth)))
    sids = {sid_of(client) for client in clients} - {None}
    assert visitor.sid in sids
    eventually(lambda: io.sockets.clients == len(io.sockets.sockets), "everybody in or out")
    assert set(io.sockets.sockets) <= sids
    for client in clients:
        client.close()
    eventually(lambda: nobody_is_left(io), "an empty namespace")
    assert io.sockets.recovery is not None and not (io.sockets.recovery._live or io.sockets.recovery._behind)


class Failing(SessionAwareAdapter):
    """Has lost its store."""

    def restore_session(self, pid: str, offset: str) -> SavedSession | None:
        raise ConnectionError("the store is not there")


def test_who_cannot_be_looked_up_is_refused_and_not_left_waiting(serve: Serve) -> None:
    io = Server(connection_state_recovery=True, adapter=lambda namespace: Failing(namespace, 100.0, 1000))
    client = serve(io).client()
    client.send(Packet(CONNECT, "/", {"pid": "x", "offset": "y"}))
    packet = client.receive()
    assert packet.type == CONNECT_ERROR and packet.data == {"message": "Internal error"}
    eventually(lambda: nobody_is_left(io), "an empty namespace")


# -- what is kept -------------------------------------------------------------------------------------------------


def test_an_event_larger_than_all_that_may_be_kept_is_sent_all_the_same(serve: Serve) -> None:
    io = Server(connection_state_recovery={"max_stored": 1000})
    visitor = visit(io, serve)
    io.emit("large", {"x": "y" * 2000})
    assert visitor.receive() == ["large", {"x": "y" * 2000}]
    visitor.lose()
    gone(io, visitor)
    assert visitor.back(), "it has missed nothing"


def test_many_small_events_are_not_kept_for_free() -> None:
    """What an event takes beside its payload counts too."""
    log = EventLog(max_stored=100_000)
    for _ in range(2000):
        log.append([EnginePacket(MESSAGE, "x")], EVERYBODY)
    assert len(log._entries) <= 400
