"""The client's socket out of each server's hands: as each passes it, with what it has read too much, over TLS."""

from __future__ import annotations

import errno
import io
import os
import resource
import selectors
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engineio.conftest import MakeEngine
from tests.support.inprocess import (
    UPGRADE,
    Background,
    WebSocket,
    eventually,
    frame_of,
    open_descriptors,
    tcp_pair,
)
from tests.support.require import require
from tests.support.world import WORLD
from wsgi_sio.engineio import Response, Session
from wsgi_sio.engineio.response import Hijacked
from wsgi_sio.sockets import shut_down_tcp


def echo(session: Session) -> None:
    session.on_message = lambda data: session.send_message(data) and None


class Holder:
    """An object with attributes, as servers wrap their readers."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def read(self, size: int = -1) -> bytes:
        return self.rfile.read(size)  # type: ignore[attr-defined,no-any-return]


def by_key(key: str, software: str) -> Callable[[socket.socket], dict[str, Any]]:
    return lambda sock: {key: sock, "wsgi.input": io.BytesIO(), "SERVER_SOFTWARE": software}


def as_file(sock: socket.socket) -> dict[str, Any]:
    """wsgiref: the handler's buffered file."""
    return {"wsgi.input": sock.makefile("rb", -1)}


def as_rfile(sock: socket.socket) -> dict[str, Any]:
    """gevent.pywsgi and cheroot: an object around that file."""
    software = "gevent/26.9 Python/3.11" if WORLD == "gevent" else "Cheroot/11.1.2"
    return {"wsgi.input": Holder(rfile=sock.makefile("rb", -1)), "SERVER_SOFTWARE": software}


def as_limited(sock: socket.socket) -> dict[str, Any]:
    """Django's runserver: the file's bound method."""
    return {"wsgi.input": Holder(_read=sock.makefile("rb", -1).read)}


def as_gunicorn_body(sock: socket.socket) -> dict[str, Any]:
    """gunicorn: the socket under its name, and a reader that holds back what it has read too much."""
    early = io.BytesIO()
    sock.settimeout(0.2)
    try:
        early.write(sock.recv(4096))
    except TimeoutError:
        pass  # nothing came with the request
    sock.settimeout(None)
    body = Holder(reader=Holder(unreader=Holder(buf=early)))
    return {"gunicorn.socket": sock, "wsgi.input": body}


SHAPES = {
    "werkzeug.socket": by_key("werkzeug.socket", "Werkzeug/3.1.9"),
    "gunicorn.socket": by_key("gunicorn.socket", "gunicorn/27.0.1"),
    "wsgiref": as_file,
    "pywsgi": as_rfile,
    "django": as_limited,
    "gunicorn body": as_gunicorn_body,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "unix"])
def test_each_server_gives_its_socket_away(make_engine: MakeEngine, shape: str, tcp: bool) -> None:
    """Afterwards whatever the server does to its own object reaches nobody."""
    engine = make_engine(echo)
    client, server = tcp_pair() if tcp else socket.socketpair()
    engine._sockets.append(client)
    environ = {**engine.environ("GET", UPGRADE, transport="websocket"), **SHAPES[shape](server)}
    answer = engine.engine.handle(environ)
    assert isinstance(answer, Hijacked) and answer.held is None
    try:
        server.sendall(b"HTTP/1.1 101 which nobody reads\r\n\r\n")
        server.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # a dead socket says so
    server.close()
    websocket = WebSocket(client)
    websocket.read_accept()
    assert str(websocket.receive()).startswith("0{")
    websocket.send("4hello")
    assert websocket.receive() == "4hello"
    websocket.send_close()
    assert websocket.wait_closed() == 1000


def test_a_server_may_go_on_to_register_its_socket(make_engine: MakeEngine) -> None:
    """As werkzeug's does, to read what the client may send after the answer."""
    engine = make_engine(echo)
    client, server = tcp_pair()
    engine._sockets.append(client)
    environ = {**engine.environ("GET", UPGRADE, transport="websocket"), **SHAPES["werkzeug.socket"](server)}
    assert isinstance(engine.engine.handle(environ), Hijacked)
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        assert selector.select(5) and server.recv(1) == b""
    server.close()
    websocket = WebSocket(client)
    websocket.read_accept()
    assert str(websocket.receive()).startswith("0{")


@pytest.mark.parametrize("shape", ["wsgiref", "pywsgi", "django", "gunicorn body"])
def test_what_the_server_has_read_too_much_is_not_lost(make_engine: MakeEngine, shape: str) -> None:
    engine = make_engine(echo)
    client, server = socket.socketpair()
    engine._sockets.append(client)
    client.sendall(b"GET / HTTP/1.1\r\n\r\n" + frame_of("4early") + frame_of("4bird")[:3])
    extra = {}
    if shape == "gunicorn body":
        server.recv(18)
        extra = as_gunicorn_body(server)
    else:
        extra = SHAPES[shape](server)
        body = extra["wsgi.input"]
        file = getattr(body, "rfile", None) or getattr(getattr(body, "_read", None), "__self__", body)
        assert file.readline() + file.readline() == b"GET / HTTP/1.1\r\n\r\n"  # reads all of it into its buffer
    answer = engine.engine.handle({**engine.environ("GET", UPGRADE, transport="websocket"), **extra})
    assert isinstance(answer, Hijacked)
    server.close()
    websocket = WebSocket(client)
    websocket.read_accept()
    assert str(websocket.receive()).startswith("0{")
    assert websocket.receive() == "4early"
    websocket.send_raw(frame_of("4bird")[3:])
    assert websocket.receive() == "4bird"


def test_where_the_application_fails_the_client_reads_a_whole_answer(make_engine: MakeEngine) -> None:
    """The 101 stands in front of the close frame, although it was to go with the open packet."""

    def fail(session: Session) -> None:
        raise ZeroDivisionError

    engine = make_engine(fail)
    client, server = tcp_pair()
    engine._sockets += [client, server]
    with pytest.raises(ZeroDivisionError):
        engine.engine.handle({**engine.environ("GET", UPGRADE, transport="websocket"), **as_file(server)})
    websocket = WebSocket(client)
    websocket.read_accept()
    assert websocket.wait_closed() == 1005  # no reason is told
    assert engine.reasons == ["transport error"] and not engine.engine.sessions


def test_the_reference_count_of_the_servers_socket_does_not_matter(make_engine: MakeEngine) -> None:
    """The server keeps its object open for long: the client's connection ends when we end it all the same."""
    engine = make_engine()
    client, server = tcp_pair()
    engine._sockets += [client, server]
    environ = {**engine.environ("GET", UPGRADE, transport="websocket"), "gunicorn.socket": server}
    engine.engine.handle(environ)
    websocket = WebSocket(client)
    websocket.read_accept()
    engine.sessions[0].close()
    websocket.wait_closed()
    websocket.half_close()
    websocket.wait_eof(1)


def test_taking_leaks_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine(echo)
    engine.over_websocket()
    before = open_descriptors()
    for shape in [*SHAPES.values()] * 5:
        client, server = socket.socketpair()
        environ = {**engine.environ("GET", UPGRADE, transport="websocket"), **shape(server)}
        engine.engine.handle(environ)
        del environ
        server.close()
        client.close()
    eventually(lambda: open_descriptors() <= before, "the descriptors to be closed")


@contextmanager
def no_descriptors_left(spare: int = 0) -> Iterator[None]:
    """All but ``spare`` of the descriptors that this process may have are used up in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    taken = []
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for descriptor in taken[len(taken) - spare :]:
            os.close(descriptor)
        del taken[len(taken) - spare :]
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("spare", range(4))
@pytest.mark.parametrize("shape", ["werkzeug.socket", "gunicorn.socket", "wsgiref", "pywsgi"])
def test_without_descriptors_the_connection_stays_with_its_server(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, shape: str, spare: int
) -> None:
    """Every step undoes what came before: nothing leaks, and the client gets an answer of its server's."""
    engine = make_engine(echo)
    engine.over_websocket()
    client, server = socket.socketpair()
    environ = {**engine.environ("GET", UPGRADE, transport="websocket"), **SHAPES[shape](server)}
    before = open_descriptors()
    with no_descriptors_left(spare):
        answer = engine.engine.handle(environ)
    if isinstance(answer, Hijacked):  # it was enough
        websocket = WebSocket(client)
        websocket.read_accept()
        websocket.receive()
        websocket.send("4x")
        assert websocket.receive() == "4x"
    else:
        assert answer.status == 400
        assert "raise the limit of open files" in caplog.text
        eventually(lambda: open_descriptors() <= before, "nothing to be left open")  # gevent closes a little later
        server.sendall(b"HTTP/1.1 400 Bad Request")
        assert client.recv(100) == b"HTTP/1.1 400 Bad Request"
    environ.clear()
    server.close()
    client.close()
    eventually(lambda: open_descriptors() <= before - 2, "the descriptors to be closed")


@pytest.mark.skipif(WORLD == "gevent", reason="greenlets' polls stay where they are")
def test_without_descriptors_a_poll_waits_in_its_thread(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    client, server = socket.socketpair()
    environ = {**engine.environ("GET", transport="polling", sid=polling.sid), "gunicorn.socket": server}
    with no_descriptors_left():
        call = Background(engine.engine.handle, environ)
        eventually(lambda: session.transport.idle, "a GET that waits")
    session.send_message("x")
    answer = call.result()
    assert isinstance(answer, Response) and answer.body == b"4x"
    server.close()
    client.close()


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key in one file."""
    require(shutil.which("openssl"), "the openssl command")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key, cert = path.with_name("key.pem"), path.with_name("cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    path.write_bytes(key.read_bytes() + cert.read_bytes())
    return path


def tls_pair(certificate: Path) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Both ends of a TLS connection, the client's first."""
    client, server = tcp_pair()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    client_side.verify_mode = ssl.CERT_NONE
    accepting = Background(lambda: server_side.wrap_socket(server, server_side=True))
    return client_side.wrap_socket(client), accepting.result()


@pytest.mark.parametrize("secure", [False, True])
def test_tcp_is_shut_down_under_who_reads(certificate: Path, secure: bool) -> None:
    ours, theirs = tls_pair(certificate) if secure else socket.socketpair()
    reading = Background(ours.recv, 1)
    time.sleep(0.05)  # it blocks by then, as a rule; before that, the end must be seen all the same
    shut_down_tcp(ours, socket.SHUT_RDWR)
    assert reading.result() == b""
    theirs.close()
    ours.close()
    with pytest.raises(OSError) as caught:
        shut_down_tcp(ours, socket.SHUT_RDWR)
    assert caught.value.errno == errno.EBADF


def over_tls(engine: Any, certificate: Path) -> tuple[WebSocket, Any, Background]:
    """A WebSocket inside TLS: the client, the server's own socket, and the WSGI call that holds it."""
    client, tls = tls_pair(certificate)
    engine._sockets.append(client)

    def call() -> None:
        environ = {**engine.environ("GET", UPGRADE, transport="websocket"), "gunicorn.socket": tls}
        answer = engine.engine.handle(environ)
        assert isinstance(answer, Hijacked) and answer.held is not None
        engine.engine.acceptance.wait_over(answer)
        tls.close()

    holding = Background(call)
    websocket = WebSocket(client)
    websocket.read_accept()
    return websocket, tls, holding


def test_tls_both_ways_with_large_messages(make_engine: MakeEngine, certificate: Path) -> None:
    """Records, partial writes, decrypted bytes that wait inside OpenSSL: nothing gets stuck or torn."""
    engine = make_engine(echo, max_http_buffer_size=2_000_000, max_outbox=20_000_000)
    websocket, _, holding = over_tls(engine, certificate)
    assert str(websocket.receive()).startswith("0{")
    for size in (1, 1000, 16_384, 16_385, 70_000, 1_000_000):
        websocket.send(b"x" * size, f"4{size}")  # not beside receiving: OpenSSL forbids that, which is the point here
        assert websocket.receive() == b"x" * size
        assert websocket.receive() == f"4{size}"
    assert not holding.done
    websocket.send_close()
    assert websocket.wait_closed() == 1000
    websocket.close()
    holding.result()
    eventually(lambda: engine.reasons == ["transport close"], "on_close")


@pytest.mark.parametrize("end", ["server", "abort", "client vanishes", "client closes", "close packet"])
def test_the_wsgi_thread_is_held_until_a_tls_connection_ends(
    make_engine: MakeEngine, certificate: Path, end: str
) -> None:
    engine = make_engine()
    before = open_descriptors()
    websocket, _, holding = over_tls(engine, certificate)
    websocket.receive()
    session = engine.sessions[0]
    assert not holding.done
    {
        "server": session.close,
        "abort": lambda: session.close(abort=True),
        "client vanishes": websocket.close,
        "client closes": websocket.send_close,
        "close packet": lambda: websocket.send("1"),
    }[end]()
    if end != "client vanishes":
        websocket.wait_closed()
        websocket.close()
    holding.result()
    assert not session.open
    eventually(lambda: open_descriptors() <= before + 5, "the descriptors to be closed")


def test_a_tls_client_that_stops_in_the_middle_of_a_record_blocks_nobody(
    make_engine: MakeEngine, certificate: Path
) -> None:
    engine = make_engine(echo)
    websocket, _, holding = over_tls(engine, certificate)
    websocket.receive()
    raw = socket.socket(fileno=socket.dup(websocket.sock.fileno())) if WORLD == "threads" else None
    if raw is not None:
        raw.sendall(b"\x17\x03\x03\x10\x00half a record")
        raw.close()
    other, _ = engine.over_websocket()
    other.send("4x")
    assert other.receive() == "4x"
    websocket.close()
    holding.result()


def test_senders_and_the_reader_share_one_tls_connection(make_engine: MakeEngine, certificate: Path) -> None:
    engine = make_engine(echo, max_outbox=20_000_000)
    websocket, _, holding = over_tls(engine, certificate)
    websocket.receive()
    session = engine.sessions[0]
    senders = [Background(lambda: [session.send_message("s" + "x" * 3000) for _ in range(100)]) for _ in range(4)]
    for _ in range(200):
        websocket.send("4e" + "y" * 2000)
    counts = {"s": 0, "e": 0}
    for _ in range(600):
        message = str(websocket.receive())
        counts[message[1]] += 1
    assert counts == {"s": 400, "e": 200}
    for call in senders:
        call.result()
    websocket.close()
    holding.result()
