"""A server that stands still for longer than its clients may be silent: who has answered by then is not lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.raw import Endpoint, PollingSession
from tests.live.kinds import WEBSOCKET_SERVERS, first_everyday, serve
from tests.live.peers import Peer, ask, wait_for_end
from tests.support.freezing import freeze, thaw
from tests.support.inprocess import Background
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer
from tests.support.world import WORLD

INTERVAL, TIMEOUT = 1.0, 1.0  # seconds
STALL = INTERVAL + TIMEOUT + 1.0
SLACK = 1.0  # seconds; a busy machine

few = pytest.param(24, id="few")
many = pytest.param(200, id="many", marks=[pytest.mark.slow, pytest.mark.crowd, pytest.mark.timeout(120)])


class PromptClients:
    """Clients that answer each ping at once and are patient themselves; two in three over WebSocket, one by polling."""

    def __init__(self, server: RunningServer, count: int) -> None:
        self._over = threading.Event()
        self.sids: list[str] = []
        endpoint = Endpoint(server.url, "/socket.io")
        self._running = [
            Background(self._poll, self._begin_polling(endpoint))
            if number % 3 == 0
            else Background(self._answer, self._join(server))
            for number in range(count)
        ]

    def _join(self, server: RunningServer) -> Peer:
        peer = Peer(server).join()
        self.sids.append(peer.sid)
        return peer

    def _answer(self, peer: Peer) -> None:
        with peer:
            while not self._over.is_set():
                try:
                    peer.receive(0.5)
                except TimeoutError:
                    continue

    def _begin_polling(self, endpoint: Endpoint) -> PollingSession:
        session = endpoint.open_polling()
        session.post("40")
        self.sids.append(session.poll()[0].removeprefix('40{"sid":"').removesuffix('"}'))
        return session

    def _poll(self, session: PollingSession) -> None:
        while not self._over.is_set():
            response = session.get()
            assert response.status == 200, (response.status, response.body)
            if response.text == "2":
                assert session.post("3").status == 200

    def leave(self) -> None:
        """End them; raises what one of them has met with."""
        self._over.set()
        for client in self._running:
            client.result(STALL + 10)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serve(request.param, ping_interval=INTERVAL, ping_timeout=TIMEOUT) as running:
        yield running
        assert_clean(running)


def stop(server: RunningServer) -> None:
    freeze(server.worker_pid)
    time.sleep(STALL)
    thaw(server.worker_pid)


def compute(server: RunningServer) -> None:
    with Peer(server).join() as peer:
        peer.emit("hold", STALL)
        peer.call("echo", timeout=STALL + 10)


Stall = Callable[[RunningServer], None]


@pytest.mark.parametrize("server", first_everyday(WEBSOCKET_SERVERS), indirect=True)
@pytest.mark.parametrize("count", [few, many])
@pytest.mark.parametrize("stall", [stop, *([compute] if WORLD == "gevent" else [])])
def test_prompt_clients_survive_and_the_dead_are_found(server: RunningServer, count: int, stall: Stall) -> None:
    clients = PromptClients(server, count)
    time.sleep(INTERVAL * 1.5)  # each has been pinged, and by now they are spread over the interval
    dead = Peer(server).join()
    stall(server)
    woke = time.monotonic()
    reason, when = wait_for_end(server, dead.sid)
    assert reason == "ping timeout" and when - woke < INTERVAL + TIMEOUT + SLACK
    time.sleep(max(0.0, woke + INTERVAL + TIMEOUT - time.monotonic()))  # who is not lost by then is not lost for this
    assert not {*clients.sids} & {*ask(server, "journal")}
    clients.leave()
    dead.socket.close()
