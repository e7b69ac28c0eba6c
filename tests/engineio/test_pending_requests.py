"""GETs that wait outside of the WSGI server: no thread held, hang-ups noticed at once, answers whole."""

from __future__ import annotations

import _socket
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import DEADLINE, Background, eventually, open_descriptors, tcp_pair
from tests.support.world import WORLD
from wsgi_sio.engineio.config import Environ
from wsgi_sio.engineio.request import EngineRequest
from wsgi_sio.engineio.response import Headers, Hijacked
from wsgi_sio.engineio.session import Session

pytestmark = pytest.mark.skipif(WORLD == "gevent", reason="a greenlet that waits is cheap, so GETs stay where they are")


def park(engine: Engine, sid: str, **headers: str) -> socket.socket:
    """Send a GET that has to wait; the client's end of its connection."""
    client, server = tcp_pair()
    environ = {**engine.environ("GET", headers, transport="polling", sid=sid), "gunicorn.socket": server}
    answer = engine.engine.handle(environ)
    assert answer == Hijacked(None, "200 OK")
    server.close()  # as the WSGI server does when the request is over
    client.settimeout(DEADLINE)
    return client


def read(client: socket.socket) -> HTTPResponse:
    response = HTTPResponse(client)
    response.begin()
    return response


def test_the_answer_comes_whole_and_ends_the_connection(make_engine: MakeEngine) -> None:
    engine = make_engine(cors_allowed_origins="https://example.org")
    polling, session = engine.over_polling()
    client = park(engine, polling.sid, Origin="https://example.org")
    session.send_message("héllo")
    response = read(client)
    assert (response.status, response.read().decode()) == (200, "4héllo")
    assert response.getheader("Content-Type") == "text/plain; charset=UTF-8"
    assert response.getheader("Access-Control-Allow-Origin") == "https://example.org"
    assert response.getheader("Connection") == "close"
    assert client.recv(1) == b""
    client.close()
    assert session.open


class Keeper:
    """Keeps nothing, but a connection may go on elsewhere; which it has then."""

    def __init__(self, persistent: bool) -> None:
        self.persistent = persistent
        self.taken: list[_socket.socket] = []

    def wait(self, request: EngineRequest, cors: Headers, lost: Callable[[], object]) -> None:
        """Not here."""

    def persists(self, environ: Environ) -> bool:
        return self.persistent

    def find_connections(self) -> Keeper:
        return self

    def reserve(self, sock: _socket.socket) -> Keeper:
        return self

    def take(self, sock: _socket.socket) -> None:
        self.taken.append(sock)

    def release(self) -> None:
        raise AssertionError("it does come")


@pytest.mark.parametrize("persistent", [True, False])
def test_a_connection_goes_on_where_it_may(make_engine: MakeEngine, persistent: bool) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    keeper: Any = Keeper(persistent)
    engine.engine.keeper = keeper
    client = park(engine, polling.sid)
    session.send_message("once")
    response = read(client)
    assert response.read() == b"4once"
    assert response.getheader("Connection") == ("keep-alive" if persistent else "close")
    if persistent:
        eventually(lambda: len(keeper.taken) == 1, "its going on")
        keeper.taken[0].close()
    assert client.recv(1) == b""
    client.close()


def test_a_large_answer_to_a_slow_reader(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    client = park(engine, polling.sid)
    session.send_message("x" * 3_000_000)
    time.sleep(0.05)
    assert read(client).read() == b"4" + b"x" * 3_000_000
    client.close()


def test_no_thread_waits_for_any_number_of_clients(make_engine: MakeEngine) -> None:
    engine = make_engine()
    before = threading.active_count()
    parked = []
    for _ in range(100):
        polling, session = engine.over_polling()
        parked.append((park(engine, polling.sid), session))
    assert threading.active_count() <= before + 2  # I/O and clock
    for number, (client, session) in enumerate(parked):
        session.send_message(str(number))
        assert read(client).read() == f"4{number}".encode()
        client.close()


def test_the_next_get_may_come_before_the_first_is_closed(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    for number in range(50):
        client = park(engine, polling.sid)
        session.send_message(str(number))
        assert read(client).read() == f"4{number}".encode()
        client.close()
    assert session.open


def test_a_hang_up_is_noticed_at_once(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    park(engine, polling.sid).close()
    eventually(lambda: engine.reasons == ["transport error"], "the end")
    assert polling.get().status == 400


def test_a_hang_up_during_a_large_answer_ends_the_session(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    client = park(engine, polling.sid)
    session.send_message("x" * 10_000_000)
    client.close()
    eventually(lambda: engine.reasons == ["transport error"], "the end")


def test_a_client_that_does_not_read_its_answer_is_cut_off(make_engine: MakeEngine) -> None:
    """Nothing else would ever end it: the session is over, but its last answer still waits to be read."""
    engine = make_engine(ping_interval=0.2, ping_timeout=0.2)
    polling, session = engine.over_polling()
    client = park(engine, polling.sid)
    parked = open_descriptors()
    session.send_message("x" * 20_000_000)
    eventually(lambda: engine.reasons in (["ping timeout"], ["transport error"]), "the session's end")
    eventually(lambda: open_descriptors() == parked - 1, "the descriptor's end")
    client.close()


def test_a_second_get_ends_the_session_and_the_first_learns_it(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, _ = engine.over_polling()
    client = park(engine, polling.sid)
    assert polling.get().status == 400
    assert read(client).read() == b"1"
    client.close()
    assert engine.reasons == ["transport error"]


def test_a_get_that_is_still_parked_at_the_switch_is_refused(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    websocket = engine.websocket(polling.sid)
    client = park(engine, polling.sid)
    websocket.send("2probe", "5")
    assert websocket.receive() == "3probe"
    assert read(client).status in (200, 400)  # a noop, if the switch took 100 ms
    client.close()
    session.send_message("on")
    assert websocket.receive() == "4on"


def test_what_a_client_sends_too_early_is_left_alone(make_engine: MakeEngine) -> None:
    engine = make_engine()
    polling, session = engine.over_polling()
    client = park(engine, polling.sid)
    client.sendall(b"GET /next HTTP/1.1\r\n\r\n")
    time.sleep(0.05)
    session.send_message("a")
    assert read(client).read() == b"4a"
    client.close()


def test_answers_race_with_hang_ups_and_nothing_leaks(make_engine: MakeEngine) -> None:
    engine = make_engine()
    before = open_descriptors()

    def once(number: int, session: Session, client: socket.socket) -> None:
        sending = Background(session.send_message, str(number))
        client.close()
        sending.result()

    for number in range(100):
        polling, session = engine.over_polling()
        once(number, session, park(engine, polling.sid))
        session.close()
    eventually(lambda: open_descriptors() <= before + 6, "the descriptors' end")
