"""What strangers have written, as a line of the log may show it: escaped, on one line, and short.

A log is read line by line, by people at terminals and by programs: a line break would forge an entry, an escape
sequence would command the terminal, a megabyte would hide the rest.  The ids of engine sessions and the private ids of
recovery are secrets, whoever knows one can take the client's place: they are never logged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# How much of one value is shown (characters), and of a whole text that tells of several.
_VALUE = 100
_TEXT = 1000
# How many arguments of an event have their types told.
_KINDS = 20

_session_id = re.compile(r'(?<=[?&]sid=)[^&\s"]+')


def quote(value: object) -> str:
    """``value`` as ``repr`` shows it, up to 100 characters; of longer text the length is told as well."""
    if not isinstance(value, (str, bytes)):
        return one_line(repr(value), _VALUE)
    shown = repr(value[: _VALUE + 1])  # which escapes all that is not printable
    if len(value) <= _VALUE and len(shown) <= 2 * _VALUE:
        return shown
    return f"{shown[:_VALUE]}{shown[-1]}... ({len(value)} characters)"


def one_line(text: str, limit: int = _TEXT) -> str:
    """A text of our own that may hold others' words: line breaks and all else that is not printable escaped.

    :param limit: the characters that are shown.
    """
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join([char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown])
    if len(text) <= limit and len(shown) <= 2 * limit:
        return shown
    return f"{shown[:limit]}... ({len(text)} characters)"


def hide_session_ids(request: str) -> str:
    """A request's line, or its URL, without the id of the engine session that it is of."""
    return _session_id.sub("...", request)


def kinds(args: Sequence[object]) -> str:
    """The types of an event's arguments."""
    names = ", ".join(type(arg).__name__ for arg in args[:_KINDS])
    return names if len(args) <= _KINDS else f"{names}, ..."
