"""Capsules: golden bytes, every split, those that are skipped, strangers' bytes."""

from __future__ import annotations

import pytest
from aioquic.buffer import Buffer, encode_uint_var
from hypothesis import given
from hypothesis import strategies as st

from tests.support.world import one_world
from wsgi_sio.webtransport.capsules import (
    CLOSE_SESSION,
    DRAIN_SESSION,
    Capsule,
    CapsuleDecoder,
    encode_close,
    encode_varint,
    read_close,
)

pytestmark = one_world


def decode(*pieces: bytes) -> list[Capsule]:
    decoder = CapsuleDecoder()
    return [capsule for piece in pieces for capsule in decoder.feed(piece)]


@given(st.integers(0, 2**62 - 1))
def test_integers_are_quics(value: int) -> None:
    assert encode_varint(value) == encode_uint_var(value)


def test_golden_bytes() -> None:
    assert encode_close().hex() == "68430400000000"
    assert encode_close(7, "bye").hex() == "68430700000007" + b"bye".hex()
    assert decode(bytes.fromhex("68430400000000")) == [Capsule(CLOSE_SESSION, bytes(4))]
    assert decode(bytes.fromhex("800078ae00")) == [Capsule(DRAIN_SESSION, b"")]
    assert read_close(bytes.fromhex("00000007") + b"bye") == (7, "bye")
    assert read_close(b"") == (0, "")


def test_a_long_reason_is_cut() -> None:
    (capsule,) = decode(encode_close(1, "x" * 3000))
    assert read_close(capsule.body) == (1, "x" * 1024)


def test_every_split_and_byte_by_byte() -> None:
    stream = encode_varint(0x1234) + encode_varint(300) + bytes(300) + encode_close(9, "why") + encode_varint(5) + b"\0"
    expected = [Capsule(0x1234, b""), Capsule(CLOSE_SESSION, bytes((0, 0, 0, 9)) + b"why"), Capsule(5, b"")]
    for cut in range(len(stream) + 1):
        assert decode(stream[:cut], stream[cut:]) == expected
    assert decode(*[stream[at : at + 1] for at in range(len(stream))]) == expected


@pytest.mark.parametrize("kind", [0x1234, CLOSE_SESSION])
def test_a_capsule_without_end_takes_no_memory(kind: int) -> None:
    decoder = CapsuleDecoder()
    assert list(decoder.feed(encode_varint(kind) + encode_varint(2**62 - 1))) == [Capsule(kind, b"")]
    for _ in range(100):
        assert list(decoder.feed(bytes(60_000))) == []
    assert decoder._buffer == b""


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_strangers_bytes_are_bounded(pieces: list[bytes]) -> None:
    decoder = CapsuleDecoder()
    for piece in pieces:
        list(decoder.feed(piece))
        assert len(decoder._buffer) <= 16 + 1028


@given(st.lists(st.tuples(st.integers(0, 2**62 - 1), st.binary(max_size=50))))
def test_what_others_write_is_found(capsules: list[tuple[int, bytes]]) -> None:
    buffer = Buffer(capacity=4000 + 70 * len(capsules))
    for kind, body in capsules:
        buffer.push_uint_var(kind)
        buffer.push_uint_var(len(body))
        buffer.push_bytes(body)
    assert [capsule.kind for capsule in decode(buffer.data)] == [kind for kind, _ in capsules]
