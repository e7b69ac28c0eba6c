"""What the msgpack decoder refuses, as socket.io-msgpack-parser does, and what it costs to be fed junk."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.world import one_world
from wsgi_sio.socketio.packet import EVENT, RESERVED_EVENTS, DecodeError, Packet
from wsgi_sio.socketio.packet_msgpack import Decoder, Encoder

pytestmark = one_world

quick = settings(deadline=None, max_examples=300, database=None)

UNDEFINED = msgpack.ExtType(0, b"\0")


def packed(**fields: Any) -> bytes:
    packet = {"type": 2, "nsp": "/", "data": ["a"], **fields}
    return bytes(msgpack.packb({key: value for key, value in packet.items() if value is not ...}))


WRONG: list[tuple[dict[str, Any], str]] = [
    *(({"type": kind}, "unknown packet type") for kind in (5, 6, -1, 2.5, "2", None, True, ..., UNDEFINED, [2])),
    *(({"nsp": nsp}, "invalid namespace") for nsp in (None, 1, b"/", ..., UNDEFINED, ["/"])),
    *(({"id": ack_id}, "illegal acknowledgement id") for ack_id in (None, "1", 0.5, float("nan"), True, [1], b"1")),
    *(({"type": 0, "data": data}, "invalid payload") for data in (None, [], "x", 1, b"", msgpack.Timestamp(1))),
    *(({"type": 1, "data": data}, "invalid payload") for data in (None, [], {}, "x", 0)),
    *(({"type": 2, "data": data}, "invalid payload") for data in (None, {}, "a", ..., UNDEFINED, [], [None])),
    *(({"type": 2, "data": [name]}, "invalid payload") for name in (True, b"a", ["a"], {}, UNDEFINED)),
    *(({"type": 2, "data": [name]}, "invalid payload") for name in sorted(RESERVED_EVENTS)),
    *(({"type": 3, "data": data, "id": 1}, "invalid payload") for data in (None, {}, "a", ..., UNDEFINED)),
    *(({"type": 4, "data": data}, "invalid payload") for data in (None, [], 1, ..., UNDEFINED)),
]


@pytest.mark.parametrize("beside", [0, UNDEFINED], ids=["fast", "exact"])
@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_packet_of_a_wrong_kind(fields: dict[str, Any], message: str, beside: object) -> None:
    with pytest.raises(DecodeError, match=message):
        Decoder().add(packed(**fields, beside=beside))


BROKEN = [
    (b"", "incomplete"),
    (b"\xc1", "no MessagePack"),
    (b"\x81\xa1a\xc1", "no MessagePack"),
    (b"\x90", "a packet is a map"),
    (b"\xa1a", "a packet is a map"),
    (b"\xd4\0\0", "a packet is a map"),
    (packed() + b"\xc0", "bytes follow"),
    (packed()[:-1], "incomplete"),
    (b"\x81\xc0\1", "a map's key is no text"),
    (b"\x81\x90\1", "a map's key is no text"),
    (b"\x81\xd4\0\0\1", "a map's key is no text"),
    (b"\x81\xa1a\xc7\x05\xff12345", "no timestamp"),
    (b"\x81\xa1a\xd7\xff" + b"\xff" * 8, "no timestamp"),
    *((b"\x81\xa1a" + head, "incomplete") for head in (b"\xc4", b"\xc4\2x", b"\xc7\1", b"\xd7\0x", b"\xcb1", b"\xd9")),
]


@pytest.mark.parametrize(("message", "why"), BROKEN)
def test_no_message_pack(message: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        Decoder().add(message)


def test_text_is_refused_with_a_hint() -> None:
    with pytest.raises(DecodeError, match="does the client use the msgpack parser"):
        Decoder().add('2["a"]')


# --- hostile input -------------------------------------------------------------------------------------------------

HOSTILE = {
    "nested lists": b"\x91" * 1_000_000,
    "nested maps": b"\x81\xa1a" * 300_000,
    "nested maps as keys": b"\x81" * 1_000_000,
    "a list that claims four billion items": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1_000_000,
    "nested lists that claim as many items as the message has bytes": b"\xdd\x00\x0f\x42\x00" * 200_000,
    "nested lists that claim as many items as the fast decoder believes": b"\xdd\x00\x00\xf4\x00" * 1000
    + b"\xc0" * 995_000,
    "a map that claims four billion entries": b"\xdf\xff\xff\xff\xff" + b"\xa1a\xc0" * 300_000,
    "bytes that claim four billion": b"\xc6\xff\xff\xff\xff" * 200_000,
    "keys that collide as integers": b"\xdf\x00\x01\x86\xa0"
    + b"".join(b"\xcf" + (i * (2**61 - 1) % 2**64).to_bytes(8, "big") + b"\0" for i in range(100_000)),
    "a million nils": b"\xdd\x00\x0f\x42\x3b" + b"\xc0" * 999_995,
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_hostile_message_costs_linear_time_and_memory(message: bytes) -> None:
    tracemalloc.start()
    start = time.thread_time()
    with pytest.raises(DecodeError):
        Decoder().add(message)
    spent = time.thread_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spent < 20  # with the tracing, which is slow
    assert peak < 600_000_000


def test_reasonable_nesting_is_fine() -> None:
    value: Any = UNDEFINED
    for _ in range(100):
        value = {"a": [value]}
    assert Decoder().add(packed(data=["a", value])).data[0] == "a"


@quick
@given(st.one_of(st.binary(), st.lists(st.sampled_from([packed()[i : i + 3] for i in range(25)])).map(b"".join)))
def test_junk_is_refused_or_decoded(message: bytes) -> None:
    try:
        packet = Decoder().add(message)
    except DecodeError:
        return
    assert isinstance(packet, Packet)


@quick
@given(st.data())
def test_damaged_packet_is_refused_or_decoded(data: st.DataObject) -> None:
    (message,) = Encoder().encode(Packet(EVENT, "/", ["a", {"k": [1, 1.5, b"x" * 40]}, "é" * 20], 3))
    damaged = bytearray(message)  # type: ignore[arg-type]
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        Decoder().add(damaged)
    except DecodeError:
        pass
