"""Capsules on the stream of a session's CONNECT (RFC 9297, section 3.2; draft-ietf-webtrans-http3): pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

CLOSE_SESSION = 0x2843
DRAIN_SESSION = 0x78AE

_MAX_REASON = 1024
_CODE = 4


class Capsule(NamedTuple):
    """One capsule; ``body`` is empty unless it is that of a session's end."""

    kind: int
    body: bytes


def encode_varint(value: int) -> bytes:
    """QUIC's variable-length integer (RFC 9000, section 16)."""
    for size, mark in ((1, 0), (2, 0x4000), (4, 0x8000_0000)):
        if value < 1 << (8 * size - 2):
            return (value | mark).to_bytes(size, "big")
    return (value | 0xC000_0000_0000_0000).to_bytes(8, "big")


def encode_close(code: int = 0, reason: str = "") -> bytes:
    """The capsule that ends a session; a reason is cut behind 1024 bytes."""
    body = code.to_bytes(_CODE, "big") + reason.encode()[:_MAX_REASON]
    return encode_varint(CLOSE_SESSION) + encode_varint(len(body)) + body


def read_close(body: bytes) -> tuple[int, str]:
    """The code and the reason of a session's end; 0 and nothing for a body that is cut."""
    return int.from_bytes(body[:_CODE], "big"), body[_CODE:].decode("utf-8", "replace")


class CapsuleDecoder:
    """Takes the stream in pieces of any size, and keeps nothing of capsules that it does not know."""

    __slots__ = ("_buffer", "_skip")

    def __init__(self) -> None:
        self._buffer = b""
        self._skip = 0

    def feed(self, data: bytes) -> Iterator[Capsule]:
        """The capsules whose ends, or for those that are skipped whose headers, have come."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._buffer += data[skipped:]
        while self._buffer and not self._skip:
            kind, size_at = _read_varint(self._buffer, 0)
            size, body_at = _read_varint(self._buffer, size_at)
            if body_at < 0:
                return
            end = body_at + size
            if kind == CLOSE_SESSION and size <= _CODE + _MAX_REASON:
                if len(self._buffer) < end:
                    return
                body = self._buffer[body_at:end]
            else:
                self._skip = max(0, end - len(self._buffer))
                body = b""
            self._buffer = self._buffer[end:]
            yield Capsule(kind, body)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The value, and where the next thing begins: -1 when it is not complete."""
    if not 0 <= at < len(data):
        return 0, -1
    size = 1 << (data[at] >> 6)
    if len(data) < at + size:
        return 0, -1
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size
