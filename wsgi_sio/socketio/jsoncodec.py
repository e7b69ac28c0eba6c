"""JSON as Socket.IO needs it: compact, exactly what JavaScript's JSON takes and gives, and fast.

json.loads and json.dumps build a new scanner or encoder, or copy, on each call; the C ones underneath, built once and
called directly, are about five times faster on messages of usual size. Standard library only.

What recurses here stays interpreted (see setup.cfg): an interpreter bounds how deep it goes, compiled code does not.
"""

from __future__ import annotations

import json as stdlib_json
import re
import sys
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Protocol

from wsgi_sio.socketio.fast_json import fastest

__all__ = ["BINARY_TYPES", "BinaryFound", "JSONCodec", "detach_bytes", "dumps_of", "loads_of"]

BINARY_TYPES = (bytes, bytearray, memoryview)

# The least that sys.set_int_max_str_digits() can set: up to here int() is always willing, and fast.
_MAX_INT_DIGITS = 640


class JSONCodec(Protocol):
    """What ``json=`` takes: an object with the json module's two functions, each called with one argument."""

    def dumps(self, obj: Any, /) -> str | bytes:
        """Return ``obj`` as JSON, best without needless white space."""

    def loads(self, text: str, /) -> Any:
        """Return the value of the JSON ``text``; raise for anything else."""


class BinaryFound(Exception):
    """Raised out of the encoder at the first bytes: looking for them beforehand would cost every packet a walk."""


def dumps_of(json: JSONCodec | None) -> Callable[[Any], str]:
    """Return ``dumps(value) -> str`` of ``json``; None and the json module mean that of this module.

    It raises BinaryFound for bytes, bytearrays and memoryviews; TypeError for other types that JSON lacks; ValueError
    for circular or too deep nesting, integers of thousands of digits. NaN and infinity become null.
    """
    return _fastest_dumps if json is None or json is stdlib_json else _checked_dumps(json.dumps)


def loads_of(json: JSONCodec | None) -> Callable[[str, int], Any]:
    """Return ``loads(text, start)`` of ``json``, which decodes from an index on and raises ValueError for bad JSON."""
    return _fastest_loads if json is None or json is stdlib_json else _checked_loads(json.loads)


def _unsupported(value: object) -> Any:
    if isinstance(value, BINARY_TYPES):
        raise BinaryFound
    raise TypeError(f"object of type {type(value).__name__} is not JSON serializable")


def _make_iterencode() -> Callable[[Any, int], Iterable[str]]:
    """Return the C encoder; where there is none (PyPy), one that goes through json.JSONEncoder."""
    c_make_encoder = getattr(stdlib_json.encoder, "c_make_encoder", None)
    if c_make_encoder is None:
        encoder = stdlib_json.JSONEncoder(
            ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=_unsupported
        )
        return lambda value, _level: (encoder.encode(value),)
    escape = stdlib_json.encoder.encode_basestring
    # No markers dict, which threads would share: a circular reference ends as RecursionError instead.
    iterencode: Callable[[Any, int], Iterable[str]] = c_make_encoder(
        None, _unsupported, escape, None, ":", ",", False, False, False
    )
    return iterencode


_iterencode = _make_iterencode()


def _dumps(value: Any) -> str:
    try:
        try:
            text = "".join(_iterencode(value, 0))
        except ValueError:
            text = "".join(_iterencode(_finite(value), 0))
    except RecursionError:
        raise ValueError("circular reference, or nested too deeply for JSON") from None
    return text if text.isascii() else _well_formed(text)


def _finite(value: Any) -> Any:
    """A copy with None for NaN and infinity, which JSON lacks: JSON.stringify writes null for them."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _well_formed(text: str) -> str:
    """Escape lone surrogates, which UTF-8 cannot carry, as JSON.stringify does."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return text


def _checked_dumps(dumps: Callable[[Any], str | bytes]) -> Callable[[Any], str]:
    """Make an application's ``dumps`` behave like ours; its own hook for unknown types never sees bytes."""

    def checked_dumps(value: Any) -> str:
        try:
            if _has_binary(value):
                raise BinaryFound
            text = dumps(value)
        except RecursionError:
            raise ValueError("circular reference, or nested too deeply for JSON") from None
        if isinstance(text, str):
            return text if text.isascii() else _well_formed(text)
        return text.decode()

    return checked_dumps


def _has_binary(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_binary, value))
    if isinstance(value, dict):
        return any(map(_has_binary, value.values()))
    return isinstance(value, BINARY_TYPES)


def detach_bytes(value: Any, attachments: list[str | bytes]) -> Any:
    """Return a copy of ``value`` with Socket.IO's placeholders for its bytes, which are appended to ``attachments``."""
    if isinstance(value, BINARY_TYPES):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, (list, tuple)):
        return [detach_bytes(item, attachments) for item in value]
    if isinstance(value, dict):
        return {key: detach_bytes(item, attachments) for key, item in value.items()}
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int | float:
    """Integers that int() may refuse, or take long for, become floats, as all numbers are in JavaScript."""
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else float(digits)


_strict = stdlib_json.JSONDecoder(parse_constant=_refuse_constant)
_bounded = stdlib_json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_bounded_int)
# Where int() has no limit of digits (3.10.0 to 3.10.6, or switched off) a long integer costs quadratic time.
_first = _strict if getattr(sys, "get_int_max_str_digits", int)() else _bounded
_scan: Callable[[str, int], tuple[Any, int]] = getattr(_first, "scan_once", _first.raw_decode)


def _loads(text: str, start: int) -> Any:
    try:
        value, end = _scan(text, start)
        if end == len(text):
            return value
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (ValueError, StopIteration):
        pass  # decided below: bad JSON, or good JSON with white space around it or an endless integer inside
    try:
        return _bounded.decode(text[start:])
    except RecursionError:
        raise ValueError("nested too deeply") from None


_fastest_loads, _fastest_dumps, LIBRARIES = fastest(_loads, _dumps)


def _checked_loads(loads: Callable[[str], Any]) -> Callable[[str, int], Any]:
    """Make an application's ``loads`` behave like ours; whatever it raises, the text is what was wrong."""

    def checked_loads(text: str, start: int) -> Any:
        try:
            return loads(text[start:])
        except Exception as error:
            raise ValueError(str(error)) from error

    return checked_loads
