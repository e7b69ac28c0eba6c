"""``socketio.server.manager``, ``.eio`` and ``.environ``: python-socketio's own, which applications look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..engineio import EngineServer, Session
from ..socketio.namespace import Namespace
from ..socketio.socket import Socket


class Clients(Protocol):
    """What a PeerServer knows of its clients."""

    def namespaces(self) -> list[Namespace]:
        """All namespaces that clients may be in."""

    def namespace(self, name: str | None) -> Namespace | None:
        """The namespace of that name."""

    def socket(self, sid: Any, namespace: str | None) -> Socket | None:
        """The client of that id."""


class ManagerView:
    """``socketio.server.manager``: who is in which room, in this process."""

    def __init__(self, server: Clients) -> None:
        self._server = server

    @property
    def rooms(self) -> dict[str, dict[Any, dict[str, str]]]:
        """For each namespace and room the engine session's id of each client; the room None has all clients."""
        return {namespace.name: self._rooms(namespace.name) for namespace in self._server.namespaces()}

    def _rooms(self, name: str) -> dict[Any, dict[str, str]]:
        rooms: dict[Any, dict[str, str]] = {}
        namespace = self._server.namespace(name)
        for socket in [] if namespace is None else list(namespace.sockets.values()):
            for room in (None, *socket.rooms):
                rooms.setdefault(room, {})[socket.id] = socket.conn.id
        return rooms

    def get_namespaces(self) -> Iterator[str]:
        """The names of the namespaces."""
        return (namespace.name for namespace in self._server.namespaces())

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """The clients in ``room`` (None: all), each with its engine session's id."""
        return iter(self._rooms(namespace).get(room, {}).items())

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Whether there is such a client."""
        socket = self._server.socket(sid, namespace)
        return socket is not None and socket.connected


class EngineView:
    """``socketio.server.eio``: the options of the engine by name, and its sessions."""

    def __init__(self, engine: EngineServer) -> None:
        self._engine = engine

    @property
    def sockets(self) -> dict[str, Session]:
        """The sessions by id."""
        return dict(self._engine.sessions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.config, name)


class EnvironView(Mapping[str, dict[str, Any]]):
    """``socketio.server.environ``: the handshakes' environs by the engine sessions' ids."""

    def __init__(self, engine: EngineServer) -> None:
        self._sessions = engine.sessions

    def __getitem__(self, eio_sid: str) -> dict[str, Any]:
        return self._sessions[eio_sid].environ

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._sessions))

    def __len__(self) -> int:
        return len(self._sessions)
