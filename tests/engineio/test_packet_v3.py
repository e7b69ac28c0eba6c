"""The Engine.IO packet codec, protocol 3."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.world import one_world
from wsgi_sio.engineio.packet import MESSAGE, OPEN, PING, PONG, Packet, PacketError
from wsgi_sio.engineio.packet_v3 import decode_packet_v3, decode_payload_v3, encode_packet_v3, encode_payload_v3

pytestmark = one_world

quick = settings(deadline=None, max_examples=150, database=None)

# Code points on both sides of U+FFFF, where the lengths in UTF-16 units and in characters part.
texts = st.text(st.characters(exclude_categories=["Cs"]))
packets = st.one_of(
    st.builds(Packet, st.just(MESSAGE), st.one_of(texts, st.binary())),
    st.builds(Packet, st.sampled_from((OPEN, PING, PONG)), st.one_of(st.none(), texts.filter(bool))),
)


def test_text_lengths_are_utf_16_code_units() -> None:
    packet = Packet(MESSAGE, '2["ev","€😀"]')
    assert encode_payload_v3([packet], binary=False) == '14:42["ev","€😀"]'
    assert decode_payload_v3('14:42["ev","€😀"]') == ([packet], None)


def test_text_payload_carries_binary_as_base64_with_its_type() -> None:
    members = [Packet(MESSAGE, "hi"), Packet(MESSAGE, b"\x01\x02\x03\x04"), Packet(PONG)]
    assert encode_payload_v3(members, binary=False) == "3:4hi10:b4AQIDBA==1:3"
    assert decode_payload_v3("3:4hi10:b4AQIDBA==1:3") == (members, None)


def test_binary_payload_golden() -> None:
    members = [Packet(MESSAGE, "€"), Packet(MESSAGE, b"\x01\x02\x03"), Packet(MESSAGE, b"\x00" * 11)]
    payload = b"\x00\x04\xff4\xe2\x82\xac" + b"\x01\x04\xff\x04\x01\x02\x03" + b"\x01\x01\x02\xff\x04" + b"\x00" * 11
    assert encode_payload_v3(members, binary=True) == payload
    assert decode_payload_v3(payload) == (members, None)


def test_payload_without_bytes_is_text_even_for_binary_clients() -> None:
    assert encode_payload_v3([Packet(MESSAGE, "a")], binary=True) == "2:4a"


def test_empty_payload_is_encoded_as_an_empty_packet() -> None:
    assert encode_payload_v3([], binary=False) == "0:"
    assert decode_payload_v3("0:") == ([], None)


def test_websocket_frame_starts_with_the_type_byte() -> None:
    packet = Packet(MESSAGE, b"\x01\x02")
    assert encode_packet_v3(packet, binary=True) == b"\x04\x01\x02"
    assert encode_packet_v3(packet, binary=False) == "b4AQI="
    assert decode_packet_v3(b"\x04\x01\x02") == decode_packet_v3("b4AQI=") == packet
    assert encode_packet_v3(Packet(PING, "probe"), binary=True) == "2probe"
    assert decode_packet_v3("2probe") == Packet(PING, "probe")


@pytest.mark.parametrize("data", [b"", b"\x07x", b"4x", "", "7", "b", "b7AQI=", "bbAQI=", "b4A", "b4é"])
def test_bad_packet_is_refused(data: str | bytes) -> None:
    with pytest.raises(PacketError):
        decode_packet_v3(data)


@pytest.mark.parametrize(
    "body",
    [
        "",
        ":",
        "4hi",
        "3",
        "x:4hi",
        "-1:4",
        "4:4hi",
        "2 :4h",
        "٣:4hi",
        "3.0:4hi",
        "1:4:",
        "1:9",
        "0" * 40 + "1:4",
        "1:\ud800",
    ]
    + ["2:4😀", "㨀:4", "999999999999999:4"]
    + [b"", b"\x00", b"\x00\xff", b"\x00\x01", b"\x00\x02\xff4", b"\x02\x01\xff4", b"\x001\xff4", b"\x00\x02\xff4\xff"]
    + [b"\x01\x01\xff\x09", b"\x00" + b"\x00" * 40 + b"\x01\xff4", b"\x01" + b"\x09" * 15 + b"\xff\x04"],
)
def test_bad_payload_is_reported(body: str | bytes) -> None:
    """Among them a length that ends inside a surrogate pair, and one whose digits are not ASCII."""
    decoded, error = decode_payload_v3(body)
    assert isinstance(error, PacketError)
    assert len(decoded) <= 1


def test_payload_is_decoded_up_to_the_first_bad_packet() -> None:
    decoded, error = decode_payload_v3("3:4hi1:92:4x")
    assert decoded == [Packet(MESSAGE, "hi")]
    assert error is not None


@quick
@given(st.lists(packets), st.booleans())
def test_payload_round_trip(members: list[Packet], binary: bool) -> None:
    assert decode_payload_v3(encode_payload_v3(members, binary)) == (members, None)


@quick
@given(packets, st.booleans())
def test_packet_round_trip(packet: Packet, binary: bool) -> None:
    assert decode_packet_v3(encode_packet_v3(packet, binary)) == packet


@quick
@given(
    st.one_of(st.text(), st.text("0123456b:=A😀"), st.binary(), st.lists(st.sampled_from(b"\0\1\2\4\xff")).map(bytes))
)
def test_junk_raises_packet_error_or_decodes(body: str | bytes) -> None:
    decode_payload_v3(body)
    try:
        decode_packet_v3(body)
    except PacketError:
        pass


@pytest.mark.parametrize(
    "body", ["1" * 1_000_000, "1:2" * 300_000, "0:" * 500_000, b"\x00\x00\xff" * 300_000, b"\x01" * 1_000_000]
)
def test_hostile_payload_costs_linear_time(body: str | bytes) -> None:
    start = time.thread_time()
    decode_payload_v3(body)
    assert time.thread_time() - start < 10
