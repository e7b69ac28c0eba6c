"""Encryption of QUIC's packets with short headers (RFC 9001, section 5), by the keys that aioquic has."""

from __future__ import annotations

from aioquic._crypto import CryptoError
from aioquic.quic.crypto import CryptoContext
from aioquic.quic.packet import decode_packet_number


def seal(keys: CryptoContext, header: bytes, payload: bytes, number: int) -> bytes:
    """A packet whose number has two bytes, encrypted (RFC 9001, section 5)."""
    assert keys.aead is not None and keys.hp is not None
    body = keys.aead.encrypt(payload, header, number)
    mask = keys.hp._mask(body[2:18])
    hidden = number & 0xFFFF ^ int.from_bytes(mask[1:3], "big")
    return b"%c%b%b%b" % (header[0] ^ mask[0] & 0x1F, header[1:-2], hidden.to_bytes(2, "big"), body)


def unseal(keys: CryptoContext, data: bytes, at: int, expected: int) -> tuple[int, bytes, int]:
    """The first byte, the payload and the number of an encrypted packet, whose number is ``at``.

    :raises CryptoError: it is none of this key.
    """
    if len(data) < at + 20 or keys.aead is None or keys.hp is None:
        raise CryptoError("too short")
    mask = keys.hp._mask(data[at + 4 : at + 20])
    first = data[0] ^ mask[0] & 0x1F
    if first >> 2 & 1 != keys.key_phase:
        raise CryptoError("another key")
    size = (first & 3) + 1
    shown = int.from_bytes(data[at : at + size], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
    number = decode_packet_number(shown, 8 * size, expected)
    header = b"%c%b%b" % (first, data[1:at], shown.to_bytes(size, "big"))
    return first, keys.aead.decrypt(data[at + size :], header, number), number
