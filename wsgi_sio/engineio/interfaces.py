"""What the parts of the engine that are given :class:`EngineServer` ask of it: handshakes, and the relay."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..sockets import NonBlockingSocket
from .config import Environ
from .errors import EngineError
from .hijacked_connection import Connections
from .request import EngineRequest
from .request_body import BodyWatch
from .response import Headers, Hijacked, Response
from .session import Session
from .session_writer import SessionServer
from .upgrade import Candidate
from .websocket import WebSocketTransport
from .websocket_handshake import Acceptance, Accepted
from .wsgi_capacity import Capacity


class PlacedHandshakes(Protocol):
    """Opens the sessions that siblings place here.

    :ivar closed: whether this process takes no more sessions.
    """

    closed: bool

    def open_placed(
        self, request: EngineRequest, take: Callable[[], int], accept: bytes, early: bytes
    ) -> Response | Hijacked: ...


class Engine(SessionServer, Protocol):
    """An :class:`EngineServer`."""

    sessions: dict[str, Session]
    lock: AbstractContextManager[Any]
    asked: bool
    is_alone: Callable[[], bool]

    # -- what lives in the serving process

    @property
    def bodies(self) -> BodyWatch: ...

    @property
    def capacity(self) -> Capacity: ...

    @property
    def acceptance(self) -> Acceptance: ...

    @property
    def handshakes(self) -> PlacedHandshakes: ...

    @property
    def offers_webtransport(self) -> bool: ...

    # -- for handshakes

    def new_id(self) -> str: ...

    def tell_load(self) -> None: ...

    def accept_websocket(self, session: Session, request: EngineRequest, cors: Headers) -> Accepted: ...

    def make_websocket(
        self, session: Session, sock: NonBlockingSocket, kind: type[WebSocketTransport] = ...
    ) -> WebSocketTransport: ...

    # -- for requests that siblings have received

    def find_member(self, request: EngineRequest) -> Session: ...

    def answer_member(self, request: EngineRequest, cors: Headers) -> Response | Hijacked: ...

    def begin_upgrade(self, session: Session, candidate: Candidate, early: bytes) -> None: ...

    def settled_cors(self, environ: Environ) -> Headers | None: ...

    def refuse(self, error: EngineError, sid: str | None, upgrade: bool) -> Response: ...

    def abort(self, sid: str, reason: str) -> None: ...

    def find_connections(self) -> Connections | None: ...
