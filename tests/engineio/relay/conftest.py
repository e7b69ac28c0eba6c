"""Several engines in this process that are siblings: each has a reactor of its own, and they know each other."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPResponse
from itertools import count
from typing import Any

import pytest

from tests.engineio.conftest import Engine, MakeEngine
from tests.support.inprocess import DEADLINE, UPGRADE, Background, WebSocket, eventually
from wsgi_sio.engineio import Response, Session
from wsgi_sio.engineio.relay.joining import Company
from wsgi_sio.engineio.response import Hijacked
from wsgi_sio.siblings import Link


def company(engine: Engine) -> Company:
    """The siblings of an engine that has joined them."""
    found = engine.engine.joining.company
    assert found is not None
    return found


def link_between(holder: Engine, owner: Engine) -> Link:
    """That on which ``holder`` sends."""
    found = company(holder).siblings.reach(owner.engine.tag)
    assert found is not None
    return found


def freeze(engine: Engine) -> None:
    """Let it read nothing more of what siblings send, as a process that has been stopped."""
    for link in list(company(engine).siblings._table.inbound):
        link._watch.pause()


def thaw(engine: Engine) -> None:
    for link in list(company(engine).siblings._table.inbound):
        link._watch.resume()


def websocket_with_early_bytes(engine: Engine, early: bytes, sid: str = "") -> WebSocket:
    """A WebSocket whose server has read ``early`` with the head of its handshake."""
    client, server = socket.socketpair()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n" + early)
    file = server.makefile("rb", -1)
    assert file.readline() + file.readline() == b"GET / HTTP/1.1\r\n\r\n"
    query = {"sid": sid} if sid else {}
    environ = {**engine.environ("GET", UPGRADE, transport="websocket", **query), "wsgi.input": file}
    engine.engine.handle(environ)
    environ.clear()
    file.close()
    server.close()
    websocket = WebSocket(client)
    websocket.read_accept()
    return websocket


class Exchange:
    """One request on a connection of its own, of which the engine may do what it likes; the answer, wherever from."""

    def __init__(
        self,
        engine: Engine,
        method: str,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        *,
        pair: tuple[Any, Any] | None = None,
        **query: str,
    ) -> None:
        self.sock, server = pair or socket.socketpair()
        self.sock.settimeout(DEADLINE)
        environ = {**engine.environ(method, headers, body, **query), "gunicorn.socket": server}
        self.handled = Background(self._handle, engine, environ, server)

    def _handle(self, engine: Engine, environ: dict[str, Any], server: Any) -> Response | Hijacked:
        try:
            answer = engine.engine.handle(environ)
            if isinstance(answer, Hijacked):
                engine.engine.acceptance.wait_over(answer)
            return answer
        finally:
            server.close()

    @property
    def moved(self) -> bool:
        """Whether the connection has left the process that got it."""
        return isinstance(self.handled.result(), Hijacked)

    def response(self, timeout: float = DEADLINE) -> Response:
        """The answer; the connection has ended with it."""
        answer = self.handled.result(timeout)
        if isinstance(answer, Hijacked):
            answer = read_response(self.sock, timeout)
            assert dict(answer.headers).get("Connection") == "close"
            assert self.sock.recv(1) == b""
        self.sock.close()
        assert isinstance(answer, Response)
        return answer


def read_response(sock: Any, timeout: float = DEADLINE) -> Response:
    """What comes on a connection."""
    sock.settimeout(timeout)
    http = HTTPResponse(sock)
    http.begin()
    return Response(http.status, http.getheaders(), http.read())


def get(engine: Engine, sid: str, headers: Mapping[str, str] = {}, **query: str) -> Exchange:
    """A GET of a session that polls."""
    return Exchange(engine, "GET", headers, **{"transport": "polling", "sid": sid, **query})


def post(engine: Engine, sid: str, body: str | bytes, headers: Mapping[str, str] = {}, **query: str) -> Exchange:
    """A POST of one."""
    data = body.encode() if isinstance(body, str) else body
    return Exchange(engine, "POST", headers, data, **{"transport": "polling", "sid": sid, **query})


def get_by_value(engine: Engine, sid: str, headers: Mapping[str, str] = {}, **query: str) -> Background:
    """Likewise, where the server does not show its socket."""
    return Background(lambda: engine.request("GET", headers, **{"transport": "polling", "sid": sid, **query}))


def post_by_value(engine: Engine, sid: str, body: str | bytes, headers: Mapping[str, str] = {}) -> Background:
    """Likewise."""
    data = body.encode() if isinstance(body, str) else body
    return Background(lambda: engine.request("POST", headers, data, transport="polling", sid=sid))


def body_of(response: Response) -> str:
    """The body of an answer that is as it should be."""
    assert response.status == 200, response
    return response.body.decode()


def assert_unknown(response: Response) -> None:
    """There is no session of that id."""
    assert (response.status, response.body) == (400, b'{"code":1,"message":"Session ID unknown"}')


MakeSiblings = Callable[..., list[Engine]]

_names = count()


@pytest.fixture
def make_siblings(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSiblings]:
    """``make_siblings(count=2, on_session=None, **options)``."""
    directory = tempfile.mkdtemp(prefix="wsgi_sio-")
    monkeypatch.setenv("RUNTIME_DIRECTORY", directory)
    made: list[Engine] = []

    def make(number: int = 2, on_session: Callable[[Session], None] | None = None, **options: Any) -> list[Engine]:
        name = f"{os.getpid()}-{next(_names)}"
        engines = [make_engine(on_session, siblings=name, **options) for _ in range(number)]
        made.extend(engines)
        for engine in engines:
            engine.engine.joining._ordinal = 0  # as if each were the first of its process
            engine.engine.joining.settle(engine.environ("GET"))
        for engine in engines:
            others = company(engine).siblings
            eventually(lambda others=others: len([link for link in others.links() if link.known]) == number - 1)
        return engines

    yield make
    for engine in made:
        if engine.engine.joining.company is not None:
            thaw(engine)
            company(engine).siblings.leave()
    shutil.rmtree(directory)


@pytest.fixture
def two(make_siblings: MakeSiblings) -> tuple[Engine, Engine]:
    """A holder and an owner."""
    holder, owner = make_siblings(2)
    return holder, owner


def io_threads() -> int:
    """How many threads there are."""
    return threading.active_count()
