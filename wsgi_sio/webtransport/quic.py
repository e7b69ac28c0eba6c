"""aioquic as we need it, without I/O: a QUIC connection, and the HTTP/3 above it.

It has no such options, so methods of its own are overridden; each change has a test that fails on the stock library
(``tests/webtransport/test_quic.py``), and so tells when a new version has made it needless, or broken it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import pylsqpack
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.quic.configuration import QuicConfiguration

from .certificates import Certificate
from .credit import CONNECTION_WINDOW, STREAM_WINDOW
from .shortcuts import Shortcuts

logger = logging.getLogger("wsgi_sio.webtransport")

# An acknowledgement is sent by then (seconds); the protocol's default bound is 25 ms.
ACK_DELAY = 0.02
# What HTTP/3 may collect of a frame of a header or of settings before it is complete (bytes).
MAX_COLLECTED = 16384

# Settings of later drafts of WebTransport: one session a connection (draft-07 to -12, Safari's draft-13 and -14), -16.
_LATER_DRAFTS: Mapping[int, int] = {0xC671706A: 1, 0x14E9CD29: 1, 0x2C7CF000: 1}


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # before Python 3.11 it takes no parameter


class _Quiet(_Adapter):
    """What aioquic would warn of is what strangers do: it is for who looks for it."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(logging.DEBUG, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


class Quic(Shortcuts):
    """A connection that gives credit for what has been consumed (credit.py), and is quick (shortcuts.py)."""

    def __init__(self, configuration: QuicConfiguration, **server: Any) -> None:
        super().__init__(configuration, **server)
        self._ack_delay = ACK_DELAY
        quiet = _Quiet(logger, {})
        self._logger: Any = quiet
        self._loss._logger = quiet

    # -- what aioquic does not tell -----------------------------------------------------------------------------

    def acknowledge_by(self, moment: float) -> None:
        """Have what has come acknowledged by ``moment``, should anything be sent then."""
        for space in self._loss.spaces:
            if space.ack_at is not None and space.ack_at > moment:
                space.ack_at = moment

    @property
    def has_news(self) -> bool:
        """Whether :meth:`next_event` has something to tell."""
        return bool(self._events)

    def knows(self, stream_id: int) -> bool:
        """Whether there is such a stream, which has not ended both ways."""
        return stream_id in self._streams

    def unsent(self, stream_id: int) -> int:
        """Bytes of the stream that have been given to us and that the peer has not acknowledged."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_stop - stream.sender._buffer_start

    def is_delivered(self, stream_id: int) -> bool:
        """Whether the peer has acknowledged all of a stream that we have ended."""
        stream = self._streams.get(stream_id)
        return stream is None or stream.sender.is_finished

    def is_writable(self, stream_id: int) -> bool:
        """Whether the stream takes data from us: neither side has ended or broken that off."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return False
        sender = stream.sender
        return not sender.is_finished and sender._buffer_fin is None and sender._reset_error_code is None

    @property
    def peer_certificate(self) -> Any:
        """That of the server, once the handshake is complete."""
        return self.tls._peer_certificate

    def forget(self) -> None:
        """The connection is over: free what it has, which is full of circles and would wait for the collector.

        What :meth:`unsent` looks at remains, lest that be asked in another thread.
        """
        for name in list(self.__dict__):
            if name != "_streams":
                del self.__dict__[name]

    @property
    def ready_to_send(self) -> bool:
        """Whether the peer's address is known."""
        return bool(self._network_paths)


def configure(certificate: Certificate | None, idle_timeout: float) -> QuicConfiguration:
    """What connections have in common.

    :param certificate: the server's; None for a client.
    :param idle_timeout: seconds without a word after which a connection is over.
    """
    configuration = QuicConfiguration(
        is_client=certificate is None,
        alpn_protocols=list(H3_ALPN),
        idle_timeout=idle_timeout,
        max_stream_data=STREAM_WINDOW,
        max_data=CONNECTION_WINDOW,
        max_datagram_frame_size=65536,  # WebTransport has to have datagrams, although we use none
    )
    if certificate is not None:
        configuration.certificate, *configuration.certificate_chain = certificate.chain
        configuration.private_key = certificate.key
    return configuration


class H3(H3Connection):
    """HTTP/3 that speaks of WebTransport to browsers of all drafts, and keeps little of strangers' bytes."""

    def __init__(self, quic: Quic) -> None:
        super().__init__(quic, enable_webtransport=True)

    def _init_connection(self) -> None:
        # No dynamic table: a byte of a request could stand for four thousand, and nothing is saved with one request.
        self._max_table_capacity = self._blocked_streams = 0
        self._decoder = pylsqpack.Decoder(0, 0)
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        return {**super()._get_local_settings(), **_LATER_DRAFTS}

    def collects_too_much(self, stream_id: int) -> bool:
        """Whether a frame that is not complete has become longer than any that we want."""
        stream = self._stream.get(stream_id)
        return stream is not None and len(stream.buffer) > MAX_COLLECTED
