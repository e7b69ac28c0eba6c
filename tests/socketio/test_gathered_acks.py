"""Acknowledgements of events that came together leave together, and none waits for a handler."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.inprocess import DEADLINE, Client, Closed, InProcess, event_packet, eventually
from wsgi_sio import Server, Socket
from wsgi_sio.engineio.packet import MESSAGE
from wsgi_sio.engineio.packet import Packet as EnginePacket
from wsgi_sio.engineio.websocket import WebSocketTransport
from wsgi_sio.socketio import socket_receiving
from wsgi_sio.socketio.packet import ACK, EVENT
from wsgi_sio.socketio.quick_events import QuickEvents


class Gathering:
    """A server, a client, and how many packets each write had."""

    def __init__(self) -> None:
        self.io = Server()
        self.go_on = threading.Event()
        self.writes: list[int] = []
        self.process = InProcess(self.io)
        self.io.on("quick", lambda socket, *args: args)
        self.io.on("wait", self.wait)
        self.io.on("tell", self.tell)
        self.io.on("leave", lambda socket: socket.disconnect(True))
        self.io.on("fail", self.fail)
        self.client: Client = self.process.client()
        self.client.connect()
        self.learn("quick", "tell", "leave", "fail")

    def learn(self, *events: str) -> None:
        """As if they had been handled, in no time."""
        self.io.of("/").quick_events.names.update(events)

    def wait(self, socket: Socket) -> None:
        assert self.go_on.wait(DEADLINE)

    def tell(self, socket: Socket, volatile: str = "") -> None:
        (socket.volatile if volatile else socket).emit("told")
        assert self.go_on.wait(DEADLINE)

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
def gathering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gathering]:
    made = Gathering()
    write = WebSocketTransport.write

    def note(transport: WebSocketTransport, packets: list[EnginePacket]) -> None:
        made.writes.append(len(packets))
        write(transport, packets)

    monkeypatch.setattr(WebSocketTransport, "write", note)
    yield made
    made.go_on.set()
    made.process.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine, what is quick is known to be, and time alone sends nothing."""
    monkeypatch.setattr(socket_receiving, "QUICK", 3600)
    monkeypatch.setattr("wsgi_sio.engineio.session_writer._HOLD", 3600)
    monkeypatch.setattr("wsgi_sio.engineio.held_sessions._LONGEST", 3600)


@pytest.mark.usefixtures("patient")
def test_they_leave_together(gathering: Gathering) -> None:
    gathering.send(*["quick"] * 8)
    assert [gathering.ack() for _ in range(8)] == [*range(8)]
    eventually(lambda: sum(gathering.writes) >= 1, "a write")
    assert gathering.writes[-1] > 1 and len(gathering.writes) < 4  # a read may have brought only some of them


@pytest.mark.usefixtures("patient")
def test_nothing_waits_for_an_event_that_is_not_known_to_be_quick(gathering: Gathering) -> None:
    gathering.send("quick", "quick", "wait")
    assert [gathering.ack(), gathering.ack()] == [0, 1]
    assert not gathering.go_on.is_set()
    gathering.go_on.set()
    assert gathering.ack() == 2


def test_nor_for_one_that_has_been_quick_so_far(gathering: Gathering) -> None:
    gathering.learn("wait")
    gathering.send("quick", "wait")
    assert gathering.ack() == 0
    gathering.go_on.set()
    assert gathering.ack() == 1
    assert "wait" not in gathering.io.of("/").quick_events.names  # which it is known by from then on


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
    (session,) = gathering.io.engine.sessions.values()
    eventually(lambda: session.held, "that something waits")
    gathering.io.emit("all")
    assert gathering.ack() == 0
    assert gathering.client.expect("all") == []


@pytest.mark.usefixtures("patient")
def test_they_arrive_before_the_end(gathering: Gathering) -> None:
    gathering.send("quick", "quick", "leave")
    assert [gathering.ack(), gathering.ack()] == [0, 1]
    with pytest.raises(Closed):
        while True:
            gathering.client.receive()


@pytest.mark.usefixtures("patient")
def test_the_last_one_may_fail(gathering: Gathering, caplog: pytest.LogCaptureFixture) -> None:
    gathering.send("quick", "fail")
    assert gathering.ack() == 0
    assert "as it should" in caplog.text


@pytest.mark.usefixtures("patient")
def test_the_last_one_may_want_no_acknowledgement(gathering: Gathering) -> None:
    gathering.client.send(event_packet("quick", ack=0), event_packet("quick"))
    assert gathering.ack() == 0


@pytest.mark.usefixtures("patient")
def test_a_client_that_leaves_meanwhile_leaves_nothing(gathering: Gathering) -> None:
    gathering.learn("wait")
    gathering.send("quick", "wait")
    (session,) = gathering.io.engine.sessions.values()
    eventually(lambda: session.held, "that something waits")
    gathering.client.wire.sock.close()  # type: ignore[union-attr]
    eventually(lambda: not gathering.io.engine.sessions, "its end")
    assert not session.held and session.outbox_size == 0


def test_what_waits_too_long_is_released(gathering: Gathering) -> None:
    (session,) = gathering.io.engine.sessions.values()
    session.hold([EnginePacket(MESSAGE, '2["x"]')], time.monotonic())
    assert gathering.client.expect("x") == []


def test_a_ping_takes_them_along(gathering: Gathering, patient: None) -> None:
    (session,) = gathering.io.engine.sessions.values()
    session.hold([EnginePacket(MESSAGE, '2["x"]')], time.monotonic())
    session.ping()
    assert gathering.client.expect("x") == []


def test_names_are_bounded() -> None:
    events = QuickEvents()
    for number in range(5000):
        events.note(str(number), True)
    assert len(events.names) <= 1000
    events.note("4999", False)
    assert "4999" not in events.names
