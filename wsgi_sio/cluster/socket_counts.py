"""Counting sockets over a cluster: a question for sockets (FETCH_SOCKETS) that says that their number is enough.

Servers of this package answer with the number; those of Node, which do not know the field ``count``, with their
sockets, which are counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, Union

from ..exceptions import AckTimeout
from ..socketio.adapter import tally
from ..socketio.memory_adapter import MemoryAdapter
from ..socketio.plain_values import is_plain
from ..socketio.remote_socket import RemoteSocket

if TYPE_CHECKING:
    from ..socketio.broadcast_options import BroadcastOptions, Room

# What the field is: true: how many there are; this, or a list of rooms: how many are in each.
ALL_ROOMS: Final = "rooms"

Counts = Union[int, dict[Any, int]]
Sum = TypeVar("Sum")


def answer(adapter: MemoryAdapter, options: BroadcastOptions, wanted: Any) -> Any:
    """What a server answers, of the sockets that it has itself.

    :param wanted: the question's field ``count``.
    :raises ValueError: that makes no sense.
    """
    if wanted is True:
        return MemoryAdapter.count_sockets(adapter, options)
    if wanted != ALL_ROOMS and not isinstance(wanted, list):
        raise ValueError("not a question for a number")
    found = MemoryAdapter.count_rooms(adapter, options, None if wanted == ALL_ROOMS else frozenset(wanted))
    return [[room, count] for room, count in found.items() if count and is_plain(room)]


def read(answered: Any) -> Counts:
    """What a server has answered.

    :raises ValueError: it is no number, or numbers by room.
    """
    found = dict(answered) if isinstance(answered, list) else answered
    for count in found.values() if isinstance(answered, list) else (found,):
        if type(count) is not int or count < 0:
            raise ValueError("not a number of sockets")
    return found


def total(ask: Callable[[], list[Any]]) -> int:
    """The sum of what servers answer.

    :param ask: gives that: numbers, and sockets.
    :raises AckTimeout: not all have answered; its ``responses`` is a list of the sum.
    """

    def add(found: list[Any]) -> int:
        return sum(one if isinstance(one, int) else 1 for one in found if not isinstance(one, dict))

    return _sum_up(ask, add)


def by_room(ask: Callable[[], list[Any]], rooms: frozenset[Room] | None) -> dict[Room, int]:
    """Likewise, room by room.

    :param rooms: which; None: all.
    """

    def add(found: list[Any]) -> dict[Room, int]:
        counts: Counter[Room] = Counter(tally([one for one in found if isinstance(one, RemoteSocket)], rooms))
        for one in found:
            if isinstance(one, dict):
                counts.update(one)
        return dict(counts)

    return _sum_up(ask, add)


def _sum_up(ask: Callable[[], list[Any]], add: Callable[[list[Any]], Sum]) -> Sum:
    try:
        return add(ask())
    except AckTimeout as error:
        raise AckTimeout(str(error), [add(error.responses)]) from None
