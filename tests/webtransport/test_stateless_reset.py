"""Who does not know a connection ends it all the same: tokens, what is answered, and clients that understand it."""

from __future__ import annotations

import os
import time

import pytest
from aioquic.quic.connection import QuicConnection

from tests.support.world import one_world
from tests.webtransport.pair import (
    CLIENT,
    HEADERS,
    SERVER,
    End,
    Network,
    client_configuration,
    server_configuration,
)
from wsgi_sio.webtransport.connection import Answered, Closed, Connected, Connection, Requested
from wsgi_sio.webtransport.stateless_reset import TOKEN_LENGTH, ClientQuic, Resets, ServerQuic

pytestmark = one_world

RESETS = Resets(b"a secret")


def short(size: int, connection_id: bytes = b"12345678") -> bytes:
    """What looks like a datagram of an established connection."""
    return (b"\x40" + connection_id + os.urandom(max(0, size - 9)))[:size]


@pytest.mark.parametrize(("size", "answer"), [(21, 0), (22, 21), (30, 29), (43, 42), (44, 42), (1200, 42)])
def test_the_answer_is_shorter_than_what_came(size: int, answer: int) -> None:
    reset = RESETS.answer(short(size)) or b""
    assert len(reset) == answer
    if reset:
        assert reset[0] & 0xC0 == 0x40 and reset[-TOKEN_LENGTH:] == RESETS.token(b"12345678")
        assert RESETS.answer(short(size)) != reset  # the rest is noise


@pytest.mark.parametrize("data", [b"\xc3" + bytes(1199), b"\x00" + bytes(1199), b"", b"\x40"])
def test_nothing_else_is_answered(data: bytes) -> None:
    assert RESETS.answer(data) is None


def test_two_that_do_not_know_each_other_come_to_an_end() -> None:
    data: bytes | None = short(1200)
    for _ in range(30):
        data = None if data is None else RESETS.answer(data)
    assert data is None


def test_a_token_is_the_ids_and_the_secrets() -> None:
    assert RESETS.token(b"12345678") == Resets(b"a secret").token(b"12345678")
    assert len({RESETS.token(b"12345678"), RESETS.token(b"12345679"), Resets(b"other").token(b"12345678")}) == 3


def pair(theirs: QuicConnection) -> tuple[Network, QuicConnection, ServerQuic]:
    """A client, and a server whose ids have tokens, connected."""
    original = theirs.original_destination_connection_id
    ours = ServerQuic(server_configuration(), RESETS, original_destination_connection_id=original)
    network = Network(theirs, ours)
    network.run(lambda: theirs._handshake_confirmed and len(theirs._peer_cid_available) == 7)
    return network, theirs, ours


def test_the_client_is_told_the_token_of_each_id() -> None:
    _, theirs, ours = pair(QuicConnection(configuration=client_configuration()))
    known = [theirs._peer_cid, *theirs._peer_cid_available]
    assert len(known) == 8
    for each in known:
        assert each.stateless_reset_token == RESETS.token(each.cid)
    assert {each.cid for each in known} == {each.cid for each in ours._host_cids}


def test_a_reset_ends_the_connection() -> None:
    theirs = ClientQuic(client_configuration())
    ours = ServerQuic(
        server_configuration(), RESETS, original_destination_connection_id=theirs.original_destination_connection_id
    )
    client, server = End(Connection(theirs)), End(Connection(ours))
    network = Network(theirs, ours)
    network.take = {CLIENT: client.take, SERVER: server.take}
    network.run(lambda: client.saw(Connected) and server.saw(Connected))
    client.connection.request(HEADERS)
    network.run(lambda: server.saw(Requested))
    server.connection.accept(server.one(Requested).headers)
    network.run(lambda: client.saw(Answered))
    client.connection.open_stream()
    client.connection.send(b"to whom it may concern")
    ((sent, _), *_) = client.connection.datagrams(network.now)
    reset = RESETS.answer(sent)  # by who has the port now
    assert reset is not None
    forged = Resets(b"another's").answer(sent)
    assert forged is not None
    client.connection.receive(forged, SERVER, network.now)
    client.take()
    assert not client.saw(Closed)
    client.connection.receive(reset, SERVER, network.now)
    client.take()
    assert client.one(Closed).reason == "the server does not know the connection any more"
    assert client.connection.is_over and client.connection.deadline is None


def test_stock_does_not_understand_it() -> None:
    network, theirs, _ = pair(QuicConnection(configuration=client_configuration()))
    reset = RESETS.answer(short(1200, theirs._peer_cid.cid))
    assert reset is not None
    theirs.receive_datagram(reset, SERVER, network.now)
    assert theirs._close_event is None


def test_a_client_without_a_connection_yet_takes_none() -> None:
    """It has no token."""
    theirs = ClientQuic(client_configuration())
    theirs.connect(SERVER, time.monotonic())
    theirs.receive_datagram(short(42), SERVER, time.monotonic())
    assert theirs._close_event is None


@pytest.mark.parametrize("first", ["client", "server"])
def test_what_the_peer_has_closed_is_over_at_once(first: str) -> None:
    """Not some round trips later, for which whoever disconnects would wait."""
    theirs = ClientQuic(client_configuration())
    ours = ServerQuic(
        server_configuration(), RESETS, original_destination_connection_id=theirs.original_destination_connection_id
    )
    ends = {"client": End(Connection(theirs)), "server": End(Connection(ours))}
    network = Network(theirs, ours)
    network.take = {CLIENT: ends["client"].take, SERVER: ends["server"].take}
    network.run(lambda: all(end.saw(Connected) for end in ends.values()))
    other = ends["server" if first == "client" else "client"]
    ends[first].connection.close("enough")
    began = network.now
    network.run(lambda: other.saw(Closed))
    assert other.one(Closed).reason == "enough" and other.connection.is_over
    assert network.now - began < 0.005
