"""Acknowledgements of events that came together leave together, and none waits for a handler."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.inprocess import DEADLINE, Client, Closed, InProcess, event_packet, eventually
from tests.support.world import one_world
from wsgi_sio import Server, Socket
from wsgi_sio.engineio import held_sessions, session_writer
from wsgi_sio.socketio import quick_events
from wsgi_sio.socketio.packet import ACK, DISCONNECT, EVENT, Packet
from wsgi_sio.websocket.messages import MessageDecoder


class Writes:
    """A socket that counts what is written: ``messages`` has how many were in each write."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._decoder = MessageDecoder(expect_masked=False, max_message_size=10**8)
        self.messages: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        sent: int = self._sock.send(data)
        self.messages.append(len(list(self._decoder.feed(bytes(data[:sent])))))
        return sent


class Gathering:
    """A server, a client of it, and what the handlers have to be told."""

    def __init__(self) -> None:
        self.io = Server()
        self.go_on = threading.Event()
        self.written_before: list[int] = []
        self.process = InProcess(self.io)
        self.io.on("quick", lambda socket, *args: args)
        self.io.on("wait", lambda socket: self.wait())
        self.io.on("compute", self.compute)
        self.io.on("tell", self.tell)
        self.io.on("leave", lambda socket, *close: socket.disconnect(bool(close)))
        self.io.on("fail", self.fail)
        self.client: Client = self.process.client()
        self.client.connect()
        (self.session,) = self.io.engine.sessions.values()
        self.writes = Writes(self.session.transport._sock)  # type: ignore[attr-defined]
        self.session.transport._sock = self.writes  # type: ignore[attr-defined]
        self.learn("quick", "tell", "leave", "fail")

    def learn(self, *events: str) -> None:
        """As if they had been handled often, in no time."""
        self.io.of("/").quick_events.names.update(events)

    def knows(self, event: str) -> bool:
        return event in self.io.of("/").quick_events.names

    def wait(self) -> None:
        assert self.go_on.wait(DEADLINE)

    def compute(self, socket: Socket) -> None:
        self.written_before += self.writes.messages
        deadline = time.monotonic() + DEADLINE
        while not self.go_on.is_set():
            assert time.monotonic() < deadline

    def tell(self, socket: Socket, volatile: str = "") -> None:
        (socket.volatile if volatile else socket).emit("told")
        self.wait()

    def fail(self, socket: Socket) -> None:
        raise ValueError("as it should")

    def send(self, *events: str) -> None:
        """Several in one piece, the first with 0 as its acknowledgement's number."""
        self.client.send(*[event_packet(*event.split(), ack=number) for number, event in enumerate(events)])

    def ack(self) -> int | None:
        packet = self.client.receive()
        assert packet.type == ACK, packet
        return packet.id


@pytest.fixture
def gathering() -> Iterator[Gathering]:
    made = Gathering()
    yield made
    made.go_on.set()
    made.process.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine, what is quick is known to be, and time alone sends nothing."""
    monkeypatch.setattr(quick_events, "_QUICK", 3600)
    monkeypatch.setattr(session_writer, "_HOLD", 3600)
    monkeypatch.setattr(held_sessions, "_LONGEST", 3600)


@pytest.mark.usefixtures("patient")
def test_they_leave_together(gathering: Gathering) -> None:
    gathering.send(*["quick"] * 8)
    assert [gathering.ack() for _ in range(8)] == [*range(8)]
    assert len(gathering.writes.messages) < 4  # a read may have brought only some of them


def test_what_is_quick_is_found_out(gathering: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_events, "_QUICK", 3600)
    gathering.io.of("/").quick_events.names.clear()
    gathering.send(*["quick"] * 30)
    assert [gathering.ack() for _ in range(30)] == [*range(30)]
    assert gathering.knows("quick")
    monkeypatch.setattr(quick_events, "_QUICK", 0)
    gathering.send(*["quick"] * 30)
    assert [gathering.ack() for _ in range(30)] == [*range(30)]
    assert not gathering.knows("quick")


@pytest.mark.usefixtures("patient")
def test_nothing_waits_for_an_event_that_is_not_known_to_be_quick(gathering: Gathering) -> None:
    gathering.send("quick", "quick", "wait")
    assert [gathering.ack(), gathering.ack()] == [0, 1]
    assert not gathering.go_on.is_set()
    gathering.go_on.set()
    assert gathering.ack() == 2


@pytest.mark.usefixtures("patient")
def test_nor_for_one_that_computes(gathering: Gathering) -> None:
    gathering.go_on.set()
    gathering.send("quick", "quick", "compute")
    assert [gathering.ack() for _ in range(3)] == [0, 1, 2]
    assert sum(gathering.written_before) == 2


def test_nor_for_one_that_has_been_quick_so_far(gathering: Gathering) -> None:
    gathering.learn("wait")
    gathering.send("quick", "wait", "quick")
    assert gathering.ack() == 0
    gathering.go_on.set()
    assert [gathering.ack(), gathering.ack()] == [1, 2]
    assert not gathering.knows("wait")  # which it is known by from then on


@one_world  # gevent's hub waits for whoever computes
def test_nor_for_one_that_suddenly_computes(gathering: Gathering) -> None:
    gathering.learn("compute")
    gathering.send("quick", "compute", "quick")
    assert gathering.ack() == 0
    gathering.go_on.set()
    assert [gathering.ack(), gathering.ack()] == [1, 2]
    assert not gathering.knows("compute")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["tell", "tell volatile"])
def test_what_a_handler_emits_leaves_at_once_behind_them(gathering: Gathering, how: str) -> None:
    gathering.learn("wait")
    gathering.send("quick", how)
    assert gathering.ack() == 0
    packet = gathering.client.receive()
    assert (packet.type, packet.data) == (EVENT, ["told"]) and not gathering.go_on.is_set()


@pytest.mark.usefixtures("patient")
def test_what_others_emit_leaves_at_once_behind_them(gathering: Gathering) -> None:
    gathering.learn("wait")
    gathering.send("quick", "wait")
    eventually(lambda: gathering.session.held, "that something waits")
    gathering.io.emit("all")
    assert gathering.ack() == 0
    assert gathering.client.expect("all") == []


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["leave", "leave close"])
def test_they_arrive_before_the_end(gathering: Gathering, how: str) -> None:
    gathering.send("quick", "quick", how)
    assert [gathering.ack(), gathering.ack()] == [0, 1]
    if how == "leave":
        assert gathering.client.receive().type == DISCONNECT
    else:
        with pytest.raises(Closed):
            while True:
                assert gathering.client.receive().type != ACK


@pytest.mark.usefixtures("patient")
def test_what_a_client_that_has_left_sent_behind_holds_up_nothing(gathering: Gathering) -> None:
    gathering.learn("wait")
    (socket,) = gathering.io.sockets.sockets.values()
    gathering.send("quick", "wait", "quick")
    gathering.client.send(Packet(DISCONNECT, "/"))
    eventually(lambda: not socket.connected, "its being read")
    gathering.go_on.set()
    eventually(lambda: not gathering.io.sockets.sockets, "its leaving")
    assert not gathering.session.held


@pytest.mark.usefixtures("patient")
def test_the_server_closes_behind_them(gathering: Gathering) -> None:
    gathering.learn("wait")
    gathering.send("quick", "quick", "wait")
    eventually(lambda: gathering.session.held and gathering.session.outbox_size > 500, "that both wait")
    gathering.io.close()
    assert [gathering.ack(), gathering.ack()] == [0, 1]


@pytest.mark.usefixtures("patient")
def test_the_last_one_may_fail(gathering: Gathering, caplog: pytest.LogCaptureFixture) -> None:
    gathering.send("quick", "fail")
    assert gathering.ack() == 0
    eventually(lambda: "as it should" in caplog.text, "the log")


@pytest.mark.usefixtures("patient")
def test_the_last_one_may_be_refused(gathering: Gathering, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(data: list[Any]) -> None:
        if len(data) > 1:
            raise ValueError("as it should")

    (socket,) = gathering.io.sockets.sockets.values()
    socket.use(refuse)
    gathering.send("quick", "quick much")
    assert gathering.ack() == 0
    eventually(lambda: "as it should" in caplog.text, "the log")


@pytest.mark.usefixtures("patient")
def test_the_last_one_may_want_no_acknowledgement(gathering: Gathering) -> None:
    gathering.client.send(event_packet("quick", ack=0), event_packet("quick"))
    assert gathering.ack() == 0


@pytest.mark.usefixtures("patient")
def test_what_cannot_be_sent_holds_up_nothing(gathering: Gathering, caplog: pytest.LogCaptureFixture) -> None:
    gathering.io.on("odd", lambda socket: object())
    gathering.learn("odd")
    gathering.send("quick", "odd")
    assert gathering.ack() == 0
    eventually(lambda: "cannot be sent" in caplog.text, "the log")


@pytest.mark.usefixtures("patient")
def test_they_may_have_attachments(gathering: Gathering) -> None:
    gathering.client.send(*[event_packet("quick", b"%d" % number, b"x", ack=number) for number in range(4)])
    for number in range(4):
        packet = gathering.client.receive()
        assert (packet.id, packet.data) == (number, [b"%d" % number, b"x"])


@pytest.mark.usefixtures("patient")
def test_all_namespaces_of_a_client_hold_together(gathering: Gathering) -> None:
    gathering.io.of("/other").on("quick", lambda socket: None)
    gathering.client.connect("/other")
    gathering.learn("wait")
    gathering.send("quick", "wait")
    eventually(lambda: gathering.session.held, "that something waits")
    gathering.client.emit("quick", nsp="/other", ack=5)
    assert [gathering.ack(), gathering.ack()] == [0, 5]


@pytest.mark.usefixtures("patient")
def test_concurrent_events_are_answered_at_once(gathering: Gathering) -> None:
    gathering.io.on("beside", lambda socket: None, concurrent=True)
    gathering.learn("beside", "wait")
    gathering.send("wait", "quick", "beside")
    assert gathering.ack() == 2
    gathering.go_on.set()
    assert [gathering.ack(), gathering.ack()] == [0, 1]


def test_order_is_kept_whoever_emits_meanwhile(gathering: Gathering) -> None:
    emitted = 500

    def emit() -> None:
        for number in range(emitted):
            gathering.io.emit("count", number)
            if number % 10 == 0:
                time.sleep(0.0001)

    task = gathering.io.start_background_task(emit)
    for first in range(0, 400, 8):
        gathering.client.send(*[event_packet("quick", ack=number) for number in range(first, first + 8)])
    acks, counts = [], []
    while len(acks) < 400 or len(counts) < emitted:
        packet = gathering.client.receive()
        if packet.type == ACK:
            acks.append(packet.id)
        else:
            counts.append(packet.data[1])
    task.join(DEADLINE)
    assert acks == [*range(400)] and counts == [*range(emitted)]


@pytest.mark.usefixtures("patient")
def test_a_client_that_leaves_meanwhile_leaves_nothing(gathering: Gathering) -> None:
    gathering.learn("wait")
    gathering.send("quick", "wait")
    eventually(lambda: gathering.session.held, "that something waits")
    gathering.client.wire.sock.close()  # type: ignore[union-attr]
    eventually(lambda: not gathering.io.engine.sessions, "its end")
    assert not gathering.session.held and gathering.session.outbox_size == 0


def test_names_are_bounded() -> None:
    events = quick_events.QuickEvents()
    for number in range(1500):
        for _ in range(10):
            events.note(str(number), 0)
    assert "1499" in events.names and len(events.names) <= 1000
    for number in range(1500):
        events.note(f"once {number}", 0)
    assert len(events._in_a_row) <= 1000
    for _ in range(10):
        events.note("x" * 101, 0)
    assert "x" * 101 not in events.names


def test_a_slow_time_is_remembered_for_a_while() -> None:
    events = quick_events.QuickEvents()
    for _ in range(9):
        events.note("often", 0)
    events.note("often", 1)
    for _ in range(9):
        events.note("often", 0)
    assert "often" not in events.names
    events.note("often", 0)
    assert "often" in events.names
    events.note("often", 1)
    assert "often" not in events.names
