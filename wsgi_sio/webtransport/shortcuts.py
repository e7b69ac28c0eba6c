"""What nearly every datagram of a connection needs, without what aioquic looks at for the others.

Between the handshake and the end a datagram has data of one stream, an acknowledgement, or both. aioquic treats it as
any other: it makes a builder, asks each stream for each kind of frame, twice, and so on: most of what a message costs.
Here it is looked first whether there is more to do, and nothing is changed by looking; then aioquic does it.
Else what is written and remembered is what aioquic would write and remember, to the byte
(``tests/webtransport/test_shortcuts.py`` compares the two over random histories).

That holds for versions that have been compared; with another one there are no shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aioquic
from aioquic._buffer import Buffer, BufferReadError
from aioquic._crypto import CryptoError
from aioquic.buffer import size_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import END_STATES, QuicConnectionError, QuicConnectionState, QuicReceiveContext
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

from .credit import CONNECTION_WINDOW, STREAM_WINDOW, Credit
from .sealing import seal, unseal

# The versions of aioquic that have been compared.
COMPARED = ("1.7.",)
KNOWN = aioquic.__version__.startswith(COMPARED)

_CONNECTED = QuicConnectionState.CONNECTED
_LAST = Epoch.ONE_RTT  # in which a connection remains
_ONE_RTT = QuicPacketType.ONE_RTT
_FORM = 0xC0  # the bits of a packet's first byte of which a short header has the lower one alone
_SHORT = 0x40
_RESERVED = 0x18
_SPIN = 0x20
_TAG = 16  # bytes that encryption adds
_ACK = int(QuicFrameType.ACK)
_STREAM = int(QuicFrameType.STREAM_BASE) | 2  # with its length
_WITH_OFFSET = 4
_TWO_BYTES = 0x4000  # in a number of that length

_FEW = 16  # gaps among what has come; with many, what is oldest has to be forgotten

Datagrams = list[tuple[bytes, Any]]
Handlers = list[tuple[Callable[..., None], Any]]


class Shortcuts(Credit):
    """A connection that takes them where it can."""

    def __init__(self, configuration: QuicConfiguration, **server: Any) -> None:
        super().__init__(configuration, **server)
        # What does not change any more once the handshake is confirmed: to look it up is not cheap.
        self._stage: tuple[QuicPacketSpace, CryptoPair, QuicStream] | None = None
        # Whether there was nothing to tell beside data of one stream, and nothing has happened since that adds to it.
        self._settled = False
        self._main: QuicStream | None = None  # that stream

    def _is_plain(self) -> bool:
        """Whether the connection is neither begun nor ended, and the peer where it was."""
        if not self._handshake_confirmed or self._state is not _CONNECTED or self._close_pending:
            return False
        if self._stage is None:
            if not KNOWN or self._quic_logger is not None or self._cryptos[Epoch.ZERO_RTT].recv.is_valid():
                return False
            self._stage = self._spaces[_LAST], self._cryptos[_LAST], self._crypto_streams[_LAST]
        return self._network_paths[0].is_validated

    # -- sending ------------------------------------------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> Datagrams:
        datagrams: Datagrams = []
        if self._is_plain() and (self._settled or self._settle()):
            assert self._stage is not None
            stream, ack_at = self._main, self._stage[0].ack_at
            if stream is not None and stream.sender.buffer_is_empty:
                stream = None
            if stream is None and (ack_at is None or ack_at > now):
                self._loss._pacer.next_send_time(now=now)
                self._pacing_at = None
                return datagrams
            while self._write(stream, now, datagrams):
                if stream is None or stream.sender.buffer_is_empty:
                    self._pacing_at = None
                    return datagrams
        self._settled = False
        return datagrams + super().datagrams_to_send(now)

    def _settle(self) -> bool:
        if self._has_to_tell():
            return False
        writers = [stream for stream in self._streams.values() if not stream.sender.buffer_is_empty]
        if len(writers) > 1:
            return False
        if writers:
            self._main = writers[0]
        elif self._main is not None:
            self._main = self._streams.get(self._main.stream_id or 0)
        self._settled = True
        return True

    def _has_to_tell(self) -> bool:
        """Whether there is something to send beside acknowledgements and data of streams."""
        limit = self._local_max_data
        if (
            self._probe_pending
            or self._ping_pending
            or self._handshake_done_pending
            or self._streams_blocked_pending
            or self._retire_connection_ids
            or self._datagrams_pending
            or self._remote_preferred_address is not None
            or limit.value != limit.sent
            or limit.value - limit.used <= CONNECTION_WINDOW // 2
            or self._local_max_streams_bidi.value != self._local_max_streams_bidi.sent
            or self._local_max_streams_uni.value != self._local_max_streams_uni.sent
        ):
            return True
        for path in self._network_paths:
            if path.remote_challenges or not (path.is_validated or path.local_challenge_sent):
                return True
        for connection_id in self._host_cids:
            if not connection_id.was_sent:
                return True
        for stream in self._streams.values():
            sender, receiver, limit_of_one = stream.sender, stream.receiver, stream.max_stream_data_local
            if receiver.stop_pending or limit_of_one != stream.max_stream_data_local_sent:
                return True
            if sender.is_finished:
                if receiver.is_finished:  # it is to be forgotten
                    return True
            elif sender._buffer_fin is not None or sender._reset_error_code is not None:  # it may be, soon
                return True
            if receiver.is_finished:
                pass
            elif limit_of_one and limit_of_one - receiver._buffer_start <= STREAM_WINDOW // 2:
                return True
        assert self._stage is not None
        return not self._stage[2].sender.buffer_is_empty

    def _write(self, stream: QuicStream | None, now: float, datagrams: Datagrams) -> bool:
        """Write an acknowledgement that is due, and data of ``stream``; False, and nothing done, if that is not all."""
        assert self._stage is not None
        space, crypto, _ = self._stage
        loss, path, cid = self._loss, self._network_paths[0], self._peer_cid.cid
        if crypto._update_key_requested or loss.congestion_window - loss.bytes_in_flight < self._max_datagram_size:
            return False
        due = space.ack_at is not None and space.ack_at <= now
        if (not due or space.ack_at == now) and loss._pacer.next_send_time(now=now) is not None:
            return False
        if due and (len(space.ack_queue) != 1 or now < (space.largest_received_time or 0.0)):
            return False
        if stream is not None and not self._is_free(stream):
            return False

        buffer = Buffer(capacity=self._max_datagram_size)
        handlers: Handlers = []
        if due:
            self._write_ack(buffer, space, now)
            handlers.append((self._on_ack_delivery, (space, space.largest_received_packet)))
        if stream is not None:
            self._write_data(buffer, stream, self._max_datagram_size - 3 - len(cid) - _TAG, handlers)

        number = self._packet_number
        first = _SHORT | self._spin_bit << 5 | crypto.recv.key_phase << 2 | 1
        header = b"%c%b%b" % (first, cid, (number & 0xFFFF).to_bytes(2, "big"))
        datagram = seal(crypto.send, header, buffer.data, number)
        self._packet_number = number + 1
        told = stream is not None
        packet = QuicSentPacket(_LAST, told, told, False, number, _ONE_RTT, now, len(datagram), handlers)
        loss.on_packet_sent(packet=packet, space=space)
        if told and not self._ack_eliciting_sent_since_receipt:
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
        loss._pacer.update_after_send(now=now)
        path.bytes_sent += len(datagram)
        datagrams.append((datagram, path.addr))
        return True

    def _is_free(self, stream: QuicStream) -> bool:
        """Whether all of the stream's data may be sent, and no end of it."""
        sender = stream.sender
        room = sender.highest_offset + self._remote_max_data - self._remote_max_data_used
        return (
            not stream.is_blocked
            and sender._buffer_fin is None
            and len(sender._pending) > 0
            and sender._buffer_stop <= min(room, stream.max_stream_data_remote)
        )

    def _write_ack(self, buffer: Buffer, space: QuicPacketSpace, now: float) -> None:
        assert space.largest_received_time is not None
        received = space.ack_queue[0]
        buffer.push_uint8(_ACK)
        buffer.push_uint_var(received.stop - 1)
        buffer.push_uint_var(int((now - space.largest_received_time) * 1000000) >> self._local_ack_delay_exponent)
        buffer.push_uint_var(0)
        buffer.push_uint_var(received.stop - 1 - received.start)
        space.ack_at = None

    def _write_data(self, buffer: Buffer, stream: QuicStream, space: int, handlers: Handlers) -> None:
        sender, stream_id = stream.sender, stream.stream_id
        assert stream_id is not None
        offset, highest = sender._pending[0].start, sender.highest_offset
        overhead = 3 + size_uint_var(stream_id) + (size_uint_var(offset) if offset else 0)
        frame = sender.get_frame(space - buffer.tell() - overhead)
        assert frame is not None
        size = len(frame.data)
        buffer.push_uint8(_STREAM | _WITH_OFFSET if offset else _STREAM)
        buffer.push_uint_var(stream_id)
        if offset:
            buffer.push_uint_var(offset)
        buffer.push_uint16(size | _TWO_BYTES)
        buffer.push_bytes(frame.data)
        handlers.append((sender.on_data_delivery, (offset, offset + size, False)))
        self._remote_max_data_used += sender.highest_offset - highest
        if not len(sender._pending):
            sender.buffer_is_empty = True

    # -- receiving ----------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        if not self._receive(data, addr, now):
            self._settled = False
            super().receive_datagram(data, addr, now)

    def _receive(self, data: bytes, addr: Any, now: float) -> bool:
        """Take a datagram that is as most are; False, and nothing done, for another."""
        end = 1 + len(self.host_cid)
        cid = data[1:end]
        if not data or data[0] & _FORM != _SHORT or not self._is_plain():
            return False
        if cid != self.host_cid and not self._is_client:
            return False
        if cid not in [each.cid for each in self._host_cids]:  # it has been retired
            return False
        path = self._network_paths[0]
        if path.addr != addr:
            return False
        assert self._stage is not None
        space, crypto, _ = self._stage
        try:
            first, payload, number = unseal(crypto.recv, data, end, space.expected_packet_number)
        except CryptoError:
            return False
        if first & _RESERVED or number in space.received_packets or len(space.ack_queue) > _FEW:
            return False

        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_highest_pn = number
            self._spin_bit = bool(first & _SPIN) is not self._is_client
        is_ack_eliciting = False
        if not self._take_ack(payload, space, now):
            self._settled = False
            try:
                is_ack_eliciting, _ = self._payload_received(
                    QuicReceiveContext(_LAST, cid, path, None, now, None), payload
                )
            except QuicConnectionError as error:
                self._logger.warning(error)
                self.close(error_code=error.error_code, frame_type=error.frame_type, reason_phrase=error.reason_phrase)
        if self._state in END_STATES or self._close_pending:
            return True
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay
        return True

    def _take_ack(self, payload: bytes, space: QuicPacketSpace, now: float) -> bool:
        """Take a payload that is an acknowledgement without gaps, as most are, and nothing else."""
        if payload[:1] != b"\x02":
            return False
        buffer = Buffer(data=payload)
        buffer.pull_uint8()
        try:
            largest, delay, gaps, more = (buffer.pull_uint_var() for _ in range(4))
        except BufferReadError:
            return False
        smallest = largest - more
        if gaps or smallest < 0 or not buffer.eof():
            return False
        if next(iter(space.sent_packets), smallest) < smallest:  # which may be lost now, and what was in it told again
            self._settled = False
        self._loss.on_ack_received(
            ack_rangeset=RangeSet([range(smallest, largest + 1)]),
            ack_delay=(delay << self._remote_ack_delay_exponent) / 1000000,
            now=now,
            space=space,
        )
        return True

    # -- what may add something to tell -------------------------------------------------------------------------

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        main = self._main
        if self._settled and main is not None and main.stream_id == stream_id and not end_stream:
            main.sender.write(data)
            return
        self._settled = False
        super().send_stream_data(stream_id, data, end_stream)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self._settled = False
        super().reset_stream(stream_id, error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        self._settled = False
        super().stop_stream(stream_id, error_code)

    def send_ping(self, uid: int) -> None:
        self._settled = False
        super().send_ping(uid)

    def send_datagram_frame(self, data: bytes) -> None:
        self._settled = False
        super().send_datagram_frame(data)

    def change_connection_id(self) -> None:
        self._settled = False
        super().change_connection_id()

    def hold_back(self, stream_id: int, count: int) -> None:
        self._settled = False
        super().hold_back(stream_id, count)

    def let_go(self, stream_id: int) -> None:
        self._settled = False
        super().let_go(stream_id)

    def handle_timer(self, now: float) -> None:
        self._settled = False
        super().handle_timer(now)

    # -- time ---------------------------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        if self._stage is None or not self._is_plain():
            return super().get_timer()
        space, loss = self._stage[0], self._loss
        self._loss_at = space.loss_time
        if self._loss_at is None and space.ack_eliciting_in_flight:
            self._loss_at = loss._time_of_last_sent_ack_eliciting_packet + loss.get_probe_timeout() * 2**loss._pto_count
        timer = self._close_at
        assert timer is not None
        for moment in (space.ack_at, self._loss_at, self._pacing_at):
            if moment is not None and moment < timer:
                timer = moment
        return timer
