"""What is answered to datagrams of no connection, without keeping anything: another version, or a Retry.

A Retry (RFC 9000, section 8.1.2) has a client show that it is where it says, before anything is done for it.
"""

from __future__ import annotations

import hmac
import os
import time
from dataclasses import dataclass

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)

from .connection import Address

ID_LENGTH = 8
_LONG_HEADER = 0x80
# The shortest datagram that may begin a connection: what is answered is never much longer than what came (bytes).
_SHORTEST = 1200
# How long a client may take to come back with its token (seconds).
_LIFE = 30
_MAC = 16


@dataclass(frozen=True, slots=True)
class Arrival:
    """A client that begins a connection.

    :ivar destination: the id that its datagrams have until they get one of ours.
    :ivar original: the one that it chose first.
    :ivar retry_source: the one that our Retry gave it, if there was one.
    """

    destination: bytes
    original: bytes
    retry_source: bytes | None


def destination_of(data: bytes) -> bytes | None:
    """The id of the connection that a datagram is for; None for what is no QUIC."""
    if len(data) < 1 + ID_LENGTH:
        return None
    if not data[0] & _LONG_HEADER:
        return data[1 : 1 + ID_LENGTH]
    at = 6
    return data[at : at + data[at - 1]]


class Doorkeeper:
    """Judges datagrams that are of no connection.

    :param versions: those of QUIC that are spoken.
    :param secret: what tokens are signed with; who has the same takes them as well.
    """

    __slots__ = ("_secret", "_versions")

    def __init__(self, versions: list[int], secret: bytes) -> None:
        self._versions = versions
        self._secret = secret

    def examine(self, data: bytes, address: Address, retry: bool) -> Arrival | bytes | None:
        """What a datagram of no connection is.

        :param retry: whether clients have to come back with a token.
        :return: a connection that begins, or what is to be answered, or None: nothing.
        """
        if len(data) < _SHORTEST:
            return None
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=ID_LENGTH)
        except ValueError:
            return None
        if header.version is None or header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return None
        if header.version not in self._versions:
            return encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=self._versions,
            )
        if header.packet_type != QuicPacketType.INITIAL or len(header.destination_cid) < ID_LENGTH:
            return None
        if header.token:
            original = self._read(header.token, header.destination_cid, address)
            if original is not None:
                return Arrival(header.destination_cid, original, header.destination_cid)
        return self._retry(header, address) if retry else Arrival(header.destination_cid, header.destination_cid, None)

    def _retry(self, header: QuicHeader, address: Address) -> bytes:
        assert header.version is not None
        source = os.urandom(ID_LENGTH)
        return encode_quic_retry(
            version=header.version,
            source_cid=source,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=self._write(header.destination_cid, source, address),
        )

    def _write(self, original: bytes, source: bytes, address: Address) -> bytes:
        issued = int(time.time()).to_bytes(8, "big")
        return issued + original + self._sign(issued, original, source, address)

    def _read(self, token: bytes, source: bytes, address: Address) -> bytes | None:
        """The id that the client had chosen; None for a token that is not good."""
        issued, original, mac = token[:8], token[8:-_MAC], token[-_MAC:]
        if not hmac.compare_digest(mac, self._sign(issued, original, source, address)):
            return None
        age = time.time() - int.from_bytes(issued, "big")
        return original if -1 <= age <= _LIFE else None

    def _sign(self, issued: bytes, original: bytes, source: bytes, address: Address) -> bytes:
        text = b"\0".join((issued, original.hex().encode(), source.hex().encode(), repr(address[:2]).encode()))
        return hmac.digest(self._secret, text, "sha256")[:_MAC]
