"""Servers for the client: ours in this process, behind a real HTTP server, and scripted ones that misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.client import wire as wire_module
from tests.client.listener import Listener
from tests.client.wire import Clients, WireServer, read_head
from tests.support.inprocess import DEADLINE, eventually
from wsgi_sio import WSGIApp
from wsgi_sio.client.engineio.engine import EngineClient
from wsgi_sio.client.engineio.http_session import HTTPSession
from wsgi_sio.client.options import ClientOptions
from wsgi_sio.engineio import MESSAGE, EngineConfig, EngineServer, Packet, Session
from wsgi_sio.exceptions import ConnectionFailed
from wsgi_sio.runtime import Reactor

TRANSPORTS = ("polling", "websocket")
answer = wire_module.answer


class LocalServer:
    """An engine behind werkzeug's server: what it received, why its sessions ended, and every request's environ."""

    def __init__(
        self,
        options: dict[str, Any],
        on_session: Callable[[Session], None] | None,
        context: ssl.SSLContext | None,
        refuse: Callable[[dict[str, Any]], Any] | None,
    ) -> None:
        self.sessions: list[Session] = []
        self.received: list[str | bytes] = []
        self.reasons: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self._on_session = on_session
        self._refuse = refuse
        self.engine = EngineServer(EngineConfig(**options), self._begin)
        self._app = WSGIApp(self.engine, self._not_found)
        self._http = make_server("127.0.0.1", 0, self._record, threaded=True, ssl_context=context)
        self.port = self._http.server_port
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def _record(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.requests.append(environ)
        answer = None if self._refuse is None else self._refuse(environ)
        if answer is None:
            return self._app(environ, start_response)
        status, headers, body = answer
        start_response(status, headers)
        return [body]

    @staticmethod
    def _not_found(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not here"]

    def _begin(self, session: Session) -> None:
        session.on_message = self.received.append
        session.on_close = self.reasons.append
        self.sessions.append(session)
        if self._on_session is not None:
            self._on_session(session)

    def close(self) -> None:
        """End everything; the listener as well."""
        self.engine.close()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(DEADLINE)
        self.engine.reactor.close()


def echo(session: Session) -> None:
    """Send every message back."""
    session.on_message = lambda data: session.send([Packet(MESSAGE, data)]) and None


ServeLocally = Callable[..., LocalServer]


@pytest.fixture
def serve() -> Iterator[ServeLocally]:
    """``serve(on_session=None, context=None, refuse=None, **engine_options)``."""
    made: list[LocalServer] = []

    def make(
        on_session: Callable[[Session], None] | None = None,
        context: ssl.SSLContext | None = None,
        refuse: Callable[[dict[str, Any]], Any] | None = None,
        **options: Any,
    ) -> LocalServer:
        made.append(LocalServer({"path": "/socket.io", **options}, on_session, context, refuse))
        return made[-1]

    yield make
    for server in made:
        server.close()


class Recorder:
    """An engine with all that it told, in order."""

    def __init__(self, url: str, options: dict[str, Any], reactor: Reactor, session: HTTPSession | None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.messages: list[str | bytes] = []
        self.on_each: Callable[[str | bytes], object] | None = None
        self._inside = 0
        self._opened = threading.Event()
        self._ended = threading.Event()
        self.engine = EngineClient(url, ClientOptions.of(options), reactor, self, session)

    def _tell(self, *event: Any) -> None:
        self._inside += 1
        assert self._inside == 1, f"{event} while another is told"
        assert not self._ended.is_set(), f"{event} after the end"
        self.told.append(event)
        self._inside -= 1

    def on_open(self) -> None:
        self._tell("open")
        self._opened.set()

    def on_message(self, data: str | bytes) -> None:
        self._inside += 1
        assert self._inside == 1, "a message while another event is told"
        self.messages.append(data)
        if self.on_each is not None:
            self.on_each(data)
        self._inside -= 1

    def on_ping(self) -> None:
        self._tell("ping")

    def on_upgrade(self, name: str) -> None:
        self._tell("upgrade", name)

    def on_upgrade_error(self, error: ConnectionFailed) -> None:
        self._tell("upgrade error", error)

    def on_error(self, error: ConnectionFailed) -> None:
        self._tell("error", error)
        self._opened.set()
        self._ended.set()

    def on_close(self, reason: str, detail: object) -> None:
        self._tell("close", reason, detail)
        self._ended.set()

    # -- for the tests ------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """What has been told, pings left out."""
        return [event[0] for event in self.told if event[0] != "ping"]

    def open(self) -> Recorder:
        """Open, and wait until it is."""
        self.engine.open()
        assert self._opened.wait(DEADLINE), "neither open nor error"
        assert self.names[0] == "open", self.told
        return self

    def fail(self, timeout: float = DEADLINE) -> ConnectionFailed:
        """Open in vain; the error."""
        self.engine.open()
        assert self._ended.wait(timeout), "no error"
        assert self.names == ["error"], self.told
        assert self.engine.join(DEADLINE), "something is left"
        error = self.told[-1][1]
        assert isinstance(error, ConnectionFailed)
        return error

    def send(self, *messages: str | bytes) -> None:
        """Send messages together."""
        assert self.engine.send([Packet(MESSAGE, message) for message in messages]), f"it is over: {self.told}"

    def expect(self, *messages: str | bytes, timeout: float = DEADLINE) -> None:
        """Wait for just these messages, since the last time."""
        eventually(lambda: len(self.messages) >= len(messages), f"{len(messages)} messages", timeout)
        assert self.messages == list(messages)
        self.messages.clear()

    def upgraded(self) -> Recorder:
        """Wait for the upgrade."""
        eventually(lambda: "upgrade" in self.names, "the upgrade")
        return self

    def wait_end(self, timeout: float = DEADLINE) -> tuple[str, object]:
        """Wait until it is over and nothing is left of it; reason and detail."""
        assert self._ended.wait(timeout), f"it goes on: {self.told}"
        assert self.engine.join(DEADLINE), "something is left"
        return self.told[-1][1], self.told[-1][2]

    def close(self) -> tuple[str, object]:
        """Close in good order."""
        assert self.engine.close()
        return self.wait_end()


Connect = Callable[..., Recorder]


@pytest.fixture
def client(reactor: Reactor) -> Iterator[Connect]:
    """``client(url, session=None, **options)`` makes an engine that has not been opened."""
    made: list[Recorder] = []

    def make(url: str, session: HTTPSession | None = None, **options: Any) -> Recorder:
        made.append(Recorder(url, options, reactor, session))
        return made[-1]

    yield make
    for recorder in made:
        recorder.engine.abort()
    for recorder in made:
        assert recorder.engine.state == "new" or recorder.engine.join(DEADLINE), f"something is left: {recorder.told}"


class ScriptedServer(Listener):
    """Calls ``script(connection, head)`` for each HTTP request; the script answers, or whatever it likes to do.

    A connection ends when its script raises, or returns True.
    """

    def __init__(self, script: Callable[[socket.socket, str], object]) -> None:
        self._script = script
        self.heads: list[str] = []
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        with client:
            over: object = False
            while not over:
                head = read_head(client)
                self.heads.append(head)
                over = self._script(client, head)


@pytest.fixture
def scripted() -> Iterator[Callable[[Callable[[socket.socket, str], object]], ScriptedServer]]:
    """``scripted(script)``."""
    made: list[ScriptedServer] = []

    def make(script: Callable[[socket.socket, str], object]) -> ScriptedServer:
        made.append(ScriptedServer(script))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A Socket.IO server that the test plays."""
    server = WireServer()
    yield server
    server.close()


@pytest.fixture
def clients(wire: WireServer) -> Iterator[Clients]:
    """Makes clients of ``wire``."""
    made = Clients(wire)
    yield made
    made.close()
