"""A client of WebTransport whose session is a sibling's: its packets go to and fro, as a WebSocket's frames in between.

A QUIC connection cannot be moved as a descriptor can. So the process that has the port keeps it, and the owner of the
session gets one end of a pair of sockets, which is to it a WebSocket that has been accepted.
"""

from __future__ import annotations

import _socket
import logging
from collections import deque
from typing import Any

from ...runtime import Rank, Reactor, Timer, make_lock
from ...siblings import Link, close_all
from ...websocket.frames import BINARY, TEXT, encode_frame
from ..packet import MESSAGE, Packet, PacketError, decode_packet, to_utf8
from ..websocket import WebSocketTransport
from ..webtransport import WebTransportTransport
from .wire_format import UPGRADE, Handover, pack_handover

logger = logging.getLogger("wsgi_sio.engineio")

# From how many bytes that wait for one side the other one is not read, and at how many it is again.
_MANY = 256 * 1024
_FEW = _MANY // 2
# Frames that go to a sibling have a mask, as the protocol wants it, which changes nothing.
_MASK = bytes(4)


class _Double(WebSocketTransport):
    """The client's end of what the owner takes for a WebSocket."""

    __slots__ = ()

    def mask(self) -> bytes:
        return _MASK

    def encode(self, packets: list[Packet]) -> bytes:
        return b"".join(map(_build_frame, packets))


def _build_frame(packet: Packet) -> bytes:
    data = packet.data
    if isinstance(data, bytes):
        return encode_frame(BINARY, data, mask=_MASK)
    return encode_frame(TEXT, to_utf8(f"{packet.type}{data or ''}"), mask=_MASK)


class _Half:
    """What one of the two transports carries and whom it belongs to: it brings packets for the other one.

    :ivar transport: the one.
    :ivar other: the other one's half.
    """

    __slots__ = (
        "_ending",
        "_held",
        "_packets",
        "_reactor",
        "_size",
        "_timer",
        "lock",
        "other",
        "paused",
        "transport",
    )

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._timer: Timer | None = None
        self.lock = make_lock(Rank.SESSION)
        self.paused = False
        self.transport: WebSocketTransport | WebTransportTransport
        self.other: _Half
        self._packets: deque[Packet] = deque()
        self._size = 0
        self._held = False  # the other one is not read
        self._ending = False

    # -- what the transport brings ------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> None:
        try:
            packet = Packet(MESSAGE, data) if isinstance(data, bytes) else decode_packet(data)
        except PacketError:
            self.close("parse error", abort=True)
            return
        self.other.send([packet])

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool:
        """The transport has ended, or makes no sense; when it is closed, so is the other one."""
        return self.end()

    # -- what the transport carries -----------------------------------------------------------------------------

    def send(self, packets: list[Packet]) -> bool:
        hold = False
        with self.lock:
            if self._ending:
                return False
            claimed = self.transport.idle
            if claimed:
                self.transport.idle = False
            else:
                self._packets += packets
                self._size += sum(packet.size for packet in packets)
                hold = not self._held and self._size > _MANY
                self._held |= hold
        if claimed:
            self.transport.write(packets)
        elif hold:
            self.other.transport.pause()
        return True

    def next_batch(self, transport: Any, limit: int) -> list[Packet] | None:
        batch: list[Packet] = []
        with self.lock:
            size = 0
            while self._packets and size < limit:
                batch.append(self._packets.popleft())
                size += batch[-1].size
            self._size -= size
            release = self._held and self._size < _FEW
            if release:
                self._held = False
            idle = self.transport.idle = not batch and not self._ending
        if release:
            self.other.transport.resume()
            self.other.transport.read_on()
        return None if idle else batch

    def end(self) -> bool:
        """Send what there is, then end the transport; whether this call did."""
        with self.lock:
            if self._ending:
                return False
            self._ending = True
            claimed = self.transport.idle
            self.transport.idle = False
        if claimed:
            self.transport.finish()
        return True

    def closed(self, transport: Any) -> None:
        """The other one ends as well, and has a while for what it still has."""
        if self._timer is not None:
            self._timer.cancel()
        other = self.other
        if other.end():
            other._timer = self._reactor.expire_after(other.transport.linger, other.transport.abort)


def relay(transport: WebTransportTransport, owner: Link, sid: str, reactor: Reactor, max_message_size: int) -> None:
    """Have ``owner`` take what comes by ``transport`` for the WebSocket of its session ``sid``.

    :raises OSError: there is no descriptor left.
    """
    mine, theirs = _socket.socketpair()
    mine.setblocking(False)
    client, double = _Half(reactor), _Half(reactor)
    client.other, double.other = double, client
    client.transport = transport
    try:
        double.transport = _Double(double, mine, reactor, max_message_size)
    except (OSError, RuntimeError):
        mine.close()
        theirs.close()
        raise
    transport.session = transport.owner = client
    client.transport.idle = double.transport.idle = True
    payload = pack_handover(
        Handover({"QUERY_STRING": f"EIO=4&transport=websocket&sid={sid}", "wsgi_sio.by": "webtransport"}, b"", b"")
    )
    descriptor = theirs.detach()
    if not owner.send(UPGRADE, 0, payload, descriptor, _give_back):
        _give_back(descriptor)
    double.transport.start(b"")


def _give_back(descriptor: int) -> None:
    """The owner has gone before it got it: the double sees the end of its pair."""
    close_all((descriptor,))
