"""Broadcasts to so many clients of one process that others have their turn meanwhile.

With threads they have it anyway: each write lets others run.  gevent's hub runs nothing else until who emits waits, so
that does, every few milliseconds.  Who it is for is settled before, and each client gets the broadcasts of an adapter
in the order in which they were begun: who comes to a client that an earlier one has not reached sends it that first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..runtime import Rank, Reactor, make_lock

if TYPE_CHECKING:
    from .interfaces import SocketInterface

# To how many clients a broadcast is in no case long: that takes less time than others are made to wait.
FEW: Final = 500
# After how many clients a look at the clock is due, and how long others wait for their turn (seconds).
_SLICE, _TURN = 50, 0.002

Send = Callable[["SocketInterface"], object]


class _Broadcast:
    """One that is under way; ``pending`` are the clients that it has not reached, in order."""

    __slots__ = ("pending", "send")

    def __init__(self, recipients: Sequence[SocketInterface], send: Send) -> None:
        self.pending = dict.fromkeys(recipients, True)
        self.send = send

    def reach(self, socket: SocketInterface) -> None:
        if self.pending.pop(socket, False):
            self.send(socket)


class LongBroadcasts:
    """Those of one adapter.

    :ivar under_way: in the order in which they were begun.
    """

    __slots__ = ("_lock", "under_way")

    def __init__(self) -> None:
        self._lock = make_lock(Rank.LEAF)
        self.under_way: tuple[_Broadcast, ...] = ()

    def run(self, recipients: Sequence[SocketInterface], send: Send, reactor: Reactor) -> None:
        """Call ``send`` with each of ``recipients``, others having their turn in between if the caller may wait."""
        if not reactor.one_thread:
            for socket in recipients:
                send(socket)
            return
        turn = monotonic() + _TURN
        mine = _Broadcast(recipients, send)
        in_order: tuple[_Broadcast, ...] = (mine,)
        done = 0
        try:
            with self._lock:
                self.under_way = in_order = (*self.under_way, mine)
            while done < len(recipients):
                _reach(recipients[done : done + _SLICE], in_order)
                done += _SLICE
                if done < len(recipients) and monotonic() > turn:
                    reactor.give_turn()
                    turn = monotonic() + _TURN
        finally:
            if mine.pending:  # who waited has been interrupted, which is none of the clients' business
                _reach(recipients[done:], in_order)
            with self._lock:
                self.under_way = tuple(other for other in self.under_way if other is not mine)


def _reach(sockets: Sequence[SocketInterface], in_order: Sequence[_Broadcast]) -> None:
    for socket in sockets:
        for broadcast in in_order:
            broadcast.reach(socket)
