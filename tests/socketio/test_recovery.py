"""Connection state recovery: what a client that lost its connection gets back, and when it does not."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import Background, Client, Closed, InProcess, at_once, eventually
from wsgi_sio import ConnectRefused, Server, Socket
from wsgi_sio.socketio.adapter import SavedSession
from wsgi_sio.socketio.broadcast_options import BroadcastOptions
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, EVENT, Packet
from wsgi_sio.socketio.recovery_event_log import EventLog
from wsgi_sio.socketio.session_aware_adapter import SessionAwareAdapter

TRANSPORTS = ("websocket", "polling")


class Visitor:
    """A client that remembers what the protocol asks of it: its private id and the last offset."""

    def __init__(self, process: InProcess, transport: str = "websocket") -> None:
        self.process = process
        self.transport = transport
        self.client: Client = process.client(transport)
        self.sid = ""
        self.auth: dict[str, Any] = {}
        self.events: list[list[Any]] = []
        self.connect()

    def connect(self) -> bool:
        """Connect and tell whether the server recognised us; events that come before the answer are kept."""
        self.client.send(Packet(CONNECT, "/", self.auth or None))
        while (packet := self.client.receive()).type == EVENT:
            self.take(packet)
        assert packet.type == CONNECT, packet
        recovered = self.auth.get("pid") == packet.data["pid"]
        self.sid, self.auth["pid"] = packet.data["sid"], packet.data["pid"]
        return recovered

    def take(self, packet: Packet) -> list[Any]:
        event = packet.data
        if len(event) > 1 and isinstance(event[-1], str):
            self.auth["offset"] = event.pop()
        self.events.append(event)
        return event

    def receive(self) -> list[Any]:
        packet = self.client.receive()
        assert packet.type == EVENT, packet
        return self.take(packet)

    def lose(self) -> None:
        """The network is gone."""
        self.client.close()

    def back(self) -> bool:
        """Connect again; whether as the same."""
        self.client = self.process.client(self.transport)
        return self.connect()

    @property
    def names(self) -> list[str]:
        return [event[0] for event in self.events]


@pytest.fixture
def io() -> Server:
    io = Server(connection_state_recovery=True, ping_interval=5, ping_timeout=5)
    io.on("join", lambda socket, room: socket.join(room))
    return io


def socket_of(io: Server, visitor: Visitor) -> Socket:
    found: Socket = eventually(lambda: io.sockets.sockets.get(visitor.sid), "the socket")
    return found


def gone(io: Server, visitor: Visitor) -> None:
    """Wait until the server has noticed."""
    eventually(lambda: visitor.sid not in io.sockets.sockets, "the end of the old connection")


def lost(io: Server, process: InProcess) -> Visitor:
    """A visitor who knows one event, and whose connection is lost."""
    visitor = Visitor(process)
    io.emit("x")
    visitor.receive()
    visitor.lose()
    gone(io, visitor)
    return visitor


@pytest.mark.parametrize("room", [0, "", 7, b""], ids=repr)
def test_what_was_missed_in_rooms_of_any_name_comes_back_and_no_more(serve: Serve, io: Server, room: Any) -> None:
    visitor = Visitor(serve(io))
    socket_of(io, visitor).join(room)
    io.emit("x")
    visitor.receive()
    visitor.lose()
    gone(io, visitor)
    io.to(room).emit("to mine")
    io.to([]).emit("to nobody")
    io.to(1).emit("to others")
    io.except_(room).emit("to the rest")
    assert visitor.back() and visitor.names == ["x", "to mine"]
    assert socket_of(io, visitor).rooms == {visitor.sid, room}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_id_rooms_data_and_missed_events_come_back(serve: Serve, io: Server, transport: str) -> None:
    """Missed: to everybody, to a room of its own, to itself; not: to other rooms, to rooms with it left out."""
    seen: list[bool] = []
    io.on("connection", lambda socket: seen.append(socket.recovered))
    process = serve(io)
    visitor = Visitor(process, transport)
    socket = socket_of(io, visitor)
    socket.join(["a", "b"])
    socket.data["name"] = "ann"
    io.emit("first", 1)
    assert visitor.receive() == ["first", 1]
    sid = visitor.sid
    socket.conn.session.close("transport close", abort=True)
    gone(io, visitor)
    io.to("a").emit("to a", {"x": b"\x01\x02"})
    io.to("c").emit("to c")
    io.to("b").except_("a").emit("b without a")
    io.to(sid).emit("to me")
    io.volatile.emit("volatile")
    io.emit("to all")
    assert visitor.back()
    assert visitor.sid == sid
    assert visitor.events == [["first", 1], ["to a", {"x": b"\x01\x02"}], ["to me"], ["to all"]]
    again = socket_of(io, visitor)
    assert again is not socket and again.recovered
    assert again.rooms == {sid, "a", "b"} and again.data == {"name": "ann"}
    io.to("b").emit("after")
    assert visitor.receive() == ["after"]
    eventually(lambda: seen == [False, True], "both handlers of connection")


def test_what_is_emitted_to_one_socket_is_kept_as_well(serve: Serve, io: Server) -> None:
    process = serve(io)
    visitor = Visitor(process)
    socket = socket_of(io, visitor)
    socket.emit("one", 1)
    assert visitor.receive() == ["one", 1]
    visitor.lose()
    eventually(lambda: not socket.connected, "the loss")
    gone(io, visitor)
    io.to(visitor.sid).emit("two", 2)
    assert visitor.back()
    assert visitor.events == [["one", 1], ["two", 2]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_acknowledged_and_volatile_events_carry_no_offset(serve: Serve, io: Server, transport: str) -> None:
    process = serve(io)
    visitor = Visitor(process, transport)
    socket = socket_of(io, visitor)
    call = Background(lambda: socket.emit_with_ack("ask", timeout=5))
    packet = visitor.client.receive()
    assert packet.data == ["ask"]
    visitor.client.answer(packet, "yes")
    assert call.result() == "yes"
    waiting = Background(visitor.client.receive)
    eventually(lambda: socket.conn.session.transport.idle, "a client that can take it")
    assert socket.volatile.emit("v")
    assert waiting.result().data == ["v"]


def test_the_offset_is_the_last_argument_and_differs_each_time(serve: Serve, io: Server) -> None:
    process = serve(io)
    visitor = Visitor(process)
    io.emit("x", "y", 1)
    io.to(visitor.sid).emit("x")
    first, second = visitor.client.receive().data, visitor.client.receive().data
    assert first[:-1] == ["x", "y", 1] and second[:-1] == ["x"]
    assert isinstance(first[-1], str) and isinstance(second[-1], str) and first[-1] != second[-1]


@pytest.mark.parametrize(
    "auth",
    [
        {"pid": "unknown", "offset": "x"},
        {"pid": None, "offset": None},
        {"pid": 5, "offset": ["x"]},
        {"pid": {"a": 1}, "offset": "0"},
        {"offset": ""},
    ],
)
def test_who_presents_nonsense_is_somebody_new(serve: Serve, io: Server, auth: dict[str, Any]) -> None:
    client = serve(io).client()
    client.send(Packet(CONNECT, "/", auth))
    packet = client.receive()
    assert packet.type == CONNECT and packet.data["pid"] != auth.get("pid")
    assert not socket_with(io, packet.data["sid"]).recovered


def socket_with(io: Server, sid: str) -> Socket:
    found: Socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")
    return found


@pytest.mark.parametrize("offset", [None, "nonsense", "ffff"])
def test_a_client_with_a_wrong_offset_is_somebody_new(serve: Serve, io: Server, offset: str | None) -> None:
    process = serve(io)
    visitor = lost(io, process)
    known = visitor.auth.pop("offset")
    if offset is not None:
        visitor.auth["offset"] = known.rpartition(".")[0] + "." + offset
    assert not visitor.back()


def test_a_session_is_never_shared(serve: Serve, io: Server) -> None:
    """A second client with the same private id can only be a copy of the first, or the first that came again."""
    process = serve(io)
    visitor = lost(io, process)
    assert visitor.back()
    twin = process.client()
    twin.send(Packet(CONNECT, "/", visitor.auth))
    assert twin.receive().data["sid"] == visitor.sid
    visitor.client.wait_closed()
    assert len(io.sockets.sockets) == 1


@pytest.mark.parametrize("repetition", range(5))
def test_of_two_clients_at_once_one_gets_the_session(serve: Serve, io: Server, repetition: int) -> None:
    process = serve(io)
    visitor = lost(io, process)
    twins = [process.client(), process.client()]
    at_once(2, lambda number: twins[number].send(Packet(CONNECT, "/", visitor.auth)))
    sids = {sid_of(twin) for twin in twins} - {None}
    assert visitor.sid in sids
    eventually(lambda: set(io.sockets.sockets) == sids, "one socket for each")


def sid_of(client: Client) -> str | None:
    """The id that a client is told; None when it has been closed before that, since another has taken its place."""
    try:
        return str(client.receive().data["sid"])
    except Closed:
        return None


@pytest.mark.parametrize("how", ["client leaves", "server disconnects", "connection disconnected", "junk"])
def test_an_end_that_somebody_wanted_is_the_end(serve: Serve, io: Server, how: str) -> None:
    process = serve(io)
    visitor = Visitor(process)
    io.emit("x")
    visitor.receive()
    socket = socket_of(io, visitor)
    if how == "client leaves":
        visitor.client.send(Packet(1, "/"))
    elif how == "server disconnects":
        socket.disconnect()
    elif how == "connection disconnected":
        socket.disconnect(close=True)
    else:
        visitor.client.wire.send("7")  # no such packet: a parse error of the engine
    gone(io, visitor)
    visitor.lose()
    assert not visitor.back()


@pytest.mark.parametrize("how", ["vanishes", "closed by the server", "io.close"])
def test_an_end_that_nobody_wanted_is_kept(serve: Serve, how: str) -> None:
    kept: list[str] = []

    class Keeping(SessionAwareAdapter):
        def persist_session(self, session: SavedSession) -> None:
            kept.append(session.pid)

    io = Server(connection_state_recovery=True, adapter=lambda namespace: Keeping(namespace, 120, 1000))
    process = serve(io)
    visitor = Visitor(process)
    io.emit("x")
    visitor.receive()
    socket = socket_of(io, visitor)
    pid = socket.pid
    if how == "vanishes":
        visitor.lose()
    elif how == "closed by the server":
        socket.conn.close()
    else:
        io.close()
    eventually(lambda: kept, "what is kept")
    assert kept == [pid]


def test_sessions_and_events_are_forgotten_after_a_while(serve: Serve) -> None:
    io = Server(connection_state_recovery={"max_disconnection_duration": 0.05})
    process = serve(io)
    visitor = lost(io, process)
    adapter: Any = io.sockets.adapter
    eventually(lambda: not adapter._kept._watched, "the end of what was kept")
    assert not adapter._kept._sessions and not adapter._kept.log._entries and adapter._kept.log._size == 0
    assert not visitor.back()
    io.emit("y")
    eventually(lambda: not adapter._kept.log._entries, "the end of what came later")


def test_what_expires_later_is_dropped_later() -> None:
    """By the clock of the test: the timer comes again for what is left, and not when nothing is."""
    log = EventLog(max_stored=1_000_000)
    offsets = []
    for _ in range(3):
        offsets.append(log.next_offset())
        log.append([], BroadcastOptions())
    times = [entry.since for entry in log._entries]
    assert log.drop_until(times[0] - 1) == times[0]
    assert log.drop_until(times[1]) == (times[2] if times[2] > times[1] else None)
    assert log.after(offsets[0]) is None and log.after(offsets[2]) is not None
    assert log.drop_until(times[2]) is None and log._size == 0


def test_what_is_kept_keeps_nobody_alive_and_goes_with_the_server() -> None:
    io = Server(connection_state_recovery={"max_disconnection_duration": 1000})
    reactor = io.reactor
    io.emit("x")
    io.of("/other").emit("x")
    adapter: Any = io.sockets.adapter
    assert adapter._kept.log._entries and adapter._kept._timer is not None
    io.close()
    adapter.persist_session(SavedSession("sid", "pid", frozenset()))
    assert not adapter._kept.log._entries and not adapter._kept._sessions and adapter._kept._timer is None
    another = Server(connection_state_recovery={"max_disconnection_duration": 1000})
    another.emit("x")
    rest = another.reactor  # its timer has a while to go
    forgotten = weakref.ref(another)
    del another
    # Another thread may be in the middle of a collection, and then this one does nothing.
    eventually(lambda: gc.collect() >= 0 and forgotten() is None, "its end")
    reactor.close()
    rest.close()


def test_events_are_kept_up_to_a_size(serve: Serve) -> None:
    io = Server(connection_state_recovery={"max_stored": 1000})
    process = serve(io)
    visitor = lost(io, process)
    for _ in range(50):
        io.emit("large", "x" * 100)
    assert not visitor.back()
    assert io.sockets.adapter._kept.log._size <= 1000  # type: ignore[attr-defined]


@pytest.mark.parametrize("skip", [True, False])
def test_middlewares_of_connecting_are_skipped_if_wanted(serve: Serve, skip: bool) -> None:
    io = Server(connection_state_recovery={"skip_middlewares": skip})
    calls: list[bool] = []
    io.use(lambda socket: calls.append(socket.recovered))
    process = serve(io)
    visitor = lost(io, process)
    assert visitor.back()
    assert calls == ([False] if skip else [False, True])


def test_a_middleware_may_refuse_a_client_that_is_back(serve: Serve) -> None:
    io = Server(connection_state_recovery={"skip_middlewares": False})

    @io.use
    def only_new(socket: Socket) -> None:
        if socket.recovered:
            raise ConnectRefused("no way back")

    process = serve(io)
    visitor = lost(io, process)
    client = process.client()
    client.send(Packet(CONNECT, "/", visitor.auth))
    packet = client.receive()
    assert packet.type == CONNECT_ERROR and packet.data == {"message": "no way back"}
    assert io.sockets.sockets == {} and io.sockets.adapter.sockets(frozenset()) == set()


def test_a_client_is_back_before_its_old_connection_has_been_noticed_to_be_dead(serve: Serve, io: Server) -> None:
    """The half-open connection is ended first; what its client has missed is what it did not get."""
    reasons: list[str] = []
    io.on("disconnect", lambda socket, reason: reasons.append(reason))
    process = serve(io)
    visitor = Visitor(process)
    io.emit("x")
    visitor.receive()
    old = visitor.client
    io.emit("lost on the way")
    assert visitor.back()
    assert visitor.names == ["x", "lost on the way"]
    assert reasons == ["transport close"]
    old.wait_closed()


def test_the_handlers_of_the_old_connection_come_first(serve: Serve, io: Server) -> None:
    """A room joined by an event that was still being handled when the connection broke is kept."""
    go = threading.Event()

    @io.on("slow join")
    def slow_join(socket: Socket, room: str) -> None:
        go.wait(5)
        socket.join(room)

    process = serve(io)
    visitor = Visitor(process)
    io.emit("x")
    visitor.receive()
    socket = socket_of(io, visitor)
    visitor.client.emit("slow join", "late")
    visitor.lose()
    eventually(lambda: not socket.connected, "the loss")
    returning = Background(visitor.back)
    go.set()
    assert returning.result()
    assert "late" in socket_of(io, visitor).rooms


def test_a_handler_that_never_ends_does_not_keep_its_client_out(
    serve: Serve, io: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgi_sio.socketio.recovery._PATIENCE", 0.1)
    started, go = threading.Event(), threading.Event()

    @io.on("stuck")
    def stuck(socket: Socket) -> None:
        started.set()
        go.wait(10)

    process = serve(io)
    visitor = Visitor(process)
    io.emit("x")
    visitor.receive()
    visitor.client.emit("stuck")
    assert started.wait(5)
    visitor.lose()
    assert not visitor.back()
    go.set()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_under_fire_nothing_is_lost_doubled_or_reordered(serve: Serve, io: Server, transport: str) -> None:
    """Four threads broadcast while a client loses its connection again and again."""
    process = serve(io)
    visitor = Visitor(process, transport)
    io.emit("start")
    visitor.receive()
    sent: list[list[int]] = [[], [], [], []]
    stop = threading.Event()

    def fire(number: int) -> None:
        for count in itertools.count():
            if stop.is_set():
                return
            io.emit("n", number, count)
            sent[number].append(count)
            io.sleep(0.001)

    threads = [io.start_background_task(fire, number) for number in range(4)]
    for _ in range(6):
        for _ in range(25):
            visitor.receive()
        visitor.lose()
        assert visitor.back()
    stop.set()
    for thread in threads:
        thread.join(5)
    io.emit("end")
    while visitor.receive()[0] != "end":
        pass
    for number in range(4):
        assert [event[2] for event in visitor.events if event[:2] == ["n", number]] == sent[number]


def test_recovery_works_in_a_dynamic_namespace_and_is_per_namespace(serve: Serve) -> None:
    io = Server(connection_state_recovery=True)
    made = io.of(lambda name, auth: name.startswith("/room"))
    process = serve(io)
    client = process.client()
    client.send(Packet(CONNECT, "/room1", {}))
    first = client.receive().data
    made.emit("x")
    offset = client.receive().data[-1]
    client.close()
    namespace = io.of("/room1")
    eventually(lambda: not namespace.sockets, "the end")
    for name, same in (("/room2", False), ("/room1", True)):
        again = process.client()
        again.send(Packet(CONNECT, name, {"pid": first["pid"], "offset": offset}))
        assert (again.receive().data["sid"] == first["sid"]) is same


def test_without_the_option_there_is_neither_a_private_id_nor_an_offset(serve: Serve) -> None:
    io = Server()
    client = serve(io).client()
    client.send(Packet(CONNECT, "/", {"pid": "x", "offset": "y"}))
    assert set(client.receive().data) == {"sid"}
    io.emit("x")
    assert client.receive().data == ["x"]


@pytest.mark.parametrize("option", [{"max_disconnection_duration": 0}, {"max_stored": -1}])
def test_options_that_make_no_sense_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be greater than 0"):
        Server(connection_state_recovery=option)


def test_an_unknown_option_of_recovery_is_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'skip_middlewares'"):
        Server(connection_state_recovery={"skipMiddlewares": True})
