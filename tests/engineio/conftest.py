"""Engines in this process whose sessions are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.inprocess import InProcess, Polling, WebSocket, eventually
from wsgi_sio.engineio import EngineConfig, EngineRequest, EngineServer, Session
from wsgi_sio.engineio.request import parse_request


class Engine(InProcess):
    """An engine, its sessions in order of their coming, what they received and why they ended."""

    def __init__(self, options: dict[str, Any], on_session: Callable[[Session], None] | None) -> None:
        self.sessions: list[Session] = []
        self.received: list[str | bytes] = []
        self.ended: list[tuple[str, str]] = []
        self._on_session = on_session
        super().__init__(EngineServer(EngineConfig(**options), self._begin))

    def _begin(self, session: Session) -> None:
        session.on_message = self.received.append
        session.on_close = lambda reason: self.ended.append((session.id, reason))
        self.sessions.append(session)
        if self._on_session is not None:
            self._on_session(session)

    def engine_request(self, method: str, sid: str) -> EngineRequest:
        """A polling request of a session that has been checked already."""
        return parse_request(self.environ(method, transport="polling", sid=sid))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason in self.ended]

    def over_websocket(self, **options: Any) -> tuple[WebSocket, Session]:
        """A new session over WebSocket, its handshake read."""
        websocket, sid = self.opened(**options)
        return websocket, self.engine.sessions[sid]

    def over_polling(self) -> tuple[Polling, Session]:
        """A new session over polling."""
        polling = self.polling()
        return polling, self.engine.sessions[polling.sid]

    def upgraded(self, **options: Any) -> tuple[WebSocket, Session]:
        """A session that has gone from polling to WebSocket."""
        polling, session = self.over_polling()
        websocket = self.websocket(polling.sid, **options)
        websocket.send("2probe")
        assert websocket.receive() == "3probe"
        websocket.send("5")
        eventually(lambda: session.transport.name == "websocket", "the switch")
        return websocket, session


MakeEngine = Callable[..., Engine]


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """``make_engine(on_session=None, **options)``."""
    made: list[Engine] = []

    def make(on_session: Callable[[Session], None] | None = None, **options: Any) -> Engine:
        made.append(Engine(options, on_session))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
