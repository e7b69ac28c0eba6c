"""The packets that wait for a busy transport, in order and in bounds; and how large one may be."""

from __future__ import annotations

from ...engineio.packet import Packet, to_utf8
from ...engineio.write_buffer import OVERHEAD, PacketQueue
from ...exceptions import LocalProtocolError


class WriteBuffer(PacketQueue):
    """Guarded by the engine's lock.

    :param limit: bytes from which nothing more is taken in.
    """

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def add(self, packets: list[Packet], bounded: bool) -> None:
        """Append ``packets`` together.

        :param bounded: not if too much waits already.
        :raises LocalProtocolError: that is so; nothing has been appended.
        """
        if bounded and self.size >= self._limit:
            raise LocalProtocolError(f"the server is slower than we send: max_outbox={self._limit} bytes wait for it")
        self.packets += packets
        for packet in packets:
            self.size += packet.size + OVERHEAD


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
