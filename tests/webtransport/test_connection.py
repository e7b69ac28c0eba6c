"""A WebTransport session on a QUIC connection, without I/O: both ends are ours, or one is aioquic as it comes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.events import StopSendingReceived, StreamReset

from tests.support.world import one_world
from tests.webtransport.pair import CLIENT, HEADERS, End, Network, Plain, connection_pair, plain_pair
from wsgi_sio.webtransport.connection import (
    Answered,
    Closed,
    Connected,
    Connection,
    Ended,
    IdIssued,
    Received,
    Requested,
)
from wsgi_sio.webtransport.credit import STREAM_WINDOW
from wsgi_sio.webtransport.quic import Quic

pytestmark = one_world


def session(loss: int = 0) -> tuple[Network, End, End]:
    """A session that has been accepted, with its stream, on which ``hello`` has come."""
    network, client, server = connection_pair(loss)
    client.connection.request(HEADERS)
    network.run(lambda: server.saw(Requested))
    server.connection.accept(server.one(Requested).headers)
    network.run(lambda: client.saw(Answered))
    assert client.one(Answered).status == 200
    client.connection.open_stream()
    client.connection.send(b"hello")
    network.run(lambda: server.saw(Received))
    assert server.data() == b"hello"
    return network, client, server


def test_bytes_go_both_ways() -> None:
    network, client, server = session()
    assert server.connection.send(b"world") and client.connection.send(b"!" * 10_000)
    network.run(lambda: server.data() == b"hello" + b"!" * 10_000 and client.data() == b"world")
    network.run(seconds=1.0)
    assert server.connection.unsent == client.connection.unsent == 0
    assert dict(server.one(Requested).headers)[b":path"] == b"/socket.io/"
    assert len([event for event in server.events if isinstance(event, IdIssued)]) == 7


def test_loss_and_disorder_change_nothing() -> None:
    network, client, server = session(loss=5)
    sent = bytes(range(256)) * 1000
    client.connection.send(sent)
    server.connection.send(sent)
    network.run(lambda: len(server.data()) == len(sent) + 5 and len(client.data()) == len(sent), seconds=60.0)
    assert (server.data(), client.data()) == (b"hello" + sent, sent)


def test_a_session_that_is_refused() -> None:
    network, client, server = connection_pair()
    client.connection.request(HEADERS)
    network.run(lambda: server.saw(Requested))
    server.connection.refuse(403)
    network.run(lambda: client.saw(Ended))
    assert client.one(Answered).status == 403
    assert not client.connection.send(b"x") and not server.connection.send(b"x")


def test_what_comes_before_the_answer_waits_for_it() -> None:
    """Within the stream's window; browsers wait for the answer, but need not."""
    network, client, server = connection_pair()
    client.connection.request(HEADERS)
    client.connection.open_stream()
    client.connection.send(bytes(2 * STREAM_WINDOW))
    network.run(seconds=5.0)
    assert server.saw(Requested) and not server.saw(Received)
    assert client.connection.unsent >= STREAM_WINDOW
    server.connection.accept(server.one(Requested).headers)
    network.run(lambda: len(server.data()) == 2 * STREAM_WINDOW, seconds=10.0)
    assert server.data() == bytes(2 * STREAM_WINDOW)


def test_what_comes_before_a_refusal_is_forgotten() -> None:
    network, client, server = connection_pair()
    client.connection.request(HEADERS)
    client.connection.open_stream()
    client.connection.send(b"early")
    network.run(lambda: server.saw(Requested))
    server.connection.refuse(404)
    network.run(lambda: client.saw(Ended))
    assert not server.saw(Received)


# -- the end --------------------------------------------------------------------------------------------------------


def test_the_server_ends_in_good_order() -> None:
    network, client, server = session()
    server.connection.send(b"last words")
    server.connection.end_stream()
    assert not server.connection.is_delivered and not server.connection.send(b"too late")
    network.run(lambda: client.saw(Ended))
    assert client.data() == b"last words"
    assert client.one(Ended).reason == "it ended the stream"
    network.run(seconds=1.0)
    assert server.connection.is_delivered
    server.connection.end_session(3, "why")
    network.run(seconds=1.0)
    client.one(Ended)  # told once
    server.connection.close()
    network.run(lambda: client.saw(Closed))


def test_the_session_ends_with_a_capsule() -> None:
    network, client, server = session()
    client.connection.end_session(7, "bye")
    network.run(lambda: server.saw(Ended))
    assert server.one(Ended).reason == "it closed the session, code 7 'bye'"


def test_a_connection_that_is_closed() -> None:
    network, client, server = session()
    client.connection.close("enough")
    network.run(lambda: server.saw(Closed))
    assert server.one(Closed).reason == "enough"
    assert server.connection.is_over and not server.connection.send(b"x")
    server.connection.end_stream()
    server.connection.end_session()


def test_silence_ends_it() -> None:
    network, _, server = session()
    network.run(lambda: server.saw(Closed), seconds=120.0)
    assert "Idle timeout" in server.one(Closed).reason


# -- a client of aioquic's own, which can do what ours does not -----------------------------------------------------


class Stock:
    """A stock HTTP/3 client of our server, which has asked for nothing."""

    def __init__(self) -> None:
        self.network, plain, ours = plain_pair()
        assert isinstance(ours.quic, Quic)
        self.plain: Plain = plain
        self.quic = plain.quic
        self.server = End(Connection(ours.quic))
        self.server.connection._events.append(Connected())
        self.http = H3Connection(plain.quic, enable_webtransport=True)
        self.seen: list[Any] = []
        self._at = 0
        self.network.take = {CLIENT: self._take, ("127.0.0.1", 4433): self.server.take}

    def _take(self) -> None:
        self.plain.take()
        for event in self.plain.events[self._at :]:
            self.seen += self.http.handle_event(event)
        self._at = len(self.plain.events)

    def ask(self, *, accept: bool = True, end: bool = False, **changed: bytes) -> int:
        """Send a CONNECT; the stream's number."""
        headers = {**dict(HEADERS), **{f":{name}".encode(): value for name, value in changed.items()}}
        stream_id = self.quic.get_next_available_stream_id()
        self.http.send_headers(stream_id, list(headers.items()), end_stream=end)
        self.network.run(seconds=0.5)
        if accept and self.server.saw(Requested):
            self.server.connection.accept(self.server.one(Requested).headers)
            self.network.run(seconds=0.5)
        return stream_id

    def statuses(self) -> dict[int, bytes]:
        return {e.stream_id: dict(e.headers)[b":status"] for e in self.seen if isinstance(e, HeadersReceived)}

    def rejected(self, stream_id: int) -> bool:
        return any(
            isinstance(event, (StreamReset, StopSendingReceived)) and event.stream_id == stream_id
            for event in self.plain.events
        )


def test_stock_takes_answers_on_its_own_stream_for_http() -> None:
    """Why data of the stream goes past HTTP/3: to a client of aioquic it would be frames."""
    stock = Stock()
    session_id = stock.ask()
    stream_id = stock.http.create_webtransport_stream(session_id)
    stock.quic.send_stream_data(stream_id, b"hello")
    stock.network.run(lambda: stock.server.saw(Received))
    stock.server.connection.send(b"\x00\x05world")  # as HTTP/3, a DATA frame where none may be
    stock.network.run(seconds=1.0)
    assert not any(isinstance(event, (WebTransportStreamDataReceived, DataReceived)) for event in stock.seen)
    assert stock.http._is_done


def test_other_requests_are_answered() -> None:
    stock = Stock()
    stream_id = stock.quic.get_next_available_stream_id()
    stock.http.send_headers(
        stream_id,
        [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/")],
        end_stream=True,
    )
    stock.network.run(seconds=0.5)
    assert stock.statuses() == {stream_id: b"404"} and not stock.server.saw(Requested)
    assert stock.ask() == 4 and stock.statuses()[4] == b"200"  # it goes on


def test_a_session_that_is_over_at_once() -> None:
    stock = Stock()
    assert stock.ask(end=True) == 0
    assert stock.statuses() == {0: b"400"} and not stock.server.saw(Requested)


def test_the_later_drafts_protocol_name() -> None:
    stock = Stock()
    assert stock.statuses() == {} and stock.ask(protocol=b"webtransport-h3") == 0 and stock.statuses() == {0: b"200"}


def test_only_clients_of_the_second_draft_are_told_of_it() -> None:
    for headers, told in ((HEADERS, True), (HEADERS[:-1], False)):
        stock = Stock()
        stock.http.send_headers(0, headers)
        stock.network.run(seconds=0.5)
        stock.server.connection.accept(stock.server.one(Requested).headers)
        stock.network.run(seconds=0.5)
        (answer,) = [event for event in stock.seen if isinstance(event, HeadersReceived)]
        assert ((b"sec-webtransport-http3-draft", b"draft02") in answer.headers) is told


def test_one_session_and_one_stream() -> None:
    stock = Stock()
    session_id = stock.ask()
    other = stock.ask(accept=False)
    assert stock.statuses()[other] == b"429"
    first, second, foreign = (
        stock.http.create_webtransport_stream(number) for number in (session_id, session_id, other)
    )
    one_way = stock.http.create_webtransport_stream(session_id, is_unidirectional=True)
    for stream_id in (first, second, foreign, one_way):
        stock.quic.send_stream_data(stream_id, b"x%d" % stream_id)
    stock.network.run(seconds=1.0)
    assert stock.server.data() == b"x%d" % first
    assert [stock.rejected(stream_id) for stream_id in (first, second, foreign, one_way)] == [False, True, True, True]
    stock.quic.send_stream_data(first, b" more")
    stock.http.send_datagram(session_id, b"ignored")
    stock.network.run(seconds=1.0)
    assert stock.server.data() == b"x%d more" % first and not stock.server.saw(Ended)


def test_a_stream_before_its_session_is_rejected() -> None:
    stock = Stock()
    stream_id = stock.http.create_webtransport_stream(4)
    stock.quic.send_stream_data(stream_id, b"x")
    stock.network.run(seconds=0.5)
    assert stock.rejected(stream_id)
    assert stock.ask() == 4


@pytest.mark.parametrize("how", ["stream", "reset", "stop", "session", "session reset"])
def test_whatever_ends_is_noticed(how: str) -> None:
    stock = Stock()
    session_id = stock.ask()
    stream_id = stock.http.create_webtransport_stream(session_id)
    stock.quic.send_stream_data(stream_id, b"x", end_stream=how == "stream")
    stock.network.run(lambda: stock.server.saw(Received))
    if how == "reset":
        stock.quic.reset_stream(stream_id, 9)
    elif how == "stop":
        stock.quic.stop_stream(stream_id, 9)
    elif how == "session":
        stock.http.send_data(session_id, b"", end_stream=True)
    elif how == "session reset":
        stock.quic.reset_stream(session_id, 9)
    stock.network.run(lambda: stock.server.saw(Ended), seconds=2.0)
    reasons = {"stream": "it ended the stream", "session": "it ended the session"}
    assert stock.server.one(Ended).reason == reasons.get(how, "it broke off, code 0x9")
    assert stock.server.data() == b"x"
    stock.server.connection.end_session()
    stock.network.run(seconds=0.5)
    assert not stock.server.connection.send(b"y")


def test_an_endless_header_ends_the_connection() -> None:
    stock = Stock()
    stock.quic.send_stream_data(0, b"\x01\xc0\x00\x01\x00\x00\x00\x00\x00" + bytes(100_000))
    stock.network.run(lambda: stock.plain.ended is not None)
    assert stock.plain.ended == "too long a frame"


def test_strangers_bytes_end_the_connection_or_nothing() -> None:
    dice = random.Random(1)
    for _ in range(12):
        stock = Stock()
        for stream_id in (0, 2, 4, 14):
            stock.quic.send_stream_data(stream_id, dice.randbytes(dice.randint(1, 60)), end_stream=dice.random() < 0.3)
        stock.network.run(seconds=0.3)
        assert not stock.server.saw(Received)
        stock.network.run(lambda: stock.server.saw(Closed), seconds=100.0)  # noqa: B023
        assert stock.server.saw(Closed)
