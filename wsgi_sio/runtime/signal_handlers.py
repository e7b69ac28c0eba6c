"""Whether a signal handler runs: it may have interrupted a change half-way, of which nobody else must see anything."""

from __future__ import annotations

import sys
from inspect import CO_VARARGS
from types import FrameType


def in_signal_handler() -> bool:
    """Whether the caller has been called, directly or not, by a signal handler that is written in Python.

    Such a one is given the frame that it has interrupted, which is also the one that it returns to.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        back = frame.f_back
        if back is not None and _has(frame, back):
            return True
        frame = back
    return False


def _has(frame: FrameType, back: FrameType) -> bool:
    values = frame.f_locals.values() if frame.f_code.co_argcount or frame.f_code.co_flags & CO_VARARGS else ()
    return any(value is back or (type(value) is tuple and any(one is back for one in value)) for value in values)
