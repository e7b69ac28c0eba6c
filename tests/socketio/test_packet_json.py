"""The JSON inside Socket.IO packets: JavaScript's JSON both ways, and the application's own codec."""

from __future__ import annotations

import json
import math
import runpy
import sys
from datetime import date
from enum import IntEnum
from typing import Any, NamedTuple

import pytest

from wsgi_sio.socketio import jsoncodec
from wsgi_sio.socketio.packet import ACK, EVENT, DecodeError, Decoder, Encoder, Packet


class Colour(IntEnum):
    RED = 3


class Point(NamedTuple):
    x: int
    y: int


def encode(*args: Any) -> str:
    """Return the JSON that these arguments become in an ACK without id."""
    (text,) = Encoder().encode(Packet(ACK, "/", list(args)))
    assert isinstance(text, str)
    return text[1:]


def decode(text: str) -> Any:
    packet = Decoder().add("3" + text)
    assert packet is not None
    return packet.data


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, "b"), '[1,"b"]'),
        (Point(1, 2), "[1,2]"),
        (Colour.RED, "3"),
        ({1: 2, None: 3, 1.5: 4}, '{"1":2,"null":3,"1.5":4}'),
        ('é"\\\x00\x1e\x7f', '"é\\"\\\\\\u0000\\u001e\x7f"'),
        (2**70, str(2**70)),
        ("", '""'),
        ({}, "{}"),
        ([[[]]], "[[[]]]"),
    ],
)
def test_value_is_encoded_as_json_does(value: Any, text: str) -> None:
    assert encode(value) == f"[{text}]"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_not_a_number_becomes_null(number: float) -> None:
    """As JSON.stringify writes it, however deep it lies."""
    assert encode("x", number, {"k": (number, 1.5)}) == '["x",null,{"k":[null,1.5]}]'


@pytest.mark.parametrize("value", [object(), {1}, date(2024, 1, 1), 1j])
def test_unsupported_type_is_named(value: object) -> None:
    with pytest.raises(TypeError, match=f"object of type {type(value).__name__} is not JSON serializable"):
        encode([value])


def test_lone_surrogates_are_escaped_and_the_rest_is_not() -> None:
    text = encode("é\ud800", {"\udfff": "😀"})
    assert text == '["é\\ud800",{"\\udfff":"😀"}]'
    assert decode(text) == ["é\ud800", {"\udfff": "😀"}]


def test_deep_nesting_is_a_value_error() -> None:
    deep: Any = 1
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        encode(deep)


def test_bytes_nested_too_deeply_are_a_value_error() -> None:
    """Finding them recurses in Python, which gives up earlier than the C encoder; what matters is the kind of error."""
    deep: Any = b"x"
    for _ in range(950):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        Encoder().encode(Packet(ACK, "/", [deep]))


@pytest.mark.parametrize("digits", [641, 4301, 10_000, 1_000_000])
def test_integer_of_thousands_of_digits_never_fails(digits: int) -> None:
    """It becomes infinity, as in JavaScript, where int() would refuse it; shorter ones stay exact."""
    (number,) = decode(f"[{'1' * digits}]")
    assert number == (int("1" * digits) if digits < 4300 else math.inf)


def test_integer_beyond_2_53_stays_exact() -> None:
    assert decode("[9007199254740993]") == [9007199254740993]


class AppJSON:
    """An application's codec: dates, like a Flask JSON provider; bytes from dumps, like orjson."""

    def dumps(self, obj: Any) -> bytes:
        return json.dumps(obj, default=str, separators=(",", ":"), ensure_ascii=False).encode()

    def loads(self, text: str) -> Any:
        return json.loads(text, parse_float=str)


def test_application_s_codec_encodes_its_types_and_leaves_bytes_to_us() -> None:
    packet = Packet(EVENT, "/", ["é", date(2024, 1, 1), {"b": (b"x",)}], 1)
    assert Encoder(AppJSON()).encode(packet) == [
        '51-1["é","2024-01-01",{"b":[{"_placeholder":true,"num":0}]}]',
        b"x",
    ]
    assert Encoder(AppJSON()).encode(Packet(EVENT, "/", ["é", date(2024, 1, 1)])) == ['2["é","2024-01-01"]']


def test_application_s_codec_decodes_and_we_validate() -> None:
    assert Decoder(AppJSON()).add('2["a",1.50]') == Packet(EVENT, "/", ["a", "1.50"])
    for text in ('2["connect"]', '2["a"', "2[1]x"):
        with pytest.raises(DecodeError, match="invalid payload"):
            Decoder(AppJSON()).add(text)


class TroubledJSON:
    """A codec that answers every trouble with exceptions of its own, and emits surrogates."""

    def dumps(self, obj: Any) -> str:
        return json.dumps(obj, ensure_ascii=False)

    def loads(self, text: str) -> Any:
        raise KeyError(text)


def test_whatever_the_codec_raises_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="invalid payload"):
        Decoder(TroubledJSON()).add('2["a"]')


def test_codec_s_text_is_made_fit_for_utf_8() -> None:
    assert Encoder(TroubledJSON()).encode(Packet(EVENT, "/", ["\ud800"])) == ['2["\\ud800"]']


def test_circular_reference_in_a_codec_is_a_value_error() -> None:
    loop: list[Any] = ["a"]
    loop.append(loop)
    with pytest.raises(ValueError, match="circular"):
        Encoder(TroubledJSON()).encode(Packet(EVENT, "/", loop))


def test_json_module_means_the_compact_codec() -> None:
    assert Encoder(json).encode(Packet(EVENT, "/", ["a", "é"])) == ['2["a","é"]']
    assert Decoder(json).add('2["a",1]') == Packet(EVENT, "/", ["a", 1])
    with pytest.raises(DecodeError):
        Decoder(json).add('2["a",NaN]')


# --- other Pythons ----------------------------------------------------------------------------------------------------


def test_without_the_c_encoder_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy has none."""
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    names = runpy.run_path(jsoncodec.__file__)
    dumps = names["dumps_of"](None)
    assert dumps(["a", {"é": (1, None, 1.5)}, "\ud800"]) == '["a",{"é":[1,null,1.5]},"\\ud800"]'
    with pytest.raises(names["BinaryFound"]):
        dumps(["a", {"k": b"x"}])
    assert dumps([math.nan]) == "[null]"
    with pytest.raises(TypeError, match="object of type set"):
        dumps([{1}])
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="circular"):
        dumps(loop)


def test_where_int_has_no_limit_long_integers_become_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.10.0 to 3.10.6, or a process that switched the limit off: int() would take seconds."""
    monkeypatch.setattr(sys, "get_int_max_str_digits", lambda: 0, raising=False)
    loads = runpy.run_path(jsoncodec.__file__)["loads_of"](None)
    assert loads(f"[{'1' * 640},{'1' * 641}]", 0) == [int("1" * 640), math.inf]
