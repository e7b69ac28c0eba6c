"""The stream decoder beyond Autobahn: any split, any mixture, roles, the end of a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.world import one_world
from tests.websocket.wire import (
    MASK,
    Frame,
    chop,
    client_decoder,
    feed_all,
    fragments,
    server_decoder,
    without_reasons,
)
from wsgi_sio.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame
from wsgi_sio.websocket.messages import Close, Event, Ping, Pong, Violation

pytestmark = one_world

LONG = "€uro " * 60

# Every kind of frame in every kind of neighbourhood; short, since it is cut everywhere.
MIXTURE: list[tuple[list[Frame], list[Event]]] = [
    ([Frame(TEXT, "grüße".encode())], ["grüße"]),
    ([Frame(TEXT)], [""]),
    ([Frame(BINARY, b"\xff\x00\xff")], [b"\xff\x00\xff"]),
    ([Frame(PING, b"beat")], [Ping(b"beat")]),
    (fragments(TEXT, b"\xe2", b"\x82", b"\xac"), ["€"]),
    ([Frame(TEXT, b"one ", fin=False), Frame(PING, b"amid")], [Ping(b"amid")]),
    ([Frame(PONG), Frame(CONTINUATION, fin=False), Frame(CONTINUATION, b"two")], [Pong(b""), "one two"]),
    ([Frame(TEXT, LONG.encode())], [LONG]),
    (fragments(BINARY, bytes(130), b"", b"\x01"), [bytes(130) + b"\x01"]),
    ([Frame(TEXT, b"a"), Frame(TEXT, b"b")], ["a", "b"]),
    ([Frame(CLOSE, b"\x03\xe9b\xc3\xbf")], [Close(1001, "bÿ")]),
]
FRAMES = [frame for frames, _ in MIXTURE for frame in frames]
EVENTS = [event for _, events in MIXTURE for event in events]


@pytest.mark.parametrize("role", ["server", "client"])
def test_stream_means_the_same_wherever_it_is_split(role: str) -> None:
    make, mask = (server_decoder, MASK) if role == "server" else (client_decoder, None)
    stream = b"".join(frame.wire(mask) for frame in FRAMES)
    for at in range(len(stream) + 1):
        assert feed_all(make(), (stream[:at], stream[at:])) == EVENTS, f"split at {at}"
    for size in range(1, 40):
        assert feed_all(make(), chop(stream, size)) == EVENTS, f"pieces of {size}"


@given(
    st.lists(
        st.tuples(
            st.one_of(st.text(max_size=200), st.binary(max_size=200)),
            st.lists(st.integers(0, 200), max_size=3),
            st.binary(max_size=125),
        ),
        max_size=6,
    ),
    st.binary(min_size=4, max_size=4),
    st.integers(1, 64),
)
def test_whatever_is_encoded_comes_out_again(
    messages: list[tuple[str | bytes, list[int], bytes]], mask: bytes, piece: int
) -> None:
    """Random messages, cut into random fragments (characters too), with a ping between any two of them."""
    wire = bytearray()
    expected: list[Event] = []
    for message, cuts, ping in messages:
        payload = message.encode() if isinstance(message, str) else message
        borders = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
        for index, (start, stop) in enumerate(pairwise(borders)):
            opcode = CONTINUATION if index else TEXT if isinstance(message, str) else BINARY
            last = index == len(borders) - 2
            wire += encode_frame(opcode, payload[start:stop], fin=last, mask=mask)
            if not last:
                wire += encode_frame(PING, ping, mask=mask)
                expected.append(Ping(ping))
        expected.append(message)
    assert feed_all(server_decoder(), chop(bytes(wire), piece)) == expected


@given(st.lists(st.binary(max_size=40)))
def test_noise_never_raises_and_nothing_follows_the_last_event(pieces: list[bytes]) -> None:
    for decoder in (server_decoder(1000), client_decoder(1000)):
        events = feed_all(decoder, pieces)
        ends = [index for index, event in enumerate(events) if isinstance(event, (Close, Violation))]
        assert ends in ([], [len(events) - 1])
        if ends:
            assert decoder.feed(Frame(TEXT, b"late").wire()) == []


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_mask_must_be_there_for_a_server_and_must_not_for_a_client(opcode: int) -> None:
    frame = Frame(opcode)
    assert without_reasons(server_decoder().feed(frame.wire(None))) == [Violation(1002, "")]
    assert without_reasons(client_decoder().feed(frame.wire(MASK))) == [Violation(1002, "")]


def test_what_came_before_a_violation_is_delivered_and_what_comes_after_is_not() -> None:
    decoder = server_decoder()
    good, bad = Frame(TEXT, b"good").wire(), Frame(3).wire()
    assert without_reasons(decoder.feed(good + good + bad + good)) == ["good", "good", Violation(1002, "")]
    assert decoder.feed(good) == []


def test_nothing_follows_a_close() -> None:
    decoder = server_decoder()
    good = Frame(TEXT, b"good").wire()
    assert decoder.feed(Frame(CLOSE, b"\x03\xe8").wire() + good) == [Close(1000, "")]
    assert decoder.feed(good) == []
    assert decoder.feed(Frame(3).wire()) == []


def test_length_in_a_longer_form_than_needed_is_accepted() -> None:
    assert client_decoder().feed(b"\x81\x7e\x00\x02hi" + b"\x81\x7f" + bytes(7) + b"\x02hi") == ["hi", "hi"]


def test_length_with_its_top_bit_set_is_a_protocol_error() -> None:
    header = b"\x82\x7f\x80" + bytes(7)
    assert without_reasons(client_decoder().feed(header)) == [Violation(1002, "")]


@pytest.mark.parametrize("text", [b"\x81\x01\xff", b"\x81\x02\xc3(", b"\x81\x01\xc3"], ids=["alien", "broken", "cut"])
def test_short_text_that_is_not_utf8_is_invalid_data(text: bytes) -> None:
    assert without_reasons(client_decoder().feed(b"\x81\x01a" + text)) == ["a", Violation(1007, "")]


def test_close_reason_fails_at_its_first_wrong_byte() -> None:
    decoder = server_decoder()
    wire = Frame(CLOSE, b"\x03\xe8caf\xe9 and more").wire()
    assert decoder.feed(wire[:11]) == []
    assert decoder.feed(wire[11:12]) == [], "0xe9 may begin a character"
    assert without_reasons(decoder.feed(wire[12:13])) == [Violation(1007, "")]


def test_violation_says_what_was_wrong() -> None:
    too_big = Frame(TEXT, bytes(11)).wire()
    assert server_decoder(10).feed(too_big) == [Violation(1009, "message of 11 bytes, limit is 10")]
    assert client_decoder().feed(b"\xc1\x00") == [Violation(1002, "reserved bits are set")]


def test_events_of_a_broken_protocol_are_plain_values() -> None:
    """A code is an int that prints as one, on every Python."""
    (violation,) = client_decoder().feed(b"\xc1\x00")
    (close,) = client_decoder().feed(b"\x88\x00")
    assert isinstance(violation, Violation)
    assert isinstance(close, Close)
    assert type(violation.code) is int
    assert type(close.code) is int
