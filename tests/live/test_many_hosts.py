"""One Redis, a server of Node with each of its adapters, and two hosts of two workers each, all with clients: whatever
is done from either side is seen by each client of the five processes once."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.drivers.redis_streams.test_recovering_streams_adapter import NodeProcess, Wire
from tests.cluster.drivers.test_node_redis_interop import wait_for_readers
from tests.live.peers import Peer
from tests.live.several import SeveralWorkers, gunicorn
from tests.socketio.test_recovery import Visitor
from tests.support.inprocess import Client, eventually
from tests.support.node_peer import NodePeer
from tests.support.redis import RedisServer, running_redis
from tests.support.scenario import assert_clean
from tests.support.world import WORLD

WORKER = "-k gevent" if WORLD == "gevent" else "-k gthread --threads 8"
RECOVERY = {"connectionStateRecovery": {"maxDisconnectionDuration": 60_000}}
Event = list[Any]


class Guests:
    """The hosts, Node, and a client at each of the five processes, the last of which is Node's.

    :ivar pids: of our workers, in the order of their clients.
    """

    def __init__(self, stack: ExitStack, adapter: str, redis: RedisServer) -> None:
        self.adapter = adapter
        self.recovers = adapter == "streams"
        self._redis = redis
        env = {"ADAPTER": adapter, "REDIS": redis.url}

        def start(name: str) -> SeveralWorkers:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sio"))
            options = {"connection_state_recovery": True} if self.recovers else {}
            return stack.enter_context(
                gunicorn(
                    f"{WORKER} -w 2 --preload",
                    app="tests.apps.many_features:app",
                    env={**env, "RUNTIME_DIRECTORY": folder},  # so that the two are not siblings
                    **options,
                )
            )

        with ThreadPoolExecutor(3) as pool:
            more = json.dumps(RECOVERY if self.recovers else {})
            node = pool.submit(NodePeer, "redis_peer.js", adapter, redis.url, "{}", more)
            self.hosts = [*pool.map(start, "ab")]
        self.node = node.result()
        stack.callback(self.node.kill)
        self.peers: list[Peer] = []
        self.pids: list[int] = []
        for host in self.hosts:
            self._visit_both_workers(stack, host)
        self.sids = sorted([*(peer.sid for peer in self.peers), self.node.sid])
        self._seen = self._fences = 0
        eventually(lambda: self.node.do("count") == 5, "that Node knows all")
        if self.recovers:  # what comes before Node reads is lost to it
            wait_for_readers(redis, 5)

    def _visit_both_workers(self, stack: ExitStack, host: SeveralWorkers) -> None:
        found: dict[int, Peer] = {}

        def visit() -> bool:
            peer = Peer(host).join()
            pid = peer.receive_event()[1]
            if pid in found:
                peer.leave()
            else:
                stack.callback(peer.leave)
                found[pid] = peer
            return len(found) == 2

        eventually(visit, "a client at each worker")
        self.pids += found
        self.peers += found.values()

    def told(self) -> list[list[Event]]:
        """What each client has been told since the last call, Node's at last."""
        self._fences += 1
        ends = [["told", "fence", self._fences, number] for number in range(5)]  # what each sender has sent is before
        self.node.do("emit", *ends[4])
        for peer, end in zip(self.peers, ends[:4], strict=True):
            peer.emit("tell", None, *end[1:])
        result = []
        for peer in self.peers:
            events: list[Event] = []
            while not all(end in events for end in ends):
                events.append(_without_offset(peer.receive_event(20)))
            result.append(events)
        seen: list[Event] = []

        def complete() -> bool:
            seen[:] = map(_without_offset, self.node.do("seen")[self._seen :])
            return all(end in seen for end in ends)

        eventually(complete, "the end in Node")
        self._seen += len(seen)
        return [[event for event in events if event not in ends] for events in (*result, seen)]

    def wait_until_heard(self, room: str, processes: int) -> None:
        """Wait until so many hear the channel of a room, where rooms have one."""
        if self.adapter == "sharded":
            count = ("PUBSUB", "SHARDNUMSUB", f"socket.io#/#{room}#")
            eventually(lambda: self._redis.do(*count)[1] == processes, "that they hear the room")


def _without_offset(event: Event) -> Event:
    return event[:-1] if re.fullmatch(r"\d+-\d+", str(event[-1])) else event


@pytest.fixture(
    scope="module",
    params=[
        "classic",
        pytest.param("sharded", marks=pytest.mark.slow),
        pytest.param("streams", marks=pytest.mark.slow),
    ],
)
def guests(request: pytest.FixtureRequest, node_modules: Path) -> Iterator[Guests]:
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis())
        guests = Guests(stack, request.param, redis)
        yield guests
        for host in guests.hosts:
            busy = "gevent's loop has not run"  # as on a machine that has much else to do
            assert all(busy in warning for warning in host.warnings()), host.log()
            assert_clean(host)


def test_broadcasts(guests: Guests) -> None:
    values = [1, "ü€😀", None, {"a": [1.5, True]}]
    for number in range(10):
        guests.node.do("emit", "told", number, "node", values)
        guests.peers[number % 4].emit("tell", None, number, f"ours {number % 4}", values)
    for events in guests.told():
        assert len(events) == 20 and all(event[3] == values for event in events)
        for sender, numbers in (("node", [*range(10)]), *((f"ours {one}", [*range(one, 10, 4)]) for one in range(4))):
            assert [event[1] for event in events if event[2] == sender] == numbers


def test_rooms_and_exceptions(guests: Guests) -> None:
    """Of our clients the first of each host are in one room, and the second host's in another; Node's is in its own."""
    one, two, three, four = guests.peers
    for peer, room in ((one, "firsts"), (three, "firsts"), (three, "b"), (four, "b")):
        assert peer.call("join", room) == [room]
    node, none = [["told", "node"]], list[Event]()
    for rooms, but, expected in (
        (["firsts"], [], [node, none, node, none, none]),
        (["firsts", "b", "nodes"], [], [node, none, node, node, node]),
        (["firsts", "nodes"], ["b"], [node, none, none, none, node]),
        ([], ["firsts", "nodes"], [none, node, none, node, none]),
        ([three.sid], [], [none, none, node, none, none]),
    ):
        guests.node.do("emitTo", rooms, but, "told", "node")
        assert guests.told() == expected
    ours = [["told", "ours"]]
    two.emit("tell", "firsts", "ours")
    assert guests.told() == [ours, none, ours, none, none]
    two.emit("tell", "nodes", "ours")
    assert guests.told() == [none, none, none, none, ours]
    two.emit("tell but", "firsts", "b", "ours")
    assert guests.told() == [ours, none, none, none, none]
    two.emit("tell others", "ours")
    assert guests.told() == [ours, none, ours, ours, ours]
    two.emit("tell", guests.node.sid, "ours")
    assert guests.told() == [none, none, none, none, ours]


def answer(peer: Peer, value: Any) -> None:
    """Acknowledge a question."""
    head, bracket, rest = peer.receive(20).partition("[")
    assert head.startswith("42") and bracket + rest == '["question",7]'
    peer.send(f"43{head[2:]}{json.dumps([value])}")


def test_acknowledgements_of_many(guests: Guests) -> None:
    everybody = ["from node", "peer 0", "peer 1", "peer 2", "peer 3"]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(guests.node.do, "ask", "question", 7)
        for number, peer in enumerate(guests.peers):
            answer(peer, f"peer {number}")
        assert sorted(asked.result()) == everybody
    guests.peers[1].send('425["ask",null]')
    for number, peer in enumerate(guests.peers):
        answer(peer, f"peer {number}")
    assert guests.peers[1].receive(20) == f"435{json.dumps([everybody], separators=(',', ':'))}"
    assert [len(events) for events in guests.told()] == [0, 0, 0, 0, 2]  # Node's client keeps the questions


def test_sockets_are_found(guests: Guests) -> None:
    found = guests.node.do("fetch")
    assert sorted(socket["id"] for socket in found) == guests.sids
    for peer in guests.peers:
        assert peer.call("fetch", None) == [guests.sids]
    assert guests.peers[2].call("fetch", "nodes") == [[guests.node.sid]]
    (one,) = guests.node.do("fetchIn", guests.peers[3].sid)
    assert one["id"] == guests.peers[3].sid and one["handshake"]["address"] == "127.0.0.1"


def test_events_between_servers(guests: Guests) -> None:
    assert sorted(guests.node.do("serverSide", "pid")) == sorted(guests.pids)
    for pid, peer in zip(guests.pids, guests.peers, strict=True):
        others = {*guests.pids, guests.node.do("pid")} - {pid}
        assert peer.call("whose") == [sorted(others)]
    guests.node.do("note", "of node")
    guests.peers[0].emit("note", "of ours")
    expected = [["of node"], *[["of node", "of ours"]] * 3]
    eventually(lambda: [sorted(peer.call("notes")[0]) for peer in guests.peers] == expected, "the notes of our workers")
    eventually(lambda: guests.node.do("between") == [["of ours"]], "the note in Node")


def test_sockets_join_and_leave(guests: Guests) -> None:
    guests.node.do("join", [peer.sid for peer in guests.peers[1:]], ["joined", "too"])
    guests.peers[0].emit("sockets join", "nodes", "joined")
    guests.told()  # behind which all have joined
    expected = [guests.peers[number].sid for number in (1, 2, 3)] + [guests.node.sid]
    eventually(lambda: guests.peers[0].call("fetch", "joined") == [sorted(expected)], "that they have joined")
    guests.node.do("leave", guests.peers[1].sid, "joined")
    guests.peers[3].emit("sockets leave", "too", "too")
    guests.peers[3].emit("sockets leave", "nodes", "joined")
    left = sorted(guests.peers[number].sid for number in (2, 3))
    eventually(lambda: guests.peers[0].call("fetch", "joined") == [left], "that they have left")
    eventually(lambda: guests.node.do("fetchIn", "too") == [], "that they have left the other one")
    guests.wait_until_heard("joined", 2)
    guests.node.do("emitTo", "joined", [], "told", 1)
    guests.peers[0].emit("tell", "joined", 2)
    both = [["told", 1], ["told", 2]]
    assert [sorted(events) for events in guests.told()] == [[], [], both, both, []]


def test_recovery(guests: Guests) -> None:
    """A client that goes from host to host, and to Node and back, has all that either side has emitted, in order."""
    if not guests.recovers:
        pytest.skip("about streams")
    theirs = NodeProcess(guests.node)
    visitor: Any = Visitor(At(guests.hosts[0]))  # type: ignore[arg-type]
    emitted = 0

    def emit() -> None:
        nonlocal emitted
        for _ in range(5):
            guests.node.do("emitTo", "nodes", [], "e", emitted)
            guests.peers[emitted % 4].emit("tell", "nodes", emitted + 1)
            guests.peers[0].emit("tell", "elsewhere", "not for it")
            emitted += 2

    def numbers() -> list[int]:
        return [event[1] for event in visitor.events if event[0] in ("e", "told") and isinstance(event[1], int)]

    def receive_until(count: int) -> None:
        while len(numbers()) < count:
            visitor.receive()

    guests.node.do("join", visitor.sid, "nodes")
    eventually(lambda: len(guests.node.do("fetchIn", "nodes")) == 2, "that it has joined")
    emit()
    for place in (theirs, At(guests.hosts[1]), At(guests.hosts[0]), theirs):
        came_from_node = visitor.process is theirs
        # Node's takes nobody who knows of no offset; and sends its own events before it has read what came before them,
        # so that the last offset is not the highest until one comes that was emitted behind all that have come.
        receive_until(emitted if came_from_node else len(numbers()) + 1)
        if came_from_node:
            guests.peers[0].emit("tell", "nodes", f"behind {emitted}")
            while visitor.events[-1] != ["told", f"behind {emitted}"]:
                visitor.receive()
        visitor.lose()
        emit()
        if came_from_node:  # where a session is saved when its client has gone
            eventually(lambda: not any(visitor.sid in rooms for rooms in guests.node.do("rooms")), "its end in Node")
        guests.told()
        visitor.process = place
        assert visitor.back()
        emit()
    receive_until(emitted)
    assert sorted(numbers()) == [*range(emitted)]
    assert [number for number in numbers() if not number % 2] == [*range(0, emitted, 2)], "in Node's order"
    assert "not for it" not in [event[1] for event in visitor.events]
    visitor.lose()
    guests.told()


class At:
    """As :class:`InProcess`, for a host."""

    def __init__(self, host: SeveralWorkers) -> None:
        self._port = host.port

    def client(self, transport: str) -> Client:
        return Client(Wire(self._port))  # type: ignore[arg-type]


def test_sockets_are_disconnected(guests: Guests) -> None:
    """The last one, for it leaves nobody."""
    one, two, three, four = guests.peers
    guests.node.do("disconnect", [one.sid, three.sid])
    for peer in (one, three):
        assert peer.receive(20) == "41"
    two.emit("dismiss", "nodes", False)
    eventually(lambda: guests.node.do("seen")[-1] == ["disconnect", "io server disconnect"], "the end of Node's")
    two.emit("dismiss", four.sid, False)
    assert four.receive(20) == "41"
    assert two.call("fetch", None) == [[two.sid]]
