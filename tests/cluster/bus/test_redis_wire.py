"""What Redis says, taken apart."""

from __future__ import annotations

import pytest

from wsgi_sio.cluster.bus.redis_wire import AnswerReader, Line, pack

MESSAGE = pack(b"pmessage", b"io#*", b"io#\r\n$3\r\n#", b"\x00payload\r\n")
SAID = b"".join([
    b"*3\r\n$10\r\npsubscribe\r\n$4\r\nio#*\r\n:1\r\n", MESSAGE, MESSAGE, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", MESSAGE,
    pack(b"pmessage", b"io", b"io", b""), b"$-1\r\n", MESSAGE, b"+OK\r\n", b"-ERR no\r\n", pack(b"message", b"c", b"1"),
])  # fmt: skip
MEANT = [
    [b"psubscribe", b"io#*", 1],
    *[[b"pmessage", b"io#*", b"io#\r\n$3\r\n#", b"\x00payload\r\n"]] * 2,
    [b"pong", b""],
    [b"pmessage", b"io#*", b"io#\r\n$3\r\n#", b"\x00payload\r\n"],
    [b"pmessage", b"io", b"io", b""],
    None,
    [b"pmessage", b"io#*", b"io#\r\n$3\r\n#", b"\x00payload\r\n"],
    Line(b"+OK"),
    Line(b"-ERR no"),
    [b"message", b"c", b"1"],
]


def test_it_does_not_matter_in_which_pieces_it_comes() -> None:
    assert AnswerReader().feed(SAID) == MEANT
    for size in (1, 2, 3, 7, 50):
        reader = AnswerReader()
        found = [answer for at in range(0, len(SAID), size) for answer in reader.feed(SAID[at : at + size])]
        assert found == MEANT, size
    for cut in range(len(SAID)):
        reader = AnswerReader()
        assert reader.feed(SAID[:cut]) + reader.feed(SAID[cut:]) == MEANT, cut


def test_a_large_message_is_taken_apart_once() -> None:
    payload = b"x" * 1_000_000
    said = pack(b"message", b"c", payload)
    reader = AnswerReader()
    found = [answer for at in range(0, len(said), 1000) for answer in reader.feed(said[at : at + 1000])]
    assert found == [[b"message", b"c", payload]]


@pytest.mark.parametrize("junk", [b"HTTP/1.1 400 Bad Request\r\n", b"*x\r\n", b"$\r\n", b"\r\n", b"+" * 70_000])
def test_what_is_no_answer(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|line|literal"):
        AnswerReader().feed(junk)
