"""Every feature that concerns many clients, with clients of three workers: as in one process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.peers import Peer, eventually
from tests.live.several import SeveralWorkers, gunicorn, wait_for_siblings
from tests.support.scenario import assert_clean
from tests.support.world import WORLD

WORKERS = 3
WORKER = "-k gevent" if WORLD == "gevent" else "-k gthread --threads 8"


@pytest.fixture(scope="module")
def server() -> Iterator[SeveralWorkers]:
    with gunicorn(f"{WORKER} -w {WORKERS}", app="tests.apps.many_features:app") as server:
        wait_for_siblings(server, server.port, WORKERS)
        yield server
        assert not server.warnings()
        assert_clean(server)


@pytest.fixture
def peers(server: SeveralWorkers) -> Iterator[list[Peer]]:
    """Two clients of each worker: those of the first, of the second, of the third."""
    opened: list[Peer] = []
    by_pid: dict[int, list[Peer]] = {}
    try:
        while len(by_pid) < WORKERS or min(map(len, by_pid.values())) < 2:
            assert len(opened) < 60, {pid: len(some) for pid, some in by_pid.items()}
            peer = Peer(server).join()
            opened.append(peer)
            name, pid, _ = peer.receive_event()
            assert name == "welcome"
            by_pid.setdefault(pid, []).append(peer)
        chosen = [peer for pid in sorted(by_pid) for peer in by_pid[pid][:2]]
        for peer in opened:
            if peer not in chosen:
                peer.leave()
        yield chosen
    finally:
        for peer in opened:
            peer.leave()


def assert_told(peers: list[Peer], *args: Any) -> None:
    """Each is told this next."""
    for peer in peers:
        assert peer.receive_event(10) == ["told", *args]


def assert_nothing_more(peers: list[Peer]) -> None:
    """Nothing comes before what they ask for now."""
    for peer in peers:
        peer.send('42999["echo","fence"]')
        assert peer.receive() == '43999["fence"]'


def test_everybody(peers: list[Peer]) -> None:
    peers[0].emit("tell", None, "all", {"n": 1})
    assert_told(peers, "all", {"n": 1})
    peers[2].emit("tell others", "but me")
    assert_told([peer for peer in peers if peer is not peers[2]], "but me")
    peers[4].emit("tell mine", "here")
    assert_told(peers[4:], "here")
    assert_nothing_more(peers)


def test_rooms(peers: list[Peer]) -> None:
    """A room is all workers'; who is excepted is so wherever the emit is made."""
    for peer in peers[::2]:
        peer.call("join", "even")
    peers[2].call("join", "two")
    peers[1].emit("tell", "even", 1)
    assert_told(peers[::2], 1)
    peers[1].emit("tell but", "even", "two", 2)
    assert_told([peers[0], peers[4]], 2)
    assert_nothing_more(peers)


def test_one_client(peers: list[Peer]) -> None:
    """By its id, from another worker: an event, and one that is acknowledged."""
    peers[0].emit("tell", peers[5].sid, "you")
    assert_told([peers[5]], "you")
    peers[0].send(f'421["ask one","{peers[3].sid}"]')
    answer(peers[3], "eight")
    assert peers[0].receive(10) == '431["eight"]'
    assert_nothing_more(peers)


def answer(peer: Peer, value: Any) -> None:
    """Acknowledge a question."""
    packet = peer.receive(10)
    head, bracket, rest = packet.partition("[")
    assert head.startswith("42") and head[2:].isdigit() and bracket + rest in ('["question",7]', '["question",8]')
    peer.send(f"43{head[2:]}{json.dumps([value])}")


def test_answers_of_many(peers: list[Peer]) -> None:
    for peer in peers[1:]:
        peer.call("join", "asked")
    peers[0].send('425["ask","asked"]')
    for number, peer in enumerate(peers[1:]):
        answer(peer, number)
    assert json.loads(peers[0].receive(10).removeprefix("435")) == [[0, 1, 2, 3, 4]]


def test_sockets_of_all_workers(peers: list[Peer]) -> None:
    """They are fetched, put into rooms, taken out and disconnected from anywhere."""
    for peer in peers[:4]:
        peer.call("join", "four")
    assert peers[5].call("fetch", "four") == [sorted(peer.sid for peer in peers[:4])]
    peers[5].emit("sockets join", "four", "also")
    eventually(lambda: [peer.call("rooms") for peer in peers[:4]], lambda answers: answers == [[["also", "four"]]] * 4)
    peers[0].emit("sockets leave", "also", "four")
    eventually(lambda: [peer.call("rooms") for peer in peers[:4]], lambda answers: answers == [[["also"]]] * 4)
    assert peers[4].call("fetch", "four") == [[]]
    peers[5].emit("dismiss", "also")
    for peer in peers[:4]:
        peer.wait_closed(10)
    assert_nothing_more(peers[4:])


def test_servers_among_themselves(peers: list[Peer], server: SeveralWorkers) -> None:
    peers[0].emit("note", {"said": 1})
    for peer in peers[2:]:
        eventually(lambda peer=peer: peer.call("notes"), lambda answer: answer[0][-1:] == [{"said": 1}])  # type: ignore[misc]
    mine = peers[0].call("who")[0]
    assert peers[0].call("whose") == [sorted(set(server.worker_pids) - {mine})]


def test_dynamic_namespaces(peers: list[Peer]) -> None:
    """One that exists in some workers only: whoever has it is told, and nobody waits for the others."""
    some = [peers[0], peers[2]]
    for peer in some:
        peer.send("40/room-7,")
        assert peer.receive().startswith("40/room-7,{")
    for peer in some:  # comes behind what its worker asks the others for
        peer.emit("tell", None, "fence", 1)
        assert_told(peers, "fence", 1)
    peers[0].send('42/room-7,["tell","hello"]')
    for peer in some:
        assert peer.receive(10) == '42/room-7,["told","/room-7","hello"]'
    assert_nothing_more(peers)


def test_who_listens_to_what_goes_out(peers: list[Peer]) -> None:
    """``on_any_outgoing`` hears of broadcasts of other workers, decoded."""
    peers[0].emit("tell", None, "heard", [1, {"two": 3}])
    assert_told(peers, "heard", [1, {"two": 3}])
    for peer in peers:
        assert peer.call("sent")[0] == [["told", "heard", [1, {"two": 3}]]]
