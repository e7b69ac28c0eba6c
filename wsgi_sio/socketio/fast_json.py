"""JSON by C libraries, which the extra ``fast`` installs, wherever they do exactly what jsoncodec.py does.

msgspec reads, and orjson writes, faster than the standard library. They are asked first; whatever they refuse, and
whatever they might do otherwise, is done by jsoncodec.py, whose word is final: values, texts and errors are the same
with and without the extra. What that concerns:

* reading: lone surrogates, numbers out of a double's range, integers of thousands of digits, and all that is no JSON.
* writing: integers of more than 64 bits, lone surrogates, keys that are no strings, subclasses, bytes; enumerations and
  UUIDs, which orjson would write; doubles so large or small that orjson spells their exponents in its own way.

``WSGI_SIO_FAST_JSON=0`` in the environment does without.
"""

from __future__ import annotations

import marshal
import os
import re
import sys
from collections.abc import Callable
from typing import Any

Loads = Callable[[str, int], Any]
Dumps = Callable[[Any], str]

# Doubles, as MessagePack has them, that are neither 0 nor from 2**-13 to 2**53: between these both spell them the same.
_find_odd_double = re.compile(
    rb"\xcb(?![\x3f\xbf][\x20-\xff]|[\x40-\x42\xc0-\xc2]|[\x43\xc3][\x00-\x3f]|[\x00\x80]\x00{7})"
).search


def loads_by_msgspec(plain: Loads) -> Loads:
    """Return what decodes as ``plain`` does, only faster.

    :raises ImportError: msgspec is not there.
    """
    from msgspec.json import Decoder

    decode = Decoder().decode

    def loads(text: str, start: int) -> Any:
        try:
            return decode(text[start:])
        except Exception:  # of many kinds; what it is, if anything, is for the other to say
            return plain(text, start)

    return loads


def dumps_by_orjson(plain: Dumps) -> Dumps:
    """Return what encodes as ``plain`` does, only faster.

    :raises ImportError: orjson or msgspec, which looks at it, is not there.
    """
    from msgspec.msgpack import Encoder
    from orjson import OPT_PASSTHROUGH_DATACLASS, OPT_PASSTHROUGH_DATETIME, OPT_PASSTHROUGH_SUBCLASS
    from orjson import dumps as encode

    options = OPT_PASSTHROUGH_DATACLASS | OPT_PASSTHROUGH_DATETIME | OPT_PASSTHROUGH_SUBCLASS
    pack = Encoder().encode

    def dumps(value: Any) -> str:
        try:
            text = encode(value, None, options).decode()
            marshal.dumps(value)  # the quickest way to learn that all types in it are builtin ones
            packed = pack(value)
            exact = b"\xcb" not in packed or _find_odd_double(packed) is None
        except Exception:  # likewise
            exact = False
        return text if exact else plain(value)

    return dumps


def fastest(loads: Loads, dumps: Dumps) -> tuple[Loads, Dumps, tuple[str, ...]]:
    """Return the fastest equals of both that are to be had, and the names of the libraries that they use."""
    # Where int() has no limit of digits msgspec has none either: a long integer would cost quadratic time.
    if os.environ.get("WSGI_SIO_FAST_JSON") == "0" or not getattr(sys, "get_int_max_str_digits", int)():
        return loads, dumps, ()
    try:
        loads = loads_by_msgspec(loads)
    except ImportError:
        return loads, dumps, ()
    try:
        return loads, dumps_by_orjson(dumps), ("msgspec", "orjson")
    except ImportError:
        return loads, dumps, ("msgspec",)
