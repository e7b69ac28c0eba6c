"""From polling to WebSocket under traffic, and every way in which that can fail."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.client.conftest import Connect, LocalServer, ServeLocally, echo
from tests.client.listener import Relay
from tests.support.inprocess import DEADLINE, Background, eventually
from tests.support.servers import SERVERS, start_server
from wsgi_sio.engineio import Session


def test_it_upgrades_where_the_server_offers_it(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo)
    opened = client(server.url).open()
    assert opened.engine.transport_name == "polling"
    opened.upgraded()
    assert opened.told[:2] == [("open",), ("upgrade", "websocket")]
    assert opened.engine.transport_name == "websocket" and opened.engine.upgraded
    opened.send("over", b"websocket")
    opened.expect("over", b"websocket")
    assert server.sessions[0].transport.name == "websocket"
    before = len(server.requests)
    opened.send("no request")
    opened.expect("no request")
    assert len(server.requests) == before


@pytest.mark.parametrize(
    ("server_options", "options"),
    [({"allow_upgrades": False}, {}), ({}, {"upgrade": False}), ({}, {"transports": "polling"})],
)
def test_it_stays_where_one_side_does_not_want_it(
    serve: ServeLocally, client: Connect, server_options: dict[str, Any], options: dict[str, Any]
) -> None:
    server = serve(echo, **server_options)
    opened = client(server.url, **options).open()
    for number in range(5):
        opened.send(str(number))
        opened.expect(str(number))
    assert not any("websocket" in request["QUERY_STRING"] for request in server.requests)
    assert opened.names == ["open"]


class Numbers:
    """Numbers sent from both sides, as fast as ``pause`` allows, while the transport changes."""

    def __init__(self, serve: ServeLocally, pause: float, count: int, **options: Any) -> None:
        self._pause = pause
        self._count = count
        self.senders: list[Background] = []
        self.server: LocalServer = serve(self._begin, max_outbox=20_000_000, **options)

    def _begin(self, session: Session) -> None:
        self.senders.append(Background(self._run, session.send_message))

    def _run(self, send: Callable[[str], object]) -> None:
        for number in range(self._count):
            assert send(str(number)) is not False
            if self._pause:
                time.sleep(self._pause)  # the pace of the traffic, nothing is waited for

    def against(self, opened: Any) -> None:
        """Send from the client's side too, and check both."""
        self._run(opened.send)
        for sender in self.senders:
            sender.result(20)
        expected = [str(number) for number in range(self._count)]
        eventually(lambda: len(opened.messages) >= self._count, "the client's messages", 20)
        eventually(lambda: len(self.server.received) >= self._count, "the server's messages", 20)
        assert opened.messages == expected
        assert self.server.received == expected


@pytest.mark.parametrize("pause", [0, 0.0005, 0.003])
def test_nothing_is_lost_doubled_or_reordered_meanwhile(serve: ServeLocally, client: Connect, pause: float) -> None:
    numbers = Numbers(serve, pause, 300)
    opened = client(numbers.server.url).open()
    numbers.against(opened)
    opened.upgraded()
    assert opened.close()[0] == "forced close"


def test_a_ping_during_the_upgrade_is_answered(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo, ping_interval=0.05, ping_timeout=1)
    opened = client(server.url).open().upgraded()
    eventually(lambda: [event[0] for event in opened.told].count("ping") > 5, "pings")
    assert server.reasons == []


def test_a_server_that_closes_meanwhile_is_heard_to_its_last_word(serve: ServeLocally, client: Connect) -> None:
    """Wherever in the upgrade the end falls, what was sent before it arrives, and so does the end itself."""
    ends: list[Background] = []

    def end(session: Session) -> None:
        time.sleep(len(ends) % 25 * 0.0004)  # another instant of the upgrade each time
        session.send_message("last")
        session.send_message("words")
        session.close()

    server = serve(lambda session: ends.append(Background(end, session)))
    for _ in range(50):
        opened = client(server.url).open()
        reason, detail = opened.wait_end()
        assert reason == "transport close" and detail is not None  # not for the end of TCP, two seconds later
        assert opened.messages == ["last", "words"]
    assert {*server.reasons} == {"forced close"}


@pytest.mark.parametrize("what", ["the end", "a message"])
def test_what_comes_with_the_switch_is_heard(
    serve: ServeLocally, client: Connect, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The candidate's reader tells it to the upgrade, whose the candidate was when it looked."""
    opened = client(serve(echo).url)
    engine = opened.engine
    switch = engine.switch_locked
    late: list[Background] = []

    def switch_while_it_reads(candidate: Any) -> Any:
        upgrade: Any = engine.upgrade
        if what == "the end":
            late.append(Background(lambda: upgrade.close("transport close", abort=True, code=1001)))
        else:
            late.append(Background(upgrade.receive, "4early"))
        return switch(candidate)

    monkeypatch.setattr(engine, "switch_locked", switch_while_it_reads)
    opened.open()
    eventually(lambda: late, "the switch")
    late[0].result()
    if what == "the end":
        assert opened.wait_end() == ("transport close", 1001)
    else:
        opened.expect("early")


# -- failures: the session goes on over polling ------------------------------------------------------------------------


class Meddler(Relay):
    """A relay in front of a server that does something to WebSocket connections."""

    def __init__(self, port: int, meddle: Callable[[bytes, socket.socket, socket.socket], object]) -> None:
        self._meddle = meddle
        self._target = port
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        server = self.keep(socket.create_connection(("127.0.0.1", self._target)))
        first = client.recv(65536)
        if not (b"transport=websocket" in first and self._meddle(first, client, server)):
            self.join(client, server, first)


ACCEPT = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


def close_at_once(head: bytes, client: socket.socket, server: socket.socket) -> bool:
    client.shutdown(socket.SHUT_RDWR)
    return True


def refuse(head: bytes, client: socket.socket, server: socket.socket) -> bool:
    client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsorry!")
    return True


def wrong_accept(head: bytes, client: socket.socket, server: socket.socket) -> bool:
    client.sendall(ACCEPT + b"wrong\r\n\r\n")
    return True


def say_nothing(head: bytes, client: socket.socket, server: socket.socket) -> bool:
    return True


@pytest.mark.parametrize("meddle", [close_at_once, refuse, wrong_accept, say_nothing])
def test_a_websocket_that_cannot_be_opened_leaves_it_on_polling(
    serve: ServeLocally, client: Connect, meddle: Callable[..., bool]
) -> None:
    server = serve(echo)
    relay = Meddler(server.port, meddle)
    opened = client(relay.url, timeout=0.5).open()
    for number in range(5):
        opened.send(str(number))
    opened.expect("0", "1", "2", "3", "4")
    eventually(lambda: "upgrade error" in opened.names, "the error")
    opened.send("still", b"there")
    opened.expect("still", b"there")
    error = opened.told[-1][1]
    assert (error.description, error.context) == ((403, "sorry!") if meddle is refuse else (None, None))
    assert opened.engine.transport_name == "polling"
    assert opened.close() == ("forced close", None)
    relay.close()


@pytest.mark.parametrize("frame", [b"\x81\x063other", b"\x81\x0243", b"\x82\x01x", b"\x88\x00", b"\xff\xff", b""])
@pytest.mark.parametrize("when", ["probe", "pause"])
def test_a_candidate_that_misbehaves_leaves_it_on_polling(
    serve: ServeLocally, client: Connect, monkeypatch: pytest.MonkeyPatch, frame: bytes, when: str
) -> None:
    """Wrong answers and ends, before and behind the server's ``3probe``; traffic goes on all the time."""
    numbers = Numbers(serve, 0.001, 300, upgrade_timeout=0.5)
    if when == "pause":  # which a poll that ends just then would end, too: the frame shall come in it
        monkeypatch.setattr("wsgi_sio.client.engineio.upgrade.Upgrade.proceed", lambda upgrade: None)

    def misbehave(head: bytes, to_client: socket.socket, to_server: socket.socket) -> bool:
        to_server.close()
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        to_client.sendall(ACCEPT + accept + b"\r\n\r\n" + (b"\x81\x063probe" if when == "pause" else b"") + frame)
        if not frame:
            to_client.shutdown(socket.SHUT_RDWR)
        return True

    relay = Meddler(numbers.server.port, misbehave)
    opened = client(relay.url, timeout=10).open()
    numbers.against(opened)
    eventually(lambda: "upgrade error" in opened.names, "the error")
    assert opened.engine.transport_name == "polling"
    opened.engine.abort()
    assert opened.wait_end()[0] == "forced close"
    relay.close()


@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_closing_in_the_middle_of_it(serve: ServeLocally, client: Connect, delay: float, how: str) -> None:
    """What was sent before a close() arrives, whatever the transport is at that moment."""
    server = serve()
    opened = client(server.url).open()
    threading.Event().wait(delay)
    opened.send("last", b"words")
    if how == "close":
        assert opened.close() == ("forced close", None)
        eventually(lambda: server.received == ["last", b"words"], "the last words")
    else:
        opened.engine.abort()
        assert opened.wait_end()[0] == "forced close"


@pytest.mark.parametrize("delay", [0, 0.05, 0.1, 0.15])
def test_the_server_dies_in_the_middle_of_it(client: Connect, delay: float) -> None:
    with start_server(SERVERS[0], "tests.apps.protocol_engineio:app") as server:
        opened = client(server.url, path="/calm/engine.io").open()
        threading.Event().wait(delay)
        os.killpg(server.pid, signal.SIGKILL)
        assert opened.wait_end()[0] in ("transport close", "transport error")


def test_an_upgrade_that_never_ends_is_given_up(
    serve: ServeLocally, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers the probe but never lets the GET return: back to polling, with all that waited."""
    probed = threading.Event()
    monkeypatch.setattr("wsgi_sio.engineio.upgrade.Upgrade._release_get", lambda upgrade: probed.set())
    opened = client(serve(echo).url, timeout=0.7).open()
    assert probed.wait(DEADLINE)
    opened.send("queued meanwhile")
    eventually(lambda: "upgrade error" in opened.names, "the error")
    opened.expect("queued meanwhile")
    opened.send("and after")
    opened.expect("and after")
    assert opened.engine.transport_name == "polling"
