"""The Engine.IO packet codec, protocol 4."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.world import one_world
from wsgi_sio.engineio.packet import (
    CLOSE,
    MESSAGE,
    NOOP,
    OPEN,
    PING,
    PONG,
    UPGRADE,
    Packet,
    PacketError,
    decode_packet,
    decode_payload,
    encode_payload,
)

pytestmark = one_world

quick = settings(deadline=None, max_examples=150, database=None)

# No surrogates: neither a WebSocket text frame nor an HTTP body can carry them.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e"))
packets = st.one_of(
    st.builds(Packet, st.just(MESSAGE), st.one_of(texts, st.binary())),
    st.builds(
        Packet, st.sampled_from((OPEN, CLOSE, PING, PONG, UPGRADE, NOOP)), st.one_of(st.none(), texts.filter(bool))
    ),
)


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (Packet(OPEN, '{"sid":"x"}'), '0{"sid":"x"}'),
        (Packet(CLOSE), "1"),
        (Packet(PING), "2"),
        (Packet(PING, "probe"), "2probe"),
        (Packet(PONG, "probe"), "3probe"),
        (Packet(MESSAGE, "hello"), "4hello"),
        (Packet(MESSAGE, "€😀"), "4€😀"),
        (Packet(MESSAGE, ""), "4"),
        (Packet(UPGRADE), "5"),
        (Packet(NOOP), "6"),
        (Packet(MESSAGE, b"\x01\x02\x03\x04"), "bAQIDBA=="),
        (Packet(MESSAGE, b""), "b"),
    ],
)
def test_text_form(packet: Packet, text: str) -> None:
    assert packet.text() == text
    assert decode_packet(text) == packet


def test_types_are_the_protocol_s_numbers() -> None:
    assert (OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP) == (0, 1, 2, 3, 4, 5, 6)


def test_text_is_made_once() -> None:
    packet = Packet(MESSAGE, b"\x00" * 50)
    assert packet.text() is packet.text()


def test_caches_do_not_count_for_equality() -> None:
    cached = Packet(MESSAGE, "x")
    cached.frame = b"\x81\x02" + cached.text().encode()
    assert cached == Packet(MESSAGE, "x")
    assert cached != Packet(MESSAGE, "x", compress=False)


def test_packet_has_no_dict() -> None:
    assert not hasattr(Packet(NOOP), "__dict__")


@pytest.mark.parametrize(("data", "size"), [(None, 1), ("", 1), ("hello", 6), (b"\x00" * 9, 10)])
def test_size_is_payload_and_type(data: str | bytes | None, size: int) -> None:
    assert Packet(MESSAGE, data).size == size


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_binary_message_becomes_bytes(kind: type) -> None:
    packet = decode_packet(kind(b"\x01\xff"))
    assert packet == Packet(MESSAGE, b"\x01\xff")
    assert type(packet.data) is bytes


def test_empty_message_has_data_others_have_none() -> None:
    assert decode_packet("4").data == ""
    assert decode_packet("2").data is None


@pytest.mark.parametrize("text", ["", "7", "9x", "abc", "a", "-1", " 4x", "\ud800", "٤x", "４x", "\x1e"])
def test_unknown_type_is_refused(text: str) -> None:
    with pytest.raises(PacketError):
        decode_packet(text)


@pytest.mark.parametrize("text", ["bA", "bAQIDA", "bé", "b\ud800"])
def test_impossible_base64_is_refused(text: str) -> None:
    with pytest.raises(PacketError, match="base64"):
        decode_packet(text)


@pytest.mark.parametrize("text", ["bAQIDBA==", "bAQIDBA", "bAQID\nBA==", "bAQIDBA==\r\n"])
def test_base64_is_read_as_leniently_as_node_does(text: str) -> None:
    assert decode_packet(text).data == b"\x01\x02\x03\x04"


def test_payload_golden() -> None:
    members = [Packet(MESSAGE, "hello"), Packet(PING), Packet(MESSAGE, b"\x01\x02\x03\x04")]
    payload = "4hello\x1e2\x1ebAQIDBA=="
    assert encode_payload(members) == payload
    assert decode_payload(payload) == (members, None)


def test_noop_merged_with_close() -> None:
    assert encode_payload([Packet(NOOP), Packet(CLOSE)]) == "6\x1e1"


@pytest.mark.parametrize(
    ("payload", "delivered"),
    [
        ("", []),
        ("abc", []),
        ("4a\x1e", [Packet(MESSAGE, "a")]),
        ("\x1e4a", []),
        ("4a\x1e\x1e4b", [Packet(MESSAGE, "a")]),
        ("4a\x1e2\x1e9\x1e4b", [Packet(MESSAGE, "a"), Packet(PING)]),
        ("4a\x1ebé", [Packet(MESSAGE, "a")]),
    ],
)
def test_payload_is_decoded_up_to_the_first_bad_packet(payload: str, delivered: list[Packet]) -> None:
    decoded, error = decode_payload(payload)
    assert decoded == delivered
    assert isinstance(error, PacketError)


@quick
@given(packets)
def test_packet_round_trip(packet: Packet) -> None:
    assert decode_packet(packet.text()) == packet


@quick
@given(st.lists(packets, min_size=1))
def test_payload_round_trip(members: list[Packet]) -> None:
    assert decode_payload(encode_payload(members)) == (members, None)


@quick
@given(st.one_of(st.text(), st.text("0123456b=A\x1e"), st.binary()))
def test_junk_raises_packet_error_or_decodes(data: str | bytes) -> None:
    try:
        decode_packet(data)
    except PacketError:
        pass
    if isinstance(data, str):
        decode_payload(data)


@pytest.mark.parametrize(
    "payload", ["\x1e" * 1_000_000, "4\x1e" * 500_000, "b" + "=" * 1_000_000, "b" + "A" * 1_000_001]
)
def test_hostile_payload_costs_linear_time(payload: str) -> None:
    """A megabyte of the worst takes a fraction of a second; quadratic work would take minutes."""
    start = time.thread_time()
    decode_payload(payload)
    assert time.thread_time() - start < 10
