"""Three hosts on one stream; one of their processes is killed again and again: clients that return have everything.

The clients are npm's; the hosts are processes of their own, which serve in threads whatever world the test runs in.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.support.inprocess import eventually
from tests.support.node import JS
from tests.support.redis import RedisServer, running_redis
from tests.support.world import one_world


class Host:
    """A process of streams_host.py."""

    def __init__(self, url: str, name: str, rate: float) -> None:
        command = [sys.executable, "-m", "tests.cluster.drivers.redis_streams.streams_host", url, name, str(rate)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    @property
    def url(self) -> str:
        """Where it is, once it serves."""
        assert self._process.stdout is not None
        return f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Crowd:
    """The clients, of returning.js."""

    def __init__(self, count: int, urls: list[str]) -> None:
        command = ["node", "returning.js", str(count), json.dumps(urls)]
        self._process = subprocess.Popen(command, cwd=JS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "connected"

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def ask(self, **order: Any) -> Any:
        self.tell(**order)
        return self._line()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def in_stream(redis: RedisServer) -> list[str]:
    """All events that are in the stream, in order."""
    found = []
    for _, fields in redis.do("XRANGE", "socket.io", "-", "+"):
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        data = json.loads(values["data"])["packet"]["data"] if values["type"] == "3" else [""]
        if data[0] == "e":
            found.append(f"{data[1]} {data[2]}")
    return found


@pytest.mark.usefixtures("node_modules")
@one_world
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("clients", "rate", "kills", "pause"),
    [(9, 20.0, 2, 1.5), pytest.param(300, 5.0, 6, 5.0, marks=pytest.mark.slow)],
)
def test_clients_of_killed_processes_have_everything_once_and_in_order(
    clients: int, rate: float, kills: int, pause: float
) -> None:
    with running_redis() as redis:
        hosts = [Host(redis.url, f"host-{number}", rate) for number in range(3)]
        urls = [host.url for host in hosts]
        crowd = Crowd(clients, urls)
        try:
            for number in range(kills):
                time.sleep(pause)  # the situation, not a condition
                victim = number % 3
                hosts[victim].kill()
                hosts[victim] = Host(redis.url, f"host-{number + 3}", rate)
                urls[victim] = hosts[victim].url
                crowd.tell(hosts=urls)
            time.sleep(pause)
            last = in_stream(redis)[-1]
            eventually(lambda: crowd.ask(last=last) == clients, "all events", 60)
            everything, report = in_stream(redis), crowd.ask()
        finally:
            crowd.end()
            for host in hosts:
                host.kill()
    assert report["anew"] == 0 and report["returns"] >= clients * kills // 4
    for had in report["clients"]:
        got = [report["events"][index] for index in had]
        while not int(got[0].split()[1]) % 2:
            del got[0]  # it came before the client was in the room
        begin, end = everything.index(got[0]), everything.index(last)
        assert got[: end - begin + 1] == everything[begin : end + 1]
    print(f"{report['returns']} returns, {len(everything)} events")
