"""Values that other processes read just as they are here."""

from __future__ import annotations

from typing import Any

_LEFT_OUT = object()
_DEEPEST = 100


def is_plain(value: object) -> bool:
    """Whether other processes read ``value`` just as it is here."""
    return isinstance(value, (bool, int, float, str, bytes))


def portable(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """A copy without what other processes cannot read, and without what contains itself (or is nested as deeply)."""
    if value is None or is_plain(value):
        return value
    if id(value) in inside or len(inside) > _DEEPEST:
        return _LEFT_OUT
    inside = (*inside, id(value))
    if isinstance(value, dict):
        pairs = [(key, portable(item, inside)) for key, item in list(value.items()) if isinstance(key, str)]
        return {key: item for key, item in pairs if item is not _LEFT_OUT}
    if isinstance(value, (list, tuple)):
        items = [portable(item, inside) for item in list(value)]
        return [None if item is _LEFT_OUT else item for item in items]
    return _LEFT_OUT
