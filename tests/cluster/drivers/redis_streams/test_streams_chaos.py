"""Three hosts on one stream; one of their processes is killed again and again: clients that return have everything."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from itertools import dropwhile
from typing import Any

import pytest
import simple_websocket

from tests.cluster.drivers.redis_streams.test_recovering_streams_adapter import Wire
from tests.socketio.test_recovery import Visitor
from tests.support.inprocess import DEADLINE, Client, eventually
from tests.support.redis import RedisServer, running_redis
from tests.support.world import one_world


class Host:
    """A process of streams_host.py."""

    def __init__(self, url: str, name: str, rate: float) -> None:
        command = [sys.executable, "-m", "tests.cluster.drivers.redis_streams.streams_host", url, name, str(rate)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def client(self, transport: str) -> Client:
        return Client(Wire(self.port))  # type: ignore[arg-type]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Crowd:
    """Clients that come back, each at any host, as soon as their connection is lost.

    :ivar returns: how often they have; ``anew``: of those, how often as new ones.
    """

    def __init__(self, hosts: list[Host], count: int) -> None:
        self.hosts = hosts
        self.visitors: list[Visitor] = []
        self.returns = self.anew = 0
        self.failures: list[BaseException] = []
        self._over = False
        self._lock = threading.Lock()
        for number in range(count):
            self.visitors.append(Visitor(hosts[number % len(hosts)]))  # type: ignore[arg-type]
        self._threads = [threading.Thread(target=self._live, args=(visitor,)) for visitor in self.visitors]
        for thread in self._threads:
            thread.start()

    def _live(self, visitor: Visitor) -> None:
        try:
            while not self._over:
                try:
                    visitor.receive()
                except (simple_websocket.ConnectionClosed, OSError):
                    self._return(visitor)
        except BaseException as error:  # told by the test
            self.failures.append(error)

    def _return(self, visitor: Visitor) -> None:
        deadline = time.monotonic() + DEADLINE
        while not self._over:
            visitor.process = random.choice(self.hosts)  # type: ignore[assignment]
            try:
                recovered = visitor.back()
            except (simple_websocket.ConnectionClosed, simple_websocket.ConnectionError, OSError):
                assert time.monotonic() < deadline
                time.sleep(random.uniform(0.05, 0.3))
                continue
            with self._lock:
                self.returns += 1
                self.anew += not recovered
            return

    def end(self) -> None:
        self._over = True
        for thread in self._threads:
            thread.join(DEADLINE)


def in_stream(redis: RedisServer) -> list[tuple[str, int]]:
    """All events that are in the stream, in order."""
    found = []
    for _, fields in redis.do("XRANGE", "socket.io", "-", "+"):
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        data = json.loads(values["data"])["packet"]["data"] if values["type"] == "3" else [""]
        if data[0] == "e":
            found.append((data[1], data[2]))
    return found


@one_world
@pytest.mark.parametrize(
    ("clients", "rate", "kills", "pause"),
    [(9, 20.0, 2, 1.5), pytest.param(60, 5.0, 6, 5.0, marks=pytest.mark.slow)],
)
def test_clients_of_killed_processes_have_everything_once_and_in_order(
    clients: int, rate: float, kills: int, pause: float
) -> None:
    with running_redis() as redis:
        hosts = [Host(redis.url, f"host {number}", rate) for number in range(3)]
        crowd = None
        try:
            crowd = Crowd(hosts, clients)
            for number in range(kills):
                time.sleep(pause)  # the situation, not a condition
                victim = number % 3
                hosts[victim].kill()
                hosts[victim] = Host(redis.url, f"host {number + 3}", rate)
            time.sleep(pause)
            last = in_stream(redis)[-1]
            eventually(lambda: all(_has(visitor, last) for visitor in crowd.visitors), "all events")
            everything = in_stream(redis)
        finally:
            if crowd is not None:
                crowd._over = True
            for host in hosts:
                host.kill()
            if crowd is not None:
                crowd.end()
    assert crowd.failures == []
    assert crowd.anew == 0 and crowd.returns >= clients * kills // 4
    for visitor in crowd.visitors:
        came: list[Any] = [(event[1], event[2]) for event in visitor.events if event[0] == "e"]
        # From when it is in the room, which is later than when it is connected.
        got = list(dropwhile(lambda event: event[1] % 2 == 0, came))
        begin = everything.index(got[0])
        end = everything.index(last)
        assert len(got) > 10
        assert got[: end - begin + 1] == everything[begin : end + 1]
    print(f"{crowd.returns} returns, {len(everything)} events")


def _has(visitor: Visitor, event: tuple[str, int]) -> bool:
    return any(tuple(one[1:]) == event for one in reversed(list(visitor.events)))
