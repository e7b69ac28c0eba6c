"""A link by itself: order, descriptors, the baton, the outbox, and its end."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from tests.siblings.conftest import PATIENCE, MakeLink, Raw, native_threads, soon
from tests.support.inprocess import Background, at_once, open_descriptors
from tests.support.world import WORLD
from wsgi_sio.siblings import FrameTooLarge, Link, encode
from wsgi_sio.siblings.frames import Frame


def pipe_end(number: int) -> int:
    """A descriptor that can be told from others: what is written at its other end, which is closed, is ``number``."""
    reading, writing = os.pipe()
    os.write(writing, number.to_bytes(4, "big"))
    os.close(writing)
    return reading


def number_of(descriptor: int) -> int:
    with open(descriptor, "rb", buffering=0) as file:
        return int.from_bytes(file.read(4), "big")


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def fill(link: Link, descriptor: int | None = None, **more: Any) -> int:
    """Send until the kernel takes no more, so that a writer waits; how many frames that were."""
    for number in range(10_000):
        if link.outbox_size:
            return number
        link.send(99, number, bytes(10_000))
    raise AssertionError("the kernel takes everything")


class Returns:
    """Gets descriptors back."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def __call__(self, descriptor: int) -> None:
        self.descriptors.append(descriptor)
        os.close(descriptor)


# -- both ways ---------------------------------------------------------------------------------------------------


def test_frames_go_out_in_order_with_their_descriptors(make_link: MakeLink) -> None:
    link, _, raw = make_link()
    for number in range(100):
        descriptor = pipe_end(number) if number % 3 == 0 else None
        assert link.send(16 + number % 100, number, [b"%d" % number, b"!"], descriptor)
        assert descriptor is None or not is_open(descriptor)
    for number in range(100):
        frame = raw.receive(7)  # whatever the pieces
        assert frame[:3] == (16 + number % 100, number, b"%d!" % number)
        assert (frame.descriptor is not None) == (number % 3 == 0)
        if frame.descriptor is not None:
            assert number_of(frame.descriptor) == number


def test_frames_come_in_order_with_their_descriptors(make_link: MakeLink) -> None:
    _, owner, raw = make_link()
    for number in range(100):
        if number % 3 == 0:
            with open(pipe_end(number), "rb", buffering=0) as file:
                raw.send(16, number, b"with", file.fileno())
        else:
            raw.send(16, number, bytes(number * 1000))
    soon(lambda: len(owner.frames) == 100, "all frames")
    for number, frame in enumerate(owner.frames):
        assert frame.number == number and (frame.descriptor is not None) == (number % 3 == 0)
        if frame.descriptor is not None:
            assert not os.get_inheritable(frame.descriptor)
            assert number_of(frame.descriptor) == number


def test_a_frame_in_single_bytes(make_link: MakeLink) -> None:
    _, owner, raw = make_link()
    data = encode(16, 5, b"payload", with_descriptor=True)
    with open(pipe_end(9), "rb", buffering=0) as file:
        raw.send_bytes(data[:1], file.fileno())
    for at in range(1, len(data)):
        raw.send_bytes(data[at : at + 1])
    frame = soon(lambda: owner.frames, "the frame")[0]
    assert frame[:3] == (16, 5, b"payload") and number_of(frame.descriptor) == 9


def test_large_frames_both_ways_at_once(make_link: MakeLink) -> None:
    link, owner, raw = make_link()
    large = os.urandom(1 << 20) * 5
    receiving = Background(lambda: [raw.receive() for _ in range(3)])
    sending = Background(lambda: [raw.send(17, number, large) for number in range(3)])
    for number in range(3):
        assert link.send(16, number, large, pipe_end(number))
    frames = receiving.result(PATIENCE)
    assert [frame[:3] for frame in frames] == [(16, number, large) for number in range(3)]
    assert [number_of(frame.descriptor) for frame in frames] == [0, 1, 2]
    sending.result(PATIENCE)
    soon(lambda: len(owner.frames) == 3, "the answers")
    assert {frame.payload for frame in owner.frames} == {large}


def test_a_frame_that_many_links_share(make_link: MakeLink) -> None:
    made = [make_link() for _ in range(3)]
    frame = Link.encode(40, 7, b"broadcast")
    for link, _, _ in made:
        assert link.place_encoded(frame)
        link.flush()
    assert [raw.receive() for _, _, raw in made] == [Frame(40, 7, b"broadcast", None)] * 3


def test_placing_sends_nothing(make_link: MakeLink) -> None:
    link, _, raw = make_link()
    assert link.place(16, 1, b"one") and link.place(16, 2, b"two")
    raw.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        raw.sock.recv(1)
    raw.sock.settimeout(PATIENCE)
    link.flush()
    assert [raw.receive().number for _ in range(2)] == [1, 2]


def test_too_large_a_frame_changes_nothing(make_link: MakeLink) -> None:
    link, _, raw = make_link()
    piece = bytes(1 << 20)
    descriptor = pipe_end(1)
    with pytest.raises(FrameTooLarge):
        link.send(16, 1, [piece] * 257, descriptor)
    assert number_of(descriptor) == 1  # still the caller's
    assert link.send(16, 2, b"")
    assert raw.receive().number == 2


def test_answers_from_within_a_handler(make_link: MakeLink) -> None:
    _, owner, raw = make_link()
    owner.on_frame = lambda link, frame: link.send(17, frame.number, frame.payload)  # type: ignore[func-returns-value]
    for number in range(50):
        raw.send(16, number, b"ask")
    assert [raw.receive().number for _ in range(50)] == list(range(50))


# -- the baton ---------------------------------------------------------------------------------------------------


def test_many_senders_one_order_each(make_link: MakeLink) -> None:
    """Sixteen threads, frames of all sizes, some with descriptors, and a reader that lags: each sender's frames arrive
    in its order, whole, each with its own descriptor."""
    senders, each = 16, 150
    link, _, raw = make_link(buffer=8192)

    def read() -> list[Frame]:
        return [raw.receive(3000) for _ in range(senders * each)]

    reading = Background(read)

    def send(sender: int) -> None:
        for index in range(each):
            number = sender << 16 | index
            descriptor = pipe_end(number) if index % 5 == 0 else None
            assert link.place(16, number, bytes([sender]) * (index * 37 % 3000), descriptor)
            link.flush()

    at_once(senders, send, PATIENCE)
    frames = reading.result(PATIENCE)
    seen = Counter[int]()
    for frame in frames:
        sender, index = frame.number >> 16, frame.number & 0xFFFF
        assert index == seen[sender]
        seen[sender] += 1
        assert frame.payload == bytes([sender]) * (index * 37 % 3000)
        if frame.descriptor is not None:
            assert number_of(frame.descriptor) == frame.number
    assert set(seen.values()) == {each}
    assert link.outbox_size == 0


def test_placed_under_a_lock_flushed_behind_it(make_link: MakeLink) -> None:
    """The order is that of the places, whoever flushes first."""
    senders, each = 8, 100
    link, _, raw = make_link(buffer=8192)
    lock = threading.Lock()
    numbers = iter(range(senders * each))

    def send(sender: int) -> None:
        for _ in range(each):
            with lock:
                assert link.place(16, next(numbers), bytes(100))
            link.flush()

    reading = Background(lambda: [raw.receive().number for _ in range(senders * each)])
    at_once(senders, send, PATIENCE)
    assert reading.result(PATIENCE) == list(range(senders * each))


# -- the outbox --------------------------------------------------------------------------------------------------


def test_who_takes_nothing_is_cut_off(make_link: MakeLink) -> None:
    link, owner, raw = make_link(max_outbox=100_000)
    returns = Returns()
    fill(link)
    held = pipe_end(1)
    assert link.send(16, 1, b"", held, returns)
    sent = 0
    while link.open:
        sent += 1
        link.send(16, 1000 + sent, bytes(1000))
        assert sent < 500, "it is not cut"
    assert sent * 1000 >= 100_000 - 20_000
    (frames, size) = owner.behind[0]
    assert frames > sent and size > 100_000
    assert returns.descriptors == [held]
    assert not link.place(16, 0, b"")
    assert raw.at_end()  # behind what the kernel had
    soon(lambda: owner.ends == [False], "the end")


def test_a_single_frame_may_be_larger_than_the_outbox(make_link: MakeLink) -> None:
    link, owner, raw = make_link(max_outbox=100_000)
    assert link.send(16, 1, bytes(1_000_000))
    assert link.send(16, 2, bytes(1_000_000))  # the first that waits
    assert link.send(16, 3, bytes(1000))
    assert [raw.receive().number for _ in range(3)] == [1, 2, 3]
    assert link.open and not owner.behind


def test_a_slow_reader_gets_everything(make_link: MakeLink) -> None:
    link, owner, raw = make_link(buffer=4096)
    for number in range(2000):
        assert link.send(16, number, bytes(1000))
    assert link.outbox_size > 1_000_000
    assert [raw.receive(512).number for _ in range(2000)] == list(range(2000))
    assert link.outbox_size == 0 and link.open and not owner.behind


# -- who gets a descriptor back ----------------------------------------------------------------------------------


def test_returned_is_called_for_what_has_not_reached_the_kernel_and_for_nothing_else(make_link: MakeLink) -> None:
    link, owner, raw = make_link()
    returns = Returns()
    gone = [pipe_end(number) for number in range(5)]
    for descriptor in gone:
        assert link.send(16, 0, b"", descriptor, returns)
    fill(link)
    kept = [pipe_end(number) for number in range(5)]
    for number, descriptor in enumerate(kept):
        assert link.send(16, number, bytes(100), descriptor, returns)
    closed = pipe_end(0)
    assert link.send(16, 0, b"", closed)  # nobody wants that one back
    link.close()
    assert returns.descriptors == kept
    soon(lambda: not any(map(is_open, (*gone, *kept, closed))), "all to be closed")
    assert owner.ends == [False]
    got = []
    with suppress(EOFError):
        while True:
            frame = raw.receive()
            got += [] if frame.descriptor is None else [frame.descriptor]
    assert [number_of(descriptor) for descriptor in got] == list(range(5))


def test_half_a_frame_has_taken_its_descriptor_along(make_link: MakeLink) -> None:
    link, _, raw = make_link()
    returns = Returns()
    descriptor = pipe_end(3)
    assert link.send(16, 1, bytes(10_000_000), descriptor, returns)
    assert not is_open(descriptor)
    link.close()
    assert returns.descriptors == []
    _, ancillary, _, _ = raw.sock.recvmsg(100, 1024)
    assert number_of(int.from_bytes(ancillary[0][2], "little")) == 3


def test_an_ended_link_takes_no_descriptor(make_link: MakeLink) -> None:
    link, _, _ = make_link()
    link.close()
    returns = Returns()
    descriptor = pipe_end(1)
    assert not link.place(16, 0, b"", descriptor, returns)
    assert not link.send(16, 0, b"", descriptor, returns)
    assert number_of(descriptor) == 1 and returns.descriptors == []


def test_the_sibling_dies_while_frames_wait(make_link: MakeLink) -> None:
    """Its end is noticed by whoever writes, or by the reader; in either case all descriptors come back, once."""
    for _ in range(20):
        link, owner, raw = make_link()
        returns = Returns()
        fill(link)
        kept = [pipe_end(number) for number in range(3)]
        for descriptor in kept:
            assert link.send(16, 0, b"", descriptor, returns)
        raw.close()
        late = pipe_end(4)
        if not link.send(16, 0, b"", late, returns):
            os.close(late)
            kept = kept[:3]
        else:
            kept.append(late)
        soon(lambda owner=owner: owner.ends == [True], "the end")
        soon(lambda returns=returns, kept=kept: sorted(returns.descriptors) == sorted(kept), "the descriptors")


def test_a_descriptor_that_is_none_costs_its_frame_alone(make_link: MakeLink) -> None:
    link, owner, raw = make_link()
    returned: list[int] = []
    assert link.send(16, 1, b"", 1_000_000, returned.append)
    assert link.send(16, 2, b"after")
    assert raw.receive().number == 2
    assert returned == [1_000_000] and len(owner.reports) == 1 and link.open


def test_what_the_caller_does_with_a_returned_descriptor_is_its_affair(make_link: MakeLink) -> None:
    link, owner, _ = make_link()
    fill(link)

    def fail(descriptor: int) -> None:
        os.close(descriptor)
        raise ValueError("no use for it")

    returns = Returns()
    assert link.send(16, 0, b"", pipe_end(1), fail) and link.send(16, 0, b"", pipe_end(2), returns)
    link.close()
    assert len(returns.descriptors) == 1 and owner.ends == [False]


# -- the end -----------------------------------------------------------------------------------------------------


def test_on_end_is_called_once(make_link: MakeLink) -> None:
    link, _, raw = make_link()
    calls: list[str] = []
    link.on_end(lambda: calls.append("kept"))

    def forgotten() -> None:
        calls.append("forgotten")

    link.on_end(forgotten)
    link.forget(forgotten)
    link.forget(forgotten)
    raw.close()
    soon(lambda: calls == ["kept"], "the call")
    link.close()
    link.on_end(lambda: calls.append("late"))
    assert calls == ["kept", "late"]


def test_the_last_words_are_read_although_nothing_can_be_written(make_link: MakeLink) -> None:
    """A sibling says something and goes; who writes to it notices before its words have been read."""
    for _ in range(20):
        link, owner, raw = make_link()
        for number in range(200):
            raw.send(16, number, bytes(500))
        raw.close()
        while link.send(17, 0, b"answer"):
            pass
        soon(lambda owner=owner: owner.ends == [True], "the end")
        assert [frame.number for frame in owner.frames] == list(range(200))


def test_a_handler_may_close_the_link(make_link: MakeLink) -> None:
    """What has come behind that is dropped, with its descriptors."""
    before = open_descriptors()
    _, owner, raw = make_link()
    owner.on_frame = lambda link, frame: link.close()
    with open(pipe_end(1), "rb") as file:
        raw.send_bytes(encode(16, 1, b"") + encode(16, 2, b"", with_descriptor=True), file.fileno())
    soon(lambda: owner.ends == [False], "the end")
    assert [frame.number for frame in owner.frames] == [1]
    raw.close()
    soon(lambda: open_descriptors() <= before, "the descriptors")


def test_close_races_with_everything(make_link: MakeLink) -> None:
    """Readers, writers and two who close: one end, no descriptor left, none of others' closed."""
    make_link()[0].close()  # the reactor's own descriptors are there
    before = open_descriptors()
    for _ in range(30):
        link, owner, raw = make_link(buffer=8192)
        owner.on_frame = lambda link, frame: frame.descriptor is not None and os.close(frame.descriptor)  # type: ignore
        under_way: list[int] = []

        def play(part: int, link: Link = link, raw: Raw = raw, under_way: list[int] = under_way) -> None:
            if part < 3:
                for number in range(50):
                    under_way.append(number)
                    descriptor = pipe_end(number)
                    if not link.send(16, number, bytes(500), descriptor, os.close):
                        os.close(descriptor)
            elif part == 3:
                with suppress(OSError):
                    for number in range(50):
                        with open(pipe_end(number), "rb") as file:
                            raw.send(17, number, b"", file.fileno())
            elif part == 4:
                with suppress(OSError, EOFError):
                    while True:
                        frame = raw.receive()
                        if frame.descriptor is not None:
                            os.close(frame.descriptor)
            else:
                soon(lambda: under_way, "something under way")
                link.close()
                link.close()

        at_once(7, play, PATIENCE)
        assert owner.ends == [False]
        raw.close()
    soon(lambda: open_descriptors() <= before, "the descriptors")


def test_a_link_that_never_started_can_be_closed(make_link: MakeLink) -> None:
    link, owner, _ = make_link()
    link.close()
    link.flush()
    link.on_writable()
    link.on_readable()
    assert owner.ends == [False] and link.fileno() == -1


# -- a sibling that does not keep to the format ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["not announced", "missing", "two", "many", "two frames", "size"])
def test_lies_break_the_link_and_leak_nothing(make_link: MakeLink, how: str) -> None:
    make_link()[0].close()
    before = open_descriptors()
    _, owner, raw = make_link(max_frame=1000)
    owner.on_frame = lambda link, frame: frame.descriptor is not None and os.close(frame.descriptor)  # type: ignore
    ends = [pipe_end(number) for number in range(9)]
    if how == "not announced":
        raw.send(16, 1, b"", ends[0], announced=False)
    elif how == "missing":
        raw.send(16, 1, b"", announced=True)
    elif how == "two":
        raw.send(16, 1, b"", ends[0], ends[1])
    elif how == "many":  # more than there is room for: the kernel drops those
        raw.send(16, 1, b"", *ends)
    elif how == "two frames":
        raw.send_bytes(encode(16, 1, b"", with_descriptor=True) * 2, ends[0])
    else:
        raw.send(16, 1, bytes(1001))
    assert raw.at_end()
    soon(lambda: owner.ends == [False], "the end")
    assert len(owner.reports) == 1 and owner.reports[0].startswith("broken link: ")
    for descriptor in ends:
        os.close(descriptor)
    raw.close()
    soon(lambda: open_descriptors() <= before, "the descriptors")


def test_frames_before_the_lie_count(make_link: MakeLink) -> None:
    _, owner, raw = make_link()
    raw.send_bytes(encode(16, 1, b"good") + encode(16, 2, b"", with_descriptor=True))
    soon(lambda: owner.ends, "the end")
    assert [frame.number for frame in owner.frames] == [1]


# -- in numbers --------------------------------------------------------------------------------------------------


def test_ten_thousand_descriptors_later_all_is_as_before(make_link: MakeLink) -> None:
    link, owner, raw = make_link()
    owner.on_frame = lambda link, frame: os.close(frame.descriptor)  # type: ignore[arg-type]
    before, threads = open_descriptors(), native_threads()
    reading, writing = os.pipe()

    def receive() -> None:
        for _ in range(5_000):
            descriptor = raw.receive().descriptor
            assert descriptor is not None
            os.close(descriptor)

    receiving = Background(receive)
    for number in range(5_000):
        raw.send(16, number, b"", reading)
        assert link.send(16, number, b"", os.dup(writing))
    receiving.result(PATIENCE)
    soon(lambda: len(owner.frames) == 5_000, "all frames")
    os.close(reading)
    os.close(writing)
    soon(lambda: open_descriptors() <= before, "the descriptors")
    assert WORLD == "gevent" or native_threads() <= threads + 1
    assert link.open and not owner.reports
