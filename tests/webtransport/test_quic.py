"""What is changed of aioquic; each test that names ``stock`` shows that the library by itself would fail it."""

from __future__ import annotations

import logging

import pylsqpack
import pytest
from aioquic.h3.connection import H3Connection
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import StreamReset

from tests.support.world import one_world
from tests.webtransport.pair import CLIENT, SERVER, Plain, plain_pair
from wsgi_sio.webtransport.credit import STREAM_WINDOW
from wsgi_sio.webtransport.quic import H3, MAX_COLLECTED, Quic

pytestmark = one_world

LOT = 1 << 20


def test_unsent_is_what_has_not_been_acknowledged() -> None:
    network, client, server = plain_pair()
    quic = server.quic
    assert isinstance(quic, Quic)
    client.quic.send_stream_data(0, b"x")
    network.run(lambda: 0 in server.received)
    assert (quic.unsent(0), quic.is_writable(0)) == (0, True)
    quic.send_stream_data(0, bytes(5000), end_stream=True)
    assert (quic.unsent(0), quic.is_writable(0), quic.is_delivered(0)) == (5000, False, False)
    network.run(seconds=1.0)
    assert (quic.unsent(0), quic.is_delivered(0)) == (0, True)
    assert client.received[0] == bytes(5000)


def test_a_reader_without_credit_shows_as_unsent() -> None:
    network, client, server = plain_pair()
    quic = server.quic
    assert isinstance(quic, Quic)
    client.quic._write_stream_limits = lambda **given: None  # type: ignore[method-assign]
    client.quic.send_stream_data(0, b"x")
    network.run(lambda: 0 in server.received)
    quic.send_stream_data(0, bytes(LOT))
    network.run(seconds=5.0)
    assert quic.unsent(0) == LOT - STREAM_WINDOW


def test_a_stream_that_the_peer_breaks_off_takes_no_more() -> None:
    network, client, server = plain_pair()
    quic = server.quic
    assert isinstance(quic, Quic)
    client.quic.send_stream_data(0, b"x")
    network.run(lambda: 0 in server.received)
    client.quic.reset_stream(0, 7)
    client.quic.stop_stream(0, 7)
    network.run(lambda: server.saw(StreamReset))
    assert not quic.is_writable(0) and not quic.is_writable(400)


def test_what_strangers_do_wrong_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Stock warns of each."""
    told: dict[bool, list[int]] = {}
    for stock in (False, True):
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            network, client, _ = plain_pair(None if stock else Quic)
            client.quic._remote_max_streams_bidi = 1000
            client.quic.send_stream_data(800, b"x")
            network.run(lambda: client.ended is not None)  # noqa: B023
        assert client.ended == "Too many streams open"
        told[stock] = [
            record.levelno
            for record in caplog.records
            if "Too many streams open" in record.getMessage() and record.name == ("quic" if stock else logger_name)
        ]
    assert set(told[False]) == {logging.DEBUG} and logging.WARNING in told[True]


logger_name = "wsgi_sio.webtransport"


# -- HTTP/3 ---------------------------------------------------------------------------------------------------------


def http_pair(stock: bool = False) -> tuple[QuicConnection, H3Connection, H3Connection, Plain]:
    """A stock client that talks HTTP/3 to a server; what it sends gets there with :func:`give`."""
    network, client, server = plain_pair()
    assert isinstance(server.quic, Quic)
    theirs = H3Connection(client.quic, enable_webtransport=True)
    ours = H3Connection(server.quic, enable_webtransport=True) if stock else H3(server.quic)

    def take() -> None:
        seen = len(server.events)
        server.take()
        for event in server.events[seen:]:
            ours.handle_event(event)

    network.take[SERVER] = take
    seen_by_client = 0

    def take_there() -> None:
        nonlocal seen_by_client
        client.take()
        for event in client.events[seen_by_client:]:
            theirs.handle_event(event)
        seen_by_client = len(client.events)

    network.take[CLIENT] = take_there
    network.run(seconds=0.5)
    client.network = network  # type: ignore[attr-defined]
    return client.quic, theirs, ours, client


def test_the_settings_of_all_drafts_are_sent() -> None:
    """Stock has those of draft-02 alone."""
    for stock, more in ((False, {0xC671706A: 1, 0x14E9CD29: 1, 0x2C7CF000: 1}), (True, {})):
        settings = http_pair(stock)[1].received_settings
        assert settings is not None
        assert {key: settings.get(key) for key in (0x08, 0x33, 0x2B603742)} == {0x08: 1, 0x33: 1, 0x2B603742: 1}
        for key in (0xC671706A, 0x14E9CD29, 0x2C7CF000):
            assert settings.get(key) == more.get(key)


def test_a_request_cannot_stand_for_more_than_it_is_long() -> None:
    """Stock keeps a table of the client's, of which each byte of a request may stand for 4 KB."""
    for stock in (False, True):
        _, theirs, ours, client = http_pair(stock)
        encoder = pylsqpack.Encoder()
        stream = encoder.apply_settings(max_table_capacity=4096, blocked_streams=16)
        for _ in range(3):
            more, _ = encoder.encode(0, [(b"x-long", b"y" * 3000)])
            stream += more
        assert len(stream) > 2000  # it is the table's content
        client.quic.send_stream_data(theirs._local_encoder_stream_id, stream)
        client.network.run(seconds=1.0)  # type: ignore[attr-defined]
        assert ours._is_done is not stock


@pytest.mark.parametrize(
    "frame", [b"\x01\xc0\x00\x01\x00\x00\x00\x00\x00", b"\x05\xc0\x00\x01\x00\x00\x00\x00\x00\x00"]
)
def test_a_frame_without_end_is_noticed(frame: bytes) -> None:
    """Headers of 2^40 bytes; a promise, which a client must not make, is an error by itself."""
    _, _, ours, client = http_pair()
    client.quic.send_stream_data(0, frame + bytes(MAX_COLLECTED + 1))
    client.network.run(seconds=1.0)  # type: ignore[attr-defined]
    assert isinstance(ours, H3)
    assert ours.collects_too_much(0) or ours._is_done
    assert not ours.collects_too_much(400)
