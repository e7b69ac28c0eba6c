"""Engine.IO's frames on a WebTransport stream: golden bytes, every split, strangers' bytes, and npm's own codec."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.node import run_node
from tests.support.world import one_world
from wsgi_sio.engineio.packet import PacketError, decode_packet
from wsgi_sio.webtransport.frames import FrameDecoder, FrameError, encode_frame

pytestmark = one_world

MAX = 100_000

# The bytes of engine.io-parser 5.2.3.
GOLDEN: list[tuple[str | bytes, str]] = [
    ("0", "0130"),
    ('0{"sid":"lv_VI97HAXpY6yYWAAAB"}', "1f307b22736964223a226c765f5649393748415870593679595741414142227d"),
    ("2probe", "063270726f6265"),
    ("3probe", "063370726f6265"),
    ("5", "0135"),
    ("4hello", "063468656c6c6f"),
    ("4€", "0434e282ac"),
    ("4", "0134"),
    (b"\x01\x02\x03", "83010203"),
    (b"", "80"),
]
HEADERS = [
    (125, False, "7d"),
    (126, False, "7e007e"),
    (65535, False, "7effff"),
    (65536, False, "7f0000000000010000"),
    (125, True, "fd"),
    (126, True, "fe007e"),
    (65536, True, "ff0000000000010000"),
]

payloads = st.one_of(st.text(st.characters(codec="utf-8"), min_size=1), st.binary())


def encode(payload: str | bytes) -> bytes:
    if isinstance(payload, bytes):
        return encode_frame(payload, binary=True)
    return encode_frame(payload.encode(), binary=False)


def decode(*pieces: bytes, max_size: int = MAX) -> list[str | bytes]:
    decoder = FrameDecoder(max_size)
    return [payload for piece in pieces for payload in decoder.feed(piece)]


@pytest.mark.parametrize(("payload", "wire"), GOLDEN)
def test_golden_bytes(payload: str | bytes, wire: str) -> None:
    assert encode(payload).hex() == wire
    assert decode(bytes.fromhex(wire)) == [payload]


@pytest.mark.parametrize(("size", "binary", "header"), HEADERS)
def test_lengths_are_written_as_short_as_they_can_be(size: int, binary: bool, header: str) -> None:
    frame = encode_frame(b"x" * size, binary=binary)
    assert frame == bytes.fromhex(header) + b"x" * size
    (payload,) = decode(frame)
    assert (len(payload), isinstance(payload, bytes)) == (size, binary)


@pytest.mark.parametrize("wire", ["7e000134", "7f000000000000000134", "fe0001ff", "ff0000000000000001ff"])
def test_longer_lengths_than_needed_are_read(wire: str) -> None:
    assert decode(bytes.fromhex(wire)) in (["4"], [b"\xff"])


@given(st.lists(payloads, max_size=8), st.lists(st.integers(0, 400), max_size=20))
def test_any_pieces(frames: list[str | bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode, frames))
    ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(ends)]
    assert decode(*pieces) == frames


def test_every_split_in_two_and_byte_by_byte() -> None:
    payloads: list[str | bytes] = ["4€", b"\x01" * 200, b"", "4" + "x" * 130, b"\xff"]
    stream = b"".join(map(encode, payloads))
    for cut in range(len(stream) + 1):
        assert decode(stream[:cut], stream[cut:]) == payloads
    assert decode(*[stream[at : at + 1] for at in range(len(stream))]) == payloads


@pytest.mark.parametrize("wire", ["00", "7e0000", "7f0000000000000000"])
def test_an_empty_text_is_an_error(wire: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode(bytes.fromhex(wire))
    assert not caught.value.too_large


@pytest.mark.parametrize("wire", ["7f0000010000000000", "ff7fffffffffffffff", "7fffffffffffffffff", "fe0fa1", "7e0fa1"])
def test_too_large_is_told_by_the_header(wire: str) -> None:
    """2^40, 2^63 - 1, 2^64 - 1 and 4001 bytes, of which none has come."""
    with pytest.raises(FrameError) as caught:
        decode(bytes.fromhex(wire), max_size=4000)
    assert caught.value.too_large


def test_what_came_before_an_error_is_delivered_first() -> None:
    decoder = FrameDecoder(MAX)
    stream = decoder.feed(encode("4a") + encode("4b") + b"\x00")
    assert [next(stream), next(stream)] == ["4a", "4b"]
    with pytest.raises(FrameError):
        next(stream)


def test_the_limit_itself_is_taken() -> None:
    assert decode(encode(b"x" * 4000), max_size=4000) == [b"x" * 4000]


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_strangers_bytes_give_payloads_or_the_error(pieces: list[bytes]) -> None:
    decoder = FrameDecoder(200)
    try:
        for piece in pieces:
            for payload in decoder.feed(piece):
                assert len(payload) <= 200
    except FrameError:
        return
    assert len(decoder._buffer) <= 209


# -- npm's engine.io-parser -----------------------------------------------------------------------------------------


def described(payload: str | bytes) -> list[str]:
    """What a payload means, as ``parser.js`` writes it."""
    try:
        packet = decode_packet(payload)
    except PacketError:
        return ["error"]
    if isinstance(packet.data, bytes):
        return ["message", "bytes", packet.data.hex()]
    names = ("open", "close", "ping", "pong", "message", "upgrade", "noop")
    return [names[packet.type], "text", packet.data or ""]


def decoded(pieces: list[bytes], max_size: int) -> list[list[str]]:
    """Up to the first error, behind which nobody reads on."""
    found: list[list[str]] = []
    decoder = FrameDecoder(max_size)
    try:
        for piece in pieces:
            for payload in decoder.feed(piece):
                found.append(described(payload))
                if found[-1] == ["error"]:
                    return found
    except FrameError:
        found.append(["error"])
    return found


def cases() -> list[list[bytes]]:
    """Streams in pieces: good ones, broken ones, arbitrary ones."""
    dice = random.Random(14)
    streams: list[bytes] = [encode(payload) for payload, _ in GOLDEN if payload != b""]
    streams += [encode(payload) for payload in ("bAQID", "b", "7x", "x", "4\u2028", "6", "1")]
    streams += [bytes.fromhex(wire) for wire in ("00", "7e0000", "fe0fff", "7f0000010000000000", "0334ff41")]
    streams += [encode("4" + "x" * size) + encode(b"y" * size) for size in (124, 125, 126, 127, 1000)]
    for _ in range(300):
        packets = [dice.choice(streams[:16]) for _ in range(dice.randint(1, 5))]
        streams.append(b"".join(packets))
    for _ in range(300):
        streams.append(dice.randbytes(dice.randint(1, 40)))
    found = []
    for stream in streams:
        cuts = sorted({0, len(stream), *(dice.randint(0, len(stream)) for _ in range(dice.randint(0, 4)))})
        found.append([stream[start:end] for start, end in pairwise(cuts)])
    return found


def is_left_out(pieces: list[bytes]) -> bool:
    """Where we mean to differ: an empty binary frame is one; a byte order mark is no part of a packet."""
    found: list[str | bytes] = []
    try:
        found += decode(*pieces, max_size=2000)
    except FrameError:
        pass
    return b"" in found or any(isinstance(payload, str) and payload[:1] == "\ufeff" for payload in found)


def test_npms_parser_reads_and_writes_the_same(node_modules: Path, tmp_path: Path) -> None:
    streams = [pieces for pieces in cases() if not is_left_out(pieces)]
    payloads = ["4hello", "4€", "4" + "x" * 125, "4" + "é" * 40_000, "0", "2probe"]
    job = tmp_path / "job.json"
    job.write_text(
        json.dumps(
            {
                "max": 2000,
                "decode": [[piece.hex() for piece in pieces] for pieces in streams],
                "encode": [*payloads, {"binary": "010203"}, {"binary": "00" * 70_000}],
            }
        )
    )
    theirs: dict[str, Any] = run_node("webtransport_parser.js", str(job))
    assert len(streams) > 500
    for pieces, read in zip(streams, theirs["decode"], strict=True):
        assert decoded(pieces, 2000) == read, [piece.hex() for piece in pieces]
    ours = [encode(payload).hex() for payload in payloads]
    assert [*ours, encode(b"\1\2\3").hex(), encode(bytes(70_000)).hex()] == theirs["encode"]
