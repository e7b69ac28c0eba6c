"""Credit waits for the reader; each test that names ``stock`` shows that the library by itself would fail it."""

from __future__ import annotations

import pytest

from tests.support.world import one_world
from tests.webtransport.pair import SERVER, plain_pair
from wsgi_sio.webtransport.credit import CONNECTION_WINDOW, STREAM_WINDOW, STREAMS
from wsgi_sio.webtransport.quic import Quic

pytestmark = one_world

LOT = 1 << 20


def pushed(server: type[Quic] | None, consumed: bool, streams: int = 1) -> int:
    """How many bytes of many a server takes; unless they are ``consumed``, nobody reads them."""
    network, client, other = plain_pair(server)
    for number in range(streams):
        client.quic.send_stream_data(4 * number, bytes(LOT))
    taken = 0

    def take() -> None:
        nonlocal taken
        other.take()
        total = sum(map(len, other.received.values()))
        if not consumed and isinstance(other.quic, Quic) and total > taken:
            for stream_id, data in other.received.items():
                other.quic.hold_back(stream_id, len(data) - other.quic._held.get(stream_id, 0))
        taken = total

    network.take[SERVER] = take
    network.run(lambda: taken == LOT * streams, seconds=30.0)
    return taken


def test_a_sleeping_reader_stops_the_sender() -> None:
    assert pushed(Quic, consumed=False) <= STREAM_WINDOW


def test_stock_takes_all_of_it_although_nobody_reads() -> None:
    assert pushed(None, consumed=False) == LOT


def test_a_reader_gets_all() -> None:
    assert pushed(Quic, consumed=True) == LOT


def test_several_streams_together_are_bounded_too() -> None:
    assert pushed(Quic, consumed=False, streams=5) <= CONNECTION_WINDOW


def test_credit_comes_back_when_the_reader_wakes() -> None:
    network, client, server = plain_pair()
    quic = server.quic
    assert isinstance(quic, Quic)

    def take() -> None:
        before = len(server.received.get(0, b""))
        server.take()
        quic.hold_back(0, len(server.received.get(0, b"")) - before)

    network.take[SERVER] = take
    client.quic.send_stream_data(0, bytes(LOT))
    rounds = 0
    while (got := len(server.received.get(0, b""))) < LOT:
        network.run(seconds=1.0)
        came = len(server.received[0]) - got
        assert STREAM_WINDOW // 2 <= came <= STREAM_WINDOW
        quic.hold_back(0, -came)
        rounds += 1
    assert rounds >= 4


@pytest.mark.parametrize("server", [Quic, None])
def test_streams_are_counted_over_the_whole_life(server: type[Quic] | None) -> None:
    """Stock makes room for one more when one has ended (before aioquic 1.4: doubles the limit)."""
    network, client, other = plain_pair(server)
    for number in range(200):
        client.quic.send_stream_data(4 * number, b"x", end_stream=True)
        network.run(seconds=0.05)
        if 4 * number in other.received and other.quic._stream_can_send(4 * number):
            other.quic.send_stream_data(4 * number, b"y", end_stream=True)
    network.run(seconds=1.0)
    if server is None:
        assert len(other.received) > STREAMS
    else:
        assert len(other.received) == STREAMS
        assert client.quic._remote_max_streams_bidi == client.quic._remote_max_streams_uni == STREAMS
