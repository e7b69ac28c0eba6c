"""From polling to WebSocket while events flow both ways, and with the network dying in the middle of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.raw import SEPARATOR, Endpoint, PollingSession
from tests.live.kinds import WEBSOCKET_SERVERS, first_everyday, serve
from tests.live.peers import Peer, ask, eventually
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer

CLIENTS = 50
AT_A_TIME = 10
EVENTS = 150  # each way, for each client


@pytest.fixture(scope="module", params=first_everyday(WEBSOCKET_SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    options = {"threads": 3 * AT_A_TIME} if request.param == "gunicorn-gthread" else {}
    with serve(request.param, options, upgrade_timeout=1, ping_interval=20) as running:
        yield running
        assert_clean(running)


@pytest.fixture
def endpoint(server: RunningServer) -> Endpoint:
    return Endpoint(server.url, "/socket.io")


class UpgradingClient:
    """Polls and posts as the JavaScript client does, moves to WebSocket in the middle, remembers what it was sent."""

    def __init__(self, server: RunningServer, endpoint: Endpoint) -> None:
        self._server = server
        self._session = endpoint.open_polling()
        self._session.post("40")
        assert self._session.poll()[0].startswith("40")
        self._moving = threading.Event()
        self._under_way = threading.Event()
        self._sent = 0
        self.got: list[int] = []

    def run(self) -> list[int]:
        """Exchange all events; return what the server says it got."""
        self._session.post(f'42["tick",{EVENTS},0.003]')
        with ThreadPoolExecutor(2) as pool:
            polling, posting = pool.submit(self._poll), pool.submit(self._post)
            assert self._under_way.wait(10), (polling, posting)
            with Peer(self._server, self._session.upgrade_url()) as peer:
                peer.send("2probe")
                assert peer.receive() == "3probe"
                self._moving.set()
                polling.result(10)
                posting.result(10)
                peer.send("5")
                for number in range(self._sent, EVENTS):
                    peer.emit("number", number)
                peer.send('420["numbers"]')
                numbers: list[int] = []
                while len(self.got) < EVENTS or not numbers:
                    packet = peer.receive()
                    if packet.startswith("430"):
                        numbers = json.loads(packet[3:])[0]
                    else:
                        self._take(packet)
        return numbers

    def _poll(self) -> None:
        while not self._moving.is_set():
            for packet in self._session.get().text.split(SEPARATOR):
                if packet != "6":
                    self._take(packet)
            if len(self.got) > EVENTS // 5:
                self._under_way.set()

    def _post(self) -> None:
        while not self._moving.is_set() and self._sent < EVENTS:
            assert self._session.post(f'42["number",{self._sent}]').text == "ok"
            self._sent += 1

    def _take(self, packet: str) -> None:
        event, number = json.loads(packet.removeprefix("42"))
        assert event == "ticked"
        self.got.append(number)


@pytest.mark.slow
def test_fifty_upgrades_under_traffic(server: RunningServer, endpoint: Endpoint) -> None:
    """Every numbered event arrives exactly once and in order, both ways."""

    def upgrade(_: int) -> tuple[list[int], list[int]]:
        client = UpgradingClient(server, endpoint)
        return client.run(), client.got

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for at_server, at_client in pool.map(upgrade, range(CLIENTS)):
            assert at_server == list(range(EVENTS))
            assert at_client == list(range(EVENTS))


def answer_nothing(peer: Peer) -> None:
    """The connection stays and nothing comes: the time-out has to end it."""


DEATHS = {"reset": Peer.reset, "fin": Peer.half_close, "close": Peer.leave, "silence": answer_nothing}


@pytest.mark.parametrize("probed", [False, True], ids=["before the probe", "after the probe"])
@pytest.mark.parametrize("death", ["reset", "fin", "close", pytest.param("silence", marks=pytest.mark.slow)])
def test_network_lost_during_the_upgrade(server: RunningServer, endpoint: Endpoint, probed: bool, death: str) -> None:
    """The session goes on over polling with nothing lost, and a second attempt succeeds."""
    session = endpoint.open_polling()
    session.post("40")
    session.poll()
    session.post('42["tick",50,0.005]')
    got: list[int] = []
    poll(session, got, 5)
    with Peer(server, session.upgrade_url()) as candidate:
        if probed:
            candidate.send("2probe")
            assert candidate.receive() == "3probe"
        DEATHS[death](candidate)
        poll(session, got, 50)
        assert got == list(range(50))
        for number in range(3):
            assert session.post(f'42["number",{number}]').text == "ok"
        session.post('420["numbers"]')
        assert next(packet for packet in session.poll() if packet != "6") == "430[[0,1,2]]"
        eventually(lambda: ask(server, "census")["Upgrade"], lambda count: count == 0)
    with Peer(server, session.upgrade_url()) as peer:
        peer.send("2probe")
        assert peer.receive() == "3probe"
        peer.send("5")
        assert peer.call("echo", "still here") == ["still here"]


def poll(session: PollingSession, got: list[int], count: int) -> None:
    """Poll until ``count`` numbers have come in all."""
    while len(got) < count:
        got += [json.loads(packet[2:])[1] for packet in session.poll() if packet != "6"]
