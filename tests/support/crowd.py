"""More clients of one server than a broadcast reaches at once: they are in memory, and note what they are sent.

How many that takes is lowered for that, see :func:`in_small_turns`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.support.inprocess import DEADLINE, eventually
from tests.support.world import WORLD
from wsgi_sio import Server, Socket
from wsgi_sio.cluster import adapter as cluster_adapter
from wsgi_sio.engineio.packet import Packet as EnginePacket
from wsgi_sio.socketio import long_broadcasts, memory_adapter
from wsgi_sio.testing import TestClient

only_gevent = pytest.mark.skipif(WORLD != "gevent", reason="threads have their turn anyway")

COUNT = 160


def in_small_turns(monkeypatch: pytest.MonkeyPatch, few: int = 60) -> None:
    """Broadcasts are long to more than ``few`` clients, and others have their turn after each client."""
    for module in (long_broadcasts, memory_adapter, cluster_adapter):
        monkeypatch.setattr(module, "FEW", few)
    monkeypatch.setattr(long_broadcasts, "_SLICE", 1)
    monkeypatch.setattr(long_broadcasts, "_TURN", -1.0)


class Member:
    """One of them.

    :ivar events: the names of what it has got.
    :ivar offset: the last one, with connection state recovery.
    :ivar then: called with each packet, before it is taken.
    """

    def __init__(self, io: Server, auth: dict[str, str] | None = None) -> None:
        self.io = io
        self.events: list[str] = []
        self.offset = ""
        self.then: Callable[[EnginePacket], object] | None = None
        self.client = TestClient(io)
        transport = self.client._transport
        take, transport._deliver = transport._deliver, self._take
        self._on_packet = take
        self.sid = self.client.connect(auth=auth)
        self.socket: Socket = io.sockets.sockets[self.sid]

    def _take(self, packet: EnginePacket) -> None:
        if self.then is not None:
            self.then(packet)
        self._on_packet(packet)
        for received in self.client.received():
            self.events.append(received.name)
            if received.args and isinstance(received.args[-1], str):
                self.offset = received.args[-1]

    def lose(self) -> None:
        """The network is gone, and the server knows."""
        self.client.session.close("transport close", abort=True)
        eventually(lambda: self.sid not in self.io.sockets.sockets, "the end of the handlers")

    def back(self, io: Server) -> Member:
        """The same client again, at a server that knows it."""
        again = Member(io, {"pid": self.socket.pid, "offset": self.offset})
        assert again.socket.recovered and again.sid == self.sid
        again.events[:0] = self.events
        return again


class Crowd:
    """So many clients of a server.

    :ivar stood_still: the one in whose very sending a broadcast stands still, or has stood; outside of tests none does.
    """

    def __init__(self, io: Server, count: int = COUNT) -> None:
        company: Any = io.engine.joining.company
        if company is not None:
            company.load_balancer._choose = lambda leaving: None  # they stay where they have come
        self.io = io
        self.members = [Member(io) for _ in range(count)]
        self.stood_still: Member | None = None

    def orders(self) -> set[tuple[str, ...]]:
        """What they have got, whoever it is."""
        return {tuple(member.events) for member in self.members}

    def wait_for(self, event: str) -> None:
        """Until all have got it."""
        eventually(lambda: all(event in member.events for member in self.members), f"{event!r} for everybody")

    def without(self, event: str) -> list[Member]:
        """Those whom nobody has begun to send it to."""
        return [member for member in self.members if event not in member.events and member is not self.stood_still]

    def others(self) -> list[Member]:
        """All but the one who stood still."""
        return [member for member in self.members if member is not self.stood_still]

    @contextmanager
    def in_the_middle(self, event: str, start: Callable[[], object]) -> Iterator[None]:
        """``start`` what sends an event to all, and stand still as it comes to one of the last; go on at the end."""
        import gevent.event

        here, go = gevent.event.Event(), gevent.event.Event()
        reached = itertools.count(1)

        def count(member: Member, packet: EnginePacket) -> None:
            if isinstance(packet.data, str) and f'"{event}"' in packet.data and next(reached) == len(self.members) - 50:
                self.stood_still = member
                here.set()
                go.wait(DEADLINE)

        for member in self.members:
            member.then = partial(count, member)
        sending = gevent.spawn(start)
        try:
            assert here.wait(DEADLINE), f"{event!r} has not come"
            yield
        finally:
            go.set()
        sending.get(timeout=DEADLINE)

    def turns(self, start: Callable[[], object]) -> int:
        """How often others have run while some of them had got what ``start`` sends, and others not."""
        import gevent

        before = [len(member.events) for member in (self.members[0], self.members[-1])]
        turns, until = 0, time.monotonic() + DEADLINE
        sending = gevent.spawn(start)
        while len(self.members[-1].events) == before[1] and time.monotonic() < until:
            turns += len(self.members[0].events) > before[0]
            gevent.sleep(1e-6)  # no sleep(0): many of these come in one turn of the loop
        sending.get(timeout=DEADLINE)
        return turns
