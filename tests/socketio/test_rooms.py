"""Rooms and broadcasts, over the wire."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import Background, Client, InProcess, at_once, eventually
from wsgi_sio import BroadcastOperator, Server, Socket


class Crowd:
    """Clients a, b, c... in one namespace and what each of them gets."""

    def __init__(self, io: Server, process: InProcess, count: int = 4, transport: str = "websocket") -> None:
        self.io = io
        self.clients: list[Client] = [process.client(transport) for _ in range(count)]
        self.sockets: list[Socket] = []
        for client in self.clients:
            sid = client.connect()
            self.sockets.append(eventually(lambda sid=sid: io.sockets.sockets.get(sid), "the socket"))

    def got(self) -> list[list[Any]]:
        """The events that each client has got since the last call."""
        for number, socket in enumerate(self.sockets):
            socket.emit("end", number)
        result = []
        for number, client in enumerate(self.clients):
            events: list[Any] = []
            while (data := client.receive().data) != ["end", number]:
                events.append(data[0] if len(data) == 1 else data)
            result.append(events)
        return result


@pytest.fixture
def crowd(serve: Serve) -> Crowd:
    """Four clients; rooms: x has 0 and 1, y has 1 and 2, z has 3."""
    io = Server()
    crowd = Crowd(io, serve(io))
    for number, rooms in enumerate((["x"], ["x", "y"], ["y"], ["z"])):
        crowd.sockets[number].join(rooms)
    return crowd


@pytest.mark.parametrize(
    ("choose", "reached"),
    [
        (lambda io, s: io, [0, 1, 2, 3]),
        (lambda io, s: io.to("x"), [0, 1]),
        (lambda io, s: io.to("x").to("y"), [0, 1, 2]),
        (lambda io, s: io.to(["x", "y", "x"]), [0, 1, 2]),
        (lambda io, s: io.in_("x").except_("y"), [0]),
        (lambda io, s: io.except_("x"), [2, 3]),
        (lambda io, s: io.except_(["x", "z"]), [2]),
        (lambda io, s: io.to("nobody"), []),
        (lambda io, s: io.to([]), []),
        (lambda io, s: io.except_([]), [0, 1, 2, 3]),
        (lambda io, s: io.to([]).to("x"), [0, 1]),
        (lambda io, s: io.to("x").in_([]), [0, 1]),
        (lambda io, s: io.except_("x").to([]), []),
        (lambda io, s: io.volatile.to([]).except_([]).local, []),
        (lambda io, s: s[0].to([]), []),
        (lambda io, s: s[0].to([]).to("y"), [1, 2]),
        (lambda io, s: s[0].compress(False).to(()), []),
        (lambda io, s: io.sockets.to(frozenset()), []),
        (lambda io, s: io.to(s[2].id), [2]),
        (lambda io, s: io.except_(s[2].id), [0, 1, 3]),
        (lambda io, s: io.local, [0, 1, 2, 3]),
        (lambda io, s: io.local.to("z"), [3]),
        (lambda io, s: s[0].broadcast, [1, 2, 3]),
        (lambda io, s: s[0].to("x"), [1]),
        (lambda io, s: s[0].to("x").to("z"), [1, 3]),
        (lambda io, s: s[0].in_("y"), [1, 2]),
        (lambda io, s: s[0].except_("y"), [3]),
        (lambda io, s: s[0].local.to(["x", "y"]), [1, 2]),
        (lambda io, s: s[0].volatile.to("y"), [1, 2]),
        (lambda io, s: s[0].compress(False).broadcast, [1, 2, 3]),
        (lambda io, s: s[0].to(s[0].id), []),
        (lambda io, s: s[0].broadcast.to(s[1].id), [1]),
        (lambda io, s: s[0], [0]),
        (lambda io, s: s[0].volatile, [0]),
        (lambda io, s: io.volatile.compress(False).to("x").except_(s[1].id).local, [0]),
    ],
)
def test_who_gets_a_broadcast(crowd: Crowd, choose: Any, reached: list[int]) -> None:
    """Unions without exceptions, each client once."""
    crowd.got()  # nothing is on its way, so that volatile packets are not dropped
    choose(crowd.io, crowd.sockets).emit("hit")
    assert [number for number, events in enumerate(crowd.got()) if events] == reached


def test_a_client_in_all_the_rooms_gets_one_copy(crowd: Crowd) -> None:
    crowd.sockets[0].join(["y", "z", "w"])
    crowd.io.to("x").to("y").to("z").to("w").to(crowd.sockets[0].id).emit("hit")
    assert crowd.got()[0] == ["hit"]


def test_operators_are_immutable(crowd: Crowd) -> None:
    """Each step makes a new one; a kept operator can be used again, from several threads."""
    base = crowd.io.to("x")
    wider = base.to("y")
    narrower = wider.except_("x")
    assert isinstance(base, BroadcastOperator)
    at_once(3, lambda n: (base, wider, narrower)[n].emit("hit", n))
    got = crowd.got()
    assert [sorted(event[1] for event in events) for events in got] == [[0, 1], [0, 1], [1, 2], []]


def test_joining_and_leaving(crowd: Crowd) -> None:
    socket = crowd.sockets[0]
    assert socket.rooms == {socket.id, "x"}
    socket.join("new")
    socket.join(("a", "b"))
    assert socket.rooms == {socket.id, "x", "new", "a", "b"}
    for room in ("x", "new", "a", "never joined"):
        socket.leave(room)
    assert socket.rooms == {socket.id, "b"}
    socket.rooms.add("a copy")
    assert socket.rooms == {socket.id, "b"}
    crowd.io.to("x").emit("hit")
    assert crowd.got() == [[], ["hit"], [], []]


@pytest.mark.parametrize("room", [7, 0, "", b"", b"ab", 1.5, uuid.UUID(int=0)], ids=repr)
def test_any_hashable_value_is_a_room(serve: Serve, room: Any) -> None:
    io = Server()
    told: list[Any] = []
    io.sockets.adapter.on("join-room", lambda room, sid: told.append(room))
    crowd = Crowd(io, serve(io), count=3)
    first, second, _ = crowd.sockets
    del told[:]
    first.join(room)
    io.to(second.id).sockets_join(room)
    assert told == [room, room] and first.rooms == {first.id, room}
    io.to(room).emit("to")
    first.in_(room).emit("others")
    io.except_(room).emit("except")
    io.to([room, "nobody"]).emit("several")
    assert {socket.id for socket in io.in_(room).fetch_sockets()} == {first.id, second.id}
    first.leave(room)
    io.to(room).emit("left")
    io.in_(room).sockets_leave(room)
    io.to(room).emit("empty")
    names = [[event[0] if isinstance(event, list) else event for event in events] for events in crowd.got()]
    assert names == [["to", "several"], ["to", "others", "several", "left"], ["except"]]


def test_nobody_is_moved_asked_or_found(crowd: Crowd) -> None:
    nobody = crowd.io.to([])
    before = [socket.rooms for socket in crowd.sockets]
    nobody.sockets_join("x")
    nobody.except_("z").sockets_leave(["x", "y", "z"])
    nobody.disconnect_sockets(close=True)
    crowd.sockets[0].join([])
    crowd.io.sockets_leave([])
    assert nobody.fetch_sockets() == [] and nobody.timeout(60).emit_with_ack("q") == []
    assert [socket.rooms for socket in crowd.sockets] == before and crowd.got() == [[], [], [], []]


def test_nothing_is_no_room(crowd: Crowd) -> None:
    """Most likely a variable that should have one: neither everybody nor nobody would be what is meant."""
    for use in (crowd.io.to, crowd.io.except_, crowd.sockets[0].join, crowd.io.sockets_join):
        with pytest.raises(TypeError, match="None is not a room"):
            use(None)


def test_the_utilities_that_move_sockets(crowd: Crowd) -> None:
    io = crowd.io
    assert {s.id for s in io.to("x").fetch_sockets()} == {crowd.sockets[0].id, crowd.sockets[1].id}
    assert {s.id for s in io.except_("x").fetch_sockets()} == {crowd.sockets[2].id, crowd.sockets[3].id}
    assert len(io.fetch_sockets()) == 4
    io.to("x").sockets_join(["m", "n"])
    io.to("m").to("z").sockets_leave("x")
    assert [s.rooms - {s.id} for s in crowd.sockets] == [{"m", "n"}, {"y", "m", "n"}, {"y"}, {"z"}]
    io.to("n").disconnect_sockets()
    eventually(lambda: len(io.sockets.sockets) == 2, "the end")
    assert {s.id for s in io.fetch_sockets()} == {crowd.sockets[2].id, crowd.sockets[3].id}


def test_namespaces_have_their_own_rooms(serve: Serve) -> None:
    io = Server()
    io.of("/b")
    client = serve(io).client()
    client.connect()
    client.connect("/b")
    for name in ("/", "/b"):
        for socket in io.of(name).fetch_sockets():
            socket.join("room")
    io.of("b").to("room").emit("hit")
    client.expect("hit", nsp="/b")
    io.to("room").emit("hit")
    client.expect("hit")
    client.expect_silence(0.02)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_binary_broadcasts_stay_in_one_piece(serve: Serve, transport: str) -> None:
    """Three threads broadcast packets with attachments: no client sees them interleaved (its decoder would raise)."""
    io = Server()
    crowd = Crowd(io, serve(io), 3, transport)
    payload = [bytes([n]) * 50 for n in range(5)]
    at_once(3, lambda n: [io.emit("bin", n, i, payload) for i in range(30)])
    for client in crowd.clients:
        got: dict[int, list[int]] = {0: [], 1: [], 2: []}
        for _ in range(90):
            sender, number, attachments = client.expect("bin")
            assert attachments == payload
            got[sender].append(number)
        assert got == {n: list(range(30)) for n in range(3)}


def test_emits_from_many_threads_keep_each_threads_order(serve: Serve) -> None:
    io = Server()
    crowd = Crowd(io, serve(io), 3)

    def emit(number: int) -> None:
        for i in range(100):
            (io if i % 2 else io.local).emit("n", number, i)

    calls = [Background(emit, number) for number in range(8)]
    for client in crowd.clients:
        got: dict[int, list[int]] = {n: [] for n in range(8)}
        for _ in range(800):
            sender, number = client.expect("n")
            got[sender].append(number)
        assert all(numbers == list(range(100)) for numbers in got.values())
    for call in calls:
        call.result()


def test_a_broadcast_of_something_that_is_no_json_raises_and_reaches_nobody(crowd: Crowd) -> None:
    with pytest.raises(TypeError):
        crowd.io.emit("bad", {1, 2})
    assert crowd.got() == [[], [], [], []]


def test_volatile_events_are_dropped_while_the_client_is_busy_and_only_then(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    client = process.client(buffers=10_000)
    sid = client.connect()
    socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")
    eventually(lambda: socket.conn.session.transport.idle, "the end of writing the answer to CONNECT")
    assert socket.volatile.emit("v", 0) is True
    assert client.expect("v") == [0]
    eventually(lambda: socket.conn.session.transport.idle, "an idle transport")
    while socket.conn.session.transport.idle:
        socket.emit("bulk", "x" * 50_000)
    for number in range(1, 10):
        assert socket.volatile.emit("v", number, b"attachment") is False
        io.volatile.emit("v", number)
    socket.emit("last")
    while (data := client.receive().data)[0] != "last":
        assert data[0] == "bulk"
    eventually(lambda: socket.conn.session.transport.idle, "an idle transport")
    assert socket.volatile.emit("v", 10) is True
    assert client.expect("v") == [10]


def test_volatile_over_polling_needs_a_waiting_get(serve: Serve) -> None:
    io = Server()
    process = serve(io)
    client = process.client("polling")
    sid = client.connect()
    socket = eventually(lambda: io.sockets.sockets.get(sid), "the socket")
    assert socket.volatile.emit("dropped") is False
    waiting = client.wire.start_get()  # type: ignore[union-attr]
    assert socket.volatile.emit("v") is True
    assert socket.volatile.emit("dropped") is False
    assert waiting.result().body == b'42["v"]'


def test_a_slow_client_is_closed_and_the_others_get_everything(serve: Serve) -> None:
    io = Server(max_outbox=300_000)
    seen: list[Any] = []
    io.on("disconnect", lambda socket, reason: seen.append((socket.id, reason)))
    process = serve(io)
    slow = process.client(buffers=10_000)
    slow_sid = slow.connect()
    fast = process.client()
    fast.connect()

    def emit() -> None:
        for number in range(100):
            io.emit("n", number, "x" * 10_000)
            io.sleep(0.001)

    emitting = Background(emit)
    for number in range(100):
        assert fast.expect("n")[0] == number
    emitting.result()
    eventually(lambda: seen, "the slow client's end")
    assert seen == [(slow_sid, "transport error")]
