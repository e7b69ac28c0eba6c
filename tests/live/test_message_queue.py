"""Hosts of several workers with one message queue, and old processes beside: everybody gets everything once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import pytest

from tests.live.several import SeveralWorkers, gunicorn, wait_for_siblings
from tests.support.inprocess import eventually
from tests.support.old_peer import OldPeer
from tests.support.redis import RedisServer, running_redis
from tests.support.require import require
from tests.support.servers import RunningServer
from tests.support.world import WORLD
from wsgi_sio.client import SimpleClient
from wsgi_sio.flask import SocketIO

WORKER = {"threads": "--threads 8", "gevent": "-k gevent"}[WORLD]
CLIENTS = 4  # of each host


class Follower:
    """A client, and what it has got."""

    def __init__(self, server: RunningServer) -> None:
        self.client = SimpleClient(server.url, transports=["websocket"])
        self.client.connect()
        event, *args = self.client.receive(timeout=20)
        assert event == "pid"
        (self.pid,) = args

    def events(self, last: str) -> list[list[Any]]:
        """Those up to ``last``."""
        events: list[list[Any]] = []
        while not events or events[-1][0] != last:
            events.append([*self.client.receive(timeout=20)])
        return events


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "--preload"])
def test_two_hosts_old_processes_and_celery(redis: RedisServer, more: str) -> None:
    require(find_spec("flask_socketio"), "Flask-SocketIO")
    env = {"REDIS": redis.url, "OLD_SERVERS": "1"}
    with ExitStack() as stack:
        hosts: list[SeveralWorkers] = [
            stack.enter_context(gunicorn(f"{WORKER} -w 2 {more}", app="tests.apps.queued:app", env=env)) for _ in "ab"
        ]
        for host in hosts:
            wait_for_siblings(host, host.port, 2)
        old = OldPeer("flask", redis.url, "flask-socketio")
        stack.callback(old.close)
        writer = OldPeer("flask-write-only", redis.url, "flask-socketio")
        stack.callback(writer.close)
        followers = [Follower(host) for host in hosts for _ in range(CLIENTS)]
        for follower in followers:
            stack.callback(follower.client.disconnect)
        assert len({follower.pid for follower in followers}) == 4  # the workers of each host share its clients
        eventually(lambda: redis.do("PUBSUB", "NUMSUB", "flask-socketio")[1] == 5, "four workers and an old server")

        old.do("enter_room", old.sid, "all")
        celery = SocketIO(message_queue=redis.url, old_servers=True)
        for number in range(20):
            followers[number % len(followers)].client.emit("tell", "ours", number)
            old.do("emit", "theirs", number)
            writer.do("emit", "writer", number, to="all")
            celery.emit("celery", number)
        eventually(lambda: old.do("waiting") >= 80, "all of it at the old server's client")
        celery.emit("last")
        got = [follower.events("last") for follower in followers]
        for events in got:
            for kind in ("theirs", "writer", "celery"):  # in order of each sender
                assert [value for event, *value in events if event == kind] == [[number] for number in range(20)]
            assert sorted(value[0] for event, *value in events if event == "ours") == [*range(20)]
            assert len(events) == 81
        eventually(lambda: old.do("waiting") >= 81, "the last one")
        there = sorted(old.do("next") for _ in range(81))  # old clients have their events in any order
        kinds = ("celery", "ours", "theirs", "writer")
        assert there == sorted([["last"], *([kind, number] for kind in kinds for number in range(20))])

        one, *_, another = followers
        assert one.client.call("call", old.sid, 7, timeout=20) == ("answer", 1)
        old.do("disconnect", another.client.id)
        eventually(lambda: not another.client.connected, "the end of a client of ours")
        for host in hosts:
            assert not host.warnings(), host.log()
