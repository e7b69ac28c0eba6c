"""Opening a connection: what is asked, what is learnt, and every way in which it can fail."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.client.conftest import TRANSPORTS, Connect, ScriptedServer, ServeLocally, answer, echo
from tests.support.inprocess import AT_ONCE, DEADLINE, eventually, open_descriptors
from tests.support.servers import free_port
from wsgi_sio.client.engineio.http_session import HTTPSession
from wsgi_sio.client.options import ClientOptions
from wsgi_sio.exceptions import LocalProtocolError

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)
OPEN = '0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}'


@each_transport
def test_it_opens_and_learns_what_the_server_says(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(ping_interval=7, ping_timeout=3, max_http_buffer_size=12345)
    opened = client(server.url, transports=transport).open()
    engine = opened.engine
    assert (engine.id, engine.state, engine.transport_name) == (server.sessions[0].id, "open", transport)
    assert (engine.ping_interval, engine.ping_timeout, engine.max_payload) == (7, 3, 12345)
    assert not engine.upgraded
    assert opened.close() == ("forced close", None)
    eventually(lambda: server.reasons == ["transport close"], "the server's session to end")


def test_every_request_carries_query_headers_path_and_cookies(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo, path="/my path/engine")
    opened = client(
        server.url + "?from=url&lang=fr",
        path="my path/engine/",
        query={"lang": "d&e", "EIO": "3"},
        extra_headers={"X-Token": "secret"},
        cookies={"lb": "node1"},
    ).open()
    opened.send("over polling")
    opened.upgraded()
    opened.close()
    assert {environ["REQUEST_METHOD"] for environ in server.requests} == {"GET", "POST"}
    for environ in server.requests:
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        assert (query["EIO"], query["lang"], query["from"]) == ("4", "d&e", "url")
        assert environ["PATH_INFO"] == "/my path/engine/"
        assert environ["HTTP_X_TOKEN"] == "secret"
        assert environ["HTTP_COOKIE"] == "lb=node1"
        assert ("t" in query) == (query["transport"] == "polling")
        assert environ is server.requests[0] or query["sid"] == opened.engine.id
    stamps = [parse_qs(environ["QUERY_STRING"]).get("t") for environ in server.requests]
    polled = [stamp[0] for stamp in stamps if stamp is not None]
    assert len(set(polled)) == len(polled)


def test_headers_of_ours_can_be_replaced_in_any_case(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo)
    headers = {"host": "elsewhere.example", "USER-AGENT": "Mine/1"}
    client(server.url, extra_headers=headers).open().upgraded().close()
    assert {environ["HTTP_HOST"] for environ in server.requests} == {"elsewhere.example"}
    assert {environ["HTTP_USER_AGENT"] for environ in server.requests} == {"Mine/1"}


def test_the_servers_cookies_come_back_and_outlive_the_connection(serve: ServeLocally, client: Connect) -> None:
    server = serve(cookie="io")
    options = ClientOptions()
    session = HTTPSession.of(options)
    opened = client(server.url, session).open().upgraded()
    assert all(environ["HTTP_COOKIE"] == f"io={opened.engine.id}" for environ in server.requests[1:])
    opened.close()
    again = client(server.url, session, transports="websocket").open()
    assert server.requests[-1]["HTTP_COOKIE"] == f"io={opened.engine.id}"
    again.close()


def test_polling_keeps_its_connections(scripted: Any, client: Connect) -> None:
    """Keep-alive: many requests, at most one connection for those that GET and one for those that POST."""
    ports: list[int] = []
    hold = threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        ports.append(connection.getpeername()[1])
        if "sid=" not in head:
            connection.sendall(answer(OPEN))
        elif head.startswith("POST"):
            connection.sendall(answer("ok"))
        else:
            if len(ports) > 30:
                hold.wait(DEADLINE)
            connection.sendall(answer("6"))

    opened = client(scripted(script).url, transports="polling").open()
    for _ in range(5):
        opened.send("x")
    eventually(lambda: len(ports) > 30, "many requests")
    assert len(set(ports)) <= 2
    hold.set()


def test_a_url_with_a_password_logs_in(serve: ServeLocally, client: Connect) -> None:
    server = serve()
    url = server.url.replace("//", "//us%40er:pass@")
    client(url).open().upgraded()
    assert {environ["HTTP_AUTHORIZATION"] for environ in server.requests} == {"Basic dXNAZXI6cGFzcw=="}


@pytest.mark.parametrize("url", ["", "127.0.0.1:5000", "ftp://host", "http://", "http:///x", "http://host:port"])
def test_a_url_of_another_kind_is_refused_at_once(client: Connect, url: str) -> None:
    with pytest.raises(ValueError, match="URL|port|Port"):
        client(url)


def test_an_engine_opens_once(serve: ServeLocally, client: Connect) -> None:
    opened = client(serve().url).open()
    with pytest.raises(LocalProtocolError):
        opened.engine.open()


# -- refusals and failures --------------------------------------------------------------------------------------------


@each_transport
def test_a_refusal_has_its_status_and_text(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(allow_request=lambda environ: "no robots")
    error = client(server.url, transports=transport).fail()
    assert error.description == (403 if transport == "polling" else 400)
    assert error.context is not None and "no robots" in error.context
    assert str(error.description) in str(error)


@each_transport
@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "503 Busy", "204 No Content"])
def test_other_answers_are_refusals_too(serve: ServeLocally, client: Connect, transport: str, status: str) -> None:
    body = b"" if status.startswith("204") else b"sorry"
    server = serve(refuse=lambda environ: (status, [("Content-Type", "text/plain")], body))
    error = client(server.url, transports=transport).fail()
    assert (error.description, error.context) == (int(status[:3]), body.decode())


@each_transport
def test_a_redirect_is_told_and_not_followed(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(refuse=lambda environ: ("302 Found", [("Location", "https://elsewhere.example/")], b""))
    error = client(server.url, transports=transport).fail()
    assert error.description == 302 and "https://elsewhere.example/" in str(error)
    assert len(server.requests) == 1


@each_transport
def test_nobody_listens(client: Connect, transport: str) -> None:
    error = client(f"http://127.0.0.1:{free_port()}", transports=transport).fail()
    assert error.description is None and "refused" in str(error)


@each_transport
def test_a_name_that_does_not_exist(client: Connect, transport: str) -> None:
    assert client("http://no-such-host.invalid", transports=transport).fail().description is None


@each_transport
@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"",
        b"junk\r\n\r\n",
        b"\x00\xff" * 50_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0{",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: header\r\n" * 10_000,
    ],
    ids=["nothing", "junk", "binary", "cut off", "no accept", "endless head"],
)
def test_answers_that_are_none(scripted: Any, client: Connect, transport: str, bytes_sent: bytes) -> None:
    def script(connection: socket.socket, head: str) -> bool:
        connection.sendall(bytes_sent)
        return True

    client(scripted(script).url, transports=transport).fail()


@pytest.mark.parametrize(
    "body",
    ["", "junk", "1", "4hello", "bAAAA", "0", "0null", "0[]", '0{"sid":""}', '0{"sid":5,"pingInterval":1}',
     '0{"sid":"x","pingInterval":"1","pingTimeout":1}', '0{"sid":"x","pingInterval":1e999,"pingTimeout":1}',
     '0{"sid":"x","pingInterval":1,"pingTimeout":1,"maxPayload":-1}', "0" + "[" * 100_000,
     '0{"sid":"x","upgrades":7,"pingInterval":1000,"pingTimeout":1000}'],
)  # fmt: skip
def test_handshakes_that_are_none(scripted: Any, client: Connect, body: str) -> None:
    server: ScriptedServer = scripted(lambda connection, head: connection.sendall(answer(body)))
    assert "handshake" in str(client(server.url, transports="polling").fail())


def test_an_endless_answer_is_cut_off(scripted: Any, client: Connect) -> None:
    def script(connection: socket.socket, head: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    error = client(scripted(script).url, transports="polling", max_message_size=1_000_000).fail()
    assert "max_message_size" in str(error)


@each_transport
@pytest.mark.parametrize("stall", ["before accepting", "after accepting", "drop by drop"])
def test_a_server_that_stalls_is_given_up_in_time(scripted: Any, client: Connect, transport: str, stall: str) -> None:
    """One time-out for everything, however often a few bytes come."""
    stop = threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        while stall == "drop by drop" and not stop.wait(0.05):
            connection.sendall(b"HTTP/1.1 200 OK\r\n"[:1])
        stop.wait(DEADLINE)

    if stall == "before accepting":
        listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    else:
        listener, url = None, scripted(script).url
    began = time.monotonic()
    error = client(url, transports=transport, timeout=0.5).fail()
    assert 0.4 < time.monotonic() - began < AT_ONCE
    assert "time" in str(error)
    stop.set()
    if listener is not None:
        listener.close()


@each_transport
def test_closing_while_opening_ends_it_at_once(scripted: Any, client: Connect, transport: str) -> None:
    asked = threading.Event()
    stop = threading.Event()

    def script(connection: socket.socket, head: str) -> None:
        asked.set()
        stop.wait(DEADLINE)

    opening = client(scripted(script).url, transports=transport)
    opening.engine.open()
    assert asked.wait(DEADLINE) and opening.engine.state == "opening"
    began = time.monotonic()
    assert opening.engine.close()
    assert opening.engine.join(DEADLINE) and time.monotonic() - began < AT_ONCE
    assert opening.names == ["error"] and str(opening.told[0][1]) == "closed"
    stop.set()


@each_transport
def test_closing_while_tcp_connects_ends_it_at_once(client: Connect, transport: str) -> None:
    """A listener whose backlog is full, like a host that is switched off, does not answer at all."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            other = sockets.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        opening = client(f"http://127.0.0.1:{listener.getsockname()[1]}", transports=transport)
        opening.engine.open()
        assert not opening._ended.wait(0.2)
        began = time.monotonic()
        assert opening.engine.close()
        assert opening.engine.join(DEADLINE) and time.monotonic() - began < AT_ONCE
    assert opening.names == ["error"]


def test_an_engine_closed_before_it_is_opened_says_so(client: Connect) -> None:
    closed = client("http://127.0.0.1:9")
    closed.engine.close()
    closed.engine.open()
    assert closed.names == ["error"] and closed.engine.join(0)


# -- which transport --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("polling", "websocket"), ("websocket", "polling")])
def test_try_all_transports(serve: ServeLocally, client: Connect, order: tuple[str, str]) -> None:
    server = serve(transports=order[1])
    client(server.url, transports=order).fail()
    opened = client(server.url, transports=order, try_all_transports=True).open()
    assert opened.engine.transport_name == order[1]
    assert opened.names == ["open"]


def test_when_all_transports_fail_the_last_error_counts(serve: ServeLocally, client: Connect) -> None:
    server = serve(refuse=lambda environ: ("503 Busy", [("Content-Length", "0")], b""))
    error = client(server.url, try_all_transports=True).fail()
    assert "websocket" in str(error) and len(server.requests) == 2


def test_remember_upgrade_begins_with_websocket_where_it_worked(serve: ServeLocally, client: Connect) -> None:
    server = serve()
    options = {"remember_upgrade": True}
    session = HTTPSession.of(ClientOptions.of(options))
    first = client(server.url, session, **options).open()
    assert first.engine.transport_name == "polling"
    first.upgraded()
    second = client(server.url, session, **options).open()
    assert second.engine.transport_name == "websocket" and not second.engine.upgraded
    server.close()
    client(server.url, session, **options).fail()
    assert not session.worked


def test_failed_openings_leave_nothing(serve: ServeLocally, client: Connect) -> None:
    server = serve(refuse=lambda environ: ("503 Busy", [("Content-Length", "0")], b""))
    client(server.url, try_all_transports=True).fail()
    eventually(lambda: True)
    threads, files = threading.active_count(), open_descriptors()
    for _ in range(20):
        client(server.url, try_all_transports=True).fail()
    eventually(lambda: threading.active_count() <= threads + 1, "the threads to end")
    eventually(lambda: open_descriptors() <= files, "the descriptors to be closed")


def test_websocket_does_without_urllib3_and_polling_says_what_to_install() -> None:
    code = """
import sys
sys.modules["urllib3"] = None
from wsgi_sio.client.engineio.engine import EngineClient
from wsgi_sio.client.options import ClientOptions
from wsgi_sio.runtime import create_reactor
reactor = create_reactor()
EngineClient("http://127.0.0.1", ClientOptions(transports=("websocket",)), reactor, None)
try:
    EngineClient("http://127.0.0.1", ClientOptions(), reactor, None)
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "wsgi_sio[client]" in run.stdout and "transports=['websocket']" in run.stdout


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timout": 5}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"transports": ()}, ValueError),
        ({"transports": ("polling", "carrier pigeon")}, ValueError),
        ({"max_outbox": -1}, ValueError),
        ({"reconnection_delay": -1}, ValueError),
        ({"randomization_factor": 1.5}, ValueError),
        ({"send_buffer_policy": "drop"}, ValueError),
        ({"extra_headers": {"X": "a\r\nY: b"}}, ValueError),
        ({"extra_headers": {"X Y": "a"}}, ValueError),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        ClientOptions.of(options)


def test_options_are_put_in_order() -> None:
    options = ClientOptions.of({"path": "sio/", "transports": "websocket"})
    assert (options.path, options.transports) == ("/sio", ("websocket",))
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        ClientOptions.of({"timout": 5})
