"""JSON by C libraries is what the standard library makes of it, to the last digit, errors included; only exponents are
spelled in another way."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.require import require
from tests.support.world import one_world
from wsgi_sio.socketio import fast_json, jsoncodec

pytestmark = one_world

quick = settings(deadline=None, max_examples=50, database=None)
thorough = settings(deadline=None, max_examples=1000, database=None)

READ = jsoncodec._loads
WRITE = jsoncodec._dumps


@pytest.fixture(scope="module")
def read() -> fast_json.Loads:
    require(find_spec("msgspec"), "msgspec")
    return fast_json.loads_by_msgspec(READ)


@pytest.fixture(scope="module")
def write() -> fast_json.Dumps:
    require(find_spec("msgspec") and find_spec("orjson"), "msgspec and orjson")
    return fast_json.dumps_by_orjson(WRITE)


def outcome(function: Callable[..., Any], *args: Any) -> tuple[str, str]:
    """What comes of a call, so that equal is the same: repr tells 1, 1.0 and True apart, 0.0 and -0.0, and orders."""
    try:
        return "returned", repr(function(*args))
    except Exception as error:
        return type(error).__name__, str(error)


# --- reading ----------------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(),
    st.integers(-(10**700), 10**700),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**53, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**22, 10**23, 5e-324, -0.0]),
)
strings = st.text(st.characters(), max_size=20)
scalars = st.one_of(st.none(), st.booleans(), numbers, strings)
values = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(strings, inner)), max_leaves=12)
# Decimal literals that no Python value is written as: exponents with signs and zeros, many digits, out of range.
literals = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
# What is not quite JSON, and what is hardly.
PIECES = [
    *'0123456789-+.eE,:[]{}"\\/ \n\t\r\f\v\x00\x1f\x7f\x85\xa0\ufeff\u2028bfnrtu',
    "true",
    "false",
    "null",
    "NaN",
    "Infinity",
    "-Infinity",
    "\\ud83d",
    "\\ude00",
    "\\ud800",
    "\\u0000",
    "\\u00e9",
    "\\x",
    "é",
    "😀",
    "\ud800",
    '"a"',
    '"a":1',
    '{"a":1,"a":2}',
    "1e400",
    "-1e-400",
    "00",
    "-0",
    "0.",
    ".5",
    "1e",
]
junk = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A JSON text with a piece put in, or taken out, anywhere."""
    text = json.dumps(draw(values), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(junk) + text[at + draw(st.integers(0, 3)) :]


texts = st.one_of(
    values.map(json.dumps),
    st.builds(json.dumps, values, ensure_ascii=st.just(False), indent=st.sampled_from([None, 0, "\t"])),
    literals,
    literals.map("[{}]".format),
    st.lists(st.tuples(st.sampled_from("ab"), literals)).map(
        lambda pairs: "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"  # keys come twice
    ),
    damaged(),
    junk,
    junk.map('["{}"]'.format),
    junk.map("[{}]".format),
)


@quick
@given(texts, st.sampled_from(["", "2", '2/é,17"']))
def test_it_reads_the_same(read: fast_json.Loads, text: str, before: str) -> None:
    assert outcome(read, before + text, len(before)) == outcome(READ, before + text, len(before))


@pytest.mark.parametrize("character", [*map(chr, range(0x100)), "\u2028", "\ud7ff", "\ud800", "\udfff", "\uffff", "😀"])
def test_each_character_is_read_the_same_everywhere(read: fast_json.Loads, character: str) -> None:
    for text in (f'["{character}"]', f'["\\{character}"]', f"[{character}]", f"{character}[]", f"[]{character}",
                 f"[1{character}]", f'{{"{character}":1}}'):  # fmt: skip
        assert outcome(read, text, 0) == outcome(READ, text, 0)


@pytest.mark.parametrize("digits", [18, 19, 20, 23, 640, 641, 4300, 4301, 100_000])
def test_long_integers_are_read_the_same(read: fast_json.Loads, digits: int) -> None:
    for text in ("1" * digits, "-" + "9" * digits, "1" * digits + ".5", "0." + "3" * digits, f"1e{'9' * digits}"):
        assert outcome(read, f"[{text}]", 0) == outcome(READ, f"[{text}]", 0)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000])
def test_what_is_nested_very_deeply_is_refused_the_same(read: fast_json.Loads, text: str) -> None:
    kind, message = outcome(read, text, 0)
    assert (kind, message) == outcome(READ, text, 0)
    assert kind == "ValueError" and "nested too deeply" in message


# --- writing ----------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Loud(str, Enum):
    """An enumeration of strings whose values are other strings."""

    HEY = "hey"

    def __new__(cls, text: str) -> Loud:
        member = str.__new__(cls, text)
        member._value_ = text.upper()
        return member


class Level(IntEnum):
    LOW = 3


class Right(IntFlag):
    READ = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Record:
    x: int


class MyStr(str):
    """A subclass."""


class MyInt(int):
    """A subclass."""

    def __repr__(self) -> str:
        return "mine"


class MyFloat(float):
    """A subclass."""


class MyList(list[Any]):
    """A subclass."""


class MyDict(dict[Any, Any]):
    """A subclass."""

    def items(self) -> Any:
        return [("other", 1)]


# What JSON lacks, or a library may know how to write though the standard library does not; or does otherwise.
ODD = [
    b"x", bytearray(b"x"), memoryview(b"x"), {1}, frozenset(), 1j, object(), print, Ellipsis, range(3), type,
    deque([1]), MappingProxyType({}), UserDict(), Fraction(1, 2), Decimal("1.5"), Decimal("NaN"),
    date(2024, 1, 1), datetime(2024, 1, 1), time(1), UUID(int=2**127), Path("x"),
    Colour.RED, Loud.HEY, Level.LOW, Right.READ, Right(5), Point(1, 2), Record(1),
    MyStr("é"), MyInt(5), MyFloat(0.5), MyFloat("inf"), MyList([1]), MyDict(a=1), OrderedDict(b=1, a=2),
    defaultdict(list, a=[1]), (1, 2), (), [()], {1: 2}, {None: 1}, {True: 1}, {False: 1, 0.5: 2}, {"1": 1, 1: 2},
    {(1,): 1},
    {b"x": 1}, {MyStr("k"): 1}, {Level.LOW: 1}, {Loud.HEY: 1}, {UUID(int=1): 1}, {math.nan: 1}, {1e16: 1}, {2**70: 1},
    math.nan, math.inf, -math.inf, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**4299,
    "\ud800", "\udfff\ud800", {"\ud800": 1}, "\x00\x1f\x7f\x80\u2028\ufeff\uffff😀", "\\\"/\b\f\n\r\t",
]  # fmt: skip

odd = st.sampled_from(ODD)
floats = st.one_of(
    st.floats(),
    st.floats(1e-7, 1e-3),
    st.floats(1e14, 1e18),
    st.floats(-1e18, -1e14),
    st.integers(-(2**60), 2**60).map(float),
    st.builds(lambda digits, exponent: float(f"{digits}e{exponent}"), st.integers(-999, 999), st.integers(-330, 310)),
)


def written_by(dumps: fast_json.Dumps, value: Any) -> tuple[str, str]:
    """Likewise, with every double in Python's spelling."""
    kind, text = outcome(lambda: Verbatim(dumps(value)))
    return kind, _STRING_OR_DOUBLE.sub(lambda found: found[0] if found[0][0] == '"' else repr(float(found[0])), text)


class Verbatim(str):
    """A text that is its own repr."""

    def __repr__(self) -> str:
        return str(self)


_STRING_OR_DOUBLE = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+[.e][0-9.e+-]*')


written = st.recursive(
    st.one_of(scalars, floats, strings),
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(strings, inner)),
    max_leaves=12,
)
# One odd thing somewhere in what is otherwise ordinary.
with_something_odd = st.recursive(
    odd,
    lambda inner: st.one_of(
        st.builds(lambda before, it, after: [before, it, after], written, inner, scalars),
        st.builds(lambda other, it: {"other": other, "it": it}, written, inner),
    ),
    max_leaves=2,
)


@quick
@given(written)
def test_it_writes_the_same(write: fast_json.Dumps, value: Any) -> None:
    assert written_by(write, value) == written_by(WRITE, value)


@quick
@given(with_something_odd)
def test_it_writes_the_same_with_something_odd_inside(write: fast_json.Dumps, value: Any) -> None:
    assert written_by(write, value) == written_by(WRITE, value)


@quick
@given(floats)
def test_it_writes_floats_the_same(write: fast_json.Dumps, number: float) -> None:
    assert written_by(write, [number]) == written_by(WRITE, [number])


@pytest.mark.parametrize("exponent", range(-20, 25))
def test_it_writes_floats_the_same_where_spellings_change(write: fast_json.Dumps, exponent: int) -> None:
    for power in (10.0**exponent, 2.0**exponent, 2.0 ** (3 * exponent)):
        for number in (power, math.nextafter(power, 0), math.nextafter(power, math.inf), 1.5 * power, -power):
            assert written_by(write, [number]) == written_by(WRITE, [number])


def test_only_exponents_are_spelled_in_another_way(write: fast_json.Dumps) -> None:
    assert write([1e-7, "1e-07", 1.5, 0.1 + 0.2]) == '[1e-7,"1e-07",1.5,0.30000000000000004]'
    assert WRITE([1e-7]) == "[1e-07]"


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_odd_things_are_written_or_refused_the_same(write: fast_json.Dumps, value: Any) -> None:
    for inside in (value, [value], {"a": value}, ["a", [1, {"b": (value,)}]], [value, b"x"], [b"x", value]):
        assert written_by(write, inside) == written_by(WRITE, inside)


def test_each_character_is_written_the_same(write: fast_json.Dumps) -> None:
    for code in (*range(0x3000), *range(0xD7F0, 0xE010), *range(0xFF00, 0x10010), 0x1F600, 0x10FFFF):
        value = [chr(code), {chr(code): f"a{chr(code)}b"}]
        assert written_by(write, value) == written_by(WRITE, value)


def test_what_is_too_deep_or_long_or_a_circle_is_refused_the_same(write: fast_json.Dumps) -> None:
    loop: dict[str, Any] = {}
    loop["a"] = [loop]
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep, [loop, b"x"]):
        assert written_by(write, value) == written_by(WRITE, value)
        assert written_by(write, value)[0] == "ValueError"
    assert written_by(write, [10**5000]) == written_by(WRITE, [10**5000])
    for depth in (100, 250, 260, 500):
        deep = "x"
        for _ in range(depth):
            deep = [{"a": deep}]
        assert written_by(write, deep) == written_by(WRITE, deep)


def _read_all(loads: fast_json.Loads, text: str) -> Any:
    return loads(text, 0)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["texts", "values", "odd values", "floats"])
def test_it_is_the_same_in_very_many_cases(read: fast_json.Loads, write: fast_json.Dumps, which: str) -> None:
    strategy = {"texts": texts, "values": written, "odd values": with_something_odd, "floats": st.lists(floats)}[which]
    fast, plain = (partial(_read_all, read), partial(_read_all, READ)) if which == "texts" else (write, WRITE)
    look = outcome if which == "texts" else written_by

    @thorough
    @given(strategy)
    def compare(given: Any) -> None:
        assert look(fast, given) == look(plain, given)

    compare()


# --- being chosen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "found"), [("1", ("msgspec", "orjson")), ("0", ())])
def test_the_environment_decides(wanted: str, found: tuple[str, ...]) -> None:
    require(find_spec("msgspec") and find_spec("orjson"), "msgspec and orjson")
    code = "from wsgi_sio.socketio import jsoncodec; print(jsoncodec.LIBRARIES)"
    environment = {**os.environ, "WSGI_SIO_FAST_JSON": wanted}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == f"{found}\n"


@pytest.mark.parametrize("missing", [("msgspec",), ("orjson",), ("msgspec", "orjson")])
def test_what_is_not_installed_is_done_without(monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]) -> None:
    monkeypatch.setenv("WSGI_SIO_FAST_JSON", "1")
    for name in missing:
        for module in (name, f"{name}.json", f"{name}.msgpack"):
            monkeypatch.setitem(sys.modules, module, None)
    loads, dumps, libraries = fast_json.fastest(READ, WRITE)
    assert set(libraries).isdisjoint(missing)
    assert (loads is READ) is ("msgspec" not in libraries) and (dumps is WRITE) is ("orjson" not in libraries)
    assert dumps(loads(' [1, "é"]', 0)) == '[1,"é"]'


def test_where_int_has_no_limit_nothing_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """msgspec would take a long integer's time as well."""
    monkeypatch.setattr(sys, "get_int_max_str_digits", lambda: 0, raising=False)
    assert fast_json.fastest(READ, WRITE) == (READ, WRITE, ())
