"""The Autobahn test suite's families 1 to 5 and 7 as data: what the peer sends, and the events that must come out."""

from __future__ import annotations

from typing import NamedTuple

from tests.websocket.wire import Frame, fragments
from wsgi_sio.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from wsgi_sio.websocket.messages import Close, Event, Ping, Pong, Violation


class Case(NamedTuple):
    """`frames` in, `events` out; violations are compared by code alone."""

    id: str
    frames: list[Frame]
    events: list[Event]


PROTOCOL_ERROR = Violation(1002, "")
INVALID_DATA = Violation(1007, "")
HELLO = Frame(TEXT, b"Hello, world!")
PING_FRAME = Frame(PING)
SIZES = (0, 125, 126, 127, 128, 65535, 65536, 65536)
NON_UTF8 = bytes.fromhex("00fffefdfcfb00ff")


def framing() -> list[Case]:
    """Family 1: every payload length form (the eighth case is the seventh in chops, which every case gets here)."""
    cases = []
    for number, size in enumerate(SIZES, 1):
        cases.append(Case(f"1.1.{number}", [Frame(TEXT, b"*" * size)], ["*" * size]))
        cases.append(Case(f"1.2.{number}", [Frame(BINARY, b"\xfe" * size)], [b"\xfe" * size]))
    return cases


def pings_and_pongs() -> list[Case]:
    """Family 2."""
    ten = [b"payload-%d" % number for number in range(10)]
    ten_pings: list[Event] = [Ping(data) for data in ten]
    longest = b"\xfe" * 125
    return [
        Case("2.1", [PING_FRAME], [Ping(b"")]),
        Case("2.2", [Frame(PING, b"Hello, world!")], [Ping(b"Hello, world!")]),
        Case("2.3", [Frame(PING, NON_UTF8)], [Ping(NON_UTF8)]),
        Case("2.4", [Frame(PING, longest)], [Ping(longest)]),
        Case("2.5", [Frame(PING, b"\xfe" * 126)], [PROTOCOL_ERROR]),
        Case("2.6", [Frame(PING, longest)], [Ping(longest)]),
        Case("2.7", [Frame(PONG)], [Pong(b"")]),
        Case("2.8", [Frame(PONG, b"unsolicited pong payload")], [Pong(b"unsolicited pong payload")]),
        Case("2.9", [Frame(PONG, b"unsolicited"), Frame(PING, b"ping")], [Pong(b"unsolicited"), Ping(b"ping")]),
        Case("2.10", [Frame(PING, data) for data in ten], ten_pings),
        Case("2.11", [Frame(PING, data) for data in ten], ten_pings),
    ]


def reserved_bits() -> list[Case]:
    """Family 3: what came before the bad frame still counts, what follows it does not."""
    text = HELLO.payload
    good = text.decode()
    return [
        Case("3.1", [Frame(TEXT, text, rsv=1)], [PROTOCOL_ERROR]),
        Case("3.2", [HELLO, Frame(TEXT, text, rsv=2), PING_FRAME], [good, PROTOCOL_ERROR]),
        Case("3.3", [HELLO, Frame(TEXT, text, rsv=3), PING_FRAME], [good, PROTOCOL_ERROR]),
        Case("3.4", [HELLO, Frame(TEXT, text, rsv=4), PING_FRAME], [good, PROTOCOL_ERROR]),
        Case("3.5", [Frame(BINARY, NON_UTF8, rsv=5)], [PROTOCOL_ERROR]),
        Case("3.6", [Frame(PING, text, rsv=6)], [PROTOCOL_ERROR]),
        Case("3.7", [Frame(CLOSE, rsv=7)], [PROTOCOL_ERROR]),
    ]


def reserved_opcodes() -> list[Case]:
    """Family 4: 3 to 7 among the data opcodes, 11 to 15 among the control opcodes."""
    cases = []
    for family, first in ((1, 3), (2, 11)):
        for number in range(1, 6):
            bad = Frame(first + number - 1, b"" if number % 2 else b"reserved opcode payload")
            behind_a_text = number > 2
            frames = [HELLO, bad, PING_FRAME] if behind_a_text else [bad]
            events: list[Event] = ["Hello, world!", PROTOCOL_ERROR] if behind_a_text else [PROTOCOL_ERROR]
            cases.append(Case(f"4.{family}.{number}", frames, events))
    return cases


def fragmentation() -> list[Case]:
    """Family 5; cases that differ only in how the stream is chopped share their frames."""
    two = fragments(TEXT, b"fragment1", b"fragment2")
    both = "fragment1fragment2"
    ping = Frame(PING, b"ping payload")
    whole = Frame(TEXT, b"fragment")
    five = fragments(TEXT, *(b"fragment%d" % number for number in range(1, 6)))
    five_and_pings = [*five[:2], Frame(PING, b"pongme 1!"), *five[2:4], Frame(PING, b"pongme 2!"), five[4]]
    five_events: list[Event] = [Ping(b"pongme 1!"), Ping(b"pongme 2!"), "fragment1fragment2fragment3fragment4fragment5"]
    orphan_last = Frame(CONTINUATION, b"non-continuation payload")
    orphan_first = orphan_last._replace(fin=False)
    return [
        Case("5.1", fragments(PING, b"fragment1", b"fragment2"), [PROTOCOL_ERROR]),
        Case("5.2", fragments(PONG, b"fragment1", b"fragment2"), [PROTOCOL_ERROR]),
        *(Case(f"5.{number}", two, [both]) for number in (3, 4, 5)),
        *(Case(f"5.{number}", [two[0], ping, two[1]], [Ping(b"ping payload"), both]) for number in (6, 7, 8)),
        *(Case(f"5.{number}", [orphan_last, whole], [PROTOCOL_ERROR]) for number in (9, 10, 11)),
        *(Case(f"5.{number}", [orphan_first, whole], [PROTOCOL_ERROR]) for number in (12, 13, 14)),
        Case("5.15", [*two, orphan_first, whole], [both, PROTOCOL_ERROR]),
        Case("5.16", [orphan_first, *two] * 2, [PROTOCOL_ERROR]),
        Case("5.17", [orphan_last, *two] * 2, [PROTOCOL_ERROR]),
        Case("5.18", [two[0], two[1]._replace(opcode=TEXT)], [PROTOCOL_ERROR]),
        *(Case(f"5.{number}", five_and_pings, five_events) for number in (19, 20)),
    ]


def close_frame(code: int, reason: bytes = b"") -> Frame:
    return Frame(CLOSE, code.to_bytes(2, "big") + reason)


def closing() -> list[Case]:
    """Family 7: nothing counts behind a close frame; which codes and reasons one may carry."""
    normal = close_frame(1000)
    closed = Close(1000, "")
    opened, rest = fragments(TEXT, b"fragment1", b"fragment2")
    big = Frame(TEXT, b"BAsd7&jh23" * 26215)
    invalid_reason = bytes.fromhex("cebae1bdb9cf83cebcceb5eda080656469746564")
    valid_codes = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    invalid_codes = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)
    return [
        Case("7.1.1", [HELLO, normal], ["Hello, world!", closed]),
        Case("7.1.2", [normal, normal], [closed]),
        Case("7.1.3", [normal, PING_FRAME], [closed]),
        Case("7.1.4", [normal, HELLO], [closed]),
        Case("7.1.5", [opened, normal, rest], [closed]),
        Case("7.1.6", [big, HELLO, normal, PING_FRAME], [big.payload.decode(), "Hello, world!", closed]),
        Case("7.3.1", [Frame(CLOSE)], [Close(1005, "")]),
        Case("7.3.2", [Frame(CLOSE, b"a")], [PROTOCOL_ERROR]),
        Case("7.3.3", [normal], [closed]),
        Case("7.3.4", [close_frame(1000, b"Hello World!")], [Close(1000, "Hello World!")]),
        Case("7.3.5", [close_frame(1000, b"*" * 123)], [Close(1000, "*" * 123)]),
        Case("7.3.6", [close_frame(1000, b"*" * 124)], [PROTOCOL_ERROR]),
        Case("7.5.1", [close_frame(1000, invalid_reason)], [INVALID_DATA]),
        *(Case(f"7.7.{n}", [close_frame(code)], [Close(code, "")]) for n, code in enumerate(valid_codes, 1)),
        *(Case(f"7.9.{n}", [close_frame(code)], [PROTOCOL_ERROR]) for n, code in enumerate(invalid_codes, 1)),
        *(Case(f"7.13.{n}", [close_frame(code)], [PROTOCOL_ERROR]) for n, code in enumerate((5000, 65535), 1)),
    ]


CASES = [
    *framing(),
    *pings_and_pongs(),
    *reserved_bits(),
    *reserved_opcodes(),
    *fragmentation(),
    *closing(),
]
