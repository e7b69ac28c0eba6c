"""Long broadcasts at random, by several who emit at once, while clients lose their connections and come back: what each
client has got is held against what was emitted."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.conftest import WORKERS, MakeCluster
from tests.support.crowd import Member, in_small_turns, only_gevent
from tests.support.inprocess import DEADLINE, eventually
from wsgi_sio import Server
from wsgi_sio.socketio import long_broadcasts

pytestmark = only_gevent

EVENTS = 60
KINDS = [
    "alone",
    "recovering workers",
    pytest.param("recovering", marks=pytest.mark.slow),
    "workers",
    pytest.param("redis", marks=pytest.mark.slow),
]


class Ledger:
    """What has been emitted, and who has got what.

    :ivar members: each client, as it is connected at present.
    """

    def __init__(self, servers: list[Server], seed: int, recovers: bool) -> None:
        self.servers = servers
        self.recovers = recovers
        self.choice = random.Random(seed)
        self.members = [Member(io) for io in servers for _ in range(6)]
        for number, member in enumerate(self.members):
            member.socket.join(f"room {number % 3}")
        self.lost: set[int] = set()
        self.over = False

    def emit(self, name: str, io: Server, whom: Callable[[Server], Any]) -> None:
        import gevent

        for number in range(EVENTS):
            whom(io).emit(f"{name} {number}")
            gevent.sleep(0 if self.choice.random() < 0.9 else 0.002)

    def lose(self) -> None:
        """One client after the other loses its connection, and comes back, mostly while something is under way."""
        import gevent

        while not self.over:
            gevent.sleep(self.choice.random() * 0.004)
            number = self.choice.randrange(len(self.members))
            if number not in self.lost and self.members[number].offset:  # else it begins anew
                self.lost.add(number)
                self.members[number].lose()
                gevent.sleep(self.choice.random() * 0.01)
                self.members[number] = self.members[number].back(self.choice.choice(self.servers))
                self.lost.remove(number)

    def run(self) -> None:
        import gevent

        one = self.members[0].sid
        emitters = {
            "a": (self.servers[0], lambda io: io),
            "b": (self.servers[-1], lambda io: io),
            "c": (self.servers[-1], lambda io: io.to(["room 0", "room 1"])),
            "d": (self.servers[0], lambda io: io.except_("room 2")),
            "e": (self.servers[-1], lambda io: io.to(one)),
        }
        emitting = [gevent.spawn(self.emit, name, *how) for name, how in emitters.items()]
        losing = [gevent.spawn(self.lose) for _ in range(2 * self.recovers)]
        gevent.joinall(emitting, timeout=DEADLINE, raise_error=True)
        self.over = True
        gevent.joinall(losing, timeout=DEADLINE, raise_error=True)
        for io, name in ((self.servers[0], "a"), (self.servers[-1], "b")):
            io.emit(f"{name} {EVENTS}")
        for number, member in enumerate(self.members):
            for name in emitters:
                count = {"a": EVENTS + 1, "b": EVENTS + 1, "e": EVENTS if number == 0 else 0}
                expected = count.get(name, EVENTS if number % 3 < 2 else 0)
                mine = [f"{name} {event}" for event in range(expected)]
                eventually(lambda member=member, mine=mine: mine[-1:] == [] or mine[-1] in member.events, mine[-1:])
                assert [event for event in member.events if event[0] == name] == mine, (number, member.sid)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_everybody_gets_everything_once_and_in_order(
    kind: str, seed: int, make_cluster: MakeCluster, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_turns(monkeypatch, 3)
    monkeypatch.setattr(long_broadcasts, "_SLICE", 1 + seed % 3)
    recovers = kind not in (WORKERS, "redis")
    if kind == "alone":
        io = Server(connection_state_recovery=True, siblings=False)
        request.addfinalizer(io.close)
        servers = [io]
    else:
        options = {"connection_state_recovery": True} if kind == "recovering workers" else {}
        servers = make_cluster(WORKERS if kind == "recovering workers" else kind, 2, **options).servers
    for io in servers:
        company: Any = io.engine.joining.company
        if company is not None:
            company.load_balancer._choose = lambda leaving: None  # they stay where they have come
    Ledger(servers, seed, recovers).run()
    for io in servers:
        adapter: Any = io.sockets.adapter
        eventually(lambda adapter=adapter: not adapter._long.under_way, "the end of the broadcasts")
