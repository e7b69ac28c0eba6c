"""What two threads do at the same moment, with the test in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.client.test_send_buffer import Answers, MortalConnection, event, make
from tests.client.wire import FAST, Clients, WireServer
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import AckTimeout, ConnectionFailed, Disconnected
from wsgi_sio.client import Client, ClientSocket, Manager, SimpleClient
from wsgi_sio.client.acks import PendingAcks
from wsgi_sio.runtime import Event, Timer, create_reactor
from wsgi_sio.runtime.shared_reactor import SharedReactor, SharedTimer
from wsgi_sio.socketio.packet import CONNECT, DISCONNECT, EVENT, Packet


class Held(Manager):
    """Lets the test in before a socket resigns, or leaves."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.meanwhile: dict[str, Callable[[], object]] = {}

    def _let_in(self, moment: str) -> None:
        self.meanwhile.pop(moment, lambda: None)()

    def resign(self, socket: ClientSocket) -> None:
        self._let_in("resign")
        super().resign(socket)

    def leave(self, socket: ClientSocket) -> bool:
        self._let_in("leave")
        return super().leave(socket)


@pytest.mark.parametrize("moment", ["resign", "leave"])
def test_an_answer_that_meets_disconnect_leaves_no_half_connected_socket(wire: WireServer, moment: str) -> None:
    """Whichever is first: afterwards both sides know that it has left, and the others' connection stands."""
    manager = Held(wire.url, **FAST)
    first, other = manager.socket(), manager.socket("/other")
    answered = threading.Event()
    first.on("answered", answered.set)
    first.connect(wait=False)
    peer = wire.accept()
    peer.welcome()
    first.connect(timeout=DEADLINE)
    other.connect(wait=False)
    peer.expect_connect("/other")

    def answer() -> None:
        peer.send(Packet(CONNECT, "/other", {"sid": "other"}), Packet(EVENT, "/", ["answered"]))
        assert answered.wait(DEADLINE)

    manager.meanwhile[moment] = answer
    other.disconnect()
    assert other.wait(DEADLINE) and not other.connected and not other.active
    packet = peer.receive()
    assert (packet.type, packet.nsp) == (DISCONNECT, "/other")
    peer.expect_silence(0.05)
    assert first.connected
    manager.close()


class LeavesAtOnce(Client):
    """Is made to leave by another thread when the server has let it in and nobody has been told yet."""

    def _take(self, *args: Any) -> None:
        Background(self.disconnect).result()
        super()._take(*args)


def test_who_leaves_while_it_is_welcomed_keeps_its_events_and_tells_in_order(wire: WireServer) -> None:
    client = LeavesAtOnce(wire.url, **FAST)
    manager, told = client.io, []
    client.on("connect", lambda: told.append("connect"))
    client.on("disconnect", lambda: told.append("disconnect"))
    manager.socket("/stays").connect(wait=False)
    peer = wire.accept()
    peer.welcome("/stays")
    client.connect(wait=False)
    peer.expect_connect()
    peer.send(Packet(EVENT, "/", ["early"]), Packet(CONNECT, "/", {"sid": "sid"}))
    assert peer.receive().type == DISCONNECT
    assert client.wait(DEADLINE)
    eventually(lambda: told, "the handlers")
    client.emit("kept")
    peer.expect_silence(0.1)
    assert told == ["disconnect"]
    manager.close()


def test_a_second_connection_while_the_first_is_being_flushed() -> None:
    """Nothing is stranded, doubled or overtaken."""
    send_buffer, _ = make()
    for number in range(4):
        send_buffer.send(event(number))
    living = MortalConnection(100)
    dying = MortalConnection(2)

    def reconnect() -> None:
        send_buffer.close(dying)
        send_buffer.open(living)
        send_buffer.send(event(4))

    dying.dies = reconnect
    send_buffer.open(dying)
    assert (dying.sent, living.sent) == ([0, 1], [2, 3, 4])
    assert send_buffer.ready


class LateTimers(SharedReactor):
    """Timers that go off when the test says so, cancelled or not: as one that was just going off."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self.due: list[Callable[[], None]] = []

    def expire_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.due.append(callback)
        return SharedTimer(self, lambda: None)


def test_the_time_out_of_an_earlier_attempt_does_not_end_the_next() -> None:
    shared, answers = LateTimers(), Answers()
    acks = PendingAcks(shared)
    acks.expect(1, answers, 1.0)
    assert acks.forget(1) is answers  # the connection is lost at the same moment
    acks.expect(1, answers, 1.0)  # and the event sent again
    first, second = shared.due
    first()
    assert answers.errors == [] and 1 in acks
    second()
    assert [type(error) for error in answers.errors] == [AckTimeout] and 1 not in acks


@pytest.mark.parametrize("time", range(5))
def test_a_managers_handler_may_connect_again_and_wait_for_it(clients: Clients, wire: WireServer, time: int) -> None:
    """Although it holds up the other handlers, and the first attempt fails; who waited before is told the failure."""
    client = clients(reconnection_attempts=1)
    outcome: list[object] = []

    @client.io.on("reconnect_failed")
    def once_more() -> None:
        outcome.append(client.connect(timeout=DEADLINE))

    call = Background(client.connect)
    for _ in range(3):
        wire.answer("503 Service Unavailable", "")
    with pytest.raises(ConnectionFailed):
        call.result()
    wire.accept().welcome()
    eventually(lambda: outcome == [client], "the connection")


def test_an_attempt_that_cannot_begin_is_followed_by_others(wire: WireServer) -> None:
    """A machine without a thread to spare today may have one in a second."""
    reactor = create_reactor()
    spawn, refusals = reactor.spawn, [RuntimeError("can't start new thread")] * 2
    errors: list[ConnectionFailed] = []
    client = Client(wire.url, reactor=reactor, **FAST)
    client.on("connect_error", errors.append)
    try:
        client.connect(wait=False)
        peer = wire.accept()
        peer.welcome()
        client.connect(timeout=DEADLINE)

        def refuse(*args: Any, **kwargs: Any) -> Any:
            if refusals:
                raise refusals.pop()
            return spawn(*args, **kwargs)

        reactor.spawn = refuse  # type: ignore[method-assign]
        peer.drop()
        wire.accept().welcome(sid="again")
        eventually(lambda: client.id == "again", "the connection")
        assert [str(error) for error in errors] == ["cannot connect: can't start new thread"] * 2
        client.disconnect()
    finally:
        reactor.close()


class Hesitant:
    """An event; the first who waits for it hesitates, and ``meanwhile`` happens."""

    def __init__(self, event: Event, meanwhile: Callable[[], object]) -> None:
        self._event = event
        self._meanwhile = [meanwhile]

    def wait(self, timeout: float | None = None) -> bool:
        if self._meanwhile:
            self._meanwhile.pop()()
        return self._event.wait(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._event, name)


def test_two_receivers_share_what_comes(wire: WireServer) -> None:
    """Two events come, one receiver is quicker: the other still finds its own, and both learn of the end."""
    simple = SimpleClient(wire.url, **FAST)
    call = Background(simple.connect)
    peer = wire.accept()
    peer.welcome()
    call.result()
    received: list[Any] = []

    def quicker() -> None:
        peer.emit("n", 1)
        peer.emit("n", 2)
        eventually(lambda: len(simple._events) == 2, "the events")
        received.append(simple.receive(timeout=DEADLINE))

    def quicker_at_the_end() -> None:
        simple.disconnect()
        with pytest.raises(Disconnected):
            simple.receive(timeout=DEADLINE)

    simple._news = Hesitant(simple._news, quicker)
    received.append(simple.receive(timeout=1))
    assert received == [["n", 1], ["n", 2]]
    simple._news = Hesitant(simple._news, quicker_at_the_end)
    with pytest.raises(Disconnected):
        simple.receive(timeout=1)
