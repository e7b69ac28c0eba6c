"""What the engine's requests look like, as the options would have them."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.client.conftest import TRANSPORTS, Connect, LocalServer, ServeLocally, echo
from tests.client.wire import answer, read_head
from tests.support.inprocess import AT_ONCE, DEADLINE, Background


def queries(server: LocalServer, transport: str) -> list[dict[str, list[str]]]:
    """Those of the requests over ``transport``."""
    found = [parse_qs(environ["QUERY_STRING"]) for environ in server.requests]
    return [query for query in found if query["transport"] == [transport]]


@pytest.mark.parametrize(
    ("options", "polling", "websocket"),
    [
        ({}, "t", None),
        ({"timestamp_requests": True, "timestamp_param": "stamp"}, "stamp", "stamp"),
        ({"timestamp_requests": False}, None, None),
    ],
    ids=["default", "always", "never"],
)
def test_requests_are_made_unique(
    serve: ServeLocally, client: Connect, options: dict[str, Any], polling: str | None, websocket: str | None
) -> None:
    server = serve(echo)
    client(server.url, **options).open().upgraded().close()
    for transport, name in (("polling", polling), ("websocket", websocket)):
        asked = queries(server, transport)
        assert asked and all(query["EIO"] == ["4"] for query in asked)
        stamps = [query.keys() - {"EIO", "transport", "sid"} for query in asked]
        assert stamps == [set() if name is None else {name}] * len(asked)
        if name is not None:
            assert len({query[name][0] for query in asked}) == len(asked)


def test_posts_say_what_they_carry(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo)
    opened = client(server.url, transports="polling").open()
    opened.send("é", b"\x00")
    opened.expect("é", b"\x00")
    opened.close()
    types = {environ.get("CONTENT_TYPE") for environ in server.requests if environ["REQUEST_METHOD"] == "POST"}
    assert types == {"text/plain;charset=UTF-8"}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_session_whose_id_is_known_asks_with_it(serve: ServeLocally, client: Connect, transport: str) -> None:
    server = serve(echo)
    opened = client(server.url, transports=transport, query={"room": "é &"}).open()
    opened.send("x")
    opened.expect("x")
    sid = opened.engine.id
    opened.close()
    first, *others = queries(server, transport)
    assert "sid" not in first and all(query["sid"] == [sid] for query in others)
    assert all(query["room"] == ["é &"] for query in (first, *others))


def test_subprotocols_are_offered(serve: ServeLocally, client: Connect) -> None:
    server = serve(echo)
    opened = client(server.url, transports="websocket", protocols=("first", "second")).open()
    assert server.requests[0]["HTTP_SEC_WEBSOCKET_PROTOCOL"].replace(" ", "") == "first,second"
    opened.close()


def test_a_request_may_take_no_longer_than_request_timeout(serve: ServeLocally, client: Connect) -> None:
    """Long before the server's silence would be noticed."""
    stop = threading.Event()

    def stall(environ: dict[str, Any]) -> None:
        if "sid=" in environ["QUERY_STRING"]:
            stop.wait(DEADLINE)

    opened = client(serve(echo, refuse=stall).url, transports="polling", request_timeout=0.3).open()
    began = time.monotonic()
    reason, detail = opened.wait_end()
    assert reason == "transport error" and "timed out" in str(detail)
    assert time.monotonic() - began < AT_ONCE
    stop.set()


def test_a_connection_that_the_server_gives_up_is_closed_at_once(client: Connect) -> None:
    """gunicorn's thread worker waits for that in its main thread, for up to two seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opening = Background(
            lambda: client(f"http://127.0.0.1:{listener.getsockname()[1]}", transports="polling").open()
        )
        server, _ = listener.accept()
        with server:
            server.settimeout(DEADLINE)
            read_head(server)
            handshake = '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
            server.sendall(answer(handshake, "200 OK", "Connection: close"))
            assert server.recv(1) == b""
        opened = opening.result()
    opened.close()
