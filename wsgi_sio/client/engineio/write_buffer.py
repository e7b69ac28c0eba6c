"""The packets that wait for a busy transport, in order and in bounds."""

from __future__ import annotations

from ...engineio.packet import Packet, to_utf8
from ...exceptions import LocalProtocolError

# What a packet weighs beside its payload (bytes), so that a million tiny ones are not for free.
_OVERHEAD = 256


class WriteBuffer:
    """A queue of packets; guarded by the engine's lock.

    :param limit: bytes from which nothing more is taken in.
    """

    __slots__ = ("_limit", "_packets", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._packets: list[Packet] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._packets)

    def add(self, packets: list[Packet], bounded: bool) -> None:
        """Append ``packets`` together.

        :param bounded: not if too much waits already.
        :raises LocalProtocolError: that is so; nothing has been appended.
        """
        if bounded and self._size >= self._limit:
            raise LocalProtocolError(f"the server is slower than we send: max_outbox={self._limit} bytes wait for it")
        self._packets += packets
        for packet in packets:
            self._size += packet.size + _OVERHEAD

    def put_first(self, packet: Packet) -> None:
        """Put what cannot wait before everything else, in the middle of a batch perhaps: it must be no message."""
        self._packets.insert(0, packet)
        self._size += packet.size + _OVERHEAD

    def take(self, limit: int, count: int) -> list[Packet]:
        """Remove and return the first, at least one if there is any.

        :param limit: about how many bytes of payload.
        :param count: how many at most.
        """
        if self._size <= limit and len(self._packets) <= count:
            return self.take_all()
        taken = size = 0
        for packet in self._packets[:count]:
            if size >= limit:
                break
            size += packet.size
            taken += 1
        packets = self._packets[:taken]
        del self._packets[:taken]
        self._size -= size + taken * _OVERHEAD
        return packets

    def take_all(self) -> list[Packet]:
        """Remove and return all."""
        taken, self._packets = self._packets, []
        self._size = 0
        return taken


def check_size(packet: Packet, limit: int | None, *, as_text: bool) -> None:
    """Refuse a packet that the server does not take.

    :param limit: of the server (``maxPayload``), in bytes; None if it named none.
    :param as_text: whether bytes, too, go as text, as over polling.
    :raises LocalProtocolError: it is larger.
    """
    if limit is None:
        return
    data = packet.data
    size = len(data) if isinstance(data, bytes) and not as_text else len(to_utf8(packet.text()))
    if size > limit:
        raise LocalProtocolError(f"a packet of {size} bytes is over the {limit} that the server takes (maxPayload)")
