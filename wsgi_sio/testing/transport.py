"""A transport without a network: what the server sends reaches the client before ``emit`` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ..engineio.packet import Packet
from ..engineio.polling import PollingTransport
from ..engineio.session import Session
from ..engineio.upgrade import Upgrade
from ..runtime import Reactor

if TYPE_CHECKING:
    from ..engineio.websocket import WebSocketTransport

_CHUNK = 65536


class MemoryTransport:
    """Stands where a WebSocket would: always ready, never slow.

    :param deliver: called with each packet, one at a time, in order, on whatever thread sends; must not block.
    :param ended: called once, when nothing more will come; likewise.
    """

    name = "websocket"
    linger = 5.0
    gathers = False
    unsent = 0
    unread = False

    def __init__(
        self, session: Session, reactor: Reactor, deliver: Callable[[Packet], None], ended: Callable[[], None]
    ) -> None:
        self.session = session
        self._readable = reactor.event()
        self._readable.set()
        self.idle = False
        self.owner: object = session
        self._deliver = deliver
        self._ended = ended

    def write(self, packets: list[Packet]) -> None:
        batch: list[Packet] | None = packets
        while batch:
            for packet in batch:
                self._deliver(packet)
            batch = self.session.next_batch(self, _CHUNK)
        if batch is not None:
            self.finish()

    def finish(self, code: int | None = None) -> None:
        self._ended()
        self.session.closed(self)

    def abort(self, code: int | None = None) -> None:
        """Whoever is writing finishes right after: nothing here can be stuck."""

    def pause(self) -> None:
        self._readable.clear()

    def resume(self) -> None:
        self._readable.set()

    def read_on(self) -> None:
        if not self.session.open:
            self._readable.set()

    def wait_readable(self) -> None:
        """Block while the session is paused: the client asks before it sends."""
        self._readable.wait()


def put_in_place(transport: MemoryTransport, reactor: Reactor) -> bool:
    """Make ``transport`` that of its session, which has just been opened over polling, as an upgrade would.

    :return: False when the session is over already.
    """
    session = transport.session
    polling = session.transport
    assert isinstance(polling, PollingTransport)
    upgrade = Upgrade(session, polling, cast("WebSocketTransport", transport), reactor)
    return session.begin_upgrade(upgrade) and session.switch(upgrade, transport)
