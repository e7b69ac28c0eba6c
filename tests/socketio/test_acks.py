"""Acknowledgements that the server waits for."""

# ruff: noqa: B023  (the closures run before the loop goes on)

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import DEADLINE, Background, Client, InProcess, at_once, event_packet, eventually
from wsgi_sio import AckTimeout, ConnectRefused, Disconnected, LocalProtocolError, Server, Socket
from wsgi_sio.socketio import socket as socket_module
from wsgi_sio.socketio.packet import ACK, CONNECT, Packet


def connected(io: Server, process: InProcess, transport: str = "websocket") -> tuple[Client, Socket]:
    """A client and its socket."""
    client = process.client(transport)
    sid = client.connect()
    return client, eventually(lambda: io.sockets.sockets.get(sid), "the socket")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_emit_with_ack_gives_none_one_value_or_a_tuple(serve: Serve, transport: str) -> None:
    io = Server()
    client, socket = connected(io, serve(io), transport)
    for answer, expected in (((), None), ((1,), 1), ((None,), None), (([1],), [1]), ((1, b"2"), (1, b"2"))):
        call = Background(lambda: socket.emit_with_ack("q", "x", timeout=DEADLINE))
        packet = client.receive()
        assert packet.data == ["q", "x"] and packet.id is not None
        client.answer(packet, *answer)
        assert call.result() == expected


def test_a_callback_gets_the_arguments_in_order_with_the_clients_events(serve: Serve) -> None:
    """It runs in the mailbox: after the events that came before the acknowledgement, never beside them."""
    io = Server()
    seen: list[Any] = []

    @io.on("slow")
    def slow(socket: Socket) -> None:
        io.sleep(0.03)
        seen.append("slow")

    client, socket = connected(io, serve(io))
    socket.emit("q", callback=lambda *args: seen.append(args))
    packet = client.receive()
    assert packet.id is not None
    client.send(event_packet("slow"), Packet(ACK, "/", [1, "b"], packet.id), event_packet("slow"))
    eventually(lambda: len(seen) == 3, "the callback")
    assert seen == ["slow", (1, "b"), "slow"]


def test_emit_with_ack_inside_a_handler_to_the_same_client(serve: Serve) -> None:
    """The acknowledgement overtakes the events that wait behind the running handler."""
    io = Server()

    @io.on("ask")
    def ask(socket: Socket, number: int) -> Any:
        return socket.emit_with_ack("q", number, timeout=DEADLINE)

    client, _ = connected(io, serve(io))
    client.send(event_packet("ask", 1, ack=101), event_packet("ask", 2, ack=102))
    for number in (1, 2):
        packet = client.receive()
        assert packet.data == ["q", number]
        client.answer(packet, number * 10)
        answer = client.receive()
        assert (answer.id, answer.data) == (100 + number, [number * 10])


def test_emit_with_ack_in_every_worker_at_once(serve: Serve) -> None:
    """All workers wait for acknowledgements: they are still read, and more handlers wait for their turn."""
    io = Server(max_workers=3)
    io.on("ask", lambda socket: socket.emit_with_ack("q", timeout=DEADLINE))
    process = serve(io)
    clients = [connected(io, process)[0] for _ in range(8)]
    for client in clients:
        client.emit("ask", ack=1)

    def answer(number: int) -> Any:
        client = clients[number]
        packet = client.receive()
        time.sleep(0.02)
        client.answer(packet, number)
        return client.receive().data

    assert at_once(8, answer) == [[number] for number in range(8)]


def test_clients_that_never_acknowledge_do_not_keep_other_clients_handlers_from_running(serve: Serve) -> None:
    """Whether they are asked one by one or all together."""
    io = Server(max_workers=2)
    io.on("ask", lambda socket: socket.emit_with_ack("q", timeout=DEADLINE))
    io.on("ask all", lambda socket: io.to(socket.id).timeout(DEADLINE).emit_with_ack("q"))
    io.on("sync", lambda socket: None)
    process = serve(io)
    for event in ("ask", "ask all") * 4:
        client, _ = connected(io, process)
        client.emit(event)
        client.expect("q")
    other, _ = connected(io, process)
    assert other.call("sync") == []


def test_without_a_time_out_an_acknowledgement_is_waited_for_for_a_minute(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert socket_module.ACK_TIMEOUT == 60
    monkeypatch.setattr(socket_module, "ACK_TIMEOUT", 0.01)
    io = Server()
    _, socket = connected(io, serve(io))
    with pytest.raises(AckTimeout):
        socket.emit_with_ack("q")
    with pytest.raises(AckTimeout):
        socket.volatile.emit_with_ack("q")


@pytest.mark.parametrize("event", ["connect", "connection", "ask", "disconnect"])
def test_a_handler_whose_client_leaves_instead_of_answering_is_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    caplog.set_level(logging.INFO)
    io = Server()
    io.on(event, lambda socket: socket.emit_with_ack("q"))
    client = serve(io).client()
    client.send(Packet(CONNECT, "/"), event_packet("ask"))
    asked = client.receive()
    if event in ("connection", "ask"):
        asked = client.receive()
    assert event == "disconnect" or asked.data == ["q"]
    client.close()
    eventually(lambda: "a handler ended with the connection of" in caplog.text, "the log")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_handler_that_asked_another_client_that_has_left_has_failed(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    io = Server()
    process = serve(io)
    ann, asked = connected(io, process)
    bob, _ = connected(io, process)
    io.on("ask", lambda socket: asked.emit_with_ack("q"))
    bob.emit("ask")
    ann.receive()
    ann.close()
    eventually(lambda: "a handler of 'ask' failed" in caplog.text, "the log")


def test_emit_with_ack_in_a_connect_handler_before_the_client_is_let_in(serve: Serve) -> None:
    io = Server()

    @io.on("connect")
    def gate(socket: Socket, auth: Any) -> None:
        socket.data["answer"] = socket.emit_with_ack("who are you?", timeout=DEADLINE)

    client = serve(io).client()
    client.wire.send("40")
    packet = client.receive()
    client.answer(packet, "me")
    sid = client.receive().data["sid"]
    assert io.sockets.sockets[sid].data == {"answer": "me"}


def test_emit_with_ack_while_the_mailbox_is_full(serve: Serve) -> None:
    """The client has sent more than its mailbox takes; a handler that asks it must get its answer all the same."""
    io = Server(max_mailbox=20_000)
    outcome: list[Any] = []

    @io.on("ask")
    def ask(socket: Socket, padding: str) -> None:
        if not outcome:
            outcome.append("asked")
            outcome.append(socket.emit_with_ack("q", timeout=2))

    client, _ = connected(io, serve(io))
    client.send(*[event_packet("ask", "x" * 1000) for _ in range(50)])
    client.answer(client.receive(), "yes")
    eventually(lambda: len(outcome) == 2, "the acknowledgement", timeout=3)
    assert outcome[1] == "yes"


def test_no_acknowledgement_in_time_raises_a_timeout_error_and_a_late_one_is_ignored(serve: Serve) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    client, socket = connected(io, serve(io))
    with pytest.raises(AckTimeout) as caught:
        socket.emit_with_ack("q", timeout=0.03)
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value) == "operation has timed out"
    client.answer(client.receive(), "late")
    assert client.call("echo", 1) == [1]
    assert not socket._acks


def test_timeout_gives_the_callback_an_error_first(serve: Serve) -> None:
    io = Server()
    client, socket = connected(io, serve(io))
    seen: list[Any] = []
    socket.timeout(0.03).emit("q", callback=lambda error, *args: seen.append((error, args)))
    eventually(lambda: seen, "the time-out")
    assert isinstance(seen[0][0], AckTimeout) and seen[0][1] == ()
    client.answer(client.receive(), "late")
    socket.timeout(DEADLINE).emit("q", callback=lambda error, *args: seen.append((error, args)))
    client.answer(client.receive(), 1, 2)
    eventually(lambda: len(seen) == 2, "the answer")
    assert seen[1] == (None, (1, 2))


def test_an_acknowledgement_and_its_time_out_race_for_one_outcome(serve: Serve) -> None:
    """The answers arrive at just about the moment of the time-out: each callback runs exactly once."""
    io = Server()
    client, socket = connected(io, serve(io))
    seen: list[int] = []
    for number in range(60):
        socket.timeout(0.01).emit("q", callback=lambda error, *args, n=number: seen.append(n))
    packets = [client.receive() for _ in range(60)]
    time.sleep(0.004)
    for packet in packets:
        client.answer(packet)
    eventually(lambda: len(seen) >= 60, "all outcomes")
    time.sleep(0.03)
    assert sorted(seen) == list(range(60))


def test_the_client_answers_twice(serve: Serve) -> None:
    io = Server()
    io.on("echo", lambda socket, value: value)
    client, socket = connected(io, serve(io))
    seen: list[Any] = []
    socket.emit("q", callback=lambda *args: seen.append(args))
    packet = client.receive()
    client.answer(packet, 1)
    client.answer(packet, 2)
    assert client.call("echo", 1) == [1]
    assert seen == [(1,)]


def test_an_acknowledgement_of_another_client_is_not_taken(serve: Serve) -> None:
    """The ids count per namespace, so a client can guess another's: it must not be able to answer for it."""
    io = Server()
    io.on("echo", lambda socket, value: value)
    process = serve(io)
    client, socket = connected(io, process)
    thief, _ = connected(io, process)
    call = Background(lambda: socket.emit_with_ack("q", timeout=DEADLINE))
    packet = client.receive()
    thief.answer(packet, "stolen")
    assert thief.call("echo", 1) == [1]
    assert not call.done
    client.answer(packet, "mine")
    assert call.result() == "mine"


@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_the_client_leaves_instead_of_answering(serve: Serve, timeout: float | None) -> None:
    io = Server()
    client, socket = connected(io, serve(io))
    call = Background(lambda: socket.emit_with_ack("q", timeout=timeout))
    seen: list[Any] = []
    socket.timeout(DEADLINE).emit("q", callback=lambda error, *args: seen.append(error))
    socket.emit("q", callback=lambda *args: seen.append("never"))
    client.receive()
    client.close()
    with pytest.raises(Disconnected):
        call.result(2)
    eventually(lambda: seen, "the callback")
    assert isinstance(seen[0], Disconnected)
    assert seen[1:] == []


def test_asking_a_client_that_has_left(serve: Serve) -> None:
    io = Server()
    client, socket = connected(io, serve(io))
    client.close()
    eventually(lambda: not socket.connected, "the end")
    with pytest.raises(Disconnected):
        socket.emit_with_ack("q")
    seen: list[Any] = []
    socket.timeout(DEADLINE).emit("q", callback=lambda error, *args: seen.append(error))
    eventually(lambda: seen, "the callback")
    assert isinstance(seen[0], Disconnected)
    assert socket.emit("x") is False


def test_arguments_that_are_no_json_leave_no_waiter_behind(serve: Serve) -> None:
    io = Server()
    _, socket = connected(io, serve(io))
    called: list[Any] = []
    with pytest.raises(TypeError):
        socket.emit_with_ack("q", object())
    with pytest.raises(TypeError):
        socket.timeout(0.02).emit("q", object(), callback=lambda *args: called.append(args))
    time.sleep(0.05)
    assert not socket._acks and not called


def test_the_server_refuses_reserved_names(serve: Serve) -> None:
    io = Server()
    _, socket = connected(io, serve(io))
    for emit in (socket.emit, socket.emit_with_ack, io.emit, io.to("x").emit, socket.volatile.emit):
        with pytest.raises(LocalProtocolError, match="reserved"):
            emit("disconnect")


def test_emit_with_ack_from_many_threads(serve: Serve) -> None:
    """Each gets its own answer, whatever the order in which the client gives them."""
    io = Server()
    client, socket = connected(io, serve(io))
    calls = [Background(lambda n=n: socket.emit_with_ack("q", n, timeout=DEADLINE)) for n in range(20)]
    packets = [client.receive() for _ in calls]
    assert len({packet.id for packet in packets}) == 20
    for packet in reversed(packets):
        client.answer(packet, packet.data[1] * 2)
    assert [call.result() for call in calls] == [n * 2 for n in range(20)]


def test_a_refused_client_answers_nobody(serve: Serve) -> None:
    """A thread that asks a client which is then refused learns it instead of waiting for ever."""
    io = Server()
    asking: list[Background] = []
    asked = threading.Event()

    @io.use
    def middleware(socket: Socket) -> None:
        asking.append(Background(lambda: socket.emit_with_ack("q")))
        asked.wait(DEADLINE)
        raise ConnectRefused("not you")

    client = serve(io).client()
    client.wire.send("40")
    assert client.receive().data == ["q"]
    asked.set()
    assert client.receive().data == {"message": "not you"}
    with pytest.raises(Disconnected):
        asking[0].result(2)


# -- broadcasts -------------------------------------------------------------------------------------------------------


def test_a_broadcast_collects_the_first_argument_of_each_answer(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    clients = [connected(io, process)[0] for _ in range(3)]
    call = Background(lambda: io.timeout(DEADLINE).emit_with_ack("q", 1))
    packets = [client.receive() for client in clients]
    for number in (2, 0, 1):
        clients[number].answer(packets[number], number, "dropped")
        time.sleep(0.01)
    assert call.result() == [2, 0, 1]


def test_a_broadcast_that_is_not_answered_by_all_times_out_with_what_came(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    clients = [connected(io, process)[0] for _ in range(3)]
    call = Background(lambda: io.timeout(0.1).emit_with_ack("q"))
    packets = [client.receive() for client in clients]
    clients[1].answer(packets[1], "one")
    clients[2].close()
    with pytest.raises(AckTimeout) as caught:
        call.result()
    assert caught.value.responses == ["one"]
    seen: list[Any] = []
    io.timeout(0.05).emit("q", callback=lambda error, responses: seen.append((error, responses)))
    eventually(lambda: seen, "the callback")
    assert isinstance(seen[0][0], AckTimeout) and seen[0][1] == []


def test_a_broadcast_to_nobody_is_complete_at_once(serve: Serve) -> None:
    io = Server()
    serve(io)
    assert io.to("nobody").timeout(DEADLINE).emit_with_ack("q") == []
    seen: list[Any] = []
    io.to("nobody").timeout(DEADLINE).emit("q", callback=lambda error, responses: seen.append((error, responses)))
    eventually(lambda: seen, "the callback")
    assert seen == [(None, [])]


def test_a_broadcast_with_acknowledgement_needs_a_time_out(serve: Serve) -> None:
    io = Server()
    serve(io)
    with pytest.raises(LocalProtocolError, match="time-out"):
        io.local.emit_with_ack("q")
    with pytest.raises(LocalProtocolError, match="time-out"):
        io.emit("q", callback=lambda error, responses: None)


def test_answers_to_a_broadcast_come_from_many_threads_at_once(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    clients = [connected(io, process)[0] for _ in range(10)]
    for _ in range(5):
        call = Background(lambda: io.timeout(DEADLINE).emit_with_ack("q"))
        packets = [client.receive() for client in clients]
        at_once(10, lambda n: clients[n].answer(packets[n], n))
        assert sorted(call.result()) == list(range(10))
