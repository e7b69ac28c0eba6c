"""However a WebSocket ends: the application is told, the client gets only WebSocket bytes, the server's log is silent,
and nothing is left behind. On every kind of server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.live.kinds import WEBSOCKET_KINDS, serve
from tests.live.peers import OPEN_WEBSOCKET, Peer, ask, event_frame, eventually, fetch, text_frame, wait_for_end
from tests.support.scenario import assert_clean
from tests.support.servers import RunningServer

EACH = 20  # WebSockets that end alike
EACH_TLS = 8  # each holds a thread
LIMIT = 10_000  # max_http_buffer_size, bytes
REQUEST_THREADS = 16  # that a server starts when needed and then keeps


@pytest.fixture(scope="module", params=WEBSOCKET_KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """One server for all endings, after which no client's objects may live; gunicorn may have 10 connections."""
    options = {"worker_connections": 10} if request.param.startswith("gunicorn") else {}
    with serve(request.param, options, max_http_buffer_size=LIMIT) as running:
        assert fetch(running, "/").startswith(b"hello")
        fin_both(Peer(running).join())  # with its first client gunicorn's worker joins its siblings: a socket more
        yield running
        eventually(lambda: ask(running, "census"), lambda census: not census["Session"] and not census["Socket"], 8)
        assert_clean(running)


def close_frame(peer: Peer) -> None:
    peer.send_close(1001)
    assert peer.wait_closed().code == 1001


def fin(peer: Peer) -> None:
    peer.half_close()
    peer.wait_closed()


def fin_both(peer: Peer) -> None:
    peer.socket.close()


def reset(peer: Peer) -> None:
    peer.reset()


def engine_close(peer: Peer) -> None:
    peer.send("1")
    peer.wait_closed()


def dismissal(peer: Peer) -> None:
    peer.emit("dismiss me")
    peer.wait_closed()


def oversize(peer: Peer) -> None:
    peer.socket.sendall(text_frame("4" + "x" * LIMIT))
    assert peer.wait_closed().code == 1009


def violation(peer: Peer) -> None:
    peer.socket.sendall(b"\x8f\x80\0\0\0\0")  # opcode 15
    assert peer.wait_closed().code == 1002


def unmasked(peer: Peer) -> None:
    peer.socket.sendall(b"\x81\x012")
    assert peer.wait_closed().code == 1002


ENDINGS: dict[Callable[[Peer], None], str] = {
    close_frame: "transport close",
    fin: "transport close",
    fin_both: "transport close",
    reset: "transport close",
    engine_close: "transport close",
    dismissal: "server namespace disconnect",
    oversize: "transport error",
    violation: "transport error",
    unmasked: "transport error",
}


@pytest.mark.parametrize("end", ENDINGS, ids=lambda end: end.__name__)
def test_an_ending_leaves_nothing_behind(server: RunningServer, end: Callable[[Peer], None]) -> None:
    sockets, threads = server.socket_count(), server.thread_count()
    peers = [Peer(server).join() for _ in range(EACH_TLS if server.url.startswith("https:") else EACH)]
    for peer in peers:
        end(peer)
    for peer in peers:
        assert wait_for_end(server, peer.sid)[0] == ENDINGS[end]
        peer.socket.close()
    eventually(server.socket_count, lambda count: count <= sockets)
    assert server.thread_count() <= threads + REQUEST_THREADS
    assert fetch(server, "/").startswith(b"hello")
    assert_clean(server)


def test_early_bytes_are_not_lost(server: RunningServer) -> None:
    """Frames in the same TCP segment as the handshake request are read, in order, as if they had come later."""
    early = [text_frame("40"), *(event_frame("number", number) for number in range(20)), text_frame('420["numbers"]')]
    with Peer(server, early=b"".join(early)) as peer:
        assert peer.receive().startswith("0{")
        peer.joined()
        assert peer.receive() == f"430[{list(range(20))}]".replace(" ", "")


def test_an_early_close_ends_well(server: RunningServer) -> None:
    """A client may say goodbye in the segment of its handshake already."""
    goodbye = bytes((0x88, 0x82)) + b"\0\0\0\0" + (1000).to_bytes(2, "big")
    peer = Peer(server, early=text_frame("40") + goodbye)
    assert peer.wait_closed().code == 1000
    peer.socket.close()
    assert_clean(server)


def test_no_answer_is_written_into_an_open_websocket(server: RunningServer) -> None:
    """What a server adds to its end of the request does not reach the client, while the WebSocket is open or after."""
    with Peer(server, OPEN_WEBSOCKET).join() as peer:
        for number in range(3):
            assert fetch(server, "/").startswith(b"hello")  # the server has had its turn
            assert peer.call("echo", number) == [number]
        peer.send_close()
        assert peer.wait_closed().code == 1000  # it asserts that frames, and nothing else, came


def test_gunicorn_counts_its_connections_right(server: RunningServer, request: pytest.FixtureRequest) -> None:
    """After all those WebSockets the thread worker knows of this one request, and accepts new ones."""
    if "gthread" not in request.node.name:
        pytest.skip("a matter of gunicorn's thread worker")
    for _ in range(30):
        Peer(server).join().leave()
    assert eventually(lambda: ask(server, "connections"), lambda count: count == 1) == 1
