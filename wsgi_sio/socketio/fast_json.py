"""JSON by C libraries, which the extra ``fast`` installs, wherever they do exactly what jsoncodec.py does.

msgspec reads, and orjson writes, faster than the standard library. They are asked first; whatever they refuse, and
whatever they might do otherwise, is done by jsoncodec.py, whose word is final: values, texts and errors are the same
with and without the extra. What that concerns:

* reading: lone surrogates, numbers out of a double's range, integers of thousands of digits, and all that is no JSON.
* writing: integers of more than 64 bits, lone surrogates, keys that are no strings, subclasses, bytes; enumerations and
  UUIDs, which orjson would write.

One thing is left to orjson: how the exponent of a very large or small double is spelled, 1e-7 (as JavaScript does) for
1e-07. It is the same number to whoever reads it, and to look for it took as long as writing.

``WSGI_SIO_FAST_JSON=0`` in the environment does without.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable
from typing import Any

Loads = Callable[[str, int], Any]
Dumps = Callable[[Any], str]


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

    :raises ImportError: orjson is not there.
    """
    from orjson import OPT_PASSTHROUGH_DATACLASS, OPT_PASSTHROUGH_DATETIME, OPT_PASSTHROUGH_SUBCLASS
    from orjson import dumps as encode

    options = OPT_PASSTHROUGH_DATACLASS | OPT_PASSTHROUGH_DATETIME | OPT_PASSTHROUGH_SUBCLASS

    def dumps(value: Any) -> str:
        try:
            text = encode(value, None, options)
            marshal.dumps(value)  # the quickest way to learn that all types in it are builtin ones
        except Exception:  # likewise
            return plain(value)
        return text.decode()

    return dumps


def fastest(loads: Loads, dumps: Dumps) -> tuple[Loads, Dumps, tuple[str, ...]]:
    """Return the fastest equals of both that are to be had, and the names of the libraries that they use."""
    # Where int() has no limit of digits msgspec has none either: a long integer would cost quadratic time.
    if os.environ.get("WSGI_SIO_FAST_JSON") == "0" or not getattr(sys, "get_int_max_str_digits", int)():
        return loads, dumps, ()
    libraries = []
    try:
        loads = loads_by_msgspec(loads)
        libraries.append("msgspec")
    except ImportError:
        pass  # one without the other is good as well
    try:
        dumps = dumps_by_orjson(dumps)
        libraries.append("orjson")
    except ImportError:
        pass  # likewise
    return loads, dumps, tuple(libraries)
