"""The Autobahn families 9 and 10 (sizes, fragments, chops) with their real sizes; the codec must get through them at
speed.
"""

from __future__ import annotations

import pytest

from tests.support.world import one_world
from tests.websocket.wire import MASK, chop, feed_all, server_decoder
from wsgi_sio.websocket.frames import BINARY, CONTINUATION, TEXT, encode_frame
from wsgi_sio.websocket.messages import Event

pytestmark = one_world

K = 1024
M = 1024 * K
MESSAGE_SIZES = (64 * K, 256 * K, M, 4 * M, 8 * M, 16 * M)
FRAGMENT_SIZES = (64, 256, K, 4 * K, 16 * K, 64 * K, 256 * K, M, 4 * M)
CHOP_SIZES = (64, 128, 256, 512, K, 2 * K)
SMALL_SIZES = (0, 16, 64, 256, K, 4 * K)
KINDS = ((TEXT, b"BAsd7&jh23"), (BINARY, b"\x00\xfe\x23\xfa\xf0"))


def payload_of(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def event_of(opcode: int, payload: bytes) -> Event:
    return payload.decode() if opcode == TEXT else payload


def fragmented(opcode: int, payload: bytes, size: int) -> bytes:
    last = len(payload) - size
    return b"".join(
        encode_frame(CONTINUATION if at else opcode, payload[at : at + size], fin=at >= last, mask=MASK)
        for at in range(0, len(payload), size)
    )


def numbered(family: int, values: tuple[int, ...]) -> list[object]:
    """Text is the odd family (9.1), binary the even one after it (9.2)."""
    return [
        pytest.param(opcode, pattern, value, id=f"9.{family + offset}.{number}")
        for offset, (opcode, pattern) in enumerate(KINDS)
        for number, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(("opcode", "pattern", "size"), numbered(1, MESSAGE_SIZES))
def test_large_message_in_one_frame(opcode: int, pattern: bytes, size: int) -> None:
    payload = payload_of(pattern, size)
    pieces = chop(encode_frame(opcode, payload, mask=MASK), 64 * K)
    assert feed_all(server_decoder(), pieces) == [event_of(opcode, payload)]


@pytest.mark.parametrize(("opcode", "pattern", "size"), numbered(3, FRAGMENT_SIZES))
def test_message_of_4_megabytes_in_fragments(opcode: int, pattern: bytes, size: int) -> None:
    payload = payload_of(pattern, 4 * M)
    pieces = chop(fragmented(opcode, payload, size), 64 * K)
    assert feed_all(server_decoder(), pieces) == [event_of(opcode, payload)]


@pytest.mark.parametrize(("opcode", "pattern", "size"), numbered(5, CHOP_SIZES))
def test_message_of_1_megabyte_in_chops(opcode: int, pattern: bytes, size: int) -> None:
    payload = payload_of(pattern, M)
    pieces = chop(encode_frame(opcode, payload, mask=MASK), size)
    assert feed_all(server_decoder(), pieces) == [event_of(opcode, payload)]


@pytest.mark.parametrize(("opcode", "pattern", "size"), numbered(7, SMALL_SIZES))
def test_1000_messages_behind_each_other(opcode: int, pattern: bytes, size: int) -> None:
    payload = payload_of(pattern, size)
    pieces = chop(encode_frame(opcode, payload, mask=MASK) * 1000, 64 * K)
    assert feed_all(server_decoder(), pieces) == [event_of(opcode, payload)] * 1000


def test_message_in_fragments_of_1300_octets() -> None:
    """Case 10.1.1."""
    payload = payload_of(b"BAsd7&jh23", 65536)
    assert server_decoder().feed(fragmented(TEXT, payload, 1300)) == [payload.decode()]
