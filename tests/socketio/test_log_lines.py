"""Whatever a client sends, a log record is one short line that forges nothing and holds no secret."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.socketio.test_v2_clients import ClientV2
from tests.support.inprocess import InProcess, Refused, eventually
from wsgi_sio import Namespace, Server, Socket
from wsgi_sio.socketio.packet import ACK, CONNECT, EVENT, Packet

EVIL = "\nCRITICAL forged\x1b[2J\x9b31m\u2028\x85" + "x" * 900_000
# A line is our own words and a few values of at most 100 characters.
LONGEST = 1200


class Log:
    """The records of this package, at every level."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.secrets: set[str] = set()

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records if record.name.startswith("wsgi_sio")]

    def expect(self, part: str) -> None:
        """Wait for a line with ``part`` in it, and look at all lines."""
        eventually(lambda: any(part in line for line in self.lines), f"{part!r} in the log")
        self.check()

    def check(self) -> None:
        """Look at all lines."""
        assert len(self.lines) < 20
        for line in self.lines:
            assert line.isprintable() and len(line) <= LONGEST, line[:2000]
        for secret in self.secrets:
            assert len(secret) == 20 and secret not in self._caplog.text


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    with caplog.at_level(logging.DEBUG, "wsgi_sio"):
        yield Log(caplog)


def joined(process: InProcess, log: Log) -> Any:
    """A client in ``/``; the id of its engine session, and the private one of recovery, are secrets."""
    client = process.client()
    client.send(Packet(CONNECT, "/", None))
    greeting = client.receive().data
    log.secrets |= {*process.engine.sessions, *([greeting["pid"]] if "pid" in greeting else [])}
    return client


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "query", "headers", "part"),
    [
        ("GET", {"EIO": EVIL, "transport": "polling"}, {}, "speaks Engine.IO protocol"),
        ("GET", {"transport": EVIL}, {}, "is not one of transports="),
        (EVIL, {"transport": "polling"}, {}, "a handshake is a GET"),
        ("GET", {"transport": "polling"}, {"Origin": EVIL}, "cors_allowed_origins="),
        ("GET", {"transport": "polling"}, {"Origin": "https://a.example", "Host": EVIL}, "cors_allowed_origins="),
        ("GET", {"transport": "polling", "sid": EVIL}, {}, "the session is over"),
    ],
)
def test_requests(
    serve: Serve, log: Log, method: str, query: dict[str, str], headers: dict[str, str], part: str
) -> None:
    answer = serve(Server()).request(method, headers, **query)
    assert answer.status in (400, 403) and EVIL not in answer.body.decode()
    log.expect(part)


@pytest.mark.parametrize("header", ["Sec-WebSocket-Version", "Sec-WebSocket-Key", "Connection"])
def test_websocket_handshakes(serve: Serve, log: Log, header: str) -> None:
    with pytest.raises(Refused):
        serve(Server()).websocket(headers={header: EVIL})
    log.expect("refused (code 3)")


# -- packets ----------------------------------------------------------------------------------------------------------


def _fails(*args: Any) -> Any:
    raise ValueError("of the application")


def _set_up(io: Server) -> None:
    io.on("*", _fails)
    io.on("unsendable", lambda socket: object())
    io.on(EVIL, lambda socket: object())
    io.on("few", lambda socket: None)


@pytest.mark.parametrize(
    ("packet", "part"),
    [
        (Packet(EVENT, f"/{EVIL}", ["x"]), "which the client has not joined"),
        (Packet(ACK, f"/{EVIL}", [], 1), "which the client has not joined"),
        (Packet(CONNECT, "/", None), "which the client has joined"),
        (Packet(EVENT, "/", [f"any {EVIL}"]), "a handler of"),
        (Packet(EVENT, "/", [EVIL], 1), "cannot be sent"),
        (Packet(EVENT, "/", [EVIL, 1]), "takes 0 arguments"),
        (Packet(EVENT, "/", ["few", *[1] * 100_000]), "takes 0 arguments"),
    ],
)
def test_packets(serve: Serve, log: Log, packet: Packet, part: str) -> None:
    io = Server(connection_state_recovery=True)
    _set_up(io)
    joined(serve(io), log).send(packet)
    log.expect(part)


@pytest.mark.parametrize("data", ["4" + EVIL, "42" + EVIL, "42" + "[" * 900_000, "452-[]", "4511-[]", "b" + EVIL])
def test_what_is_no_packet(serve: Serve, log: Log, data: str) -> None:
    client = joined(serve(Server()), log)
    client.wire.send(data)
    client.wait_closed()
    log.check()


def _unknown(io: Server) -> None:
    io.of(_fails)


def _refusing(io: Server) -> None:
    io.of(lambda name, auth: True).on("connect", _fails)


def _leaving(io: Server) -> None:
    parent = io.of(lambda name, auth: True)
    for event in ("connection", "disconnecting", "disconnect"):
        parent.on(event, _fails)


def _listening(io: Server) -> None:
    @io.of(lambda name, auth: True).on("connection")
    def connection(socket: Socket) -> None:
        socket.on_any(_fails)
        socket.use(_fails)
        socket.on("error", _fails)


def _new(io: Server) -> None:
    io.of(lambda name, auth: True)
    io.on("new_namespace", _fails)


@pytest.mark.parametrize("set_up", [_unknown, _refusing, _leaving, _listening, _new])
def test_namespaces_whose_handlers_fail(serve: Serve, log: Log, set_up: Callable[[Server], None]) -> None:
    io = Server()
    set_up(io)
    client = joined(serve(io), log)
    client.send(Packet(CONNECT, f"/{EVIL}", None), Packet(EVENT, f"/{EVIL}", ["x"]))
    log.expect("fail" if set_up is not _unknown else "could not be told")
    client.close()
    eventually(lambda: not io.engine.sessions, "the end")
    log.check()


def test_objects_show_no_more_of_a_name_than_the_log() -> None:
    namespace = Namespace(Server(), f"/{EVIL}")
    assert repr(namespace).isprintable() and len(repr(namespace)) < 200


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_a_failing_callback_of_the_engine_does_not_give_the_session_away(serve: Serve, log: Log) -> None:
    io = Server()
    process = serve(io)
    client = joined(process, log)
    (session,) = process.engine.sessions.values()
    session.on_close = _fails
    client.close()
    log.expect("a callback of a session failed")


def test_the_ids_of_v2_clients_are_the_engine_s_and_not_shown(serve: Serve, log: Log) -> None:
    io = Server(allow_eio3=True)
    io.on("x", _fails)
    io.on("few", lambda socket: None)
    client = ClientV2(serve(io)).joined()
    log.secrets.add(client.sid)
    client.send('2["x"]', '2["few",1]')
    log.expect("'few'")
    assert f"<Socket {client.sid[:6]}... of '/'>" in " ".join(log.lines)


def test_a_public_id_is_shown_so_that_clients_can_be_told_apart(serve: Serve, log: Log) -> None:
    io = Server()
    io.on("x", _fails)
    client = serve(io).client()
    sid = client.connect()
    client.emit("x")
    log.expect(sid)
