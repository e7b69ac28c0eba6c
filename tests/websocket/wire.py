"""Frames written byte by byte, the naive way, so that the codec is not judged by its own encoder; and ways to chop a
stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wsgi_sio.websocket.messages import Event, MessageDecoder, Violation

MASK = b"\x37\xfa\x21\x3d"


class Frame(NamedTuple):
    """One frame as the peer sends it, right or wrong."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0

    def wire(self, mask: bytes | None = MASK) -> bytes:
        size = len(self.payload)
        bit = 0 if mask is None else 0x80
        first = (0x80 if self.fin else 0) | self.rsv << 4 | self.opcode
        if size < 126:
            head = bytes([first, bit | size])
        elif size < 65536:
            head = bytes([first, bit | 126, *size.to_bytes(2, "big")])
        else:
            head = bytes([first, bit | 127, *size.to_bytes(8, "big")])
        return head + self.payload if mask is None else head + mask + naive_mask(self.payload, mask)


def naive_mask(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def fragments(opcode: int, *payloads: bytes) -> list[Frame]:
    """One message in as many frames as there are payloads."""
    last = len(payloads) - 1
    return [Frame(0 if index else opcode, payload, fin=index == last) for index, payload in enumerate(payloads)]


def chop(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[at : at + size] for at in range(0, len(stream), size))


def server_decoder(max_message_size: int = 1 << 26) -> MessageDecoder:
    return MessageDecoder(expect_masked=True, max_message_size=max_message_size)


def client_decoder(max_message_size: int = 1 << 26) -> MessageDecoder:
    return MessageDecoder(expect_masked=False, max_message_size=max_message_size)


def feed_all(decoder: MessageDecoder, pieces: Iterable[bytes]) -> list[Event]:
    return [event for piece in pieces for event in decoder.feed(piece)]


def without_reasons(events: Iterable[Event]) -> list[Event]:
    """The events with the wording of violations left out: their codes are protocol, their reasons are prose."""
    return [Violation(event.code, "") if isinstance(event, Violation) else event for event in events]
