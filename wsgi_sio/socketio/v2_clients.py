"""Clients of Socket.IO v2 (Socket.IO protocol 4 on Engine.IO protocol 3): what is different for them.

They are in the namespace ``/`` without asking, know their socket ids beforehand, send what v3 and later call ``auth``
as a query behind the namespace's name, and get the bare error when they are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

from ..engineio.session import Session
from .connection import Connection
from .packet import CONNECT, Packet

if TYPE_CHECKING:
    from .interfaces import ConnectableNamespace, ConnectableServer, SocketInterface

_MAX_FIELDS = 100
# How much of a socket's id the log shows (characters): enough to tell clients apart, too little to pose as one.
_SHOWN = 6


class ConnectionV2(Connection):
    """One such client; see :class:`Connection`."""

    __slots__ = ("_latest",)

    recoverable = False

    def __init__(self, server: ConnectableServer, session: Session) -> None:
        super().__init__(server, session)
        self._latest: WeakValueDictionary[str, SocketInterface] = WeakValueDictionary()
        self._connect(Packet(CONNECT))

    def _connect(self, packet: Packet) -> None:
        name, _, query = packet.nsp.partition("?")
        try:
            auth = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
        except ValueError:
            self._violation("a namespace's query with too many fields")
        else:
            super()._connect(Packet(CONNECT, name, auth))

    def _welcome(self, namespace: ConnectableNamespace, socket: SocketInterface) -> None:
        """Admit a socket behind the handlers of its predecessor, which had the same id."""
        latest, self._latest[namespace.name] = self._latest.get(namespace.name), socket
        if latest is None:
            namespace.receive(socket)
        else:
            latest.run_in_order(lambda: namespace.receive(socket))

    def new_socket_id(self, nsp: str) -> str:
        return self.id if nsp == "/" else f"{nsp}#{self.id}"

    def log_id(self, socket: SocketInterface) -> str:
        return f"{self.id[:_SHOWN]}..."  # all of it is the engine session's, which is a secret

    def greeting(self, socket: SocketInterface) -> dict[str, str] | None:
        return None

    def refusal(self, error: dict[str, Any]) -> Any:
        data = error.get("data")
        return error["message"] if data in (None, False, 0, "") else data  # what is false in JavaScript
