"""The packets that wait for a client, in order and in bounds, and the senders that wait for it to take some.

Who emits to many never waits: a client that is ``limit`` bytes behind is given up as slow.  Who emits to one client
alone may be held back instead, and then what it has queued is not held against the client.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiled import mypyc_attr
from ..runtime import Event
from .packet import Packet

# What a queued packet weighs beside its payload (bytes), so that a million tiny ones are not for free.
OVERHEAD = 256


@mypyc_attr(allow_interpreted_subclasses=True)
class PacketQueue:
    """What both sides have; not locked, that is its owner's business.

    :ivar packets: those that wait; not to be changed.
    :ivar size: how many bytes of memory they take.
    """

    __slots__ = ("packets", "size")

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.size = 0

    def put_first(self, packet: Packet) -> None:
        """Put what cannot wait before everything else, in the middle of a batch perhaps: it must be no message."""
        self.packets.insert(0, packet)
        self.size += packet.size + OVERHEAD

    def take(self, limit: int, count: int | None = None, overhead: int = OVERHEAD) -> list[Packet]:
        """Remove and return the first packets, at least one if there is any.

        :param limit: about how many bytes.
        :param count: how many at most.
        :param overhead: what each counts beside its payload (bytes).
        """
        packets = self.packets
        if self.size <= limit and (count is None or len(packets) <= count):
            return self.take_all()
        taken = size = 0
        for packet in packets:
            if size >= limit or taken == count:
                break
            size += packet.size + overhead
            taken += 1
        batch = packets[:taken]
        del packets[:taken]
        self._shrink(size + taken * (OVERHEAD - overhead))
        return batch

    def take_all(self) -> list[Packet]:
        """Remove and return all."""
        packets, self.packets = self.packets, []
        self._shrink(self.size)
        return packets

    def _shrink(self, size: int) -> None:
        self.size -= size


class WriteBuffer(PacketQueue):
    """See the module's text; guarded by the session's lock.

    :param limit: bytes that may wait for a client that does not keep up.
    :ivar taken: how many bytes have been taken out, ever.
    :ivar waiting: the senders that are held back, in their order.
    """

    __slots__ = ("_limit", "_patient", "taken", "waiting")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._patient = 0
        self.taken = 0
        self.waiting: tuple[Event, ...] = ()

    def add(self, packets: Sequence[Packet], patient: bool) -> bool:
        """Append ``packets`` together.

        :param patient: the sender is one that is held back.
        :return: whether the client is too far behind.
        """
        size = OVERHEAD * len(packets)
        for packet in packets:
            size += packet.size
        self.packets += packets
        self.size += size
        if patient:
            self._patient += size
            return self.size > self._limit
        return self.size - self._patient > self._limit

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
