"""The packets that wait for a client, in order and in bounds, and the senders that wait for it to take some.

Who emits to many never waits: a client that is ``limit`` bytes behind is given up as slow.  Who emits to one client
alone may be held back instead, and then what it has queued is not held against the client.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..runtime import Event
from .packet import Packet

# What a queued packet weighs beside its payload (bytes), so that a million tiny ones are not for free.
_OVERHEAD = 256


class WriteBuffer:
    """See the module's text; guarded by the session's lock.

    :param limit: bytes that may wait for a client that does not keep up.
    :ivar packets: those that wait; not to be changed.
    :ivar size: how many bytes of memory they take.
    :ivar taken: how many have been taken out, ever.
    :ivar waiting: the senders that are held back, in their order.
    """

    __slots__ = ("_limit", "_patient", "packets", "size", "taken", "waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._patient = 0
        self.packets: list[Packet] = []
        self.size = 0
        self.taken = 0
        self.waiting: tuple[Event, ...] = ()

    def add(self, packets: Sequence[Packet], patient: bool) -> bool:
        """Append ``packets`` together.

        :param patient: the sender is one that is held back.
        :return: whether the client is too far behind.
        """
        size = sum([packet.size + _OVERHEAD for packet in packets])
        self.packets += packets
        self.size += size
        if patient:
            self._patient += size
            return self.size > self._limit
        return self.size - self._patient > self._limit

    def put_first(self, packet: Packet) -> None:
        """Put what cannot wait before everything else, in the middle of a batch perhaps: it must be no message."""
        self.packets.insert(0, packet)
        self.size += packet.size + _OVERHEAD

    def take(self, limit: int) -> list[Packet]:
        """Remove and return the first packets, about ``limit`` bytes of them."""
        if self.size <= limit:
            return self.take_all()
        packets = self.packets
        count = size = 0
        while size < limit and count < len(packets):
            size += packets[count].size + _OVERHEAD
            count += 1
        self.packets = packets[count:]
        self._shrink(size)
        return packets[:count]

    def take_all(self) -> list[Packet]:
        """Remove and return all."""
        packets, self.packets = self.packets, []
        self._shrink(self.size)
        return packets

    def _shrink(self, size: int) -> None:
        self.size -= size
        self.taken += size
        self._patient = min(self._patient, self.size)  # whose packets they were is not known

    def let_out(self, count: int | None = None) -> tuple[Event, ...]:
        """Remove and return the first ``count`` of the senders that are held back; all without."""
        out = self.waiting[:count]
        self.waiting = self.waiting[len(out) :]
        return out

    @property
    def crowded(self) -> bool:
        """Whether who can wait should: the other half of the bound is for those that cannot."""
        return self.size * 2 >= self._limit
