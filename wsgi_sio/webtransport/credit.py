"""How much a peer may send: what has been consumed makes room for more, not what has arrived, as with aioquic.

It has no such option, so its methods are overridden; for each change ``tests/webtransport/test_credit.py`` shows that
the library by itself would fail, and so tells when a new version has made it needless, or broken it.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

# How many bytes of a stream, and of a connection, the peer may send ahead of who reads them.
STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 512 * 1024
# How many streams of each kind the peer may open during the connection's life: it needs two, and three one-way ones.
STREAMS = 8


class Credit(QuicConnection):
    """A connection that gives credit for what has been consumed.

    The peer may be ahead of its reader by :data:`STREAM_WINDOW` bytes a stream and :data:`CONNECTION_WINDOW` in all,
    and opens no more than :data:`STREAMS` streams of a kind.
    """

    def __init__(self, configuration: QuicConfiguration, **server: Any) -> None:
        super().__init__(configuration=configuration, **server)
        self._held: dict[int, int] = {}  # of each stream: bytes that we have, and nobody has consumed
        self._local_max_streams_bidi.value = self._local_max_streams_bidi.sent = STREAMS
        self._local_max_streams_uni.value = self._local_max_streams_uni.sent = STREAMS

    def hold_back(self, stream_id: int, count: int) -> None:
        """``count`` more bytes of the stream (if negative: fewer) wait for their reader."""
        self._held[stream_id] = self._held.get(stream_id, 0) + count

    def let_go(self, stream_id: int) -> None:
        """Nobody will read the stream."""
        self._held.pop(stream_id, None)

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        receiver = stream.receiver
        limit = stream.max_stream_data_local  # 0 for a one-way stream of ours
        if limit == stream.max_stream_data_local_sent and limit - receiver._buffer_start > STREAM_WINDOW // 2:
            return  # nearly always, and it is asked for each stream and each datagram
        if limit and not receiver.is_finished:
            assert stream.stream_id is not None
            wanted = receiver._buffer_start - self._held.get(stream.stream_id, 0) + STREAM_WINDOW
            if wanted - limit >= STREAM_WINDOW // 2:
                limit = stream.max_stream_data_local = wanted
        if stream.max_stream_data_local_sent != limit:
            highest, receiver.highest_offset = receiver.highest_offset, 0  # else it is doubled
            try:
                super()._write_stream_limits(builder, space, stream)
            finally:
                receiver.highest_offset = highest

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        # What lies behind a gap counts as consumed: that is bounded by the streams' windows.
        wanted = limit.used - sum(self._held.values()) + CONNECTION_WINDOW
        if wanted - limit.value >= CONNECTION_WINDOW // 2:
            limit.value = wanted
        for streams in (self._local_max_streams_bidi, self._local_max_streams_uni):
            streams.value = streams.sent  # a stream that has ended makes no room for another
        if limit.value != limit.sent:
            limits = (limit, self._local_max_streams_bidi, self._local_max_streams_uni)
            used = [each.used for each in limits]
            try:
                for each in limits:
                    each.used = 0  # else they are doubled
                super()._write_connection_limits(builder, space)
            finally:
                for each, count in zip(limits, used, strict=True):
                    each.used = count
