"""What a socket knows of its connection, and which handshakes are answered how."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.reference.conftest import TRANSPORTS, Serve
from tests.support.inprocess import InProcess
from wsgi_sio import Server, WSGIApp

SHOP = "http://localhost:54023"


class Queried(InProcess):
    """A process whose clients add something to the query of each request."""

    def environ(self, *args: Any, **query: Any) -> dict[str, Any]:
        return super().environ(*args, **query, key1="1", key2="2 &=ü")


@TRANSPORTS
def test_a_socket_leads_to_its_connection_and_its_request(transport: str) -> None:
    io = Server()
    with closing(Queried(io)) as process:
        client = process.client(transport)
        socket = io.sockets.sockets[client.connect()]
        assert socket.conn.session is process.engine.sessions[socket.conn.id]
        assert socket.conn.session.transport.name == transport
    assert socket.handshake.environ["REQUEST_METHOD"] == "GET"
    assert socket.handshake.headers["host"] == "127.0.0.1"
    query = socket.handshake.query
    assert query == {"EIO": "4", "transport": transport, "key1": "1", "key2": "2 &=ü"}
    assert "key1=1" in socket.handshake.url


def test_each_namespace_has_its_own_auth_but_they_share_the_query(serve: Serve) -> None:
    io = Server()
    other = io.of("/connection2")
    client = serve(io).client()
    auth = {"key1": "aa", "key2": "&=bb"}
    first = io.sockets.sockets[client.connect()].handshake
    second = other.sockets[client.connect("/connection2", auth)].handshake
    assert first.auth == {} and second.auth == auth
    assert first.query == second.query and "key1" not in second.query and second.query["EIO"] == "4"


# -- through the middleware, below the path ---------------------------------------------------------------------------


def ask(
    io: Server, method: str, headers: dict[str, str], path: str = "/socket.io/default/"
) -> tuple[int, dict[str, str]]:
    """The status and the headers that the WSGI application gives."""
    environ = InProcess(io).environ(method, headers, transport="polling")
    environ["PATH_INFO"] = "/socket.io/default/"
    told: list[Any] = []
    body = WSGIApp(io)(environ, lambda *started: told.append(started))
    assert isinstance(body, list)
    status, answered = told[0]
    return int(status.split()[0]), {name.lower(): value for name, value in answered}


def test_a_preflight_is_answered_with_what_is_allowed(serve: Serve) -> None:
    io = Server(cors_allowed_origins=SHOP, cors_credentials=True)
    serve(io)
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    status, headers = ask(io, "OPTIONS", {"Origin": SHOP, **wish})
    assert status == 204
    assert headers["access-control-allow-origin"] == SHOP
    assert {"GET", "POST"} <= set(headers["access-control-allow-methods"].replace(" ", "").split(","))
    assert headers["access-control-allow-headers"] == "content-type"
    assert headers["access-control-allow-credentials"] == "true"


def test_an_answer_names_the_origin_that_may_read_it(serve: Serve) -> None:
    io = Server(cors_allowed_origins=SHOP, cors_credentials=True)
    serve(io)
    status, headers = ask(io, "GET", {"Origin": SHOP})
    assert status == 200
    assert headers["access-control-allow-origin"] == SHOP
    assert headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize(("verdict", "status"), [(True, 200), (False, 403), ("not today", 403)])
def test_the_application_allows_a_handshake_or_not(serve: Serve, verdict: Any, status: int) -> None:
    io = Server(allow_request=lambda environ: verdict)
    serve(io)
    assert ask(io, "GET", {})[0] == status
