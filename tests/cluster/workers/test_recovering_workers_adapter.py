"""Connection state recovery between the processes of one server: a client that comes back at another of them."""

from __future__ import annotations

import itertools
import logging
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import leave, sibling
from tests.socketio.test_recovery import TRANSPORTS, Visitor, gone, sid_of, socket_of
from tests.support.inprocess import DEADLINE, Background, InProcess, at_once, eventually
from wsgi_sio import Server, Socket
from wsgi_sio.adapters import RecoveringWorkersAdapter
from wsgi_sio.cluster.workers import frame_payloads, recovering_workers_adapter
from wsgi_sio.socketio import packet_msgpack
from wsgi_sio.socketio.broadcast_options import EVERYBODY
from wsgi_sio.socketio.packet import CONNECT, EVENT, Packet


class Workers:
    """Servers that are siblings, each as if in a process of its own."""

    def __init__(self, count: int, **options: Any) -> None:
        self._options = options
        self.servers: list[Server] = []
        self.processes: list[InProcess] = []
        for _ in range(count):
            self.add()
        if count > 1:
            self.know_each_other()

    def add(self) -> int:
        io = sibling(connection_state_recovery=True, ping_interval=5, ping_timeout=5, **self._options)
        io.on("join", lambda socket, room: socket.join(room))
        self.servers.append(io)
        self.processes.append(InProcess(io))
        io.engine.joining.settle({})
        company: Any = io.engine.joining.company
        company.load_balancer._choose = lambda leaving: None  # a client stays where the test has it come
        return len(self.servers) - 1

    def adapter(self, number: int, nsp: str = "/") -> RecoveringWorkersAdapter:
        adapter = self.servers[number].of(nsp).adapter
        assert isinstance(adapter, RecoveringWorkersAdapter)
        return adapter

    def know_each_other(self, nsp: str = "/") -> None:
        adapters = [self.adapter(number, nsp) for number in range(len(self.servers))]
        eventually(
            lambda: all(len(adapter._history.vector(None)) >= len(adapters) for adapter in adapters),
            "that all know where the others stand",
        )

    def back(self, visitor: Visitor, number: int) -> bool:
        """Have a client come back at a process: whether as the same."""
        visitor.process = self.processes[number]
        return visitor.back()

    def visit(self, number: int, transport: str = "websocket") -> Visitor:
        """A client that has got one event, without which it could not come back."""
        visitor = Visitor(self.processes[number], transport)
        socket_of(self.servers[number], visitor).emit("first")
        assert visitor.receive() == ["first"]
        return visitor

    def lose(self, visitor: Visitor, number: int) -> None:
        visitor.lose()
        gone(self.servers[number], visitor)

    def end(self, number: int) -> None:
        """A process dies."""
        leave(self.servers[number])

    def close(self) -> None:
        for io in self.servers:
            io.close()
            leave(io)
        for process in self.processes:
            process.close()


@pytest.fixture
def three() -> Iterator[Workers]:
    workers = Workers(3)
    yield workers
    workers.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_id_rooms_data_and_missed_events_come_along(three: Workers, transport: str) -> None:
    first, second, third = three.servers
    seen: list[bool] = []
    second.on("connection", lambda socket: seen.append(socket.recovered))
    visitor = three.visit(0, transport)
    socket = socket_of(first, visitor)
    socket.join(["a", 7, b"\x01"])
    socket.data.update(name="ann", raw=b"\x00\xff", nested={"list": [1, None, 2.5], "$": {"$": b""}})
    sid = visitor.sid
    three.lose(visitor, 0)
    first.to("a").emit("one", {"x": b"\x01\x02"})
    first.to("b").emit("for others")
    first.except_("a").emit("for others")
    eventually(lambda: three.adapter(1)._history.vector(None).get(three.adapter(0)._history.name) == 3, "those events")
    second.to(7).emit("two", "]")
    third.emit("three")
    first.volatile.emit("volatile")
    eventually(lambda: len(three.adapter(0)._kept.log._entries) >= 6, "all of them at the first one")
    assert three.back(visitor, 1)
    assert visitor.sid == sid
    events = visitor.events[1:]
    assert sorted(event[0] for event in events) == ["one", "three", "two"]
    assert ["one", {"x": b"\x01\x02"}] in events and ["two", "]"] in events
    again = socket_of(second, visitor)
    assert again.recovered and again.rooms == {sid, "a", 7, b"\x01"}
    assert again.data == {"name": "ann", "raw": b"\x00\xff", "nested": {"list": [1, None, 2.5], "$": {"$": b""}}}
    for number, io in enumerate(three.servers):  # by its id too, whose tag still names the first one
        io.to("a").emit("to the room", number)
        assert visitor.receive() == ["to the room", number]
        io.to(sid).emit("to me", number)
        assert visitor.receive() == ["to me", number]
    socket.emit("by its old socket")
    assert visitor.receive() == ["by its old socket"]
    assert sid not in first.sockets.sockets and not three.adapter(0)._kept._sessions
    eventually(lambda: seen == [True], "the handler of connection")


def test_a_client_that_got_nothing_since_moves_on_though_its_offset_names_a_dead_process(three: Workers) -> None:
    visitor = three.visit(0)
    three.lose(visitor, 0)
    assert three.back(visitor, 1) and visitor.names == ["first"]
    three.lose(visitor, 1)
    three.end(0)
    three.servers[1].emit("missed")
    assert three.back(visitor, 2)
    assert visitor.names == ["first", "missed"]
    three.lose(visitor, 2)
    assert three.back(visitor, 2), "and where it is"
    three.servers[1].emit("now")
    assert visitor.receive() == ["now"]
    three.lose(visitor, 2)
    assert three.back(visitor, 1), "and back"
    assert visitor.names == ["first", "missed", "now"]


def test_what_it_has_been_sent_once_and_has_not_received_comes_again(three: Workers) -> None:
    """The prelude has offsets of its own, and moves along."""
    visitor = three.visit(0)
    three.lose(visitor, 0)
    for number in range(3):
        three.servers[0].emit("missed", number)
    auth = dict(visitor.auth)
    assert three.back(visitor, 1)
    offsets = visitor.auth["offset"]
    assert offsets.startswith(three.servers[1].engine.tag)
    three.lose(visitor, 1)
    visitor.auth, visitor.events = auth, []  # the connection was lost before anything came
    assert three.back(visitor, 2)
    assert visitor.events == [["missed", number] for number in range(3)]


def test_the_half_open_connection_at_the_other_process_is_ended_first(three: Workers) -> None:
    reasons: list[str] = []
    started, go = threading.Event(), threading.Event()

    @three.servers[0].on("slow join")
    def slow_join(socket: Socket, room: str) -> None:
        started.set()
        go.wait(DEADLINE)
        socket.join(room)

    three.servers[0].on("disconnect", lambda socket, reason: reasons.append(reason))
    visitor = three.visit(0)
    old = visitor.client
    three.servers[0].emit("lost on the way")
    visitor.client.emit("slow join", "late")
    assert started.wait(DEADLINE)
    returning = Background(lambda: three.back(visitor, 1))
    eventually(lambda: not three.servers[0].engine.sessions, "the end of the old connection")
    go.set()
    assert returning.result()
    assert visitor.names == ["first", "lost on the way"]
    assert "late" in socket_of(three.servers[1], visitor).rooms
    assert reasons == ["transport close"]
    old.wait_closed()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("repetition", range(3))
def test_of_two_that_come_at_once_one_gets_the_session(three: Workers, live: bool, repetition: int) -> None:
    visitor = three.visit(0)
    if not live:
        three.lose(visitor, 0)
    twins = [three.processes[1].client(), three.processes[2].client()]
    at_once(2, lambda number: twins[number].send(Packet(CONNECT, "/", visitor.auth)))
    sids = [sid_of(twin) for twin in twins]
    assert visitor.sid in sids
    have_it = [number for number in (1, 2) if visitor.sid in three.servers[number].sockets.sockets]
    if sids[0] == sids[1]:  # the one that came later has ended the connection of the other
        eventually(lambda: sum(visitor.sid in io.sockets.sockets for io in three.servers) == 1, "the end of one")
        have_it = [number for number in (1, 2) if visitor.sid in three.servers[number].sockets.sockets]
        twins[2 - have_it[0]].wait_closed()
    three.servers[0].to(visitor.sid).emit("hello")
    (number,) = have_it
    twins[number - 1].expect("hello")
    assert not three.adapter(0)._kept._sessions


def test_data_that_cannot_travel_stays_and_that_is_told_once(three: Workers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wsgi_sio")
    for data, room in ((threading.Event(), "a"), ((1, 2), "a"), ({1: 2}, "a"), ("plain", (1, 2))):
        visitor = three.visit(0)
        socket_of(three.servers[0], visitor).data["mine"] = data
        socket_of(three.servers[0], visitor).join([room])
        three.lose(visitor, 0)
        assert not three.back(visitor, 1)
    (record,) = [record for record in caplog.records if record.name == "wsgi_sio.adapters"]
    assert "socket.data['mine'] is a Event. Keep plain values" in record.getMessage()


def test_whose_process_has_died_begins_anew_at_once(three: Workers) -> None:
    visitor = three.visit(0)
    three.lose(visitor, 0)
    three.end(0)
    eventually(lambda: len(three.adapter(1)._find_links(None)) == 1, "its end")
    assert not three.back(visitor, 1)
    assert not socket_of(three.servers[1], visitor).recovered


def test_whose_process_does_not_answer_begins_anew_after_a_while(
    three: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovering_workers_adapter, "_PATIENCE", 0.1)
    monkeypatch.setattr(three.adapter(0), "_look_for", lambda *args: None)
    visitor = three.visit(0)
    three.lose(visitor, 0)
    assert not three.back(visitor, 1)
    assert not three.adapter(1)._node.questions  # type: ignore[union-attr]


@pytest.mark.parametrize("offset", ["nonsense", "abcd", "abcd.", "abcd.12345678.0", "../x.y.0", ".", "\ud800.a.b"])
def test_who_presents_nonsense_is_somebody_new(three: Workers, offset: str) -> None:
    visitor = three.visit(0)
    three.lose(visitor, 0)
    visitor.auth["offset"] = offset
    assert not three.back(visitor, 1)


def test_who_left_on_purpose_is_not_found_elsewhere(three: Workers) -> None:
    visitor = three.visit(0)
    visitor.client.send(Packet(1, "/"))
    gone(three.servers[0], visitor)
    assert not three.back(visitor, 1)


def test_what_is_for_a_client_of_this_process_alone_wakes_no_other(three: Workers) -> None:
    visitor = three.visit(0)
    adapter = three.adapter(0)
    assert adapter._history.last == 0
    three.servers[0].emit("to all")
    assert visitor.receive() == ["to all"]
    socket_of(three.servers[0], visitor).emit("only here")
    assert visitor.receive() == ["only here"]
    assert adapter._history.last == 1
    three.lose(visitor, 0)
    three.servers[0].to(visitor.sid).emit("while it is away")  # it may be anywhere by now
    assert adapter._history.last == 2
    assert three.back(visitor, 1) and visitor.names == ["first", "to all", "only here", "while it is away"]


def test_a_namespace_that_comes_later_knows_where_the_others_stand(three: Workers) -> None:
    for io in three.servers[:2]:
        io.of(lambda name, auth: name.startswith("/room"))
    client = three.processes[0].client()
    client.send(Packet(CONNECT, "/room1", {}))
    first = client.receive().data
    three.servers[0].of("/room1").emit("x")
    offset = client.receive().data[-1]
    client.close()
    eventually(lambda: not three.servers[0].of("/room1").sockets, "the end")
    other = three.processes[1].client()
    other.send(Packet(CONNECT, "/room1", {}))  # makes it there
    assert other.receive().type == CONNECT
    eventually(lambda: len(three.adapter(1, "/room1")._history.vector(None)) == 2, "where the first one stands")
    three.servers[0].of("/room1").emit("y")
    assert other.receive().data[0] == "y"
    again = three.processes[1].client()
    again.send(Packet(CONNECT, "/room1", {"pid": first["pid"], "offset": offset}))
    assert again.receive().data[0] == "y"
    assert again.receive().data["sid"] == first["sid"]


def test_a_process_that_comes_later_takes_over(three: Workers) -> None:
    visitor = three.visit(0)
    three.servers[0].emit("x")
    visitor.receive()
    number = three.add()
    three.know_each_other()
    three.lose(visitor, 0)
    three.servers[2].emit("missed")
    eventually(lambda: three.adapter(number)._kept.log._entries, "it there")
    assert three.back(visitor, number) and visitor.names == ["first", "x", "missed"]


def test_listeners_hear_what_goes_out_wherever_it_comes_from(three: Workers) -> None:
    visitor = three.visit(0)
    heard: list[Any] = []
    socket_of(three.servers[0], visitor).on_any_outgoing(lambda event, *args: heard.append([event, *args]))
    three.servers[1].emit("x", 1, b"\x00")
    assert visitor.receive() == ["x", 1, b"\x00"]
    eventually(lambda: heard == [["x", 1, b"\x00"]], "it told")


def test_what_comes_twice_or_lies_is_dropped(three: Workers) -> None:
    visitor = three.visit(0)
    three.servers[1].emit("x")
    visitor.receive()
    adapter, other = three.adapter(0), three.adapter(1)
    company: Any = three.servers[1].engine.joining.company
    (link,) = [link for link in company.siblings.links() if link.tag == three.servers[0].engine.tag]
    assert adapter._history.vector(None)[other._history.name] == 1
    body = frame_payloads.pack_batch("/", EVERYBODY, ['2["x"]'])
    link.send(frame_payloads.NUMBERED, 0, frame_payloads.pack_number(other._kept.log.name, 1, body))
    for payload in (b"", b"\x00" * 16, b"\x00" * 8 + b"\xff" * 8 + b"\x00" * 4, b"\x00" * 16 + b"\xff" * 4):
        link.send(frame_payloads.NUMBERED, 0, payload)
        link.send(frame_payloads.STANDING, 0, payload)
    three.servers[1].emit("y")
    assert visitor.receive() == ["y"]
    assert adapter._history.vector(None)[other._history.name] == 2


def test_with_another_parser_offsets_are_put_in_all_the_same() -> None:
    workers = Workers(2, parser=packet_msgpack)
    try:
        client = MsgpackClient(workers.processes[0])
        first = client.connect(None)
        workers.servers[0].emit("x", b"\x01")
        data = client.receive().data
        assert data[:2] == ["x", b"\x01"]
        client.close()
        eventually(lambda: not workers.servers[0].sockets.sockets, "the loss")
        workers.servers[0].emit("missed", b"\x02")
        eventually(lambda: len(workers.adapter(1)._kept.log._entries) == 2, "it there")
        workers.servers[1].emit("missed too")
        client = MsgpackClient(workers.processes[1])
        client.send(Packet(CONNECT, "/", {"pid": first["pid"], "offset": data[-1]}))
        assert [client.receive().data[:-1] for _ in range(2)] == [["missed", b"\x02"], ["missed too"]]
        assert client.receive().data["sid"] == first["sid"]
    finally:
        workers.close()


class MsgpackClient:
    """A client that speaks the other parser."""

    def __init__(self, process: InProcess) -> None:
        self.wire = process.opened()[0]
        self._encoder, self._decoder = packet_msgpack.Encoder(), packet_msgpack.Decoder()

    def send(self, packet: Packet) -> None:
        self.wire.send(*self._encoder.encode(packet))

    def receive(self) -> Packet:
        packet = self._decoder.add(self.wire.receive())
        assert packet is not None
        return packet

    def connect(self, auth: Any) -> Any:
        self.send(Packet(CONNECT, "/", auth))
        return self.receive().data

    def close(self) -> None:
        self.wire.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_under_fire_nothing_is_lost_doubled_or_reordered(three: Workers, transport: str) -> None:
    """All three broadcast while a client moves between them again and again."""
    visitor = three.visit(0, transport)
    sent: list[list[int]] = [[], [], []]
    stop = threading.Event()

    def fire(number: int) -> None:
        io = three.servers[number]
        for count in itertools.count():
            if stop.is_set():
                return
            if count % 3:
                io.emit("n", number, count)
            else:
                io.to(visitor.sid).emit("n", number, count)
            sent[number].append(count)
            io.sleep(0.001)

    tasks = [io.start_background_task(fire, number) for number, io in enumerate(three.servers)]
    choose = random.Random(7)
    for _ in range(10):
        for _ in range(choose.randrange(20)):
            visitor.receive()
        visitor.lose()
        assert three.back(visitor, choose.randrange(3))
    stop.set()
    for task in tasks:
        task.join(DEADLINE)
    for number, io in enumerate(three.servers):
        io.emit("end", number)
    ends = 0
    while ends < 3:
        ends += visitor.receive()[0] == "end"
    for number in range(3):
        assert [event[2] for event in visitor.events if event[:2] == ["n", number]] == sent[number]


def test_many_clients_move_at_once(three: Workers) -> None:
    visitors = [three.visit(0) for _ in range(20)]
    for visitor in visitors:
        visitor.lose()
    three.servers[2].emit("missed")
    moved = at_once(20, lambda number: three.back(visitors[number], 1 + number % 2), DEADLINE * 2)
    assert all(moved)
    three.servers[0].emit("after")
    for visitor in visitors:
        assert visitor.receive() in (["missed"], ["after"])
    assert all(visitor.client.receive().type == EVENT for visitor in visitors if visitor.names[-1] == "missed")


def test_a_sibling_without_recovery_is_not_asked_and_gets_broadcasts_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As while a server is being reloaded with other options."""
    monkeypatch.setattr(recovering_workers_adapter, "_PATIENCE", 0.1)
    workers = Workers(1)
    other = sibling()
    process = InProcess(other)
    try:
        client = process.client()
        client.connect()
        eventually(lambda: workers.adapter(0).server_count() == 2, "the other one")
        workers.servers[0].emit("x")
        assert client.receive().data == ["x"]
        visitor = workers.visit(0)
        other.emit("y")
        assert visitor.receive() == ["y"], "which has no offset"
        visitor.auth["pid"] = "another"
        assert not workers.back(visitor, 0)
        assert not workers.adapter(0)._searches
    finally:
        other.close()
        leave(other)
        process.close()
        workers.close()


def test_a_process_that_has_just_joined_waits_until_it_knows_where_all_stand(three: Workers) -> None:
    """It can have been born by this very request."""
    visitor = three.visit(0)
    three.lose(visitor, 0)
    three.servers[0].emit("missed")
    adapter, third = three.adapter(1), three.servers[2].engine.tag
    adapter.forget(third)
    returning = Background(lambda: three.back(visitor, 1))
    eventually(lambda: adapter._searches, "the question that waits")
    three.servers[2].emit("now it has spoken")
    assert returning.result()
    assert visitor.names[:2] == ["first", "missed"]
    if len(visitor.names) == 2:
        assert visitor.receive() == ["now it has spoken"]


def test_a_process_that_is_told_to_stop_gives_away_what_it_has_until_it_has_gone(three: Workers) -> None:
    stay, go = three.visit(0), three.visit(0)
    three.lose(go, 0)
    three.servers[0].engine.refuse_new_sessions()
    assert three.back(go, 1)
    three.servers[0].close()
    gone(three.servers[0], stay)
    assert not three.back(stay, 1)


def test_alone_it_is_the_adapter_of_one_process() -> None:
    io = Server(connection_state_recovery=True)
    adapter = io.sockets.adapter
    assert isinstance(adapter, RecoveringWorkersAdapter)
    io.to((1, 2)).emit("rooms of every kind")
    assert adapter.is_alone() and adapter.server_count() == 1 and adapter._history.last == 0
    assert not adapter.call_session("pid", "abcd.12345678.0", lambda: None)
    io.close()
