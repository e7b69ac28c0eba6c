"""The way of an event from the connection to the application's handlers, and telling when they fall behind."""

from __future__ import annotations

import logging
from typing import Any

from ..logtext import quote
from ..runtime import FAILURES, SerialQueue
from ..socketio.handlers import CATCH_ALL, NO_ACK, HandlerTable, call
from ..socketio.listens import Listens
from ..socketio.on_any import ListensToAny
from ..socketio.packet import ACK, Packet
from .connection import Connection
from .recovery import Recovery

logger = logging.getLogger("wsgi_sio.client")

# From how many bytes of events that wait for their handlers the log tells.
BACKLOG = 4_000_000


def tell(table: HandlerTable, event: str, args: tuple[Any, ...], who: object) -> None:
    """Run the handlers of something that happened here, each with as many of ``args`` as it takes."""
    for handler in table.find(event):
        if handler.once and not table.claim(handler):
            continue
        try:
            handler.func(*args[: handler.most])
        except FAILURES:
            logger.exception("a handler of %r failed for %r", event, who)


def dispatch(table: HandlerTable, data: list[Any], spare: int, who: object) -> Any:
    """Run the handlers of an event from the server; gives what to acknowledge with, or NO_ACK.

    :param spare: how many of the last arguments a handler may do without.
    """
    event, *args = data
    handlers = () if event == CATCH_ALL else table.find(event)
    given = tuple(args)
    own = 0
    if not handlers:
        handlers, given, own = table.find(CATCH_ALL), tuple(data), 1
    if not handlers:
        return NO_ACK
    try:
        return call(table, handlers, CATCH_ALL if own else event, given, "the server", own=own, spare=spare)
    except FAILURES:
        logger.exception("a handler of %s failed for %r", quote(event), who)
        return NO_ACK


def runs_beside(table: HandlerTable, event: Any) -> bool:
    """Whether the handlers of ``event`` may run beside others."""
    concurrent = table.concurrent
    return bool(concurrent) and (event in concurrent or (CATCH_ALL in concurrent and not table.find(event)))


class HandlesEvents(Listens, ListensToAny):
    """What a socket does with the events that come: its mailbox runs the handlers, and what they return goes back.

    :ivar _stay: counts the times that the server has let us in.
    :ivar _left: the last stay that this side has ended: what has come until then is not handled any more.
    """

    nsp: str
    _mailbox: SerialQueue
    _recovery: Recovery

    def __init__(self) -> None:
        super().__init__()
        self._handlers = HandlerTable()
        self._stay = 0
        self._left = 0

    def _take(self, connection: Connection, packet: Packet, size: int) -> None:
        """Queue an event's handlers. On an I/O thread, one at a time."""
        if not packet.data:
            return
        spare = self._recovery.received(packet.data) if packet.id is None else 0
        beside = runs_beside(self._handlers, packet.data[0])
        queue = self._mailbox.run_beside if beside else self._mailbox.put
        queue(self._run_event, self._stay, connection, packet, spare, cost=size)

    def _run_connect(self, stay: int) -> None:
        if stay > self._left:
            tell(self._handlers, "connect", (), self)

    def _run_event(self, stay: int, connection: Connection, packet: Packet, spare: int) -> None:
        if stay <= self._left:
            return
        data = packet.data
        if self._incoming:
            self._tell(self._incoming, data)
        result = dispatch(self._handlers, data, spare, self)
        if packet.id is None or result is NO_ACK:
            return
        args = [] if result is None else list(result) if isinstance(result, tuple) else [result]
        try:
            connection.send_packet(Packet(ACK, self.nsp, args, packet.id), bounded=True)
        except Exception:
            logger.exception("what the handler of %s returned cannot be sent", quote(data[0]))


class BacklogLog:
    """Tells the log when handlers are slower than the server sends: nothing stops it, so the events pile up."""

    __slots__ = ("_who",)

    def __init__(self, who: object) -> None:
        self._who = who

    def mailbox_full(self) -> None:
        logger.warning("the handlers of %r are slower than the server: %d bytes of events wait", self._who, BACKLOG)

    def mailbox_has_room(self) -> None:
        logger.info("the handlers of %r have caught up", self._who)

    def mailbox_overflows(self) -> None:
        logger.debug("the handlers of %r fall further behind", self._who)
