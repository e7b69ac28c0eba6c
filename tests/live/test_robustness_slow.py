"""Clients that do not keep up, in either direction: they harm nobody but themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.conformance.raw import Closed, Endpoint
from tests.live.kinds import WEBSOCKET_SERVERS, first_everyday, serve
from tests.live.peers import Memory, Peer, ask, cpu_seconds, event_frame, eventually, wait_for_end
from tests.support.scenario import assert_clean
from tests.support.servers import SERVERS, RunningServer

MEGABYTE = 1_000_000
MAX_OUTBOX = 4 * MEGABYTE
MAX_MAILBOX = 1 * MEGABYTE
MARGIN = 12 * MEGABYTE  # what the allocator, the other clients and the answers to our questions may cost
BROADCASTS = 10_000
FLOOD = 20_000


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serve(request.param, max_outbox=MAX_OUTBOX, max_mailbox=MAX_MAILBOX, ping_interval=20) as running:
        yield running
        assert_clean(running)


class Reader(threading.Thread):
    """Takes every broadcast, with the time between its emission and its arrival."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(daemon=True)
        self.peer = Peer(server).join()
        self.numbers: list[int] = []
        self.worst_delay = 0.0

    def run(self) -> None:
        while len(self.numbers) < BROADCASTS:
            _, number, emitted, _ = self.peer.receive_event()
            self.numbers.append(number)
            self.worst_delay = max(self.worst_delay, time.monotonic() - emitted)


def broadcast(server: RunningServer) -> None:
    """10,000 events of 1 KB, at a pace that whoever reads can follow."""
    ask(server, f"broadcast?count={BROADCASTS}&size=1000&batch=50&pause=0.01", timeout=60)


@pytest.mark.parametrize("server", first_everyday(WEBSOCKET_SERVERS), indirect=True)
def test_a_client_that_stops_reading(server: RunningServer) -> None:
    """It is closed as slow; meanwhile the others get everything at once and memory stays bounded."""
    slow = Peer(server, receive_buffer=65536).join()
    readers = [Reader(server) for _ in range(3)]
    sockets = server.socket_count()
    memory = Memory(server)
    for reader in readers:
        reader.start()
    broadcast(server)
    for reader in readers:
        reader.join(20)
        assert reader.numbers == list(range(BROADCASTS))
        assert reader.worst_delay < 1, "seconds"
        reader.peer.leave()
    assert memory.peak_growth() < MAX_OUTBOX + MARGIN
    assert wait_for_end(server, slow.sid)[0] == "transport error"
    eventually(server.socket_count, lambda count: count < sockets)
    assert "max_outbox" in server.log()  # the setting to change is named
    with pytest.raises(Closed):
        while slow.receive():  # what had reached the kernel, then the end
            continue
    slow.socket.close()


@pytest.mark.parametrize("server", first_everyday(SERVERS), indirect=True)
def test_a_polling_client_that_stops_polling(server: RunningServer) -> None:
    """The same without WebSocket: nobody fetches what is queued, so the session ends when that is too much."""
    endpoint = Endpoint(server.url, "/socket.io")
    session = endpoint.open_polling()
    session.post("40")
    sid = session.poll()[0].removeprefix('40{"sid":"').removesuffix('"}')
    memory = Memory(server)
    ask(server, f"broadcast?count={BROADCASTS}&size=1000&batch={BROADCASTS}&pause=0", timeout=60)
    assert wait_for_end(server, sid)[0] == "transport error"
    assert memory.peak_growth() < MAX_OUTBOX + MARGIN
    assert session.get().status == 400  # the session is unknown by now: the client will open a new one


@pytest.mark.parametrize("server", first_everyday(WEBSOCKET_SERVERS), indirect=True)
def test_a_flood_waits_in_the_network(server: RunningServer) -> None:
    """Past its mailbox's bound nothing is read from a client, others go on, and in the end nothing has been lost."""
    memory = Memory(server)
    with Peer(server).join() as flooder, Peer(server).join() as other:
        flood = b"".join(event_frame("gated", number, "x" * 1000) for number in range(FLOOD))
        flooder.socket.settimeout(60)
        sender = threading.Thread(target=flooder.socket.sendall, args=(flood,), daemon=True)
        sender.start()
        for number in range(200):
            began = time.monotonic()
            assert other.call("echo", number) == [number]
            assert time.monotonic() - began < 1
        assert sender.is_alive(), "the server has read everything though nothing was handled"
        assert ask(server, f"received?sid={flooder.sid}") == 0
        ask(server, "open-gate")
        sender.join(30)
        assert flooder.call("numbers", timeout=30) == [list(range(FLOOD))]
    assert memory.peak_growth() < MAX_MAILBOX * 4 + MARGIN  # as Python objects, 1 KB events take more than their bytes


@pytest.mark.parametrize("server", first_everyday(WEBSOCKET_SERVERS), indirect=True)
@pytest.mark.parametrize("end", ["reset", "close"])
def test_a_flooding_client_goes_while_nothing_is_read_from_it(server: RunningServer, end: str) -> None:
    """The end of a paused connection costs no processor time, and is told after what came before."""
    flooder = Peer(server).join()
    for number in range(2 * MAX_MAILBOX // 1000):
        flooder.emit("gated", number, "x" * 1000)
    time.sleep(0.2)  # nothing tells a client that the server has stopped reading
    if end == "reset":
        flooder.reset()
    else:
        flooder.socket.close()
    before = cpu_seconds(server)
    time.sleep(1)
    assert cpu_seconds(server) - before < 0.3
    ask(server, "open-gate")
    assert wait_for_end(server, flooder.sid)[0] == "transport close"
    eventually(lambda: ask(server, "census")["Socket"], lambda count: count == 0)
