"""Presence: who is in a room on any server, told in batches."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, MakeCluster
from tests.support.inprocess import InProcess, at_once, eventually
from wsgi_sio import LocalProtocolError, Server
from wsgi_sio.cluster import presence as module
from wsgi_sio.cluster.presence import EVENT
from wsgi_sio.socketio.presence import PresenceChange


class Seen:
    """A listener, and what follows from all that it has been told."""

    def __init__(self, io: Server, room: Any = None) -> None:
        self.presence = io.presence(room)
        self.changes: list[PresenceChange] = []
        self.ids: set[str] = set()
        self.presence.on_change(self.take)

    def take(self, change: PresenceChange) -> None:
        self.changes.append(change)
        assert not change.joined & self.ids and change.left <= self.ids
        self.ids = (self.ids | change.joined) - change.left
        assert len(self.ids) == change.count

    def becomes(self, *sids: str) -> None:
        eventually(lambda: self.ids == set(sids), f"{set(sids)}")
        eventually(lambda: self.presence._complete, "that others need not be asked")
        assert self.presence.ids == set(sids) and self.presence.count == len(sids)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are asked only for a moment."""
    monkeypatch.setattr("wsgi_sio.socketio.presence._UNTOLD", 0.1)


def test_joins_and_leaves_are_told_on_every_server(cluster: Cluster) -> None:
    first, second, third = cluster.sockets
    first.join("room")
    rooms = [Seen(io, "room") for io in cluster.servers[:2]]
    everybody = Seen(cluster.servers[2])
    for seen in rooms:
        seen.becomes(first.id)
    everybody.becomes(first.id, second.id, third.id)
    third.join("room")
    second.join("another")
    for seen in rooms:
        seen.becomes(first.id, third.id)
    _, newcomer = cluster.join(1)
    newcomer.join("room")
    first.leave("room")
    third.disconnect()
    for seen in rooms:
        seen.becomes(newcomer.id)
    everybody.becomes(first.id, second.id, newcomer.id)
    rooms[0].presence.close()
    second.join("room")
    rooms[1].becomes(newcomer.id, second.id)
    assert rooms[0].ids == {newcomer.id}


def test_at_first_it_asks(make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """So what it says is right from the beginning; later nobody is asked."""
    monkeypatch.setattr("wsgi_sio.socketio.presence._UNTOLD", 60)
    cluster = make_cluster("counting", 2)
    cluster.sockets[1].join("room")
    everybody, room = (cluster.servers[0].presence(name) for name in (None, "room"))
    assert everybody.count == 2 and everybody.ids == {socket.id for socket in cluster.sockets}
    assert room.count == 1 and room.ids == {cluster.sockets[1].id}
    everybody._completed()
    eventually(lambda: everybody.count == 2, "what has been told")
    cluster.bus.broken = True
    assert everybody.count == 2
    cluster.bus.broken = False


def test_closed_and_opened_again(cluster: Cluster) -> None:
    """At once, so that others see no change in what is watched here."""
    socket = cluster.sockets[2]
    socket.join("room")
    for _ in range(3):
        seen = Seen(cluster.servers[0], "room")
        seen.becomes(socket.id)
        seen.presence.close()
        assert seen.presence.count == 1  # it asks
    socket.leave("room")
    assert Seen(cluster.servers[0], "room").presence.count == 0


def test_a_crowd_is_told_in_batches_and_exactly(cluster: Cluster) -> None:
    """However joins and leaves meet in many threads, what has been told adds up to who is there."""
    seen = [Seen(io, "room") for io in cluster.servers]
    sockets = [cluster.join(number % 3)[1] for number in range(12)]

    def change(number: int) -> None:
        for _ in range(25):
            sockets[number].join("room")
            sockets[number].leave("room")
        if number % 2:
            sockets[number].join(["room", f"own {number}"])

    at_once(12, change)
    for one in seen:
        one.becomes(*[socket.id for socket in sockets[1::2]])
        assert len(one.changes) <= 60  # of some 600 changes
    for socket in sockets:
        socket.disconnect()
    for one in seen:
        one.becomes()


def test_a_server_that_has_gone_has_nobody(make_cluster: MakeCluster, cluster: Cluster) -> None:
    seen = Seen(cluster.servers[0])
    seen.becomes(*[socket.id for socket in cluster.sockets])
    cluster.servers[2].close()
    seen.becomes(*[socket.id for socket in cluster.sockets[:2]])


def test_a_server_that_dies_is_noticed(make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else tells it, by its silence; it may be heard again."""
    monkeypatch.setattr(module, "_DEAD", 0.6)
    monkeypatch.setattr(module, "BEAT", 0.1)
    monkeypatch.setattr("wsgi_sio.socketio.local_presence.BEAT", 0.1)
    cluster = make_cluster("counting", 2)
    first, second = cluster.sockets
    seen = Seen(cluster.servers[0])
    seen.becomes(first.id, second.id)
    silent = cluster.adapter(1).uid
    cluster.bus.fate = lambda uid, message: [] if message["uid"] == silent else [0.0]
    seen.becomes(first.id)
    cluster.bus.fate = None
    seen.becomes(first.id, second.id)


def test_messages_that_are_lost_late_or_doubled(make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.1)
    monkeypatch.setattr("wsgi_sio.socketio.local_presence.BEAT", 0.1)
    monkeypatch.setattr(module, "_AGAIN", 0.0)
    cluster = make_cluster("counting", 2)
    numbers = iter(range(1_000_000))
    fates = [[0.0], [], [0.0, 0.0], [0.07], [0.0, 0.05]]
    cluster.bus.fate = lambda uid, message: fates[next(numbers) % 5]
    seen = Seen(cluster.servers[0], "room")
    mine, theirs = [cluster.join(number)[1] for number in (0, 1, 1)], cluster.sockets[1]
    for turn in range(10):
        theirs.join("room")
        mine[turn % 3].join("room")
        threading.Event().wait(0.02)
        theirs.leave("room")
        mine[(turn + 1) % 3].leave("room")
    theirs.join("room")
    cluster.bus.fate = None
    here = [socket.id for socket in [*mine, theirs] if "room" in socket.rooms]
    seen.becomes(*here)


def test_nothing_is_said_and_nothing_listens_where_nobody_asks(make_cluster: MakeCluster) -> None:
    """And no more when nobody asks any more."""
    cluster = make_cluster("counting", 2)
    cluster.sockets[0].join("room")
    assert [cluster.adapter(number)._listeners for number in (0, 1)] == [{}, {}]
    seen = Seen(cluster.servers[0], "room")
    seen.becomes(cluster.sockets[0].id)
    eventually(lambda: all(cluster.adapter(number)._listeners for number in (0, 1)), "both look")
    seen.presence.close()
    eventually(lambda: not any(cluster.adapter(number)._listeners for number in (0, 1)), "nobody looks")
    before = [message for message in cluster.bus.sent if EVENT in str(message)]
    cluster.sockets[1].join("room")
    cluster.got()
    assert [message for message in cluster.bus.sent if EVENT in str(message)] == before
    eventually(lambda: not any(cluster.adapter(number).roster()._peers for number in (0, 1)), "nothing is kept")


JUNK = [
    None,
    {},
    {"node": 1},
    {"node": "x", "want": 1},
    {"node": "x", "want": [[]]},
    {"node": "x", "number": "y", "rooms": []},
    {"node": "x", "number": 1, "rooms": 5},
    {"node": "x", "number": 1, "rooms": [[None, [5], None]]},
]


@pytest.mark.parametrize("told", JUNK, ids=repr)
def test_what_makes_no_sense_is_dropped(make_cluster: MakeCluster, told: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster = make_cluster("counting", 2)
    seen = Seen(cluster.servers[0])
    seen.becomes(*[socket.id for socket in cluster.sockets])
    cluster.servers[1].server_side_emit(EVENT, told)
    eventually(lambda: "does not understand another server" in caplog.text, "a word about it")
    assert seen.ids == {socket.id for socket in cluster.sockets}


def test_alone(caplog: pytest.LogCaptureFixture) -> None:
    """One process; a listener that fails, or is slow, spoils nothing: it gets what has come meanwhile at once."""
    io = Server(siblings=False)
    lobby, process = io.presence("lobby"), InProcess(io)
    assert io.presence("lobby") is lobby is io.of("/").presence("lobby")
    released, changes = threading.Event(), []

    @lobby.on_change
    def fail(change: PresenceChange) -> None:
        raise ZeroDivisionError

    @lobby.on_change
    def slow(change: PresenceChange) -> None:
        changes.append(change)
        released.wait(30)

    io.on("connection", lambda socket: socket.join("lobby"))
    sids = []
    for _ in range(5):
        sids.append(process.client().connect())
        eventually(lambda: changes, "the first")
    blink = io.sockets.sockets[sids[1]]
    blink.leave("lobby")
    released.set()
    eventually(lambda: sum(len(change.joined) for change in changes) == 4, "all but one")
    assert len(changes) <= 3 and changes[-1].count == 4 and lobby.ids == {*sids} - {sids[1]}
    assert "a listener to <Presence of 'lobby'" in caplog.text
    with pytest.raises(TypeError, match="cannot be named"):
        io.presence(("a", "b"))
    with pytest.raises(LocalProtocolError):
        io.of(lambda name, auth: True).presence("lobby")

    async def never(change: PresenceChange) -> None: ...

    with pytest.raises(TypeError):
        lobby.on_change(never)
    process.close()
    io.close()
