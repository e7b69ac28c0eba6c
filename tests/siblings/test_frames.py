"""The format of a link: whatever the pieces in which it comes, the same frames, each with its descriptor."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_sio.siblings import FrameTooLarge, encode, is_tag
from wsgi_sio.siblings.frames import (
    MAX_FRAME,
    VERSION,
    Frame,
    FrameDecoder,
    FrameError,
    Hello,
    decode_hello,
    decode_topic,
    decode_welcome,
    encode_topic,
    encode_welcome,
)

FRAMES = st.lists(
    st.tuples(st.integers(0, 127), st.integers(0, 2**32 - 1), st.binary(max_size=40), st.booleans()), max_size=12
)


def take_all(decoder: FrameDecoder) -> list[Frame]:
    frames = []
    while (frame := decoder.take()) is not None:
        frames.append(frame)
    return frames


@given(FRAMES, st.data())
def test_any_cut_gives_the_same_frames_and_pairs(sent: list[tuple[int, int, bytes, bool]], data: st.DataObject) -> None:
    """As the kernel does it: a descriptor comes with the first byte of its frame, and ends what is read at once."""
    stream = b""
    descriptors: dict[int, int] = {}  # by the place of the first byte
    expected = []
    for descriptor, (kind, number, payload, announced) in enumerate(sent, 100):
        if announced:
            descriptors[len(stream)] = descriptor
        expected.append(Frame(kind, number, payload, descriptor if announced else None))
        stream += encode(kind, number, payload, with_descriptor=announced)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream))))) + [len(stream)]
    decoder = FrameDecoder()
    got: list[Frame] = []
    at = 0
    for cut in cuts:
        here = [at, *(place for place in sorted(descriptors) if at < place < cut), cut]
        # The kernel never gives two frames' descriptors in one read.
        for begin, end in pairwise(here):
            if begin < end:
                decoder.feed(stream[begin:end], [descriptors[begin]] if begin in descriptors else [])
                got += take_all(decoder)
        at = cut
    assert got == expected
    assert decoder.drain() == []


@given(FRAMES, st.data())
def test_a_descriptor_may_come_with_bytes_before_its_frame(
    sent: list[tuple[int, int, bytes, bool]], data: st.DataObject
) -> None:
    """A read begins with what was left of the frames before."""
    decoder = FrameDecoder()
    pending = b""
    got: list[Frame] = []
    expected = []
    for descriptor, (kind, number, payload, announced) in enumerate(sent, 100):
        frame = encode(kind, number, payload, with_descriptor=announced)
        expected.append(Frame(kind, number, payload, descriptor if announced else None))
        cut = data.draw(st.integers(1, len(frame)))
        if announced:
            decoder.feed(pending + frame[:cut], [descriptor])
            got += take_all(decoder)
            pending = frame[cut:]
        else:
            pending += frame
    decoder.feed(pending)
    assert got + take_all(decoder) == expected


@given(st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 2)), max_size=8))
def test_junk_never_does_worse_than_a_frame_error(pieces: list[tuple[bytes, int]]) -> None:
    decoder = FrameDecoder()
    given_in: list[int] = []
    given_out: list[int] = []
    for data, count in pieces:
        descriptors = list(range(len(given_in), len(given_in) + count))
        given_in += descriptors
        decoder.feed(data, descriptors)
        try:
            given_out += [frame.descriptor for frame in take_all(decoder) if frame.descriptor is not None]
        except FrameError:
            break
    assert given_out + decoder.drain() == given_in  # each has one owner


def test_nothing_is_allocated_for_a_promise() -> None:
    decoder = FrameDecoder()
    head = encode(20, 0, b"")
    tracemalloc.start()
    decoder.feed((200 << 20).to_bytes(4, "little") + head[4:])
    assert decoder.take() is None
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_promise_beyond_the_bound_is_refused_at_the_head() -> None:
    decoder = FrameDecoder()
    decoder.feed((MAX_FRAME + 1).to_bytes(4, "little") + encode(20, 0, b"")[4:])
    with pytest.raises(FrameError, match="bytes"):
        decoder.take()


def test_the_bound_can_be_raised_between_two_frames_that_have_come_together() -> None:
    decoder = FrameDecoder(limit=10)
    decoder.feed(encode(1, 0, b"short") + encode(16, 0, b"long enough"))
    assert decoder.take() == Frame(1, 0, b"short", None)
    decoder.limit = 100
    assert decoder.take() == Frame(16, 0, b"long enough", None)


@pytest.mark.parametrize(
    ("data", "descriptors"),
    [
        (encode(16, 0, b"", with_descriptor=True), []),
        (encode(16, 0, b"abc", with_descriptor=True)[:-1], []),  # it would have come with the first byte
        (encode(16, 0, b""), [7]),
        (encode(16, 0, b"abc")[:6], [7]),
        (encode(16, 0, b"", with_descriptor=True), [7, 8]),
        (b"", [7]),
    ],
)
def test_descriptors_too_many_or_too_few(data: bytes, descriptors: list[int]) -> None:
    decoder = FrameDecoder()
    decoder.feed(data, descriptors)
    with pytest.raises(FrameError):
        take_all(decoder)


def test_what_is_too_large_to_send() -> None:
    piece = bytes(1 << 20)
    assert len(encode(16, 0, [piece] * 3)) == (3 << 20) + 9
    with pytest.raises(FrameTooLarge):
        encode(16, 0, [piece] * 257)
    assert issubclass(FrameTooLarge, ValueError)


@pytest.mark.parametrize("tag", ["abcd", "-_A9", "----"])
def test_tags(tag: str) -> None:
    assert is_tag(tag)


@pytest.mark.parametrize("tag", ["", "abc", "abcde", "../x", "a/bc", ".abc", "abc\n", "äbcd", "abc\0", 7, None])
def test_no_tags(tag: object) -> None:
    assert not is_tag(tag)


@given(st.integers(0, 2**40), st.booleans(), st.frozensets(st.text(st.characters(codec=None), max_size=8)))
def test_hello_round_trip(load: int, draining: bool, topics: frozenset[str]) -> None:
    hello = Hello(VERSION, "ab-_", load, draining, topics)
    assert decode_hello(hello.encode()) == hello


GOOD = {"version": VERSION, "tag": "abcd", "load": 1, "draining": False, "topics": ["/"]}


@pytest.mark.parametrize(
    "other",
    [
        {"version": None},
        {"version": True},
        {"version": "1"},
        {"tag": "../x"},
        {"tag": 1},
        {"load": -1},
        {"load": 1.5},
        {"load": True},
        {"draining": 0},
        {"topics": "abc"},
        {"topics": [1]},
        {"topics": None},
    ],
)
def test_a_bad_hello(other: dict[str, object]) -> None:
    assert decode_hello(json.dumps(GOOD).encode()).tag == "abcd"
    with pytest.raises(FrameError):
        decode_hello(json.dumps(GOOD | other).encode())


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"7", b"[" * 100_000, b"1" * 10_000, b"{}"])
def test_junk_for_a_greeting(payload: bytes) -> None:
    with pytest.raises(FrameError):
        decode_hello(payload)
    with pytest.raises(FrameError):
        decode_welcome(payload)


def test_of_another_version_nothing_but_that_is_read() -> None:
    assert decode_hello(b'{"version": 2, "whatever": []}').version == 2
    assert decode_welcome(encode_welcome()) == VERSION


@given(st.text(st.characters(codec=None)))
def test_topics_of_any_text(topic: str) -> None:
    assert decode_topic(encode_topic(topic)) == topic


def test_a_topic_that_is_no_text() -> None:
    with pytest.raises(FrameError):
        decode_topic(b"\xff")
