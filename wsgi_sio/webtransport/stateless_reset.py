"""Stateless resets (RFC 9000, section 10.3): who does not know a connection ends it all the same.

So clients of a process that was killed find out with the next thing that they send, from whoever has the port then.
Each id of a connection has a token, which the client is told with it. Tokens are signed with the certificate's key:
whoever serves with the same certificate knows those of ids that it has never seen.
"""

from __future__ import annotations

import hmac
import os
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode

from .quic import Quic
from .retry import ID_LENGTH

TOKEN_LENGTH = 16
# The first two bits of what an established connection sends: a short header, and a bit that is always set.
_FORM, _SHORT = 0xC0, 0x40
# The shortest datagram that can be a reset, and the longest that is sent as one (bytes).
_SHORTEST, _LONGEST = 5 + TOKEN_LENGTH, 42


class Resets:
    """Makes tokens, and the resets that have them.

    :param secret: what tokens are signed with.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, connection_id: bytes) -> bytes:
        """That of an id."""
        return hmac.digest(self._secret, connection_id, "sha256")[:TOKEN_LENGTH]

    def answer(self, data: bytes) -> bytes | None:
        """What a datagram of no connection is answered; None: nothing.

        It is shorter than the datagram, lest two that do not know each other go on for ever.
        """
        size = min(len(data) - 1, _LONGEST)
        if size < _SHORTEST or data[0] & _FORM != _SHORT:
            return None
        noise = os.urandom(size - TOKEN_LENGTH)
        return bytes((_SHORT | noise[0] & ~_FORM,)) + noise[1:] + self.token(data[1 : 1 + ID_LENGTH])


class _Quic(Quic):
    """What the peer has closed is over at once; aioquic first waits for late datagrams, which now get a reset."""

    def _close_begin(self, is_initiator: bool, now: float) -> None:
        super()._close_begin(is_initiator, now)
        if not is_initiator and self._close_event is not None:
            self._events.append(self._close_event)


class ServerQuic(_Quic):
    """A connection whose ids have tokens of ``resets``."""

    def __init__(self, configuration: QuicConfiguration, resets: Resets, **server: Any) -> None:
        super().__init__(configuration, **server)
        self._resets = resets
        for connection_id in self._host_cids:
            connection_id.stateless_reset_token = resets.token(connection_id.cid)

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        for connection_id in self._host_cids:
            if not connection_id.was_sent:
                connection_id.stateless_reset_token = self._resets.token(connection_id.cid)


class ClientQuic(_Quic):
    """A connection that a reset ends; aioquic takes one for a datagram that cannot be decrypted."""

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        token = self._peer_cid.stateless_reset_token
        if (
            token
            and len(data) >= _SHORTEST
            and data[0] & _FORM == _SHORT
            and hmac.compare_digest(data[-TOKEN_LENGTH:], token)
        ):
            self._close_event = ConnectionTerminated(
                error_code=QuicErrorCode.NO_ERROR,
                frame_type=None,
                reason_phrase="the server does not know the connection any more",
            )
            self._close_end()
        else:
            super().receive_datagram(data, addr, now)
