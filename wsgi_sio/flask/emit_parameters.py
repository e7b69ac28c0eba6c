"""What the peers' parameters mean."""

from __future__ import annotations

from typing import Any

from ..socketio.broadcast_options import as_rooms


def either(to: Any, room: Any) -> Any:
    """The one that is given, of two parameters that mean the same; None when neither is."""
    return room if to is None else to


def as_clients(sids: Any) -> frozenset[Any]:
    """One client, several, or none (None)."""
    return frozenset() if sids is None else as_rooms(sids)


def as_arguments(data: Any) -> tuple[Any, ...]:
    """The arguments of an event: None is none, a tuple is several."""
    return data if isinstance(data, tuple) else () if data is None else (data,)
