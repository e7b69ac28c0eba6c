"""What a peer can make the decoder hold: message sizes, memory, time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

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
from wsgi_sio.websocket.frames import BINARY, PING, TEXT, encode_frame
from wsgi_sio.websocket.messages import Event, MessageDecoder, Violation

pytestmark = one_world

TOO_BIG: list[Event] = [Violation(1009, "")]


def announced(size: int, opcode: int = BINARY, fin: bool = True) -> bytes:
    """The header alone of an unmasked frame of `size` bytes."""
    return bytes([(0x80 if fin else 0) | opcode, 127]) + size.to_bytes(8, "big")


def held_after(action: Callable[[], object]) -> int:
    """Bytes of memory that are still held when `action` has returned, its result included."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = action()
        held = tracemalloc.get_traced_memory()[0] - before
        del kept
        return held
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("limit", [0, 5, 125, 126, 1000, 70000])
def test_message_of_exactly_the_limit_is_accepted_and_one_more_byte_is_not(limit: int) -> None:
    at_limit, above = Frame(TEXT, b"x" * limit).wire(), Frame(TEXT, b"x" * (limit + 1)).wire()
    assert server_decoder(limit).feed(at_limit) == ["x" * limit]
    assert without_reasons(server_decoder(limit).feed(above)) == TOO_BIG


def test_frame_too_big_is_refused_from_its_header() -> None:
    assert client_decoder(1000).feed(announced(1000)) == []
    assert without_reasons(client_decoder(1000).feed(announced(1001))) == TOO_BIG
    assert without_reasons(client_decoder(1000).feed(announced((1 << 63) - 1))) == TOO_BIG


def test_fragments_count_together_and_are_refused_from_the_header_that_exceeds() -> None:
    decoder = client_decoder(1000)
    first, second = fragments(BINARY, bytes(600), bytes(401))
    assert decoder.feed(first.wire(None)) == []
    assert without_reasons(decoder.feed(second.wire(None)[:4])) == TOO_BIG
    exact = fragments(BINARY, bytes(600), bytes(400))
    assert feed_all(client_decoder(1000), (frame.wire(None) for frame in exact)) == [bytes(1000)]


def test_limit_is_for_each_message_and_not_for_control_frames() -> None:
    decoder = server_decoder(4)
    stream = Frame(TEXT, b"four").wire() + Frame(PING, bytes(125)).wire() + Frame(TEXT, b"four").wire()
    assert len(decoder.feed(stream * 3)) == 9


def test_memory_follows_what_arrived_and_not_what_was_announced() -> None:
    def begin() -> MessageDecoder:
        decoder = client_decoder(1 << 40)
        decoder.feed(announced(1 << 39) + bytes(10_000))
        return decoder

    assert held_after(begin) < 20_000


def test_unfinished_text_of_many_small_pieces_holds_little_more_than_its_bytes() -> None:
    def begin() -> MessageDecoder:
        decoder = client_decoder(1 << 20)
        feed_all(decoder, chop(announced(1 << 20, TEXT) + "€".encode() * 20_000, 7))
        return decoder

    assert held_after(begin) < 90_000


def test_empty_fragments_cost_no_memory() -> None:
    def flood() -> MessageDecoder:
        decoder = client_decoder()
        decoder.feed(Frame(TEXT, b"", fin=False).wire(None) + Frame(0, b"", fin=False).wire(None) * 10_000)
        return decoder

    assert held_after(flood) < 2_000


def test_idle_decoder_is_tiny_whatever_it_has_been_through() -> None:
    big = b"".join(frame.wire() for frame in fragments(TEXT, b"x" * 5000, b"y" * 5000))

    def busy_then_idle() -> list[MessageDecoder]:
        decoders = [server_decoder() for _ in range(100)]
        for decoder in decoders:
            assert len(feed_all(decoder, (big[:3], big[3:7000], big[7000:]))) == 1
        return decoders

    assert held_after(busy_then_idle) / 100 < 200


def test_ended_decoder_holds_nothing() -> None:
    def end() -> MessageDecoder:
        decoder = client_decoder()
        decoder.feed(announced(100_000, BINARY, fin=False) + bytes(100_000))
        assert without_reasons(decoder.feed(b"\x83\x00")) == [Violation(1002, "")]
        return decoder

    assert held_after(end) < 2_000


@pytest.mark.parametrize(("piece", "size"), [(1, 30_000), (1024, 4_000_000)])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_time_is_linear_in_the_size_of_a_frame_that_arrives_in_pieces(opcode: int, piece: int, size: int) -> None:
    """Four times the bytes take four times the time, give or take a busy machine; sixteen would be quadratic."""

    def seconds(payload_size: int) -> float:
        pieces = list(chop(encode_frame(opcode, b"x" * payload_size, mask=MASK), piece))
        runs = []
        for _ in range(3):
            decoder = server_decoder()
            start = time.process_time()
            events = feed_all(decoder, pieces)
            runs.append(time.process_time() - start)
            assert len(events) == 1
        return min(runs)

    assert seconds(size) < 9 * seconds(size // 4)


def test_time_is_linear_in_the_number_of_frames_of_one_feed() -> None:
    def seconds(count: int) -> float:
        stream = (Frame(TEXT, b"x" * 20).wire() + Frame(BINARY, b"y").wire()) * count
        start = time.process_time()
        assert len(server_decoder().feed(stream)) == 2 * count
        return time.process_time() - start

    assert min(seconds(20_000) for _ in range(3)) < 9 * min(seconds(5_000) for _ in range(3))
