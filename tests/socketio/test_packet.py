"""Socket.IO packets on the wire: golden strings, round trips, what is encoded and what is accepted."""

from __future__ import annotations

import sys
from typing import Any

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
    Decoder,
    Encoder,
    Packet,
)

pytestmark = one_world

quick = settings(deadline=None, max_examples=150, database=None)

numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters()), st.binary(max_size=20))
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=8
)
namespaces = st.one_of(st.just("/"), st.from_regex(r"/[a-z0-9\[{é-]*", fullmatch=True))
ack_ids = st.one_of(st.none(), st.integers(0, 2**53))
names = st.one_of(st.text().filter(lambda name: name not in RESERVED_EVENTS), numbers)
packets = st.one_of(
    st.builds(
        Packet, st.just(EVENT), namespaces, st.builds(lambda n, rest: [n, *rest], names, st.lists(values)), ack_ids
    ),
    st.builds(Packet, st.just(ACK), namespaces, st.lists(values), st.integers(0, 2**53)),
)


def decode(*messages: str | bytes, max_attachments: int = 10) -> Packet | None:
    """Feed the messages to a new decoder; all but the last must leave it waiting."""
    decoder = Decoder(max_attachments=max_attachments)
    for message in messages[:-1]:
        assert decoder.add(message) is None
    return decoder.add(messages[-1])


HOLE = '{"_placeholder":true,"num":%d}'

GOLDEN: list[tuple[Packet, list[str | bytes]]] = [
    (Packet(CONNECT), ["0"]),
    (Packet(CONNECT, "/admin"), ["0/admin,"]),
    (Packet(CONNECT, "/admin", {"token": "123"}), ['0/admin,{"token":"123"}']),
    (Packet(CONNECT, "/", {"sid": "wZX3oN0bSVIhsaknAAAI"}), ['0{"sid":"wZX3oN0bSVIhsaknAAAI"}']),
    (Packet(DISCONNECT), ["1"]),
    (Packet(DISCONNECT, "/admin"), ["1/admin,"]),
    (Packet(EVENT, "/", ["foo"]), ['2["foo"]']),
    (Packet(EVENT, "/admin", ["bar"]), ['2/admin,["bar"]']),
    (Packet(EVENT, "/", ["foo"], 12), ['212["foo"]']),
    (Packet(EVENT, "/chat", ["a[0]", {"x,y": [1.5, None, True]}], 0), ['2/chat,0["a[0]",{"x,y":[1.5,null,true]}]']),
    (Packet(EVENT, "/", ["ev", "€😀\u2028"]), ['2["ev","€😀\u2028"]']),
    (Packet(EVENT, "/", [5, "number as a name"]), ['2[5,"number as a name"]']),
    (Packet(ACK, "/admin", ["bar"], 13), ['3/admin,13["bar"]']),
    (Packet(ACK, "/", [], 0), ["30[]"]),
    (Packet(CONNECT_ERROR, "/random", {"message": "Invalid namespace"}), ['4/random,{"message":"Invalid namespace"}']),
    (Packet(CONNECT_ERROR, "/", "old clients get a string"), ['4"old clients get a string"']),
    (Packet(EVENT, "/", ["baz", b"\1\2\3\4"]), ['51-["baz",{"_placeholder":true,"num":0}]', b"\1\2\3\4"]),
    (
        Packet(EVENT, "/admin", ["baz", {"a": b"1", "b": [b"2", {"c": b"3"}]}, b"4"], 15),
        [
            f'54-/admin,15["baz",{{"a":{HOLE % 0},"b":[{HOLE % 1},{{"c":{HOLE % 2}}}]}},{HOLE % 3}]',
            b"1",
            b"2",
            b"3",
            b"4",
        ],
    ),
    (Packet(ACK, "/admin", [b"\3\2\1"], 15), ['61-/admin,15[{"_placeholder":true,"num":0}]', b"\3\2\1"]),
]


@pytest.mark.parametrize(("packet", "messages"), GOLDEN)
def test_golden(packet: Packet, messages: list[str | bytes]) -> None:
    assert Encoder().encode(packet) == messages
    assert decode(*messages) == packet


def test_types_are_the_protocol_s_numbers() -> None:
    assert (CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK) == (0, 1, 2, 3, 4, 5, 6)


@quick
@given(packets)
def test_round_trip(packet: Packet) -> None:
    messages = Encoder(max_attachments=10_000).encode(packet)
    decoded = decode(*messages, max_attachments=len(messages))
    assert decoded == packet or has_placeholder(packet.data)
    for message in messages:
        if isinstance(message, str):
            message.encode()


def has_placeholder(value: Any) -> bool:
    """Tell whether ``value`` cannot survive the trip because it looks like the protocol's own placeholders."""
    return "_placeholder" in repr(value)


def test_number_is_taken_for_a_number_whatever_its_type() -> None:
    assert decode('2["a",1,1.0,1e2,-0]') == Packet(EVENT, "/", ["a", 1, 1.0, 100.0, 0])


# --- what is accepted -------------------------------------------------------------------------------------------------


def test_namespace_may_end_without_comma() -> None:
    assert decode("0/random") == Packet(CONNECT, "/random")
    assert decode("1/a[") == Packet(DISCONNECT, "/a[")


def test_query_of_old_clients_stays_in_the_namespace() -> None:
    assert decode("0/nsp?tok=1,") == Packet(CONNECT, "/nsp?tok=1")


def test_absent_payload_of_event_and_ack_is_an_empty_list() -> None:
    """The reference accepts them too, so a handler must be able to count on a list."""
    assert decode("2") == Packet(EVENT, "/", [])
    assert decode("2/a,7") == Packet(EVENT, "/a", [], 7)
    assert decode("37") == Packet(ACK, "/", [], 7)
    assert decode("51-", b"x") == Packet(EVENT, "/", [])


def test_white_space_around_the_payload_is_json() -> None:
    assert decode('2 \n["a" , 1]\r\n ') == Packet(EVENT, "/", ["a", 1])


def test_last_of_duplicate_keys_wins() -> None:
    assert decode('2["a",{"k":1,"k":2}]') == Packet(EVENT, "/", ["a", {"k": 2}])


def test_leading_zeros_of_an_id_do_not_count() -> None:
    assert decode('2007["a"]') == Packet(EVENT, "/", ["a"], 7)


def test_lone_surrogate_escape_is_accepted() -> None:
    assert decode('2["a","\\ud800"]') == Packet(EVENT, "/", ["a", "\ud800"])


def test_placeholder_in_a_text_event_is_plain_data() -> None:
    payload = ["a", {"_placeholder": True, "num": 0}]
    assert decode('2["a",{"_placeholder":true,"num":0}]') == Packet(EVENT, "/", payload)


def test_attachments_go_by_number_not_by_position() -> None:
    text = '52-["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert decode(text, b"0", b"1") == Packet(EVENT, "/", ["a", b"1", b"0", b"1"])


def test_only_true_makes_a_placeholder() -> None:
    payload = ["a", {"_placeholder": 1, "num": 7}, {"_placeholder": "true"}]
    assert decode('51-["a",{"_placeholder":1,"num":7},{"_placeholder":"true"}]', b"") == Packet(EVENT, "/", payload)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_attachments_come_out_as_bytes(kind: type) -> None:
    packet = decode('51-["a",{"_placeholder":true,"num":0}]', kind(b"xy"))
    assert packet is not None
    assert type(packet.data[1]) is bytes


def test_decoder_serves_the_next_packet_after_a_binary_one() -> None:
    decoder = Decoder()
    for _ in range(3):
        assert decoder.add('51-["a",{"_placeholder":true,"num":0}]') is None
        assert decoder.add(b"x") == Packet(EVENT, "/", ["a", b"x"])
        assert decoder.add('2["b"]') == Packet(EVENT, "/", ["b"])


def test_idle_decoder_is_tiny() -> None:
    """One lives as long as its connection, thousands at a time."""
    decoder = Decoder()
    assert not hasattr(decoder, "__dict__")
    assert sys.getsizeof(decoder) < 200


# --- what is encoded and what is not ----------------------------------------------------------------------------------


def test_binary_types_are_encoded_by_their_content() -> None:
    """A caller may hand in the binary types too, as packets from another server may have them."""
    assert Encoder().encode(Packet(BINARY_EVENT, "/", ["a", b"x"], 1)) == [
        '51-1["a",{"_placeholder":true,"num":0}]',
        b"x",
    ]
    assert Encoder().encode(Packet(BINARY_ACK, "/", ["a"], 1)) == ['31["a"]']


def test_mutable_buffers_are_copied() -> None:
    """The packet waits in an outbox while the application goes on writing to its buffer."""
    buffer = bytearray(b"abc")
    _, attachment, view = Encoder().encode(Packet(EVENT, "/", ["a", buffer, memoryview(buffer)[1:]]))
    buffer[:] = b"xyz"
    assert (attachment, view) == (b"abc", b"bc")
    assert type(attachment) is type(view) is bytes


def test_callers_data_is_left_alone() -> None:
    data = ["a", {"k": [b"x"]}]
    Encoder().encode(Packet(EVENT, "/", data))
    assert data == ["a", {"k": [b"x"]}]


@pytest.mark.parametrize("kind", [CONNECT, CONNECT_ERROR])
def test_bytes_belong_in_events_and_acks_only(kind: int) -> None:
    with pytest.raises(TypeError, match="only the arguments of an event"):
        Encoder().encode(Packet(kind, "/", {"a": b"x"}))


def test_bytes_are_no_key() -> None:
    with pytest.raises(TypeError, match="keys must be"):
        Encoder().encode(Packet(EVENT, "/", ["a", {b"k": 1}]))
    with pytest.raises(TypeError, match="keys must be"):
        Encoder().encode(Packet(EVENT, "/", ["a", b"x", {b"k": 1}]))


def test_unsupported_type_beside_bytes_is_named() -> None:
    with pytest.raises(TypeError, match="object of type set is not JSON serializable"):
        Encoder().encode(Packet(EVENT, "/", ["a", b"x", {1}]))


def test_circular_reference_is_an_error_with_or_without_bytes() -> None:
    loop: list[Any] = ["a"]
    loop.append(loop)
    with pytest.raises(ValueError, match="circular"):
        Encoder().encode(Packet(EVENT, "/", loop))
    with pytest.raises(ValueError, match="circular"):
        Encoder().encode(Packet(EVENT, "/", ["a", b"x", loop]))
