"""What may become a connection's transport, other than polling: connecting by WebSocket or WebTransport."""

from __future__ import annotations

import json
from typing import Protocol

from ...engineio.packet import OPEN, Packet
from ...engineio.websocket import Owner
from .interfaces import Engine, Transport
from .tcp import BlockingSockets
from .websocket import connect_websocket

_MISSING = "WebTransport needs the aioquic library: pip install wsgi_sio[webtransport], or leave it out of transports"


class Candidate(Transport, Protocol):
    """A way to the server; its owner gets what comes."""

    owner: Owner

    def start(self, early: bytes) -> None:
        """Begin to read; ``early`` has been read already."""

    def write_alone(self, packet: Packet) -> None:
        """Send one small packet, which is none of the engine's."""

    def turn_away(self) -> None:
        """End it: its owner does not want it any more."""


def connect(
    name: str, engine: Engine, owner: Owner, sockets: BlockingSockets, *, last: bool = True
) -> tuple[Candidate, bytes, list[Packet]]:
    """Connect by a transport, blocking; :meth:`Candidate.start` wants the bytes that came along.

    The packets are to be sent first.

    By WebTransport it is a packet that says for which session that is; a WebSocket's URL has done so.

    :param name: ``websocket`` or ``webtransport``.
    :param owner: who gets what comes, which may be at once when that has been sent.
    :param last: whether there is no other transport left to be tried.
    :raises ConnectionFailed: it was not possible.
    """
    if name == "websocket":
        return *connect_websocket(engine, owner, sockets), []
    from .webtransport import connect_webtransport

    candidate = connect_webtransport(engine, owner, sockets, last=last)
    return candidate, b"", [Packet(OPEN, json.dumps({"sid": engine.id}) if engine.id else None)]


def require_webtransport() -> None:
    """Have the error of a missing library now.

    :raises ImportError: it is missing.
    """
    try:
        from . import webtransport  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{_MISSING} ({error})") from error
