"""The msgpack parser: golden bytes of the JavaScript one, round trips, and what becomes of values that JSON lacks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.world import one_world
from wsgi_sio.socketio.packet import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    RESERVED_EVENTS,
    Packet,
)
from wsgi_sio.socketio.packet_msgpack import Decoder, Encoder

pytestmark = one_world

quick = settings(deadline=None, max_examples=150, database=None)

UTC = timezone.utc
SID = "wZX3oN0bSVIhsaknAAAI"

numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False))
moments = st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, st.binary(max_size=300), moments)
values = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)), max_leaves=8)
names = st.one_of(texts.filter(lambda name: name not in RESERVED_EVENTS), numbers)
ack_ids = st.one_of(st.none(), st.integers(0, 2**53))
packets = st.one_of(
    st.builds(Packet, st.just(EVENT), texts, st.builds(lambda n, rest: [n, *rest], names, st.lists(values)), ack_ids),
    st.builds(Packet, st.just(ACK), texts, st.lists(values), st.integers(0, 2**53)),
    st.builds(Packet, st.just(CONNECT), texts, st.one_of(st.none(), st.dictionaries(texts, values))),
)


def encode(packet: Packet) -> bytes:
    (message,) = Encoder().encode(packet)
    assert type(message) is bytes
    return message


def received(argument: str) -> Any:
    """What a handler gets for the argument of an event; ``argument`` is MessagePack, in hexadecimal."""
    packet = Decoder().add(bytes.fromhex(f"83a47479706502a46461746192a161{argument}a36e7370a12f"))
    assert packet.data[0] == "a"
    return packet.data[1]


# Captured from Node.js: socket.io-client and socket.io with socket.io-msgpack-parser 3.0.2.
GOLDEN = [
    ("83a47479706500a46461746181a17401a36e7370a12f", Packet(CONNECT, "/", {"t": 1})),
    (
        f"83a47479706500a46461746182a3736964b4{SID.encode().hex()}a3706964d40000a36e7370a12f",
        Packet(CONNECT, "/", {"sid": SID}),
    ),
    (
        "85a47479706502a46461746192a16505a76f7074696f6e7381a8636f6d7072657373c3a2696400a36e7370a12f",
        Packet(EVENT, "/", ["e", 5], 0),
    ),
    ("84a2696400a47479706503a4646174619105a36e7370a12f", Packet(ACK, "/", [5], 0)),
    ("82a47479706501a36e7370a12f", Packet(DISCONNECT)),
]


@pytest.mark.parametrize(("message", "packet"), GOLDEN)
def test_golden(message: str, packet: Packet) -> None:
    assert Decoder().add(bytes.fromhex(message)) == packet


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (Packet(DISCONNECT), "82a47479706501a36e7370a12f"),
        (Packet(CONNECT, "/", {"t": 1}), "83a47479706500a46461746181a17401a36e7370a12f"),
        (Packet(EVENT, "/", ["e", 5], 0), "84a47479706502a46461746192a16505a2696400a36e7370a12f"),
        (
            Packet(CONNECT_ERROR, "/a", {"message": "x"}),
            "83a47479706504a46461746181a76d657373616765a178a36e7370a22f61",
        ),
        (Packet(BINARY_EVENT, "/", [b"\1"]), "83a47479706502a46461746191c40101a36e7370a12f"),
        (Packet(BINARY_ACK, "/", [], 1), "84a47479706503a46461746190a2696401a36e7370a12f"),
    ],
)
def test_encoded(packet: Packet, message: str) -> None:
    assert encode(packet).hex() == message


@quick
@given(packets)
def test_round_trip(packet: Packet) -> None:
    assert Decoder().add(encode(packet)) == packet


def test_one_decoder_takes_packet_after_packet_in_any_bytes_like_form() -> None:
    decoder = Decoder()
    for form in (bytes, bytearray, memoryview):
        packet = decoder.add(form(encode(Packet(EVENT, "/", ["a", b"x"]))))
        assert packet == Packet(EVENT, "/", ["a", b"x"])
        assert type(packet.data[1]) is bytes


def test_more_bytes_than_attachments_would_be_allowed() -> None:
    packet = Packet(EVENT, "/", ["a", *[b"x"] * 50])
    assert Decoder(None, 10).add(encode(packet)) == packet


@pytest.mark.parametrize("items", [256, 257, 4000, 70_000])
def test_long_lists(items: int) -> None:
    packet = Packet(EVENT, "/", ["a", *range(items)])
    assert Decoder().add(encode(packet)) == packet


# --- undefined, Date, ArrayBuffer ----------------------------------------------------------------------------------

MILLION = datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)  # 1 700 000 000 123 ms


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("d40000", None),
        ("92d4000001", [None, 1]),
        ("82a161d40000a16201", {"b": 1}),
        ("d7000000018bcfe5687b", MILLION),
        ("d700fffffffffffffc18", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("d7ff1d5353006553f100", MILLION.replace(microsecond=123000)),
        ("d6ff6553f100", MILLION.replace(microsecond=0)),
        ("c70cff075bcd15ffffffffffffffff", datetime(1969, 12, 31, 23, 59, 59, 123456, UTC)),
        ("c7010000", b"\0"),
        ("c800010000", b"\0"),
        ("c90000000100ff", b"\xff"),
        ("c708000000018bcfe5687b", bytes.fromhex("0000018bcfe5687b")),
        ("c70000", b""),
        ("c70300010203", b"\1\2\3"),
        ("d5000102", b"\1\2"),
        ("c70105ff", [5, b"\xff"]),
        ("d405ff", [5, b"\xff"]),
        ("c408000000018bcfe568", bytes.fromhex("000000018bcfe568")),
    ],
)
def test_extensions(argument: str, value: object) -> None:
    """An ArrayBuffer of one byte is not undefined, and one of eight no Date: only their headers differ."""
    assert received(argument) == value
    assert received(f"92{argument}{argument}") == [value, value]


@pytest.mark.parametrize(("argument", "nearest"), [("d7007" + "f" * 15, 9999), ("d7008" + "0" * 15, 1)])
def test_date_beyond_the_calendar_is_the_nearest_there_is(argument: str, nearest: int) -> None:
    assert received(argument).year == nearest


def test_datetime_of_any_zone_travels_as_a_date() -> None:
    berlin = MILLION.astimezone(timezone(timedelta(hours=1)))
    assert encode(Packet(ACK, "/", [berlin])).hex().count("d7000000018bcfe5687b") == 1


# --- numbers, texts, keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("ff", -1),
        ("e0", -32),
        ("cc80", 128),
        ("d080", -128),
        ("cd0100", 256),
        ("d18000", -32768),
        ("ce00010000", 65536),
        ("d280000000", -(2**31)),
        ("cfffffffffffffffff", 2**64 - 1),
        ("d38000000000000000", -(2**63)),
        ("ca3fc00000", 1.5),
        ("cb7ff0000000000000", float("inf")),
        ("c3", True),
        ("c2", False),
        ("c0", None),
        ("d9026869", "hi"),
        ("da00026869", "hi"),
        ("db000000026869", "hi"),
        ("c500026869", b"hi"),
        ("c6000000026869", b"hi"),
        ("dc000101", [1]),
        ("dd0000000101", [1]),
        ("de0001a16101", {"a": 1}),
        ("df00000001a16101", {"a": 1}),
        ("a2ff68", "\ufffdh"),
        ("a3eda080", "\ufffd\ufffd\ufffd"),
        ("82a16101a16102", {"a": 2}),
        ("820701ff02", {"7": 1, "-1": 2}),
        ("81c4016101", {"a": 1}),
    ],
)
def test_each_form_by_both_decoders(argument: str, value: object) -> None:
    """The undefined beside it keeps the fast decoder out."""
    assert received(argument) == value
    assert received(f"92{argument}d40000") == [value, None]


def test_integer_beyond_64_bits_is_a_float() -> None:
    assert Decoder().add(encode(Packet(ACK, "/", [2**64, -(2**80)]))).data == [float(2**64), -float(2**80)]
    with pytest.raises(ValueError, match="too large"):
        encode(Packet(ACK, "/", [10**400]))


def test_numbers_of_javascript_are_integers_whatever_their_form() -> None:
    message = msgpack.packb({"type": 2.0, "nsp": "/", "data": ["a"], "id": 7.0})
    assert Decoder().add(message) == Packet(EVENT, "/", ["a"], 7)


def test_unknown_keys_are_ignored_and_the_id_may_be_undefined() -> None:
    message = bytes.fromhex("85a26964d40000a47479706502a46461746191a161a36e7370a12fa17801")
    assert Decoder().add(message) == Packet(EVENT, "/", ["a"])


# --- what is encoded and what is not -------------------------------------------------------------------------------


def test_lone_surrogate_is_replaced() -> None:
    assert "\ufffd" in Decoder().add(encode(Packet(ACK, "/", ["\ud800"]))).data[0]


@pytest.mark.parametrize("value", [{1}, object(), 1j, datetime(2024, 1, 1)])
def test_unsupported_type_is_named(value: object) -> None:
    with pytest.raises(TypeError, match=f"{type(value).__name__} "):
        encode(Packet(EVENT, "/", ["a", value]))


def test_circular_reference_is_an_error() -> None:
    loop: list[Any] = ["a"]
    loop.append(loop)
    with pytest.raises(ValueError, match="recursion"):
        encode(Packet(EVENT, "/", loop))


def test_mutable_buffers_are_copied() -> None:
    buffer = bytearray(b"abc")
    message = encode(Packet(ACK, "/", [buffer, memoryview(buffer)]))
    buffer[:] = b"xyz"
    assert Decoder().add(message).data == [b"abc", b"abc"]
