"""Two workers that clients cannot choose between: where connections cannot simply be moved, by TLS or under uWSGI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPResponse
from importlib.util import find_spec

import pytest

from tests.live.kinds import serve
from tests.live.peers import Peer, connect
from tests.support.require import require
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer
from tests.support.world import WORLD

TLS = "gunicorn-gevent-tls" if WORLD == "gevent" else "gunicorn-gthread-tls"
KINDS = (TLS, *(() if WORLD == "gevent" else ("uwsgi",)))
SESSIONS = 8


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    if request.param == "uwsgi":
        require(find_spec("pyuwsgi"), "uWSGI: pip install pyuwsgi")
    with serve(request.param, {"processes" if request.param == "uwsgi" else "workers": 2}) as running:
        yield running


def ask(server: RunningServer, method: str, sid: str = "", body: str = "") -> str:
    """The body of an answer; on a connection of its own, which either worker may get."""
    sock = connect(server)
    query = f"EIO=4&transport=polling{sid and f'&sid={sid}'}"
    head = f"{method} /socket.io/?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    sock.sendall(f"{head}\r\n{body}".encode())
    response = HTTPResponse(sock)
    response.begin()
    text = response.read().decode()
    sock.close()
    assert response.status == 200, (response.status, text)
    return text


def open_sessions(server: RunningServer) -> list[str]:
    """Sessions of both workers, all of which have joined the main namespace; by polling alone."""
    sids: list[str] = []
    while len(sids) < SESSIONS or len({sid[-4:] for sid in sids}) < 2:
        sids.append(json.loads(ask(server, "GET")[1:])["sid"])
        assert len(sids) < 100, "one worker gets all of them"
    sids = sorted(sids, key=lambda sid: sid[-4:])
    sids = [*sids[: SESSIONS // 2], *sids[-SESSIONS // 2 :]]
    for sid in sids:
        assert ask(server, "POST", sid, "40") == "ok"
        assert ask(server, "GET", sid).startswith("40{")
    return sids


def test_polls_reach_their_session_through_either_worker(server: RunningServer) -> None:
    for sid in open_sessions(server):
        for number in range(5):
            assert ask(server, "POST", sid, f'42{number}["echo",{number}]') == "ok"
            assert ask(server, "GET", sid) == f"43{number}[{number}]"
    assert_clean(server)


@pytest.mark.parametrize("server", [TLS], indirect=True)
def test_upgrades_reach_their_session_through_either_worker(server: RunningServer) -> None:
    peers = []
    for sid in open_sessions(server):
        peer = Peer(server, f"EIO=4&transport=websocket&sid={sid}")
        peer.send("2probe")
        assert peer.receive() == "3probe"
        peer.send("5")
        peers.append(peer)
    for number, peer in enumerate(peers):
        for size in (1, 20_000, 300_000):
            assert peer.call("echo", number, "x" * size) == [number, "x" * size]
    for peer in peers[::2]:
        peer.emit("dismiss me")
        peer.wait_closed()
    for peer in peers:
        peer.leave()
    assert ask(server, "GET").startswith("0{")  # no thread is kept
    assert_clean(server)
