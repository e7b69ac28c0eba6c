"""Broadcasts to so many clients of one process that others have their turn meanwhile.

With threads they have it anyway: each write lets others run.  gevent's hub runs nothing else until who emits waits, so
that does, every few milliseconds.  Who may not wait, the hub itself and the readers of siblings and buses, leaves a
broadcast to a greenlet that takes one after the other, and goes on.  Who it is for is settled before, and each client
gets the broadcasts of an adapter in the order in which they were begun, whoever brings them: who comes to a client that
an earlier one has not reached sends it that first.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ..runtime import FAILURES, Rank, Reactor, make_lock

if TYPE_CHECKING:
    from .interfaces import SocketInterface

logger = logging.getLogger("wsgi_sio.socketio")

# To how many clients a broadcast is in no case long: that takes less time than others are made to wait.
FEW: Final = 500
# After how many clients a look at the clock is due, and how long others wait for their turn (seconds).
_SLICE, _TURN = 50, 0.002
# How many may be under way, or wait for the greenlet that takes them, at 0.8 MB for 20,000 clients; more, and whoever
# brings another one finishes the first at once: what does that forever has to feel that it is too fast.
_MOST: Final = 32

Send = Callable[["SocketInterface"], object]
# Gives an event its place in the order of what a client gets; calling the result sends it.  None: the client has left.
Place = Callable[["SocketInterface"], Callable[[], None] | None]


class Broadcast:
    """One that is under way.

    :ivar recipients: whom it is for...
    :ivar pending: ...and those of them that nobody has begun to send it to.
    """

    __slots__ = ("_send", "_sending", "pending", "recipients")

    def __init__(self, recipients: Sequence[SocketInterface], send: Send) -> None:
        self.pending = dict.fromkeys(recipients, True)
        self.recipients = recipients
        self._send = send
        self._sending: set[SocketInterface] = set()

    def reach(self, socket: SocketInterface) -> bool:
        """Send it to a client, if it has not been.

        :return: False when somebody is in the middle of that, such as a listener who emits: what was begun later must
            not come in front of it.
        """
        if socket not in self.pending:
            return socket not in self._sending
        self.reach_all((socket,))
        return True

    def reach_all(self, sockets: Sequence[SocketInterface]) -> None:
        """Likewise, to several."""
        pending, sending, send = self.pending, self._sending, self._send
        for socket in sockets:
            if pending.pop(socket, False):
                sending.add(socket)
                try:
                    send(socket)
                finally:
                    sending.discard(socket)


class PlacedBroadcast(Broadcast):
    """One that is kept for those who come back: its place among what a client gets has to be that in the log.

    :param lock: the adapter's, under which that is settled.
    :param tell: tells the listeners to what goes out to a client.
    """

    __slots__ = ("_lock", "_place", "_tell")

    def __init__(
        self, recipients: Sequence[SocketInterface], place: Place, lock: AbstractContextManager[Any], tell: Send
    ) -> None:
        super().__init__(recipients, tell)
        self._place = place
        self._lock = lock
        self._tell = tell

    def reach_all(self, sockets: Sequence[SocketInterface]) -> None:
        pending, place = self.pending, self._place
        with self._lock:
            placed = [
                (send, socket)
                for socket in sockets
                if pending.pop(socket, False) and (send := place(socket)) is not None
            ]
        for send, _ in placed:  # all, before any listener may raise
            send()
        for _, socket in placed:
            if socket.listeners_any_outgoing:
                self._tell(socket)


class LongBroadcasts:
    """Those of one adapter.

    :ivar under_way: in the order in which they were begun.
    """

    __slots__ = ("_carried", "_lock", "_posted", "under_way")

    def __init__(self) -> None:
        self._lock = make_lock(Rank.LEAF)
        self.under_way: tuple[Broadcast, ...] = ()
        self._posted: deque[Broadcast] = deque()  # those of them that wait for the greenlet
        self._carried = False  # whether there is that greenlet

    def run(self, recipients: Sequence[SocketInterface], send: Send, reactor: Reactor, posted: bool = False) -> None:
        """Call ``send`` with each of ``recipients``, others having their turn in between.

        :param posted: the caller does not wait for that: if it takes long, it goes on without.
        """
        if not reactor.one_thread:
            for socket in recipients:
                send(socket)
            return
        broadcast = self.begin(Broadcast(recipients, send))
        if posted:
            self.post(broadcast, reactor)
        else:
            self.finish(broadcast, reactor)

    def begin(self, broadcast: Broadcast) -> Broadcast:
        """Settle the place of a broadcast among others; :meth:`finish`, or :meth:`post`, has to be called soon.

        For a reactor of one thread; an adapter may hold its lock.
        """
        with self._lock:
            self.under_way = (*self.under_way, broadcast)
        return broadcast

    def finish(self, broadcast: Broadcast, reactor: Reactor) -> None:
        """Send it to all, others having their turn in between if the caller may wait."""
        if len(broadcast.recipients) > FEW and reactor.in_loop():
            self._leave(broadcast, reactor)
            return
        try:
            if len(self.under_way) > _MOST:
                self._finish_one()
        finally:
            self._carry(broadcast, reactor.give_turn)

    def post(self, broadcast: Broadcast, reactor: Reactor) -> None:
        """Have it sent to all; the caller does not wait for that, but for few."""
        if len(broadcast.recipients) > FEW:
            self._leave(broadcast, reactor)
        else:
            self.finish_at_once(broadcast, reactor)

    def finish_at_once(self, broadcast: Broadcast, reactor: Reactor) -> None:
        """Send it to all, nobody having a turn."""
        self._carry(broadcast, None)

    def reach(self, socket: SocketInterface) -> None:
        """Send a client all that are under way, for it is to get something that comes behind them."""
        for broadcast in self.under_way:
            if not broadcast.reach(socket):
                return

    def _carry(self, mine: Broadcast, give_turn: Callable[[], None] | None) -> None:
        failure: BaseException | None = None
        turn, done = monotonic() + _TURN, 0
        try:
            while mine.pending and done < len(mine.recipients):
                try:
                    self._reach(mine.recipients[done : done + _SLICE], mine)
                    done += _SLICE
                    if give_turn is not None and done < len(mine.recipients) and monotonic() > turn:
                        give_turn()
                        turn = monotonic() + _TURN
                except BaseException as error:  # a listener's, or an interruption: none of the other clients' business
                    failure, give_turn = failure or error, None
            if failure is not None:
                raise failure
        finally:
            failure = None  # it has this frame, which has it
            with self._lock:
                self.under_way = tuple(other for other in self.under_way if other is not mine)

    def _reach(self, sockets: Sequence[SocketInterface], last: Broadcast) -> None:
        under_way, pending = self.under_way, last.pending
        earlier = under_way[: under_way.index(last)]
        if not earlier:
            last.reach_all(sockets)
            return
        for socket in sockets:
            if socket not in pending:
                continue  # whoever has sent it that has sent it the earlier ones before
            for broadcast in earlier:
                if not broadcast.reach(socket):
                    break
            last.reach(socket)

    def _finish_one(self) -> None:
        """If there are too many, send the first one to all, for who has begun it."""
        unfinished = [broadcast for broadcast in self.under_way if broadcast.pending]
        if len(unfinished) > _MOST:
            first = unfinished[0]
            self._reach(list(first.pending), first)
            first.pending, first.recipients = {}, ()  # it may be a while until that one has a turn

    # -- those that whoever has begun them does not wait for ---------------------------------------------------------

    def _leave(self, broadcast: Broadcast, reactor: Reactor) -> None:
        with self._lock:
            self._posted.append(broadcast)
            starts, self._carried = not self._carried, True
            too_many = len(self._posted) > _MOST
            first = self._posted.popleft() if too_many else None
        if starts:
            reactor.spawn(self._carry_posted, reactor)
        if first is not None:
            self.finish_at_once(first, reactor)

    def _carry_posted(self, reactor: Reactor) -> None:
        try:
            while (broadcast := self._next_posted()) is not None:
                try:
                    self._carry(broadcast, reactor.give_turn)
                except FAILURES:
                    logger.exception("a broadcast to many failed for some of them")
        except BaseException:  # somebody has killed the greenlet
            reactor.spawn(self._carry_posted, reactor)
            raise

    def _next_posted(self) -> Broadcast | None:
        with self._lock:
            self._carried = bool(self._posted)
            return self._posted.popleft() if self._posted else None
