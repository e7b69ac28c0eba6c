"""Building single frames, the mask, close frames, headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.world import one_world
from tests.websocket.wire import MASK, Frame, naive_mask
from wsgi_sio.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    CloseCode,
    apply_mask,
    encode_close,
    encode_frame,
    is_close_code,
    read_header,
)

pytestmark = one_world

MASKS = st.binary(min_size=4, max_size=4)


@pytest.mark.parametrize(
    ("built", "golden"),
    [
        pytest.param(encode_frame(TEXT, b"Hello"), "810548656c6c6f", id="unmasked text"),
        pytest.param(encode_frame(TEXT, b"Hello", mask=MASK), "818537fa213d7f9f4d5158", id="masked text"),
        pytest.param(encode_frame(TEXT, b"Hel", fin=False), "010348656c", id="first fragment"),
        pytest.param(encode_frame(CONTINUATION, b"lo"), "80026c6f", id="last fragment"),
        pytest.param(encode_frame(PING, b"Hello"), "890548656c6c6f", id="ping"),
        pytest.param(encode_frame(PONG, b"Hello", mask=MASK), "8a8537fa213d7f9f4d5158", id="masked pong"),
        pytest.param(encode_frame(BINARY, bytes(256)), "827e0100" + "00" * 256, id="256 bytes"),
        pytest.param(encode_frame(BINARY, bytes(65536)), "827f0000000000010000" + "00" * 65536, id="64 KiB"),
    ],
)
def test_examples_of_the_rfc(built: bytes, golden: str) -> None:
    """RFC 6455, section 5.7."""
    assert built.hex() == golden


@pytest.mark.parametrize("mask", [None, MASK], ids=["server", "client"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_every_length_is_written_in_its_shortest_form(size: int, mask: bytes | None) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert encode_frame(BINARY, payload[:size], mask=mask) == Frame(BINARY, payload[:size]).wire(mask)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frame_that_would_break_the_rules_is_refused(opcode: int) -> None:
    with pytest.raises(ValueError, match="control frame"):
        encode_frame(opcode, bytes(126))
    with pytest.raises(ValueError, match="control frame"):
        encode_frame(opcode, b"", fin=False)


def test_mask_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        encode_frame(TEXT, b"Hello", mask=b"123")


@given(st.binary(max_size=300), MASKS)
def test_mask_is_xor_with_the_repeated_key(payload: bytes, mask: bytes) -> None:
    assert apply_mask(payload, mask) == naive_mask(payload, mask)


@given(st.integers(0, 40_000), MASKS)
def test_mask_of_large_payloads_is_seamless(size: int, mask: bytes) -> None:
    """Large payloads go in blocks; the key must run on across their borders."""
    payload = (bytes(range(251)) * 160)[:size]
    assert apply_mask(payload, mask) == naive_mask(payload, mask)


@given(st.integers(0, 65535))
def test_close_codes_are_those_that_may_travel(code: int) -> None:
    registered = set(CloseCode) - {CloseCode.NO_STATUS, CloseCode.ABNORMAL}
    assert is_close_code(code) is (code in registered or 3000 <= code <= 4999)


def test_close_frame_carries_code_and_reason() -> None:
    assert encode_close(1000, "bye") == b"\x88\x05\x03\xe8bye"
    assert encode_close(1001) == b"\x88\x02\x03\xe9"
    assert encode_close(1000, "bye", mask=MASK) == Frame(CLOSE, b"\x03\xe8bye").wire()


def test_close_without_code_is_answered_without_code() -> None:
    assert encode_close(CloseCode.NO_STATUS, "never sent") == b"\x88\x00"


def test_close_reason_is_cut_at_a_character() -> None:
    assert encode_close(1000, "x" + "€" * 50) == Frame(CLOSE, b"\x03\xe8x" + "€".encode() * 40).wire(None)


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000])
def test_close_code_that_may_not_travel_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        encode_close(code)


@pytest.mark.parametrize("size", [0, 125, 126, 65536])
def test_header_is_read_only_when_all_of_it_is_there(size: int) -> None:
    wire = Frame(TEXT, bytes(size), fin=False).wire()
    header = len(wire) - size
    for have in range(header):
        assert read_header(b"junk" + wire[:have], 4, expect_masked=True) is None
    assert read_header(b"junk" + wire[:header], 4, expect_masked=True) == (False, TEXT, size, MASK, header)
