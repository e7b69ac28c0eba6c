"""New sessions go to the least loaded process, and whoever opens one, it opens as any other."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.engineio.conftest import Engine
from tests.engineio.relay.conftest import (
    Exchange,
    MakeSiblings,
    company,
    link_between,
    read_response,
    websocket_with_early_bytes,
)
from tests.engineio.test_hijack import certificate, echo, over_tls
from tests.support.inprocess import UPGRADE, eventually, frame_of, open_descriptors
from wsgi_sio.engineio import Response, Session

__all__ = ["certificate"]


def handshake(engine: Engine, **query: str) -> Exchange:
    return Exchange(engine, "GET", **{"transport": "polling", **query})


def opened(response: Response) -> dict[str, Any]:
    """What the client is told."""
    assert response.status == 200, response
    told: dict[str, Any] = json.loads(response.body[1:])
    return told


def load(busy: Engine, idle: Engine, count: int = 3) -> None:
    """Let ``busy`` have so many sessions that the next one goes to ``idle``."""
    for _ in range(count):
        busy.request("GET", transport="polling")
    eventually(lambda: link_between(idle, busy).load == count, "the load to be known")
    # Who has not yet taken all that it is told may stand still, and is given nothing.
    eventually(lambda: not link_between(busy, idle).outbox_size, "all to be told")
    busy.sessions.clear()


def test_a_session_over_polling(make_siblings: MakeSiblings) -> None:
    busy, idle = make_siblings(2)
    load(busy, idle)
    exchange = handshake(busy)
    assert exchange.moved
    told = opened(exchange.response())
    assert told["sid"][-4:] == idle.engine.tag
    assert told["upgrades"] == ["websocket"]
    assert idle.sessions[0].id == told["sid"] and not busy.sessions
    environ = idle.sessions[0].environ
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"], environ["wsgi.url_scheme"]) == (
        "127.0.0.1",
        "127.0.0.1",
        "http",
    )


def test_a_session_over_websocket(make_siblings: MakeSiblings) -> None:
    busy, idle = make_siblings(2, echo)
    load(busy, idle)
    descriptors = open_descriptors()
    websocket = busy.websocket()
    first = str(websocket.receive())
    assert json.loads(first[1:])["sid"] == idle.sessions[0].id
    websocket.send("4hello")
    assert websocket.receive() == "4hello"
    assert open_descriptors() <= descriptors + 2
    websocket.send_close()
    assert websocket.wait_closed() == 1000


def test_early_bytes(make_siblings: MakeSiblings) -> None:
    busy, idle = make_siblings(2, echo)
    load(busy, idle)
    websocket = websocket_with_early_bytes(busy, frame_of("4early"))
    assert str(websocket.receive()).startswith("0{")
    assert websocket.receive() == "4early"
    assert len(idle.sessions) == 1
    websocket.close()


def test_cookies_and_cors(make_siblings: MakeSiblings) -> None:
    busy, idle = make_siblings(2, cookie="io", cors_allowed_origins="https://example.org")
    load(busy, idle)
    response = Exchange(busy, "GET", {"Origin": "https://example.org"}, transport="polling").response()
    headers = dict(response.headers)
    assert headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert headers["Set-Cookie"].startswith(f"io={idle.sessions[0].id};")
    websocket = busy.websocket(headers={"Origin": "https://example.org"})
    assert b"Access-Control-Allow-Origin: https://example.org" in websocket.accept


@pytest.mark.parametrize("query", [{"EIO": "3"}, {"b64": "1"}])
def test_other_protocols(make_siblings: MakeSiblings, query: dict[str, str]) -> None:
    busy, idle = make_siblings(2, allow_eio3=True)
    load(busy, idle)
    response = handshake(busy, **query).response()
    assert response.status == 200
    assert len(idle.sessions) == 1
    assert idle.sessions[0].protocol == int(query.get("EIO", 4))


def test_sessions_are_shared_out(make_siblings: MakeSiblings) -> None:
    """Whoever gets the requests: one of three got all of these."""
    engines = make_siblings(3)
    for _ in range(60):
        handshake(engines[0]).response()
    counts = [len(engine.engine.sessions) for engine in engines]
    assert sum(counts) == 60
    assert max(counts) - min(counts) <= 5, counts


def test_an_environ_that_is_not_plain_stays(make_siblings: MakeSiblings) -> None:
    """A middleware may have put in it what no other process can have."""
    busy, idle = make_siblings(2)
    load(busy, idle)
    client, server = socket.socketpair()
    environ = {**busy.environ("GET", transport="polling"), "gunicorn.socket": server, "my.user": object()}
    assert isinstance(busy.engine.handle(environ), Response)
    assert len(busy.sessions) == 1 and not idle.sessions
    client.close()
    server.close()


def test_without_a_socket_it_stays(make_siblings: MakeSiblings) -> None:
    busy, idle = make_siblings(2)
    load(busy, idle)
    assert busy.request("GET", transport="polling").status == 200
    assert len(busy.sessions) == 1 and not idle.sessions


def test_tls_stays(make_siblings: MakeSiblings, certificate: Any) -> None:
    busy, idle = make_siblings(2)
    load(busy, idle)
    websocket, _, holding = over_tls(busy, certificate)
    assert str(websocket.receive()).startswith("0{")
    assert len(busy.sessions) == 1 and not idle.sessions
    websocket.close()
    holding.result()


def test_who_drains_gets_none_and_gives_all(make_siblings: MakeSiblings) -> None:
    first, second, third = make_siblings(3)
    load(first, second)
    second.engine.refuse_new_sessions()
    eventually(lambda: link_between(first, second).draining, "that to be known")
    opened(handshake(first).response())
    assert len(third.sessions) == 1
    third.sessions.clear()
    for _ in range(6):
        opened(handshake(second).response())
    assert not second.sessions
    assert len(first.sessions) + len(third.sessions) == 6
    for engine in (first, third):
        engine.engine.refuse_new_sessions()
    eventually(lambda: all(link.draining for link in company(second).siblings.links()), "that to be known")
    assert handshake(second).response().status == 503


def test_the_sibling_dies_before_it_gets_the_connection(make_siblings: MakeSiblings) -> None:
    """Nothing has been sent, so the session opens here, on the connection that has left the WSGI server."""
    busy, idle = make_siblings(2, echo)
    load(busy, idle)
    link = link_between(busy, idle)
    link._watch.pause()  # this process does not know
    for inbound in list(company(idle).siblings._table.inbound):
        inbound.close()
    exchange = handshake(busy)
    assert exchange.moved
    assert opened(exchange.response())["sid"] == busy.sessions[0].id
    websocket = busy.websocket()
    assert str(websocket.receive()).startswith("0{")
    websocket.send("4here")
    assert websocket.receive() == "4here"
    assert len(busy.sessions) == 2 and not idle.sessions
    link._watch.resume()


def test_a_sibling_that_is_full(make_siblings: MakeSiblings) -> None:
    busy, idle = make_siblings(2, max_sessions=3)
    load(busy, idle)
    descriptors = open_descriptors()
    for _ in range(3):
        opened(handshake(busy).response())
    for engine in (busy, idle):
        company(engine).siblings._own_state._load = 0
    link_between(busy, idle).state.load = 0  # as if it had not told yet
    response = handshake(busy).response()
    assert (response.status, dict(response.headers)["Retry-After"]) == (503, "1")
    link_between(busy, idle).state.load = 0
    exchange = Exchange(busy, "GET", UPGRADE, transport="websocket")
    assert exchange.moved
    assert read_response(exchange.sock).status == 503
    exchange.sock.close()
    assert len(idle.engine.sessions) == 3
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")


def test_a_failure_of_the_application(make_siblings: MakeSiblings) -> None:
    """Its client gets the answer that a WSGI server would have given."""
    fails: list[Engine] = []

    def begin(session: Session) -> None:
        if fails:
            raise RuntimeError("no")

    busy, idle = make_siblings(2, begin)
    load(busy, idle)
    fails.append(idle)
    descriptors = open_descriptors()
    assert handshake(busy).response().status == 500
    eventually(lambda: open_descriptors() <= descriptors, "nothing to be left open")


def test_who_has_just_begun_to_join_opens_sessions_of_its_name(make_siblings: MakeSiblings) -> None:
    """A sibling may be given sessions before it has been welcomed by all, which takes a second if one is stopped."""
    busy, idle = make_siblings(2)
    load(busy, idle)
    joining = idle.engine.joining
    joining.settled = False
    assert idle.engine.tag
    assert opened(handshake(busy).response())["sid"][-4:] == company(idle).siblings.tag


def test_who_has_told_nothing_gets_nothing(make_siblings: MakeSiblings) -> None:
    """It may have been stopped, or be about to end: that its load is 0 means nothing."""
    busy, idle = make_siblings(2)
    load(busy, idle)
    state = link_between(busy, idle).state
    state.known, state.load = False, 0
    assert not handshake(busy).moved
    assert len(busy.sessions) == 1
