"""Presence over the workers of a real server, of which one is killed."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest

from tests.live.peers import Peer, eventually
from tests.live.several import gunicorn
from tests.support.redis import running_redis
from tests.support.world import WORLD

WORKER = "-k gevent" if WORLD == "gevent" else "-k gthread --threads 8"


def wait_until_known(peers: list[Peer], ids: set[str]) -> None:
    """Return when the workers of ``peers``, each by itself, know of these clients and no others."""
    sids, count = sorted(ids), len(ids)
    expected = {"ids": sids, "told": sids, "count": count, "lobby": count, "asked": count}
    for peer in peers:
        eventually(lambda: peer.call("who is there?")[0], lambda known: known == expected, timeout=60)  # noqa: B023


@pytest.mark.slow
@pytest.mark.parametrize("bus", ["siblings", "redis"])
def test_a_worker_that_is_killed_takes_its_clients_along(bus: str) -> None:
    with ExitStack() as stack:
        env = {"REDIS_URL": stack.enter_context(running_redis()).url} if bus == "redis" else {}
        options = f"{WORKER} -w 2 --preload"  # the application is made before the fork
        server = stack.enter_context(gunicorn(options, app="tests.apps.present:app", env=env))
        by_pid: dict[int, list[Peer]] = {}
        while len(by_pid) < 2 or sum(map(len, by_pid.values())) < 4:
            peer = Peer(server).join()
            stack.callback(peer.leave)
            by_pid.setdefault(peer.call("pid")[0], []).append(peer)
        (killed, ended), (_, others) = by_pid.items()
        wait_until_known([ended[0], others[0]], {peer.sid for peer in [*ended, *others]})
        os.kill(killed, signal.SIGKILL)
        wait_until_known(others[:1], {peer.sid for peer in others})
        assert not server.warnings()
