"""Node's streams and sharded adapters: golden bytes, junk; clients that come back at another server."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.socketio.test_recovery import Visitor, gone, socket_of
from tests.support.inprocess import InProcess, eventually
from tests.support.redis import RedisServer, running_redis
from wsgi_sio import Server
from wsgi_sio.adapters import RecoveringStreamsAdapter, redis_streams_adapter, sharded_redis_adapter
from wsgi_sio.cluster.bus.redis_stream_reader import id_at, position_of
from wsgi_sio.cluster.drivers import node_redis_sharded
from wsgi_sio.cluster.drivers.redis_streams import stream_entries
from wsgi_sio.cluster.drivers.redis_streams.session_format import Stored, pack_session, unpack_session
from wsgi_sio.cluster.messages import decode
from wsgi_sio.socketio.jsoncodec import dumps_of

DUMPS = dumps_of(None)
UID = "0123456789abcdef"
OPTS: dict[str, Any] = {"rooms": [], "except": [], "flags": {}}


# -- formats -----------------------------------------------------------------------------------------------------------


def test_golden_entries_of_a_stream() -> None:
    data = {"packet": {"type": 2, "data": ["hello", 1]}, "opts": OPTS}
    message = {"uid": "c9dcebfacbcb0cc8", "nsp": "/", "type": 3, "data": data}
    packed = stream_entries.pack_data(data, DUMPS)
    assert packed == b'{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":[],"except":[],"flags":{}}}'
    entry = stream_entries.entry_of(message, packed)
    assert entry == [b"uid", b"c9dcebfacbcb0cc8", b"nsp", b"/", b"type", b"3", b"data", packed]
    assert stream_entries.message_of(dict(zip(entry[::2], entry[1::2], strict=True))) == message
    golden = b"gqZwYWNrZXSCpHR5cGUCpGRhdGGSo2JpbsQBAaRvcHRzg6Vyb29tc5GhcqZleGNlcHSQpWZsYWdzgah2b2xhdGlsZcM="
    binary = {
        "packet": {"type": 2, "data": ["bin", b"\x01"]},
        "opts": {"rooms": ["r"], "except": [], "flags": {"volatile": True}},
    }
    assert stream_entries.pack_data(binary, DUMPS) == golden
    assert stream_entries.unpack_data(golden) == binary


def test_golden_messages_beside_a_stream() -> None:
    golden = bytes.fromhex("84a474797065 09 a464617461 81 a67061636b6574 92 a26869 01 a3756964 b0".replace(" ", ""))
    golden += UID.encode() + bytes.fromhex("a36e7370a12f")
    message = {"uid": UID, "nsp": "/", "type": 9, "data": {"packet": ["hi", 1]}}
    assert stream_entries.is_ephemeral(message)
    assert stream_entries.pack_message(message, DUMPS) == golden
    assert decode(golden) == message


def test_golden_messages_of_the_sharded_adapter() -> None:
    golden = bytes.fromhex(
        "84a474797065 03 a464617461 82 a67061636b6574 82 a474797065 02 a464617461 92 a362696e c40101"
        "a46f707473 83 a5726f6f6d73 91 a5726f6f6d31 a6657863657074 90 a5666c616773 80 a3756964 b0".replace(" ", "")
    )
    golden += UID.encode() + bytes.fromhex("a36e7370a12f")
    data = {
        "packet": {"type": 2, "data": ["bin", b"\x01"]},
        "opts": {"rooms": ["room1"], "except": [], "flags": {}},
    }
    message = {"uid": UID, "nsp": "/", "type": 3, "data": data}
    io = Server(adapter=sharded_redis_adapter("redis://127.0.0.1:1"))
    adapter: Any = io.sockets.adapter
    assert adapter.encode(message) == golden and decode(golden) == message
    assert node_redis_sharded.room_of(message, "dynamic") == "room1"
    assert node_redis_sharded.room_of(message, "static") is None
    fetch = {"uid": "44ad3cae41dd6060", "nsp": "/", "type": 7, "data": {"opts": OPTS, "requestId": "9358725928726c27"}}
    assert adapter.encode(fetch) == (
        b'{"type":7,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"9358725928726c27"},'
        b'"uid":"44ad3cae41dd6060","nsp":"/"}'
    )


@pytest.mark.parametrize(
    ("room", "mode", "channel"),
    [
        ("a", "dynamic", True),
        (7, "dynamic", True),
        ("x" * 20, "dynamic", False),
        ("x" * 20, "dynamic-private", True),
        ("a", "static", False),
        (b"a", "dynamic", False),
        (True, "dynamic", False),
    ],
)
def test_which_rooms_have_a_channel(room: Any, mode: str, channel: bool) -> None:
    assert node_redis_sharded.has_channel(room, mode) == channel


def test_golden_session() -> None:
    golden = b"hKNzaWShU6NwaWShUKVyb29tc5KhU6FypGRhdGGBoWEB"
    session = Stored("S", "P", frozenset(["S", "r"]), {"a": 1})
    assert pack_session(session) == golden
    assert unpack_session(golden, "P") == session
    more = Stored("S", "P", frozenset(["S", 7]), {"a": b"\x00"}, "owner", position_of("5-1"), frozenset([1 << 64]))
    assert unpack_session(pack_session(more), "P") == more
    for junk, pid in ((golden, "Q"), (b"", "P"), (b"!", "P"), (b"gA==", "P"), (b"kA==", "P"), (b"wA==", "P")):
        with pytest.raises(ValueError, match="not a session|.*"):
            unpack_session(junk, pid)


@pytest.mark.parametrize("value", [object(), {1, 2}, (1, 2), 1 << 70])
def test_sessions_that_would_not_be_the_same_are_not_saved(value: Any) -> None:
    with pytest.raises((TypeError, OverflowError)):
        pack_session(Stored("S", "P", frozenset("S"), {"a": value}))


def test_streams_of_namespaces_are_those_of_node() -> None:
    assert stream_entries.stream_of("/x", "socket.io", 1) == "socket.io"
    names = {nsp: stream_entries.stream_of(nsp, "s", 4) for nsp in ("/", "/my-namespace", "/notifications", "/€😀")}
    # as Node's hashCode() and "%" give them
    assert names == {"/": "s-3", "/my-namespace": "s--3", "/notifications": "s--3", "/€😀": names["/€😀"]}


@pytest.mark.parametrize("text", ["", "hello", "1", "1-", "-1", "1-x", "1-2-3", "٣-1", "1" * 30 + "-1", "+1-1", "1 -1"])
def test_what_is_no_offset(text: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        position_of(text)


def test_positions() -> None:
    ids = ["0-0", "0-1", "5-0", "5-18446744073709551615", "6-0"]
    assert [id_at(position_of(entry_id)) for entry_id in ids] == ids
    assert sorted(map(position_of, ids)) == list(map(position_of, ids))


# -- recovery ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


class Hosts:
    """Servers that share nothing but a Redis."""

    def __init__(self, redis: RedisServer, count: int = 2, **options: Any) -> None:
        self.redis = redis
        self.servers: list[Server] = []
        self.processes: list[InProcess] = []
        for _ in range(count):
            self.add(**options)

    def add(self, **options: Any) -> Server:
        io = Server(
            adapter=redis_streams_adapter(self.redis.url, session_save_interval=0.2, **options),
            connection_state_recovery=True,
            ping_interval=5,
            ping_timeout=5,
        )
        io.on("join", lambda socket, room: socket.join(room))
        self.servers.append(io)
        self.processes.append(InProcess(io))
        return io

    def visit(self, number: int) -> Visitor:
        return Visitor(self.processes[number])

    def move(self, visitor: Visitor, number: int) -> bool:
        visitor.process = self.processes[number]
        return visitor.back()

    def adapter(self, number: int) -> RecoveringStreamsAdapter:
        adapter = self.servers[number].sockets.adapter
        assert isinstance(adapter, RecoveringStreamsAdapter)
        return adapter

    def die(self, number: int) -> None:
        """As a SIGKILL would: nothing is said or saved any more."""
        adapter = self.adapter(number)
        assert adapter._node is not None and adapter.bus is not None
        adapter._node.closed = True
        adapter._sessions.close()
        adapter.bus.after_fork()

    def close(self) -> None:
        for io, process in zip(self.servers, self.processes, strict=True):
            io.close()
            process.close()


@pytest.fixture
def make_hosts(redis: RedisServer) -> Iterator[Callable[..., Hosts]]:
    made: list[Hosts] = []

    def make(count: int = 2, **options: Any) -> Hosts:
        made.append(Hosts(redis, count, **options))
        return made[-1]

    yield make
    for hosts in made:
        hosts.close()


def saved(hosts: Hosts, visitor: Visitor, room: str) -> bool:
    raw = hosts.redis.do("GET", f"sio:session:{visitor.auth['pid']}")
    return raw is not None and room in unpack_session(raw.encode(), visitor.auth["pid"]).rooms


def test_a_client_comes_back_at_another_host_and_has_all_once(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts()
    one, two = hosts.servers
    visitor = hosts.visit(0)
    socket_of(one, visitor).join("r")
    socket_of(one, visitor).data["name"] = "Ann"
    other = hosts.visit(1)
    for number in range(10):
        hosts.servers[number % 2].to("r").emit("e", number)
        assert visitor.receive() == ["e", number]
    visitor.lose()
    gone(one, visitor)
    for number in range(10, 30):
        hosts.servers[number % 2].to("r").emit("e", number, b"x")
        hosts.servers[number % 2].to("elsewhere").emit("not for it")
        hosts.servers[number % 2].to("r").volatile.emit("volatile")
    two.emit("end")
    assert other.receive() == ["end"]
    assert hosts.move(visitor, 1)
    numbers = [event[1] for event in visitor.events if event[0] == "e"]
    assert sorted(numbers) == list(range(30)) and visitor.names.count("end") == 1
    assert [n for n in numbers if n % 2] == list(range(1, 30, 2)), "in each sender's order"
    socket = socket_of(two, visitor)
    assert (socket.rooms, socket.data, socket.recovered) == ({socket.id, "r"}, {"name": "Ann"}, True)
    one.to("r").emit("live")
    assert visitor.receive() == ["live"]


def test_a_client_whose_process_was_killed_comes_back_and_has_all_once(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts(3)
    visitor = hosts.visit(0)
    socket_of(hosts.servers[0], visitor).data["seat"] = 7
    visitor.client.emit("join", "r")
    hosts.servers[1].emit("first")
    assert visitor.receive() == ["first"]
    eventually(lambda: saved(hosts, visitor, "r"), "that its room is saved")
    raw = lambda: hosts.redis.do("GET", f"sio:session:{visitor.auth['pid']}").encode()  # noqa: E731
    eventually(lambda: unpack_session(raw(), visitor.auth["pid"]).data == {"seat": 7}, "its data")
    hosts.die(0)
    for number in range(20):
        hosts.servers[1].to("r").emit("e", number)
    visitor.lose()
    assert hosts.move(visitor, 2)
    hosts.servers[1].emit("end")
    while visitor.names[-1] != "end":
        visitor.receive()
    assert visitor.names == ["first", *["e"] * 20, "end"]
    assert [event[1] for event in visitor.events[1:-1]] == list(range(20))
    assert socket_of(hosts.servers[2], visitor).data == {"seat": 7}


def test_a_client_that_has_got_nothing_yet_comes_back_as_well(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts()
    visitor = hosts.visit(0)
    hosts.visit(1)
    visitor.lose()
    gone(hosts.servers[0], visitor)
    hosts.servers[0].emit("missed")
    assert hosts.move(visitor, 1)
    if not visitor.events:
        visitor.receive()
    assert visitor.names == ["missed"]


def test_a_half_open_connection_elsewhere_is_ended_first(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts()
    reasons: list[str] = []
    hosts.servers[0].on("disconnect", lambda socket, reason: reasons.append(reason))
    visitor = hosts.visit(0)
    hosts.servers[0].emit("x")
    visitor.receive()
    socket_of(hosts.servers[0], visitor).join("late")
    old = visitor.client
    assert hosts.move(visitor, 1)
    assert reasons == ["transport close"]
    assert "late" in socket_of(hosts.servers[1], visitor).rooms
    assert visitor.sid not in hosts.servers[0].sockets.sockets
    old.close()


def test_who_has_left_for_good_does_not_come_back(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts()
    visitor = hosts.visit(0)
    hosts.servers[0].emit("x")
    visitor.receive()
    socket = socket_of(hosts.servers[0], visitor)
    socket.emit("bye")
    socket.disconnect()
    assert visitor.receive() == ["bye"], "although it was on its way through Redis"
    key = f"sio:session:{visitor.auth['pid']}"
    eventually(lambda: hosts.redis.do("GET", key) is None, "that nothing is kept")
    visitor.lose()
    assert not hosts.move(visitor, 1)


def test_who_leaves_a_room_gets_what_was_emitted_to_it_before(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts(1)
    visitor = hosts.visit(0)
    io = hosts.servers[0]
    socket_of(io, visitor).join("r")
    io.to("r").emit("before")
    io.in_("r").sockets_leave("r")
    io.to("r").emit("after")
    io.emit("end")
    assert [visitor.receive(), visitor.receive()] == [["before"], ["end"]]


def test_old_events_come_from_redis_where_the_process_has_not_read_them(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts(1)
    visitor = hosts.visit(0)
    io = hosts.servers[0]
    for number in range(5):
        io.emit("e", number)
        visitor.receive()
    visitor.lose()
    gone(io, visitor)
    for number in range(5, 2505):
        io.emit("e", number)
    eventually(lambda: int(hosts.redis.do("XLEN", "socket.io")) >= 2505, "all in the stream")
    hosts.add()
    assert hosts.move(visitor, 1)
    assert [event[1] for event in visitor.events] == list(range(2505))


def test_what_is_trimmed_is_not_recovered(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts(1)
    visitor = hosts.visit(0)
    io = hosts.servers[0]
    io.emit("e", 0)
    visitor.receive()
    visitor.lose()
    gone(io, visitor)
    for number in range(20):
        io.emit("e", number)
    eventually(lambda: len(hosts.adapter(0)._own) == 0, "that all are in the stream")
    hosts.redis.do("XTRIM", "socket.io", "MAXLEN", "5")
    hosts.add()
    assert not hosts.move(visitor, 1)


def test_junk_in_the_stream_is_dropped_and_told_once(
    make_hosts: Callable[..., Hosts], caplog: pytest.LogCaptureFixture
) -> None:
    hosts = make_hosts(1)
    visitor = hosts.visit(0)
    caplog.set_level(logging.WARNING)
    good = json.dumps({"packet": {"type": 2, "data": ["good"]}, "opts": OPTS})
    for fields in (
        ["nsp", "/"],
        ["uid", "x", "nsp", "/", "type", "x"],
        ["uid", "x", "nsp", "/", "type", "3", "data", "{"],
        ["uid", "x", "nsp", "/", "type", "3", "data", "gASVBQ=="],
        ["uid", "x", "nsp", "/", "type", "3", "data", '{"packet":1,"opts":2}'],
        ["uid", "x", "nsp", "/", "type", "3", "data", '{"packet":{"type":2,"data":["x"]},"opts":{"rooms":[[1]]}}'],
        ["uid", "x", "nsp", "/", "type", "3"],
        ["a", "b"],
        ["uid", "x", "nsp", "/", "type", "99", "data", "{}"],
        ["uid", "emitter", "nsp", "/", "type", "3", "data", good],
    ):
        hosts.redis.do("XADD", "socket.io", "*", *fields)
    assert visitor.receive() == ["good"]
    told = [record for record in caplog.records if "told once" in record.getMessage()]
    assert len(told) == 1


def test_what_has_been_read_is_not_read_again_when_the_stream_has_lost_its_end(
    make_hosts: Callable[..., Hosts], caplog: pytest.LogCaptureFixture
) -> None:
    """As where a replica takes over that lacked the latest."""
    hosts = make_hosts()
    visitors = [hosts.visit(number) for number in range(2)]
    for number in range(5):
        hosts.servers[0].emit("e", number)
        assert [visitor.receive() for visitor in visitors] == [["e", number]] * 2
    for entry_id, _ in hosts.redis.do("XREVRANGE", "socket.io", "+", "-", "COUNT", "2"):
        hosts.redis.do("XDEL", "socket.io", entry_id)
    hosts.redis.kill_clients("normal")
    told = "another server answers"
    eventually(lambda: sum(told in record.getMessage() for record in caplog.records) == 2, "that both look again")
    hosts.servers[1].emit("more")
    assert [visitor.receive() for visitor in visitors] == [["more"]] * 2


def test_while_redis_is_away_own_clients_get_everything_once_and_in_order(make_hosts: Callable[..., Hosts]) -> None:
    hosts = make_hosts()
    visitor, other = hosts.visit(0), hosts.visit(1)
    io = hosts.servers[0]
    slowest = 0.0

    def emit(number: int) -> None:
        nonlocal slowest
        began = time.monotonic()
        io.emit("e", number)
        slowest = max(slowest, time.monotonic() - began)

    for number in range(50):
        emit(number)
    hosts.redis.freeze()
    for number in range(50, 100):
        emit(number)
        time.sleep(0.03)
    got = [visitor.receive()[1] for _ in range(100)]
    assert got == list(range(100)), "without waiting for Redis"
    hosts.redis.thaw()
    for number in range(100, 150):
        emit(number)
    assert [visitor.receive()[1] for _ in range(50)] == list(range(100, 150))
    assert [other.receive()[1] for _ in range(150)] == list(range(150)), "the others late, but all"
    hosts.redis.stop()
    for number in range(150, 200):
        emit(number)
        time.sleep(0.03)
    assert [visitor.receive()[1] for _ in range(50)] == list(range(150, 200))
    hosts.redis.start()
    eventually(lambda: not hosts.adapter(0).bus.outage.lasts, "that it works again")  # type: ignore[union-attr]
    eventually(lambda: not hosts.adapter(1).bus.outage.lasts, "that it works there")  # type: ignore[union-attr]
    for number in range(200, 250):
        emit(number)
    assert [visitor.receive()[1] for _ in range(50)] == list(range(200, 250))
    rest = []
    while not rest or rest[-1] != 249:
        rest.append(other.receive()[1])
    assert rest == sorted(set(rest)), "none twice, in order"
    visitor.client.expect_silence(0.3)
    assert slowest < 1.0, "nobody waits for Redis"
