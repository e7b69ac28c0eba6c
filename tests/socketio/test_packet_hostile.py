"""The Socket.IO codec against junk, against input made to be slow, and shared between threads."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsgi_sio.socketio.packet import EVENT, DecodeError, Decoder, Encoder, Packet

quick = settings(deadline=None, max_examples=300, database=None)

# Pieces of real packets: junk put together from them gets further than random characters.
PIECES = [
    *'0123456789-/,[]{}"\\ \n.:',
    '["a"]',
    '51-["a",{"_placeholder":true,"num":0}]',
    "null",
    "NaN",
    "1e9",
    "\ud800",
    "é",
]
junk = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join), st.binary())


def feed(messages: Iterable[str | bytes]) -> None:
    """Give a new decoder the messages until it refuses one, as a connection does."""
    decoder = Decoder()
    try:
        for message in messages:
            decoder.add(message)
    except DecodeError:
        pass


@quick
@given(st.lists(junk, max_size=6))
def test_junk_raises_decode_error_or_decodes(messages: list[str | bytes]) -> None:
    feed(messages)


@quick
@given(
    st.lists(st.one_of(st.just('52-["a",{"_placeholder":true,"num":1}]'), st.binary(), st.just('2["b"]')), max_size=8)
)
def test_binary_sequences_in_any_order_raise_decode_error_or_decode(messages: list[str | bytes]) -> None:
    feed(messages)


MEGABYTE = 1_000_000
HOSTILE = {
    "deep list": '2["a",' + "[" * 200_000,
    "deep list, closed": '2["a",' + "[" * 200_000 + "]" * 200_000 + "]",
    "deep dict": '2["a",' + '{"a":' * 200_000,
    "deep binary event": '51-["a",' + "[" * 200_000 + "]" * 200_000 + "]",
    "one long integer": '2["a",' + "1" * MEGABYTE + "]",
    "one long negative integer": '2["a",-' + "1" * MEGABYTE + "]",
    "many long integers": '2["a",' + ",".join(["1" * 4300] * 230) + "]",
    "many longer integers": '2["a",' + ",".join(["1" * 4301] * 230) + "]",
    "long fraction": '2["a",0.' + "1" * MEGABYTE + "]",
    "long exponent": '2["a",1e' + "1" * MEGABYTE + "]",
    "long id": "2" + "1" * MEGABYTE,
    "long namespace": "2/" + "a" * MEGABYTE,
    "long attachment count": "5" + "1" * MEGABYTE + "-[]",
    "attachment count of zeros": "5" + "0" * MEGABYTE + "1-[]",
    "attachment count without end": "5" + "1" * MEGABYTE,
    "white space": '2["a"' + " " * MEGABYTE,
    "white space before": "2" + " " * MEGABYTE,
    "escapes": '2["' + "\\u0000" * 150_000,
    "backslashes": '2["' + "\\" * MEGABYTE,
    "quotes": "2[" + '"",' * 300_000,
    "keys": '2["a",{' + ",".join(f'"{i}":0' for i in range(80_000)) + "}]",
    "placeholders": '51-["a",' + '{"_placeholder":true,"num":0},' * 30_000 + "0]",
    "empty containers": '51-["a",' + "[[]]," * 150_000 + "0]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_costs_linear_time(text: str) -> None:
    """A megabyte of the worst takes a fraction of a second; quadratic work would take minutes."""
    start = time.thread_time()
    feed([text, b"x"])
    assert time.thread_time() - start < 10


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("head", ["2", '2["a",', "3", "0", "4", '51-["a",'])
def test_bottomless_nesting_is_refused(head: str, opening: str) -> None:
    with pytest.raises(DecodeError, match="invalid payload"):
        Decoder().add(head + opening * 200_000)


def test_encoder_is_shared_by_threads() -> None:
    """One encoder, many threads, the same list: no false circular references, no attachments gone astray."""
    encoder = Encoder()
    shared = [{"k": ["v"] * 50}]

    def work(number: int) -> None:
        own = str(number).encode()
        for _ in range(300):
            assert encoder.encode(Packet(EVENT, "/", ["a", shared, own]))[1:] == [own]
            assert len(encoder.encode(Packet(EVENT, "/", ["a", shared]))) == 1

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()
