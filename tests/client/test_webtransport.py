"""The client over WebTransport: directly, as an upgrade, falling back; certificates; the end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.forking import forked
from tests.support.servers import free_port
from tests.support.waiting import AT_ONCE, Background, eventually, open_descriptors
from wsgi_sio import Client, Server, Socket, WSGIApp
from wsgi_sio.development_server import make_server
from wsgi_sio.exceptions import ConnectionFailed
from wsgi_sio.webtransport.certificates import make_certificate

ALL = ["polling", "websocket", "webtransport"]
EPHEMERAL: Mapping[str, Any] = {}


class Place:
    """A server on one TCP and one UDP port."""

    def __init__(self, listen: Mapping[str, Any] | None, **options: Any) -> None:
        self.io = Server(**{"transports": ALL, "ping_interval": 0.5, "ping_timeout": 2, "siblings": False, **options})
        self.ended: list[str] = []
        self.io.on("echo", lambda socket, value: value)
        self.io.on("again", lambda socket, *args: socket.emit("again", *args))
        self.io.on("disconnect", lambda socket, reason: self.ended.append(reason))
        self.io.on("transport", lambda socket: socket.conn.session.transport.name)
        self.io.on("throw out", self._throw_out)
        self.server = make_server(WSGIApp(self.io), "127.0.0.1", 0, log=False)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.listener: Any = None
        if listen is not None:
            self.listener = self.io.listen_webtransport("127.0.0.1", self.server.port, **listen)
        self.serving = Background(self.server.serve_forever)

    def _throw_out(self, socket: Socket) -> None:
        for number in range(3):
            socket.emit("word", number, b"x" * 50_000)
        socket.disconnect(True)

    def client(self, *transports: str, **options: Any) -> Client:
        return Client(self.url, **{"transports": transports, "verify": False, "reconnection": False, **options})

    def close(self) -> None:
        self.io.close()
        self.server.stop()
        self.serving.result()
        self.io.reactor.close()


@pytest.fixture
def make_place() -> Iterator[Any]:
    made: list[Place] = []

    def make(listen: Mapping[str, Any] | None = EPHEMERAL, **options: Any) -> Place:
        made.append(Place(listen, **options))
        return made[-1]

    yield make
    for place in made:
        place.close()


def test_directly(make_place: Any) -> None:
    place = make_place()
    with place.client("webtransport") as client:
        assert client.io.transport_name == "webtransport"
        for value in ("text €", b"", b"\x01" * 200_000, {"nested": [b"\x02", 1]}, "x" * 100_000):
            assert client.emit_with_ack("echo", value) == value
        got: list[Any] = []
        client.on("again", got.append)
        for number in range(200):
            client.emit("again", number)
        eventually(lambda: len(got) == 200, "the echoes")
        assert got == list(range(200))
        assert client.emit_with_ack("transport") == "webtransport"
        environ = next(iter(place.io.sockets.sockets.values())).handshake.environ
        assert environ["HTTP_USER_AGENT"] == "wsgi_sio" and environ["QUERY_STRING"] == ""
    eventually(lambda: place.ended == ["client namespace disconnect"], "the end")
    eventually(lambda: len(place.listener) == 0, "the connection's end")


def test_it_stays_alive(make_place: Any) -> None:
    place = make_place(ping_interval=0.1, ping_timeout=0.5)
    with place.client("webtransport") as client:
        time.sleep(0.8)
        assert client.connected and client.emit_with_ack("echo", 1) == 1


def test_an_upgrade_under_traffic(make_place: Any) -> None:
    place = make_place()
    got: list[Any] = []
    with place.client("polling", "webtransport") as client:
        client.on("again", got.append)
        number = 0
        while client.io.transport_name == "polling":
            client.emit("again", number)
            number += 1
            time.sleep(0.002)
        for _ in range(50):
            client.emit("again", number)
            number += 1
        eventually(lambda: len(got) == number, "the echoes")
        assert got == list(range(number))
        assert client.io.transport_name == client.emit_with_ack("transport") == "webtransport"


def test_it_is_preferred_to_websocket(make_place: Any) -> None:
    with make_place().client(*ALL) as client:
        eventually(lambda: client.io.transport_name != "polling", "the upgrade")
        assert client.emit_with_ack("transport") == "webtransport"


@pytest.mark.parametrize("way", ["refused", "silent"])
def test_websocket_where_udp_is_shut(make_place: Any, way: str) -> None:
    place = make_place()
    port = free_port()
    if way == "silent":
        hole = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        hole.bind(("127.0.0.1", port))
    began = time.monotonic()
    with place.client(*ALL, webtransport_port=port) as client:
        eventually(lambda: client.io.transport_name != "polling", "the upgrade")
        assert client.emit_with_ack("transport") == "websocket"
        assert time.monotonic() - began < 6
    if way == "silent":
        hole.close()


def test_a_server_that_does_not_know_the_session(make_place: Any) -> None:
    """Such as another one, or another worker, at the port: WebSocket is left."""
    place, other = make_place(), make_place()
    with place.client(*ALL, webtransport_port=other.listener.port) as client:
        eventually(lambda: client.io.transport_name != "polling", "the upgrade")
        assert client.emit_with_ack("transport") == "websocket"


def test_another_transport_where_it_fails_while_opening(make_place: Any) -> None:
    place = make_place(None)
    with place.client("webtransport", "polling", try_all_transports=True) as client:
        assert client.io.transport_name in ("polling", "websocket")


def test_nobody_there(make_place: Any) -> None:
    place = make_place(None)
    with pytest.raises(ConnectionFailed, match="webtransport error"):
        place.client("webtransport").connect()
    with pytest.raises(ConnectionFailed, match="timeout|webtransport error"):
        place.client("webtransport", timeout=0.3, webtransport_port=9).connect()


def test_a_refusal_has_its_status(make_place: Any) -> None:
    place = make_place(allow_request=lambda environ: "not you")
    with pytest.raises(ConnectionFailed) as caught:
        place.client("webtransport").connect()
    assert caught.value.description == 403


def test_cookies_are_sent(make_place: Any) -> None:
    """Those of the application, and those that the server has set before."""
    place = make_place(cookie="where")
    sent: list[str] = []
    place.io.on("connect", lambda socket: sent.append(socket.handshake.headers.get("cookie", "")))
    jar = CookieJar()
    with place.client("polling", cookies=jar, upgrade=False):
        (cookie,) = jar
    for options in (
        {"cookies": {"mine": "1", "other": "2"}},
        {"cookies": {"mine": "1"}, "extra_headers": {"Cookie": "own=3"}},
        {"cookies": jar},
    ):
        with place.client("webtransport", **options):
            pass
    assert sent == ["", "mine=1; other=2", "own=3", f"where={cookie.value}"]


def test_a_url_with_a_user(make_place: Any) -> None:
    place = make_place()
    url = place.url.replace("127.0.0.1", "me:secret@127.0.0.1")
    with Client(url, transports=["webtransport"], verify=False, reconnection=False):
        (member,) = place.io.sockets.sockets.values()
        assert member.handshake.headers["authorization"] == "Basic bWU6c2VjcmV0"


def test_remember_upgrade_begins_with_it_where_it_worked(make_place: Any) -> None:
    place = make_place()
    names: list[str] = []
    place.io.on("connect", lambda socket: names.append(socket.conn.session.transport.name))
    client = place.client(*ALL, remember_upgrade=True)
    for _ in range(2):
        client.connect()
        eventually(lambda: client.io.transport_name == "webtransport", "the transport")
        client.disconnect()
    assert names == ["polling", "webtransport"]


def test_parameters_and_headers_of_the_application(make_place: Any) -> None:
    place = make_place()
    with place.client("webtransport", query={"token": "é"}, extra_headers={"X-Mine": "1"}):
        (member,) = place.io.sockets.sockets.values()
        assert member.handshake.query == {"token": "é"} and member.handshake.headers["x-mine"] == "1"


# -- certificates ---------------------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_has_signed(make_place: Any) -> None:
    place = make_place()
    with pytest.raises(ConnectionFailed, match="webtransport error"):
        place.client("webtransport", verify=True).connect()


def test_by_its_hash(make_place: Any) -> None:
    place = make_place()
    hashes = [each["value"] for each in place.listener.certificate_hashes]
    with place.client("webtransport", verify=True, certificate_hashes=hashes) as client:
        assert client.emit_with_ack("echo", 1) == 1
    with pytest.raises(ConnectionFailed, match="none of certificate_hashes"):
        place.client("webtransport", certificate_hashes=[b"\0" * 32]).connect()
    place.listener.renew()
    with place.client("webtransport", certificate_hashes=[place.listener.certificate_hashes[0]["value"]]):
        pass


def test_by_an_authority(make_place: Any, tmp_path: Path) -> None:
    place = make_place(write_certificate(tmp_path))
    with place.client("webtransport", verify=str(tmp_path / "cert.pem")) as client:
        assert client.emit_with_ack("echo", 1) == 1


# -- the end --------------------------------------------------------------------------------------------------------


def test_the_server_ends_it(make_place: Any) -> None:
    place = make_place()
    client = place.client("webtransport")
    words: list[Any] = []
    reasons: list[str] = []
    client.on("word", lambda number, data: words.append((number, len(data))))
    client.on("disconnect", reasons.append)
    client.connect()
    client.emit("throw out")
    eventually(lambda: reasons, "the end")
    assert words == [(number, 50_000) for number in range(3)]
    assert reasons == ["io server disconnect"]


def test_what_is_sent_right_before_the_end_arrives(make_place: Any) -> None:
    place = make_place()
    got: list[Any] = []
    place.io.on("late", lambda socket, number, data: got.append(number))
    with place.client("webtransport") as client:
        for number in range(20):
            client.emit("late", number, b"x" * 20_000)
    eventually(lambda: len(got) == 20, "all of it")
    assert got == list(range(20))


def test_a_server_that_is_gone(make_place: Any) -> None:
    place = make_place(ping_interval=0.2, ping_timeout=0.4)
    client = place.client("webtransport")
    reasons: list[str] = []
    client.on("disconnect", reasons.append)
    client.connect()
    place.listener._listener.send = lambda data, address: None
    eventually(lambda: reasons == ["ping timeout"], "the end")


def write_certificate(folder: Path) -> Mapping[str, Any]:
    """Two files with a fresh certificate, as parameters of listen_webtransport()."""
    made = make_certificate()
    (folder / "cert.pem").write_bytes(made.pem)
    (folder / "key.pem").write_bytes(
        made.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return {"certfile": folder / "cert.pem", "keyfile": folder / "key.pem"}


def test_clients_of_a_server_that_was_killed_know_at_once(make_place: Any, tmp_path: Path) -> None:
    """From whoever has the port then, with the same certificate; not after 45 seconds without a ping."""
    files = write_certificate(tmp_path)
    place = make_place(files, ping_interval=25, ping_timeout=20)
    client = place.client("webtransport")
    reasons: list[str] = []
    client.on("disconnect", reasons.append)
    client.connect()
    killed = place.listener._listener
    killed.send = lambda data, address: None
    killed._watch.close(killed._sock.close)
    eventually(lambda: killed.fileno() == -1, "the end of the socket")
    other = make_place(None)
    other.io.listen_webtransport("127.0.0.1", place.server.port, **files)
    client.emit("echo", 1)
    eventually(lambda: reasons == ["transport close"], "the end", timeout=AT_ONCE)


def test_a_crowd_is_drained_and_comes_back_to_the_successor(make_place: Any, tmp_path: Path) -> None:
    """The port is the successor's from the first moment on; nobody is lost, and nobody waits for a time-out."""
    files = write_certificate(tmp_path)
    place = make_place(files, ping_interval=25, ping_timeout=20)
    port = place.server.port
    clients = [
        place.client("webtransport", reconnection=True, reconnection_delay=0.01, reconnection_delay_max=0.05)
        for _ in range(20)
    ]
    heard: list[tuple[int, Any]] = []
    ends: list[str] = []
    for number, client in enumerate(clients):
        client.on("notice", lambda value, number=number: heard.append((number, value)))
        client.on("disconnect", ends.append)
        client.connect()
    successor = make_place(None, ping_interval=25, ping_timeout=20)
    draining = Background(lambda: place.io.drain(0.8, notice=("notice", "soon"), grace=5.0))
    eventually(lambda: place.listener._listener.fileno() == -1, "the port")
    successor.io.listen_webtransport("127.0.0.1", port, **files)
    assert len(ends) < len(clients) and not draining.done
    assert draining.result()
    assert len(place.listener) == 0 and place.ended == ["server shutting down"] * len(clients)
    assert sorted(heard) == [(number, "soon") for number in range(len(clients))]
    eventually(lambda: len(successor.io.sockets.sockets) == len(clients), "all of them", timeout=AT_ONCE)
    assert {client.emit_with_ack("echo", 1) for client in clients} == {1}
    assert set(ends) == {"transport close"} and len(ends) == len(clients)
    for client in clients:
        client.disconnect()


def test_what_a_drain_sends_last_arrives(make_place: Any) -> None:
    """Although the process may end when it returns."""
    place = make_place()
    client = place.client("webtransport")
    got: list[int] = []
    ended: list[str] = []
    client.on("last", lambda number, data: got.append(number))
    client.on("disconnect", ended.append)
    client.connect()
    for number in range(20):
        place.io.emit("last", number, b"x" * 30_000)
    assert place.io.drain(0)
    assert len(place.listener) == 0
    eventually(lambda: ended, "the end")
    assert got == list(range(20)) and ended == ["transport close"]


def test_a_child_leaves_the_connection_alone(make_place: Any) -> None:
    place = make_place(ping_interval=0.1, ping_timeout=5)
    with place.client("webtransport") as client:
        with forked(lambda: time.sleep(0.4) or client.connected) as process:
            for number in range(20):
                assert client.emit_with_ack("echo", number) == number
                time.sleep(0.02)
            assert process.outcome() == "False"
        assert client.emit_with_ack("echo", "still") == "still"


def test_nothing_is_left(make_place: Any) -> None:
    place = make_place()
    before = None
    for number in range(4):
        with place.client("webtransport") as client:
            client.emit_with_ack("echo", 1)
        eventually(lambda: len(place.listener) == 0, "the end")
        if number == 0:
            before = open_descriptors()
    assert before is not None and open_descriptors() <= before


def test_connecting_is_given_up(make_place: Any) -> None:
    """While nobody answers."""
    place = make_place(None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        client = place.client("webtransport", webtransport_port=hole.getsockname()[1])
        call = Background(client.connect)
        time.sleep(0.2)
        client.disconnect()
        with pytest.raises(Exception):  # noqa: B017  (which one is for test_connecting.py)
            call.result(5)
    assert not client.connected
